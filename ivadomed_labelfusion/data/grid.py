"""Whether two volumes lie on one grid: one rule and one tolerance, in mm, for every entrance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ivadomed_labelfusion.errors import InputError

# two grids are one if no corner of the volume lies further apart than this: headers are rounded, resampling moves more
GRID_TOLERANCE_MM = 0.01


@dataclass(frozen=True)
class Onto:
    """How the axes of one volume become those of another, without resampling.

    Attributes:
        orientation (ndarray): ``(n, 2)``, per axis the axis it becomes and 1 or -1 (flipped), as nibabel's.
        distance_mm (float): Largest distance, in mm, between the same corner of the two volumes.
    """

    orientation: np.ndarray
    distance_mm: float

    @property
    def is_same_axes(self) -> bool:
        """Whether the axes are the same already."""
        expected = np.column_stack([np.arange(len(self.orientation)), np.ones(len(self.orientation))])
        return np.array_equal(self.orientation, expected)

    def turn(self, data: np.ndarray) -> np.ndarray:
        """Return ``data`` ``(*spatial, ...)`` with the other volume's axes, as a view."""
        from nibabel.orientations import apply_orientation

        return data if self.is_same_axes else apply_orientation(data, self.orientation)


def spatial_shape(image) -> tuple[int, ...]:
    """Return the shape without trailing axes of length one beyond the third."""
    shape = tuple(int(size) for size in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def onto(image, like) -> Onto | None:
    """Tell how an image's axes become those of another one.

    The two affines are compared with each other, before any reorientation: headers of slices tilted by 45 degrees that
    differ by rounding have different closest orientations, but are one grid.

    Args:
        image, like (nibabel images): Volumes of two or three axes; further axes are not looked at.

    Returns:
        Onto or None: None if the shapes do not fit, whatever the order of the axes.
    """
    shape, like_shape = spatial_shape(image)[:3], spatial_shape(like)[:3]
    same_axes = np.column_stack([np.arange(len(shape)), np.ones(len(shape))])
    if shape == like_shape and np.array_equal(image.affine, like.affine):
        return Onto(same_axes, 0.0)
    orientation = _orientation(image.affine, like.affine, len(shape)) if len(shape) == len(like_shape) == 3 else None
    if orientation is None or tuple(shape[axis] for axis in np.argsort(orientation[:, 0])) != like_shape:
        orientation = same_axes
        if shape != like_shape:
            return None
    from nibabel.affines import apply_affine
    from nibabel.orientations import inv_ornt_aff

    affine = image.affine
    if len(shape) == 3:
        affine = affine @ inv_ornt_aff(orientation, shape)
    ends = [(-0.5, size - 0.5) for size in (*like_shape, *(1,) * (3 - len(like_shape)))]
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1).T
    # positions are affine in the voxel index, so the largest distance is at a corner
    moved = apply_affine(affine, corners) - apply_affine(like.affine, corners)
    return Onto(orientation, float(np.linalg.norm(moved, axis=1).max()))


def _orientation(affine, like_affine, n_axes):
    """Return which axis each axis becomes, None if two axes would become one."""
    try:
        steps = np.linalg.solve(like_affine[:3, :3], affine[:3, :3])
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(steps).all():
        return None
    axes = np.abs(steps).argmax(axis=0)
    if len(set(axes.tolist())) < n_axes:
        return None
    return np.column_stack([axes, np.where(steps[axes, np.arange(3)] < 0, -1, 1)])


def check_on_grid(image, name, like, like_name, *, tolerance_mm: float = GRID_TOLERANCE_MM, advice: str = "") -> Onto:
    """Refuse an image that does not lie on the grid of another.

    Args:
        image, like (nibabel images): Volumes.
        name, like_name (str or Path): What they are and their files, for the message.
        tolerance_mm (float): Largest distance allowed between the same corner of both, in mm.
        advice (str): What to do, in terms of the command at hand; empty gives general advice.

    Returns:
        Onto: How the image's axes become those of ``like``.

    Raises:
        InputError: If shapes or places differ; the message shows both affines.
    """
    found = onto(image, like)
    if found is not None and found.distance_mm <= tolerance_mm:
        return found
    if found is None:
        problem = f"the shapes are {spatial_shape(image)} and {spatial_shape(like)}"
    else:
        problem = f"voxels lie up to {found.distance_mm:.4g} mm apart"
    raise InputError(
        f"{name} must lie on the grid of {like_name}, but {problem}:\n"
        f"  {name}, affine\n{_indented(image.affine)}\n  {like_name}, affine\n{_indented(like.affine)}\n"
        f"{advice or 'Resample one onto the other.'}"
    )


def _indented(affine):
    text = np.array2string(np.asarray(affine), precision=5, suppress_small=True)
    return "\n".join("    " + line for line in text.splitlines())


def canonical_orientation(image) -> np.ndarray:
    """Return the orientation ``(3, 2)`` that brings a volume into closest canonical (RAS+) order."""
    from nibabel.orientations import io_orientation

    return io_orientation(image.affine)


def canonical_voxel_size_mm(image) -> tuple[float, ...]:
    """Return the voxel size of the axes in canonical orientation, in mm."""
    from nibabel.affines import voxel_sizes

    order = np.argsort(canonical_orientation(image)[:, 0])
    return tuple(float(voxel_sizes(image.affine)[axis]) for axis in order)
