"""Distances between the surfaces of two masks, in mm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics.checks import check_masks, check_same_shape, with_classes


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances of one class; all three are stated for two surfaces, and for empty masks in ``surface_distances``.

    Attributes:
        hausdorff_95_mm (float): The larger of the two directed 95th percentiles, in mm.
        average_mm (float): Average symmetric surface distance, in mm.
        surface_dice (float): Share of both surfaces that lies within the tolerance of the other, in [0, 1].
    """

    hausdorff_95_mm: float
    average_mm: float
    surface_dice: float


@overload
def surface_distances(
    prediction: ArrayLike,
    reference: ArrayLike,
    *,
    voxel_size_mm: Sequence[float],
    tolerance_mm: float = 1.0,
    class_axis: None = None,
) -> SurfaceDistances: ...
@overload
def surface_distances(
    prediction: ArrayLike,
    reference: ArrayLike,
    *,
    voxel_size_mm: Sequence[float],
    tolerance_mm: float = 1.0,
    class_axis: int,
) -> tuple[SurfaceDistances, ...]: ...
def surface_distances(
    prediction: ArrayLike,
    reference: ArrayLike,
    *,
    voxel_size_mm: Sequence[float],
    tolerance_mm: float = 1.0,
    class_axis: int | None = None,
) -> SurfaceDistances | tuple[SurfaceDistances, ...]:
    """Return the distances between the surfaces of two masks.

    A mask's surface is its voxels with a face neighbour outside the mask (or outside the image); distances run between
    voxel centres, exactly, by scipy's k-d tree.

    Args:
        prediction (ndarray): ``(*spatial)``, binary.
        reference (ndarray): Same shape, binary.
        voxel_size_mm (sequence of float): Voxel size of each spatial axis in mm.
        tolerance_mm (float): Tolerance of the surface Dice in mm, >= 0.
        class_axis (int): Axis of the classes; None for a single mask of up to three dimensions.

    Returns:
        SurfaceDistances: Both masks empty: distances 0, surface Dice 1. One empty: distances NaN (there is no surface
        to measure to), surface Dice 0. With ``class_axis`` a tuple of one for each class.

    Raises:
        InputError: If a mask is not binary, shapes differ, or a voxel size or the tolerance is out of range.

    References:
        Huttenlocher et al. 1993, doi 10.1109/34.232073; Nikolov et al. 2021, doi 10.2196/26151 (surface Dice).

    Example:
        >>> surface_distances([[0, 1, 0, 0]], [[0, 0, 0, 1]], voxel_size_mm=(1, 0.5)).average_mm
        1.0
    """
    plain, prediction, reference = with_classes(class_axis, prediction=prediction, reference=reference)
    prediction = check_masks("prediction", prediction)
    reference = check_masks("reference", reference)
    check_same_shape("prediction", prediction, "reference", reference)
    voxel_size_mm = tuple(float(size) for size in voxel_size_mm)
    if len(voxel_size_mm) != prediction.ndim - 1 or not all(np.isfinite(voxel_size_mm)) or min(voxel_size_mm) <= 0:
        raise InputError(
            f"voxel_size_mm must be {prediction.ndim - 1} positive numbers in mm, one per axis, got {voxel_size_mm}."
        )
    if not tolerance_mm >= 0:
        raise InputError(f"tolerance_mm must be at least 0 mm, got {tolerance_mm!r}.")
    found = tuple(
        _distances(ours, theirs, voxel_size_mm, tolerance_mm)
        for ours, theirs in zip(prediction, reference, strict=True)
    )
    return found[0] if plain else found


def _distances(
    prediction: NDArray, reference: NDArray, voxel_size_mm: tuple[float, ...], tolerance_mm: float
) -> SurfaceDistances:
    from scipy.spatial import KDTree

    box = bounding_box(prediction | reference)
    if box is None:
        return SurfaceDistances(0.0, 0.0, 1.0)
    ours, theirs = (_surface_points(mask[box]) * voxel_size_mm for mask in (prediction, reference))
    if not ours.size or not theirs.size:
        return SurfaceDistances(float("nan"), float("nan"), 0.0)
    # a tree over the surface takes far less memory than a distance map over the box
    to_theirs, to_ours = KDTree(theirs).query(ours)[0], KDTree(ours).query(theirs)[0]
    total = to_theirs.size + to_ours.size
    return SurfaceDistances(
        float(max(np.percentile(to_theirs, 95), np.percentile(to_ours, 95))),
        float((to_theirs.sum() + to_ours.sum()) / total),
        float((np.count_nonzero(to_theirs <= tolerance_mm) + np.count_nonzero(to_ours <= tolerance_mm)) / total),
    )


def _surface_points(mask: NDArray) -> NDArray:
    """Return ``(n, axes)`` indices of the voxels with a face neighbour outside the mask or the array."""
    from scipy import ndimage

    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


def bounding_box(mask: NDArray) -> tuple[slice, ...] | None:
    """Return the slices of the smallest box that holds every set voxel of a bool array; None if it is empty."""
    box = []
    for axis in range(mask.ndim):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not filled.size:
            return None
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)
