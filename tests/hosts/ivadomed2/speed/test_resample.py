"""Resampling axis by axis, against scipy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ivadomed_labelfusion.hosts.ivadomed2.speed.resample import resampled, zoom


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 30), st.sampled_from([1, 1, 2, 7])),
    factors=st.tuples(*[st.sampled_from([0.31, 0.5, 2 / 3, 1.0, 1.7, 2.0, 3.1])] * 3),
    order=st.sampled_from([1, 2]),
    binary=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=300, deadline=None)
def test_values_are_scipys(shape, factors, order, binary, seed):
    values = np.random.default_rng(seed).uniform(-2, 5, shape).astype(np.float32)
    values = (values > 1).astype(np.float32) if binary else values
    if 0 in [round(size * factor) for size, factor in zip(shape, factors, strict=True)]:
        return
    expected = ndimage.zoom(values, factors, order=order)
    result = resampled(values, expected.shape, order)
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, atol=5e-6)


def test_a_last_point_that_rounding_brings_past_the_end_is_0_as_in_scipy():
    found = 0
    for n_old in range(2, 60):
        for size in range(2, 120):
            values = np.ones((n_old, 1, 1), np.float32)
            expected = ndimage.zoom(values, (size / n_old, 1, 1), order=1)
            found += expected[-1, 0, 0] == 0
            np.testing.assert_array_equal(resampled(values, expected.shape, 1), expected)
    assert found


def test_what_is_not_of_order_1_or_2_is_scipys_own():
    values = np.random.default_rng(0).random((9, 8, 1)).astype(np.float32)
    for options in ({}, {"order": 0}, {"order": 1, "mode": "nearest"}):
        expected = ndimage.zoom(values, (1.5, 1.5, 1), **options)
        np.testing.assert_array_equal(zoom(ndimage.zoom)(values, (1.5, 1.5, 1), **options), expected)
