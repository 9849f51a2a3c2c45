"""A plain mask gives a number, ``class_axis`` an array; masks of classes first are read as before for one version."""

import warnings

import numpy as np
import pytest

from ivadomed_labelfusion import metrics

PAIRS = {
    "dice": (metrics.dice, True),
    "precision": (metrics.precision, True),
    "recall": (metrics.recall, True),
    "relative_volume_difference": (metrics.relative_volume_difference, True),
    "absolute_volume_difference": (metrics.absolute_volume_difference, True),
    "soft_dice": (metrics.soft_dice, True),
    "qubiq_dice": (metrics.qubiq_dice, True),
    "brier_score": (metrics.brier_score, True),
    "entropy_error": (metrics.entropy_error, False),
    "log_score": (metrics.log_score, False),
    "expected_calibration_error": (metrics.expected_calibration_error, False),
}


@pytest.fixture
def masks():
    """Two masks of 8 x 9 x 5 voxels that overlap in part."""
    return np.random.default_rng(0).random((2, 8, 9, 5)) < 0.4


@pytest.mark.parametrize("name", PAIRS)
def test_a_plain_mask_gives_a_number(name, masks):
    function, per_class = PAIRS[name]
    value = function(*masks)
    assert isinstance(value, float)
    first = function(masks[:1], masks[1:], class_axis=0)
    last = function(masks[0][..., None], masks[1][..., None], class_axis=-1)
    assert np.shape(first) == np.shape(last) == ((1,) if per_class else ())
    assert np.ravel(first)[0] == np.ravel(last)[0] == value
    # the same mask in two dimensions, and as one long list
    assert function(*(mask.reshape(72, 5) for mask in masks)) == pytest.approx(value)
    assert function(*(mask.ravel() for mask in masks)) == pytest.approx(value)


@pytest.mark.parametrize("name", [name for name in PAIRS if PAIRS[name][1]])
def test_classes_are_taken_apart_along_any_axis(name, masks):
    function, _ = PAIRS[name]
    both, swapped = masks, masks[::-1]
    each = [function(both[index], swapped[index]) for index in range(2)]
    for axis in (0, 2, -1):
        found = function(np.moveaxis(both, 0, axis), np.moveaxis(swapped, 0, axis), class_axis=axis)
        assert found.tolist() == each


def test_results_of_several_numbers(masks):
    size = {"voxel_size_mm": (1, 1, 2)}
    for function, options in (
        (metrics.lesion_detection, {}),
        (metrics.surface_distances, size),
        (metrics.brier_split, {}),
    ):
        one = function(*masks, **options)
        two = function(masks, masks[::-1], class_axis=0, **options)
        assert isinstance(two, tuple)
        assert two[0] == one
        assert type(two[1]) is type(one)


def test_sets_of_masks(masks):
    for function in (metrics.generalized_energy_distance, metrics.hungarian_iou):
        plain = function(masks[:1], masks)
        assert plain == function(masks[:1, None], masks[:, None], class_axis=1)
    assert metrics.vote_counts(masks).tolist() == metrics.vote_counts(masks[:, None], class_axis=1)[1].tolist()
    assert metrics.binarize(masks[0] * 0.6).tolist() == masks[0].tolist()
    assert metrics.binarize(np.moveaxis(masks * 0.4, 0, -1), class_axis=-1).shape == (8, 9, 5, 2)


def test_classes_first_without_saying_so_is_read_with_a_warning(masks):
    with pytest.warns(DeprecationWarning, match="class_axis=0"):
        assert metrics.dice(masks, masks[::-1]).shape == (2,)
    with pytest.warns(DeprecationWarning, match="class_axis=0"):
        curve = metrics.reliability_curve(masks[:1] * 0.8, masks[:1])
    with pytest.warns(DeprecationWarning, match="class_axis=1"):
        metrics.generalized_energy_distance(masks[:, None], masks[:, None])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metrics.reliability_curve(masks[0] * 0.8, masks[0]).ece == curve.ece
