"""Resampling axis by axis, with the values of ``scipy.ndimage.zoom``, which goes through all neighbours of a voxel."""

import numpy as np
from scipy import ndimage

from ivadomed_labelfusion.hosts.ivadomed2.context import is_fast


def zoom(original):
    """Wrap ``ivadomed.transforms.zoom`` (scipy's): splines of order 1 and 2 are evaluated axis by axis."""

    def wrapped(input, zoom, order=3, **options):
        values = np.asarray(input)
        if options or order not in (1, 2) or values.dtype.kind != "f" or not is_fast():
            return original(input, zoom, order=order, **options)
        shape = [round(size * factor) for size, factor in zip(values.shape, zoom, strict=True)]
        return resampled(values, shape, order)

    return wrapped


def resampled(values, shape, order):
    """Return an array on a grid of another shape, whose corners are the same voxels' centres.

    Args:
        values (ndarray): Floating point.
        shape (sequence of int): Of the result.
        order (int): Of the spline: 1 or 2.

    Returns:
        ndarray: ``shape``, of the dtype of ``values``; the values of ``scipy.ndimage.zoom`` to its rounding.
    """
    result = np.zeros(shape, values.dtype)
    # a label is empty in most slices, and small in the others
    box = _neighbourhood(values) if order == 1 else [(0, size) for size in values.shape]
    if 0 in shape or not values.any():
        return result
    inner = values[tuple(slice(*limits) for limits in box)].astype(np.float64)
    inner = ndimage.spline_filter(inner, 2, output=np.float64) if order == 2 else inner
    places = []
    for axis, (limits, old_size, size) in enumerate(zip(box, values.shape, shape, strict=True)):
        place = slice(0, size)
        if (old_size, size) != (1, 1):
            inner, place = _along(np.moveaxis(inner, axis, 0), limits, old_size, size, order)
            inner = np.moveaxis(inner, 0, axis)
        places.append(place)
    result[tuple(places)] = inner
    return result


def _neighbourhood(values):
    """Return per axis the first and last index, plus one, of what is not 0 and its direct neighbours."""
    box = []
    for axis, size in enumerate(values.shape):
        line = np.flatnonzero(values.any(axis=tuple(other for other in range(values.ndim) if other != axis)))
        box.append((max(0, line[0] - 1), min(size, line[-1] + 2)) if len(line) else (0, 0))
    return box


def _along(values, limits, old_size, size, order):
    """Return the spline on points of the first axis.

    Args:
        values (ndarray): Coefficients between two limits of the axis, which are 0 outside of them.
        limits (tuple of int): First index and last index plus one.
        old_size, size (int): Of the whole axis, before and after.
        order (int): 1 or 2.

    Returns:
        (ndarray, slice): The values that may differ from 0, and their place on the axis.
    """
    # scipy's own arithmetic: where rounding brings the last point past the end, scipy gives 0
    points = np.arange(size) * ((old_size - 1) / (size - 1) if size > 1 else 0.0)
    first, weights = _linear(points) if order == 1 else _quadratic(points)
    low, high = limits
    place = slice(0, size)
    if order == 1:
        place = slice(int(np.searchsorted(first, low)), int(np.searchsorted(first, high)))
    result = 0
    for shift, weight in enumerate(weights):
        # mirrored at the ends
        index = np.abs(first[place] + shift)
        index = np.where(index > old_size - 1, 2 * (old_size - 1) - index, index)
        weight = np.where(points > old_size - 1, 0.0, weight)[place]
        # past the limits there is nothing but zeros
        weight = np.where(index < high, weight, 0.0).reshape(-1, *[1] * (values.ndim - 1))
        result = result + weight * values[np.minimum(index, high - 1) - low]
    return result, place


def _linear(points):
    first = np.floor(points).astype(np.intp)
    share = points - first
    return first, (1 - share, share)


def _quadratic(points):
    nearest = np.floor(points + 0.5)
    share = points - nearest
    middle = 0.75 - share**2
    low = 0.5 * (0.5 - share) ** 2
    return nearest.astype(np.intp) - 1, (low, middle, 1 - middle - low)
