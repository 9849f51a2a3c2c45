"""Entropy and Brier score against closed forms and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics import brier_score, entropy, entropy_error


def test_entropy_of_known_probabilities():
    half = np.full((1, 10), 0.5)
    assert entropy(half, form="paper", class_axis=0) == pytest.approx(10 * 0.5 * np.log(2), abs=1e-9)
    assert entropy(half, form="shannon", class_axis=0) == pytest.approx(10 * np.log(2), abs=1e-9)
    two = np.array([[0.25], [0.25]])
    assert entropy(two, form="paper", class_axis=0) == pytest.approx(2 * 0.25 * np.log(4), abs=1e-9)
    assert entropy(two, form="shannon", class_axis=0) == pytest.approx(0.5 * np.log(4) + 0.5 * np.log(2), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(np.float64, (5, 7), elements=st.floats(0, 1)))
def test_entropy_agrees_with_scipy(values):
    stats = pytest.importorskip("scipy.stats")
    values = values / max(1, values.sum(axis=0).max())
    full = np.concatenate([np.maximum(0, 1 - values.sum(axis=0, keepdims=True)), values])
    assert entropy(values, form="shannon", class_axis=0) == pytest.approx(stats.entropy(full, axis=0).sum(), abs=1e-9)


def test_entropy_of_binary_and_empty_maps_is_zero():
    assert entropy(np.array([[0, 1, 1]]), class_axis=0) == 0
    assert entropy(np.zeros((2, 3, 3)), form="shannon", class_axis=0) == 0
    assert entropy(np.zeros((1, 0)), class_axis=0) == 0


def test_entropy_error_is_symmetric_and_absolute():
    soft, hard = np.full((1, 4), 0.5), np.ones((1, 4))
    assert (
        entropy_error(soft, hard, class_axis=0)
        == entropy_error(hard, soft, class_axis=0)
        == pytest.approx(4 * 0.5 * np.log(2))
    )
    assert entropy_error(hard, hard, class_axis=0) == 0


def test_brier_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    prediction, truth = rng.random((2, 8, 9, 10)), rng.random((2, 8, 9, 10)) < 0.3
    expected = [metrics.brier_score_loss(truth[index].ravel(), prediction[index].ravel()) for index in range(2)]
    np.testing.assert_allclose(brier_score(prediction, truth, class_axis=0), expected, atol=1e-12)


def test_brier_agrees_with_torchmetrics_for_soft_references():
    torch = pytest.importorskip("torch")
    torchmetrics = pytest.importorskip("torchmetrics")
    rng = np.random.default_rng(1)
    prediction, average = rng.random((1, 30, 30)), rng.integers(0, 8, (1, 30, 30)) / 7
    expected = float(torchmetrics.MeanSquaredError()(torch.tensor(prediction), torch.tensor(average)))
    assert brier_score(prediction, average, class_axis=0)[0] == pytest.approx(
        expected, rel=1e-6
    )  # torchmetrics sums in float32


def test_brier_of_empty_equal_and_single_voxels():
    assert brier_score(np.zeros((1, 4, 4)), np.zeros((1, 4, 4)), class_axis=0)[0] == 0
    assert brier_score(np.array([[0.25]]), np.array([[1.0]]), class_axis=0)[0] == pytest.approx(0.5625, abs=1e-12)
    assert np.isnan(brier_score(np.zeros((1, 0)), np.zeros((1, 0)), class_axis=0)[0])


def test_rounding_is_clipped_and_more_is_refused():
    assert entropy(np.array([[1 + 1e-7, -1e-7]]), class_axis=0) == 0
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        entropy(np.array([[1.01]]), class_axis=0)
    with pytest.raises(InputError, match="finite"):
        brier_score(np.array([[np.nan]]), np.array([[0.0]]), class_axis=0)
    with pytest.raises(InputError, match="same shape"):
        brier_score(np.zeros((1, 4)), np.zeros((1, 5)), class_axis=0)
    with pytest.raises(InputError, match="form"):
        entropy(np.zeros((1, 4)), form="renyi", class_axis=0)
    with pytest.raises(InputError, match="numbers"):
        entropy(np.array([["a"]]), class_axis=0)
