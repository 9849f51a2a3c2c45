"""Checks of the arrays that metrics take, and walking through them in blocks that fit the processor's cache."""

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.errors import InputError

# rounding in a stored float32 volume may leave [0, 1] by this much; such values are clipped
RANGE_TOLERANCE = 1e-6
BLOCK_VOXELS = 1 << 16


def check_values(name: str, low: float, high: float) -> None:
    """Refuse values outside [0, 1] (beyond ``RANGE_TOLERANCE``) and NaN, given the smallest and largest value."""
    if not np.isfinite(low) or not np.isfinite(high):
        raise InputError(f"{name} must be finite, got NaN or infinity. Replace such voxels before evaluating.")
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise InputError(
            f"{name} must lie in [0, 1], got values from {float(low):g} to {float(high):g}. "
            "Divide masks coded 0/255 by 255; apply the model's final activation to raw scores."
        )


def with_classes(class_axis: int | None, *, before: int = 0, **arrays: ArrayLike) -> tuple[bool, *tuple[NDArray, ...]]:
    """Bring arrays into the order ``(..., C, *spatial)`` that all sums are taken in; nothing is copied.

    Args:
        class_axis (int): The axis of the classes of each array; None for masks without one, of up to three dimensions.
            Arrays of more dimensions are read as classes first, as in version 0.1, with a DeprecationWarning.
        before (int): How many axes come before the classes: 1 for raters or samples, else 0.
        **arrays: By name, for messages.

    Returns:
        tuple: Whether there is no class axis, and each array.

    Raises:
        InputError: If an array has no such axis or holds no numbers.
    """
    checked = {name: check_dtype(name, array) for name, array in arrays.items()}
    if class_axis is None and any(array.ndim - before > 3 for array in checked.values()):
        class_axis = before
        warnings.warn(
            f"Arrays of more than three dimensions are read as classes first; say so with class_axis={before}.",
            DeprecationWarning,
            stacklevel=3,
        )
    if class_axis is None:
        return True, *(np.expand_dims(array, min(before, array.ndim)) for array in checked.values())
    for name, array in checked.items():
        if not -array.ndim <= class_axis < array.ndim:
            raise InputError(
                f"{name} must have an axis {class_axis} for the classes, got the shape {array.shape}. Leave class_axis "
                "out for a single mask."
            )
    return False, *(np.moveaxis(array, class_axis, before) for array in checked.values())


def per_class(values: NDArray, plain: bool) -> float | NDArray:
    """Return what a metric gives: one number for a mask without a class axis, else ``(C,)``."""
    return float(values[0]) if plain else np.asarray(values)


def check_dtype(name: str, array: ArrayLike) -> NDArray:
    """Return ``array`` as ndarray of bool, integers or floats."""
    array = np.asarray(array)
    if array.dtype.kind not in "buif":
        raise InputError(f"{name} must hold numbers, got dtype {array.dtype}.")
    return array


def check_prediction(name: str, array: ArrayLike) -> NDArray:
    """Return ``array`` as ndarray ``(C, *spatial)`` with at least one class and one spatial axis; values unchecked."""
    array = check_dtype(name, array)
    if array.ndim < 2 or array.shape[0] == 0:
        raise InputError(
            f"{name} must have at least one class and one spatial axis, got the shape {array.shape} with the classes "
            "first. Leave class_axis out for a single mask."
        )
    return array


def check_same_shape(first_name: str, first: NDArray, second_name: str, second: NDArray) -> None:
    """Refuse arrays of different shape."""
    if first.shape != second.shape:
        raise InputError(f"{first_name} and {second_name} must have the same shape, got {first.shape}, {second.shape}.")


def check_probabilities(name: str, array: ArrayLike) -> NDArray:
    """Return ``array`` ``(C, *spatial)`` after checking its range; the array is not copied."""
    array = check_prediction(name, array)
    if array.size:
        check_values(name, array.min(), array.max())
    return array


def check_masks(name: str, array: ArrayLike) -> NDArray:
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


def check_raters(raters: ArrayLike, prediction: NDArray) -> NDArray:
    """Return ``raters`` as ndarray ``(R, C, *spatial)`` that fits the prediction; values unchecked."""
    raters = check_dtype("raters", raters)
    if raters.ndim != prediction.ndim + 1 or raters.shape[1:] != prediction.shape or raters.shape[0] == 0:
        raise InputError(
            "raters must have the shape (R, C, *spatial) with (C, *spatial) that of the prediction, "
            f"got {raters.shape} for a prediction of shape {prediction.shape}."
        )
    return raters


class VoxelBlocks:
    """Walk through several arrays with equal spatial axes in equal pieces, without copying a whole array.

    The axes are walked in the memory order of ``like``, so that Fortran-ordered NIfTI data is read as it lies.

    Args:
        like (ndarray): Array whose last ``n_spatial`` axes are spatial.
        n_spatial (int): Number of spatial axes.
    """

    def __init__(self, like: NDArray, n_spatial: int) -> None:
        lead = like.ndim - n_spatial
        strides = np.abs(like.strides[lead:])
        self._axes = sorted(range(n_spatial), key=lambda axis: -strides[axis])
        self._n_spatial = n_spatial
        shape = [like.shape[lead + axis] for axis in self._axes]
        step = max(1, BLOCK_VOXELS // max(1, int(np.prod(shape[1:]))))
        self._slabs = [slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step)]

    def __len__(self) -> int:
        return len(self._slabs)

    def view(self, array: NDArray) -> NDArray:
        """Return a view of ``array`` with its spatial axes in walking order."""
        lead = array.ndim - self._n_spatial
        return array.transpose(*range(lead), *(lead + axis for axis in self._axes))

    def pieces(self, *arrays: NDArray) -> Iterator[list[NDArray]]:
        """Yield, block by block, each array as ``(*leading axes, voxels)``."""
        views = [(self.view(array), array.ndim - self._n_spatial) for array in arrays]
        for slab in self._slabs:
            yield [
                view[(slice(None),) * lead + (slab,)].reshape(*view.shape[:lead], -1)
                if view.size
                else np.empty((*view.shape[:lead], 0), view.dtype)
                for view, lead in views
            ]

    def write(self, array: NDArray, index: int, values: NDArray) -> None:
        """Store ``values`` of block ``index`` into ``array`` ``(*spatial)``."""
        target = self.view(array)[self._slabs[index]]
        target[...] = values.reshape(target.shape)
