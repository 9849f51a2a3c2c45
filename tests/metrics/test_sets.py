"""Distances between sets of segmentations against their definition."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics import generalized_energy_distance, hungarian_iou


def iou(first, second):
    values = []
    for a, b in zip(first, second, strict=True):
        union = (a | b).sum()
        values.append((a & b).sum() / union if union else 1.0)
    return np.mean(values)


def literal_distance(samples, raters):
    def mean(left, right):
        return np.mean([1 - iou(a, b) for a, b in itertools.product(left, right)])

    return 2 * mean(samples, raters) - mean(samples, samples) - mean(raters, raters)


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(bool, st.tuples(st.integers(1, 4), st.just(2), st.just(3), st.just(4))),
    arrays.arrays(bool, st.tuples(st.integers(1, 4), st.just(2), st.just(3), st.just(4))),
)
def test_distance_agrees_with_the_literal_definition(samples, raters):
    value = generalized_energy_distance(samples, raters, class_axis=1)
    assert value == pytest.approx(max(0, literal_distance(samples, raters)), abs=1e-12)
    assert value >= 0


def test_equal_sets_have_distance_zero_and_full_overlap():
    masks = np.random.default_rng(0).random((3, 1, 6, 6)) < 0.5
    assert generalized_energy_distance(masks, masks[::-1], class_axis=1) == pytest.approx(0, abs=1e-12)
    assert hungarian_iou(masks, masks[::-1], class_axis=1) == 1
    empty = np.zeros((2, 1, 4, 4))
    assert generalized_energy_distance(empty, empty, class_axis=1) == 0
    assert hungarian_iou(empty, empty, class_axis=1) == 1


def test_one_disjoint_output():
    output, raters = np.array([[[1, 0]]]), np.array([[[0, 1]], [[0, 1]]])
    assert generalized_energy_distance(output, raters, class_axis=1) == 2
    assert hungarian_iou(output, raters, class_axis=1) == 0


def test_hungarian_repeats_sets_of_unequal_size():
    """Two outputs, three raters: the best of all matchings of six against six, counted by hand over the 2 x 3 table."""
    a, b = np.array([[1, 1, 0, 0]]), np.array([[0, 0, 1, 1]])
    half = np.array([[0, 1, 1, 0]])
    # a:a twice, b:b twice; the third rater overlaps each output by 1/3, once per repetition
    value = hungarian_iou(np.stack([a, b]), np.stack([a, b, half]), class_axis=1)
    assert value == pytest.approx((2 + 2 + 2 / 3) / 6)


def test_soft_values_are_cut_at_one_half_and_shapes_checked():
    assert generalized_energy_distance(np.array([[[0.5, 0.4]]]), np.array([[[1, 0]]]), class_axis=1) == 0
    with pytest.raises(InputError, match="shapes"):
        generalized_energy_distance(np.zeros((1, 1, 4)), np.zeros((1, 1, 5)), class_axis=1)
    with pytest.raises(InputError, match="at least one"):
        generalized_energy_distance(np.zeros((0, 1, 4)), np.zeros((1, 1, 4)), class_axis=1)
    with pytest.raises(InputError, match="finite"):
        hungarian_iou(np.full((1, 1, 4), np.nan), np.zeros((1, 1, 4)), class_axis=1)
