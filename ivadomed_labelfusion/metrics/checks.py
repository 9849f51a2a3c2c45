"""Checks of the arrays that metrics take, and walking through them in blocks that fit the processor's cache."""

import numpy as np

from ivadomed_labelfusion.errors import InputError

# rounding in a stored float32 volume may leave [0, 1] by this much; such values are clipped
TOLERANCE = 1e-6
BLOCK_VOXELS = 1 << 16


def check_values(name, low, high):
    """Refuse values outside [0, 1] (beyond ``TOLERANCE``) and NaN, given the smallest and largest value."""
    if not np.isfinite(low) or not np.isfinite(high):
        raise InputError(f"{name} must be finite, got NaN or infinity. Replace such voxels before evaluating.")
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raise InputError(
            f"{name} must lie in [0, 1], got values from {float(low):g} to {float(high):g}. "
            "Divide masks coded 0/255 by 255; apply the model's final activation to raw scores."
        )


def check_dtype(name, array):
    """Return ``array`` as ndarray of bool, integers or floats."""
    array = np.asarray(array)
    if array.dtype.kind not in "buif":
        raise InputError(f"{name} must hold numbers, got dtype {array.dtype}.")
    return array


def check_prediction(name, array):
    """Return ``array`` as ndarray ``(C, *spatial)`` with at least one class and one spatial axis; values unchecked."""
    array = check_dtype(name, array)
    if array.ndim < 2 or array.shape[0] == 0:
        raise InputError(
            f"{name} must have the shape (C, *spatial) with at least one class, got {array.shape}. "
            "Add the class axis of a single mask with mask[None]."
        )
    return array


def check_same_shape(first_name, first, second_name, second):
    """Refuse arrays of different shape."""
    if first.shape != second.shape:
        raise InputError(f"{first_name} and {second_name} must have the same shape, got {first.shape}, {second.shape}.")


def check_probabilities(name, array):
    """Return ``array`` ``(C, *spatial)`` after checking its range; the array is not copied."""
    array = check_prediction(name, array)
    if array.size:
        check_values(name, array.min(), array.max())
    return array


def check_masks(name, array):
    """Return ``array`` ``(C, *spatial)`` of 0 and 1 as bool."""
    array = check_prediction(name, array)
    if array.dtype == bool:
        return array
    masks = array == 1
    if not np.array_equal(masks, array):
        raise InputError(
            f"{name} must be binary (0 and 1), got other values. Binarise it first, for example with metrics.binarize."
        )
    return masks


def check_raters(raters, prediction):
    """Return ``raters`` as ndarray ``(R, C, *spatial)`` that fits the prediction; values unchecked."""
    raters = check_dtype("raters", raters)
    if raters.ndim != prediction.ndim + 1 or raters.shape[1:] != prediction.shape or raters.shape[0] == 0:
        raise InputError(
            "raters must have the shape (R, C, *spatial) with (C, *spatial) that of the prediction, "
            f"got {raters.shape} for a prediction of shape {prediction.shape}."
        )
    return raters


class Blocks:
    """Walk through several arrays with equal spatial axes in equal pieces, without copying a whole array.

    The axes are walked in the memory order of ``like``, so that Fortran-ordered NIfTI data is read as it lies.

    Args:
        like (ndarray): Array whose last ``n_spatial`` axes are spatial.
        n_spatial (int): Number of spatial axes.
    """

    def __init__(self, like, n_spatial):
        lead = like.ndim - n_spatial
        strides = np.abs(like.strides[lead:])
        self._axes = sorted(range(n_spatial), key=lambda axis: -strides[axis])
        self._n_spatial = n_spatial
        shape = [like.shape[lead + axis] for axis in self._axes]
        step = max(1, BLOCK_VOXELS // max(1, int(np.prod(shape[1:]))))
        self._slabs = [slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step)]

    def __len__(self):
        return len(self._slabs)

    def view(self, array):
        """Return a view of ``array`` with its spatial axes in walking order."""
        lead = array.ndim - self._n_spatial
        return array.transpose(*range(lead), *(lead + axis for axis in self._axes))

    def pieces(self, *arrays):
        """Yield, block by block, each array as ``(*leading axes, voxels)``."""
        views = [(self.view(array), array.ndim - self._n_spatial) for array in arrays]
        for slab in self._slabs:
            yield [
                view[(slice(None),) * lead + (slab,)].reshape(*view.shape[:lead], -1)
                if view.size
                else np.empty((*view.shape[:lead], 0), view.dtype)
                for view, lead in views
            ]

    def write(self, array, index, values):
        """Store ``values`` of block ``index`` into ``array`` ``(*spatial)``."""
        target = self.view(array)[self._slabs[index]]
        target[...] = values.reshape(target.shape)
