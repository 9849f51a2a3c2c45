"""Overlap against SimpleITK, torchmetrics and hand-made masks; empty masks as documented."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics import (
    absolute_volume_difference,
    dice,
    precision,
    qubiq_dice,
    recall,
    relative_volume_difference,
    soft_dice,
)

EMPTY, FULL = np.zeros((1, 4, 4), bool), np.ones((1, 4, 4), bool)


def test_overlap_agrees_with_simple_itk():
    sitk = pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.9):
        first, second = rng.random((2, 10, 11, 12)) < share
        measure = sitk.LabelOverlapMeasuresImageFilter()
        # Execute(source, target): the prediction is the source, the reference the target
        measure.Execute(sitk.GetImageFromArray(first.astype(np.uint8)), sitk.GetImageFromArray(second.astype(np.uint8)))
        assert dice(first[None], second[None], class_axis=0)[0] == pytest.approx(
            measure.GetDiceCoefficient(), abs=1e-12
        )
        assert recall(first[None], second[None], class_axis=0)[0] == pytest.approx(
            1 - measure.GetFalseNegativeError(), abs=1e-12
        )
        false_discovery = measure.GetFalseDiscoveryRate()
        assert precision(first[None], second[None], class_axis=0)[0] == pytest.approx(1 - false_discovery, abs=1e-12)
        volume = (second.sum() - first.sum()) / second.sum()
        assert relative_volume_difference(first[None], second[None], class_axis=0)[0] == pytest.approx(
            volume, abs=1e-12
        )


def test_overlap_agrees_with_torchmetrics():
    torch = pytest.importorskip("torch")
    classification = pytest.importorskip("torchmetrics.classification")
    rng = np.random.default_rng(1)
    first, second = rng.random((2, 500)) < 0.4
    tensors = torch.tensor(first.astype(int)), torch.tensor(second.astype(int))
    for ours, theirs in (
        (dice, classification.BinaryF1Score()),
        (precision, classification.BinaryPrecision()),
        (recall, classification.BinaryRecall()),
    ):
        assert ours(first, second) == pytest.approx(float(theirs(*tensors)), abs=1e-6)


@pytest.mark.parametrize(
    ("metric", "both_empty", "no_prediction", "no_reference"),
    [
        (dice, 1, 0, 0),
        (precision, 1, 0, 0),
        (recall, 1, 0, 0),
        (soft_dice, 1, 0, 0),
        (qubiq_dice, 1, 0, 0),
        (relative_volume_difference, 0, 1, np.nan),
        (absolute_volume_difference, 0, 1, np.nan),
    ],
)
def test_empty_masks(metric, both_empty, no_prediction, no_reference):
    np.testing.assert_array_equal(metric(EMPTY, EMPTY), [both_empty])
    np.testing.assert_array_equal(metric(EMPTY, FULL), [no_prediction])
    np.testing.assert_array_equal(metric(FULL, EMPTY), [no_reference])


def test_single_voxels_and_classes_apart():
    first = np.array([[1, 0, 0], [0, 1, 1]])
    second = np.array([[1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(dice(first, second, class_axis=0), [1, 2 / 3])
    np.testing.assert_allclose(precision(first, second, class_axis=0), [1, 0.5])
    np.testing.assert_allclose(recall(first, second, class_axis=0), [1, 1])
    np.testing.assert_allclose(relative_volume_difference(first, second, class_axis=0), [0, -1])
    np.testing.assert_allclose(absolute_volume_difference(first, second, class_axis=0), [0, 1])


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(bool, (2, 1, 3, 4)))
def test_dice_is_the_harmonic_mean_of_precision_and_recall(masks):
    first, second = masks
    p, r, d = (metric(first, second, class_axis=0)[0] for metric in (precision, recall, dice))
    assert d == pytest.approx(2 * p * r / (p + r) if p + r else 0)
    assert dice(second, first, class_axis=0)[0] == d


def test_soft_dice_of_binary_maps_is_dice_and_a_soft_map_scores_below_one():
    rng = np.random.default_rng(2)
    first, second = rng.random((2, 1, 50)) < 0.5
    assert soft_dice(first, second, class_axis=0)[0] == pytest.approx(dice(first, second, class_axis=0)[0])
    half = np.full((1, 8), 0.5)
    assert soft_dice(half, half, class_axis=0)[0] == pytest.approx(0.5)


def test_qubiq_dice_is_the_mean_over_levels():
    rng = np.random.default_rng(3)
    prediction, average = rng.random((2, 6, 7)), rng.integers(0, 6, (2, 6, 7)) / 5
    levels = np.arange(1, 10) / 10
    expected = [
        np.mean([dice((prediction[c] >= t)[None], (average[c] >= t - 1e-9)[None], class_axis=0)[0] for t in levels])
        for c in range(2)
    ]
    np.testing.assert_allclose(qubiq_dice(prediction, average, class_axis=0), expected, atol=1e-12)
    np.testing.assert_allclose(qubiq_dice(average, average, class_axis=0), 1)


def test_votes_reach_their_own_level_in_any_dtype():
    """3 of 10 raters reach the level 0.3, whatever the rounding."""
    for dtype in (np.float32, np.float64):
        average = (np.arange(11) / 10).astype(dtype)[None]
        binary = (np.arange(11) / 10)[None]
        assert qubiq_dice(average, binary, class_axis=0)[0] == 1


@pytest.mark.parametrize("metric", [dice, precision, recall, relative_volume_difference])
def test_soft_masks_are_refused(metric):
    with pytest.raises(InputError, match="binary"):
        metric(np.array([[0.3]]), np.array([[1]]))
    with pytest.raises(InputError, match="binary"):
        metric(np.array([[np.nan]]), np.array([[1]]))
    with pytest.raises(InputError, match="same shape"):
        metric(np.zeros((1, 3)), np.zeros((1, 4)))
    with pytest.raises(InputError, match="one spatial axis"):
        metric(np.zeros(3), np.zeros(3), class_axis=0)
    with pytest.raises(InputError, match="must have an axis 3"):
        metric(np.zeros((1, 3)), np.zeros((1, 3)), class_axis=3)
