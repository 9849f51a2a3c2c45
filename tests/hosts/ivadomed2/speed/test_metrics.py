"""Metrics of whole batches, against ivadomed's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ivadomed import metrics as imed_metrics

from ivadomed_labelfusion.hosts.ivadomed2.speed.metrics import metric_manager


@pytest.fixture(scope="module")
def stock_call():
    import ivadomed_labelfusion

    ivadomed_labelfusion.disable()
    return imed_metrics.MetricManager.__call__


def batch(rng, shape, kind):
    soft = rng.random(shape).astype(np.float32) * (rng.random(shape) < 0.3)
    values = {"soft": soft, "binary": (soft > 0.2).astype(np.float32), "uint8": (soft > 0.2).astype(np.uint8)}
    return values.get(kind, np.zeros(shape, np.float32))


def own_metric(prediction, truth):
    """Somebody's own metric."""
    return float(np.abs(prediction - truth).max())


@given(
    seed=st.integers(0, 10**6),
    n_classes=st.integers(1, 3),
    space=st.sampled_from([(9, 7), (6, 5, 4), (1, 1)]),
    predicted=st.sampled_from(["soft", "binary", "empty"]),
    true=st.sampled_from(["soft", "binary", "uint8", "empty"]),
)
@settings(max_examples=80, deadline=None)
def test_all_metrics_are_ivadomeds(stock_call, seed, n_classes, space, predicted, true):
    rng = np.random.default_rng(seed)
    functions = [*imed_metrics.get_metric_fns("segmentation"), own_metric]
    expected, found = imed_metrics.MetricManager(functions), imed_metrics.MetricManager(functions)
    for n_samples in (2, 3):
        pair = batch(rng, (n_samples, n_classes, *space), predicted), batch(rng, (n_samples, n_classes, *space), true)
        stock_call(expected, *pair)
        metric_manager(stock_call)(found, *pair)
    assert found.num_samples == expected.num_samples == 5
    assert list(found.result_dict) == list(expected.result_dict)
    assert len(found.result_dict) == 9
    for name, values in expected.result_dict.items():
        np.testing.assert_allclose(found.result_dict[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


def test_samples_of_another_kind_are_left_to_ivadomed(stock_call):
    manager = imed_metrics.MetricManager([imed_metrics.dice_score])
    metric_manager(stock_call)(manager, np.array([[0.0], [1.0]]), np.array([[1.0], [1.0]]))
    assert manager.result_dict["dice_score"] == [0.0, 1.0]
    shapes = [(1, 4, 5), (1, 6, 5)]
    pairs = [np.ones(shape, np.float32) for shape in shapes], [np.ones(shape, np.float32) for shape in shapes]
    metric_manager(stock_call)(manager, *pairs)
    assert manager.result_dict["dice_score"] == [0.0, 1.0, 1.0, 1.0]
