"""Interpolation of whole batches, against scipy and against ivadomed's own transformation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ivadomed.transforms import RandomAffine
from scipy.ndimage import affine_transform

from ivadomed_labelfusion.hosts.ivadomed2.speed.affine import SamplingPoints, affine_maps, sample_batch

# turns of a quarter and whole steps put points exactly on the border
angles = st.sampled_from([0.0, math.pi / 2, -math.pi / 2, math.pi]) | st.floats(-0.7, 0.7)
scales = st.sampled_from([1.0]) | st.floats(0.5, 1.5)
shifts = st.integers(-6, 6)


@st.composite
def maps(draw):
    n_axes = draw(st.sampled_from([2, 3]))
    shape = tuple(draw(st.integers(1 if n_axes == 2 else 2, 12)) for _ in range(n_axes))
    axes = draw(st.sampled_from([(0, 1)] if n_axes == 2 else [(0, 1), (0, 2), (1, 2)]))
    scale = np.array([draw(scales) if axis < n_axes else 1.0 for axis in range(3)])
    translation = np.array([float(draw(shifts)) if axis < n_axes else 0.0 for axis in range(3)])
    return shape, (draw(angles), axes, scale, translation)


def affine_of(angle, axes, scale, translation, shape):
    """Return the matrix and offset of one sample."""
    parameters = (np.array([angle]), np.array([axes]), scale[None], translation[None])
    matrices, offsets = affine_maps(*parameters, shape)
    return matrices[0], offsets[0]


def values_of(shape, seed, n=1):
    return np.random.default_rng(seed).uniform(-3, 3, (n, *shape)).astype(np.float32)


@given(maps(), st.integers(0, 1000))
@settings(max_examples=300, deadline=None)
def test_points_give_the_values_of_ivadomeds_transformation(given_map, seed):
    shape, (angle, axes, scale, translation) = given_map
    (values,) = values_of(shape, seed)
    metadata = {"rotation": [angle, list(axes)], "scale": list(scale), "translation": tuple(translation)}
    expected, _ = RandomAffine()(values, metadata)
    matrix, offset = affine_of(angle, axes, scale, translation, shape)
    result = np.full(shape, np.nan, np.float32)
    SamplingPoints(matrix, offset, shape).sample(values, result)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    batch = sample_batch(torch.from_numpy(values)[None, None], torch.tensor(matrix)[None], torch.tensor(offset)[None])
    np.testing.assert_allclose(batch[0, 0].numpy(), result, atol=1e-6)


@given(maps(), st.integers(0, 1000), st.data())
@settings(max_examples=200, deadline=None)
def test_what_a_box_reaches_is_all_that_is_not_empty(given_map, seed, data):
    shape, parameters = given_map
    box = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        box.append(slice(start, data.draw(st.integers(start + 1, size))))
    values = np.zeros(shape, np.float32)
    values[tuple(box)] = 1
    matrix, offset = affine_of(*parameters, shape)
    points = SamplingPoints(matrix, offset, shape)
    whole, part = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    points.sample(values, whole)
    points.sample(values, part, points.reach(tuple(box)))
    np.testing.assert_array_equal(part, whole)


def test_several_maps_and_channels_in_one_batch():
    shape, rng = (31, 24), np.random.default_rng(3)
    values = rng.random((5, 3, *shape)).astype(np.float32)
    matrices, offsets = rng.normal(0, 0.2, (5, 2, 2)) + np.identity(2), rng.normal(0, 3, (5, 2))
    result = sample_batch(torch.from_numpy(values), torch.from_numpy(matrices), torch.from_numpy(offsets))
    for sample in range(5):
        for channel in range(3):
            expected = affine_transform(values[sample, channel], matrices[sample], offset=offsets[sample], order=1)
            np.testing.assert_allclose(result[sample, channel].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1)])
def test_a_sample_of_one_voxel_across(shape):
    values = np.ones(shape, np.float32)
    expected, _ = RandomAffine()(values, {"rotation": [0.0, [0, 1]], "scale": [1, 1, 1], "translation": (0, 0, 0)})
    result = np.empty(shape, np.float32)
    matrix, offset = affine_of(0.0, (0, 1), np.ones(3), np.zeros(3), shape)
    SamplingPoints(matrix, offset, shape).sample(values, result)
    np.testing.assert_array_equal(result, expected)
