"""Opening the raters' masks: their files, on one grid, with their values read alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ivadomed_labelfusion.data.entities import PICTURE_EXTENSIONS
from ivadomed_labelfusion.data.grid import GRID_TOLERANCE_MM, canonical_orientation, check_on_grid
from ivadomed_labelfusion.data.raters import LabelSet
from ivadomed_labelfusion.data.values import read_mask
from ivadomed_labelfusion.data.volumes import SlabReader, load_image, read_volume
from ivadomed_labelfusion.errors import InputError


@dataclass(frozen=True)
class RaterMasks:
    """The masks of one image.

    Attributes:
        masks (ndarray): ``(R, C, *spatial)`` uint8 of 0 and 1, or float32 in [0, 1] if some are soft.
        like (nibabel image): Its grid.
        codings (dict): File of each mask to its `Coding`.
    """

    masks: np.ndarray
    like: object
    codings: dict = field(repr=False)


def load_masks(
    label_set: LabelSet,
    *,
    like=None,
    like_name: str = "its image",
    canonical: bool = False,
    soft: bool = True,
    tolerance_mm: float = GRID_TOLERANCE_MM,
    advice: str = "",
) -> RaterMasks:
    """Read all masks of an image; none may be missing.

    Args:
        label_set (LabelSet): The files.
        like (nibabel image): The grid they must have; None takes the first mask's, which must be its image's, if that
            is at hand.
        like_name (str or Path): What that is, for messages.
        canonical (bool): Return the masks in closest canonical (RAS+) order of that grid, else in its own axes.
        soft (bool): Allow soft masks.
        tolerance_mm, advice: See `grid.check_on_grid`.

    Returns:
        RaterMasks

    Raises:
        InputError: If a mask cannot be read, lies on another grid, or is no mask; the message names it.
    """
    n_classes, n_raters = len(label_set.files), len(label_set.files[0])
    masks, codings = None, {}
    for class_index, rater, path in label_set.paths():
        name = label_set.describe(class_index, rater)
        image = load_image(path)
        if like is None:
            like, like_name = image, name
            _check_on_image(label_set, image, name, tolerance_mm, advice)
        found = check_on_grid(image, name, like, like_name, tolerance_mm=tolerance_mm, advice=advice)
        data, codings[path] = read_mask(read_volume(image, path), name, soft=soft)
        data = found.turn(data)
        if masks is None:
            # the axes are laid out as NIfTI stores them, so that reading needs no transposition
            masks = np.empty((n_raters, n_classes, *data.shape[::-1]), np.uint8)
            masks = masks.transpose(0, 1, *range(masks.ndim - 1, 1, -1))
        if masks.dtype == np.uint8 and data.dtype != np.uint8:
            masks = masks.astype(np.float32)
        masks[rater, class_index] = data
    return RaterMasks(to_canonical(masks, like) if canonical else masks, like, codings)


def _check_on_image(label_set, mask, name, tolerance_mm, advice):
    """Refuse a mask that lies elsewhere than its image, where there is one that can be opened."""
    try:
        image = None if label_set.image is None else load_image(label_set.image)
    except InputError:
        return
    if image is not None:
        like_name = f"its image ({label_set.image})"
        check_on_grid(mask, name, image, like_name, tolerance_mm=tolerance_mm, advice=advice)


def to_canonical(data: np.ndarray, like) -> np.ndarray:
    """Return ``data`` ``(..., x, y, z)`` on the grid of ``like`` in closest canonical (RAS+) order, as a view."""
    from nibabel.orientations import apply_orientation

    lead = data.ndim - 3
    turned = apply_orientation(np.moveaxis(data, range(lead), range(-lead, 0)), canonical_orientation(like))
    return np.moveaxis(turned, range(-lead, 0), range(lead)) if lead else turned


def open_masks(
    paths: Sequence, *, tolerance_mm: float = GRID_TOLERANCE_MM, lazy: bool = False, advice: str = ""
) -> tuple:
    """Open loose mask files on the grid of the first, with their values as stored.

    Masks stored in another orientation (axes flipped or swapped) are turned without resampling, if that brings them
    onto the first one's grid.

    Args:
        paths (sequence of str or Path): Anything nibabel reads as a volume, or pictures.
        tolerance_mm, advice: See `grid.check_on_grid`.
        lazy (bool): Return arrays that are read from disk slab by slab, for volumes that do not fit in memory. Another
            orientation than the first one's is then refused.

    Returns:
        tuple: ``(image, arrays)``: the first image, and one array per mask. An array has the dtype on disk, or float if
        the file is scaled (``scl_slope``).

    Raises:
        InputError: If a file is missing, is no volume, has several volumes, or lies on another grid.
    """
    images = [load_image(path) for path in paths]
    arrays = []
    for image, path in zip(images, paths, strict=True):
        if len(image.shape) > 3 and any(size != 1 for size in image.shape[3:]):
            raise InputError(f"{path} must hold one volume, got the shape {image.shape}. Split it first.")
        found = check_on_grid(image, path, images[0], paths[0], tolerance_mm=tolerance_mm, advice=advice)
        # pictures are never large
        if not lazy or str(path).lower().endswith(PICTURE_EXTENSIONS):
            arrays.append(found.turn(read_volume(image, path)))
        elif found.is_same_axes:
            arrays.append(SlabReader(path))
        else:
            raise InputError(
                f"{path} has its axes in another order or direction than {paths[0]}, which cannot be read "
                "slab by slab. Reorient it, or leave out --stream."
            )
    return images[0], arrays
