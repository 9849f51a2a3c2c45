"""Linear interpolation under an affine map, with the values of ``scipy.ndimage.affine_transform``.

ivadomed calls scipy once per channel and class, with a slice taken for a volume of depth 1. Here the sampling points of
a sample are found once, in the sample's own number of dimensions, and serve all its channels and classes.
"""

import functools
import itertools
import math
import operator

import numpy as np
import torch


class SamplingPoints:
    """Where each voxel of a sample takes its value from: ``matrix @ voxel + offset``.

    As in scipy (``mode="constant"``, order 1), a point outside the first and last voxel centres gives 0, and points are
    found in float64; values are mixed in float32.

    Args:
        matrix (ndarray): ``(D, D)`` float64.
        offset (ndarray): ``(D,)`` float64, in voxels.
        shape (tuple of int): ``(D,)``, of input and output.
    """

    def __init__(self, matrix, offset, shape):
        self.offset, self.shape = offset, shape
        self._inverse = np.linalg.inv(matrix)
        grid = np.ogrid[tuple(slice(size) for size in shape)]
        index, self._fractions, inside = 0.0, [], True
        for row, shift, size, stride in zip(matrix, offset, shape, _strides(shape), strict=True):
            points = _sum_in_order(shift, [factor * axis for factor, axis in zip(row, grid, strict=True)])
            inside = inside & (points >= 0) & (points <= size - 1)
            np.clip(points, 0, size - 1, out=points)
            whole = np.floor(points)
            points -= whole
            self._fractions.append(points.astype(np.float32))
            whole *= stride
            index = index + whole
        self._index, self._inside = index.astype(np.int64), inside

    def sample(self, values, out, region=...):
        """Write the interpolated values.

        Args:
            values (ndarray): ``shape`` float32.
            out (ndarray): ``shape`` float32, written within ``region`` only.
            region (tuple of slice): The part of the output that is wanted.
        """
        # the last voxel's neighbours have weight 0, but must exist
        flat = np.zeros(values.size + 1 + _corners(self.shape)[-1], np.float32)
        flat[: values.size] = values.ravel()
        index = self._index[region]
        corners = [flat[start:].take(index) for start in _corners(self.shape)]
        for fraction in self._fractions[::-1]:
            corners = [
                _between(low, high, fraction[region]) for low, high in zip(corners[::2], corners[1::2], strict=True)
            ]
        np.multiply(corners[0], self._inside[region], out=out[region])

    def reach(self, box):
        """Return the part of the output that values within a box of the input can reach (a tuple of slices).

        Args:
            box (tuple of slice): ``(D,)``.
        """
        centre = np.array([(part.start + part.stop - 1) / 2 for part in box])
        # a voxel's value reaches less than a voxel away from it
        half = np.array([(part.stop - part.start + 1) / 2 for part in box])
        middle = self._inverse.dot(centre - self.offset).tolist()
        spread = np.abs(self._inverse).dot(half).tolist()
        region = []
        for point, length, size in zip(middle, spread, self.shape, strict=True):
            low, high = math.floor(point - length), math.ceil(point + length) + 1
            region.append(slice(min(max(low, 0), size), min(max(high, 0), size)))
        return tuple(region)


def sample_batch(values, matrices, offsets):
    """Interpolate a whole batch on its device, as `SamplingPoints` does sample by sample.

    Args:
        values (Tensor): ``(N, C, *shape)`` float32.
        matrices (Tensor): ``(N, D, D)`` float64, on the same device.
        offsets (Tensor): ``(N, D)`` float64.

    Returns:
        Tensor: ``(N, C, *shape)`` float32.
    """
    shape = tuple(values.shape[2:])
    n_axes = len(shape)
    axes = [torch.arange(size, dtype=torch.float64, device=values.device) for size in shape]
    grid = [axis.view([-1 if other == number else 1 for other in range(n_axes)]) for number, axis in enumerate(axes)]
    index, fractions, inside = 0, [], True
    column = (slice(None), *[None] * n_axes)
    for row, (size, stride) in enumerate(zip(shape, _strides(shape), strict=True)):
        # separate operations: a fused one rounds differently, and moves points over the border
        products = [matrices[:, row, number][column] * axis for number, axis in enumerate(grid)]
        points = _sum_in_order(offsets[:, row][column], products)
        inside = inside & (points >= 0) & (points <= size - 1)
        points = points.clamp(0, size - 1)
        whole = points.long()
        fractions.append((points - whole).float()[:, None])
        index = index + whole * stride
    flat = torch.nn.functional.pad(values.flatten(2), (0, 1 + _corners(shape)[-1]))
    index = index.flatten(1)[:, None].expand(-1, values.shape[1], -1)
    corners = [flat[..., start:].gather(2, index).view(values.shape) for start in _corners(shape)]
    for fraction in fractions[::-1]:
        corners = [_between(low, high, fraction) for low, high in zip(corners[::2], corners[1::2], strict=True)]
    return corners[0] * inside[:, None]


def affine_maps(angle, axes, scale, translation, shape):
    """Return the maps of ivadomed's ``RandomAffine`` for given parameters of N samples.

    Args:
        angle (ndarray): ``(N,)``, radians.
        axes (ndarray): ``(N, 2)`` int, the plane of rotation, the lower axis first.
        scale (ndarray): ``(N, 3)``.
        translation (ndarray): ``(N, 3)``, whole voxels.
        shape (tuple of int): Of the samples, two or three axes.

    Returns:
        (ndarray, ndarray): ``(N, D, D)`` matrices and ``(N, D)`` offsets for `SamplingPoints`.
    """
    centre = 0.5 * np.array([*shape, *[1] * (3 - len(shape))])
    samples, (low, high) = np.arange(len(angle)), axes.T
    rotation = np.tile(np.identity(3), (len(angle), 1, 1))
    rotation[samples, low, low] = rotation[samples, high, high] = np.cos(angle)
    # ivadomed turns the plane of the first and last axis the other way round
    rotation[samples, low, high] = np.where(high - low == 2, 1, -1) * np.sin(angle)
    rotation[samples, high, low] = -rotation[samples, low, high]
    transform = rotation * (1 / scale)[:, None]
    offset = centre - (centre[:, None] * transform).sum(axis=1) + translation
    n_axes = len(shape)
    matrices = np.ascontiguousarray(transform.transpose(0, 2, 1)[:, :n_axes, :n_axes])
    return matrices, np.ascontiguousarray(offset[:, :n_axes])


@functools.lru_cache(maxsize=8)
def _strides(shape):
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


@functools.lru_cache(maxsize=8)
def _corners(shape):
    """Return the distances, in the flattened array, of the corners of a cell from its first; last axis fastest."""
    return tuple(sum(corner) for corner in itertools.product(*[(0, stride) for stride in _strides(shape)]))


def _between(low, high, fraction):
    # in place: each corner is used once
    high -= low
    high *= fraction
    high += low
    return high


def _sum_in_order(offset, products):
    # scipy's order, in which rounding moves points over the border or not
    return functools.reduce(operator.add, products, offset)
