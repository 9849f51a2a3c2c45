"""How much of the labels a configuration's resampling and crop keep, and regions of interest to crop around.

The arithmetic follows ivadomed: images in the nearest RAS orientation, ``Resample`` by ``scipy.ndimage.zoom``,
``CenterCrop`` around the middle of the slice, ``ROICrop`` around the centre of mass of the ROI in the slice.
"""

from dataclasses import dataclass

import nibabel
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.data.volumes import voxel_size_mm
from ivadomed_labelfusion.errors import InputError

ROI_SUFFIX = "_desc-roi_mask"
ROI_HALF_WIDTH_MM = 8.0


@dataclass(frozen=True)
class Crop:
    """Resolution in mm and size in pixels of the axial slices that a configuration feeds to the model."""

    resolution: tuple[float, float]
    size: tuple[int, int]


def template_crop(name: str) -> Crop:
    """Return the Crop of a shipped configuration template."""
    from ivadomed_labelfusion.config import load_template

    transformation = load_template(name)["transformation"]
    resample = transformation["Resample"]
    crop = transformation.get("CenterCrop") or transformation.get("ROICrop")
    return Crop((resample["hspace"], resample["wspace"]), tuple(crop["size"][:2]))


def to_ras(data: NDArray, affine: NDArray) -> NDArray:
    """Return ``data`` with its axes flipped and permuted to the nearest RAS orientation (a view)."""
    return nibabel.orientations.apply_orientation(data, nibabel.io_orientation(affine))


def from_ras(data: NDArray, affine: NDArray) -> NDArray:
    """Return RAS data in the orientation of ``affine``; undoes ``to_ras``."""
    ornt = nibabel.io_orientation(affine)
    back = nibabel.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), ornt)
    return nibabel.orientations.apply_orientation(data, back)


def _ras_voxel_size(image: SpatialImage) -> tuple[float, ...]:
    order = np.argsort(nibabel.io_orientation(image.affine)[:, 0])
    sizes = voxel_size_mm(image)
    return tuple(sizes[axis] for axis in order)


def kept_share(labels: NDArray, image: SpatialImage, crop: Crop, *, roi: NDArray | None = None) -> float:
    """Return the share of labelled voxels that survives the crop.

    Args:
        labels: Boolean, on the grid of ``image``.
        image: Gives orientation and voxel size.
        crop: Resolution and size.
        roi: ROI mask on the same grid; the crop is then centred on it, slice by slice, as ROICrop
            does; slices without ROI are dropped. None is CenterCrop.

    Returns:
        float: In [0, 1]; 1.0 if there are no labelled voxels.
    """
    total = int(np.count_nonzero(labels))
    if not total:
        return 1.0
    ras = to_ras(labels, image.affine)
    zooms = _ras_voxel_size(image)
    lengths = ras.shape[:2]
    resampled = [round(n * zooms[axis] / crop.resolution[axis]) for axis, n in enumerate(lengths)]
    # scipy.ndimage.zoom maps the first and last voxel centres onto each other
    scale = [(new - 1) / (n - 1) if n > 1 else 1.0 for n, new in zip(lengths, resampled, strict=True)]
    positions = [np.arange(n) * factor for n, factor in zip(lengths, scale, strict=True)]
    if roi is None:
        starts = [round((new - size) / 2.0) for new, size in zip(resampled, crop.size, strict=True)]
        inside = [_within(pos, start, size) for pos, start, size in zip(positions, starts, crop.size, strict=True)]
        return int(np.count_nonzero(ras & inside[0][:, None, None] & inside[1][None, :, None])) / total
    roi_ras = to_ras(roi, image.affine)
    kept = 0
    for index in np.flatnonzero(ras.any(axis=(0, 1)) & roi_ras.any(axis=(0, 1))):
        centre = [coordinates.mean() for coordinates in np.nonzero(roi_ras[:, :, index])]
        inside = [
            _within(pos, round(float(middle * factor)) - round(size / 2.0), size)
            for pos, middle, factor, size in zip(positions, centre, scale, crop.size, strict=True)
        ]
        kept += int(np.count_nonzero(ras[:, :, index] & inside[0][:, None] & inside[1][None, :]))
    return kept / total


def _within(positions: NDArray, start: int, size: int) -> NDArray:
    return (positions >= start - 0.5) & (positions < start + size - 0.5)


def roi_around(mask: ArrayLike, image: SpatialImage, *, half_width_mm: float = ROI_HALF_WIDTH_MM) -> NDArray:
    """Return a region of interest: in every axial slice a square around the centre of ``mask``.

    Slices without mask take the centre between their neighbours', or that of the nearest slice at the ends, so that
    ivadomed's ROICrop finds a centre everywhere.

    Args:
        mask: Non-zero inside; a centreline of one voxel a slice will do.
        image: Gives orientation and voxel size.
        half_width_mm: Half the side of the square.

    Returns:
        ndarray: uint8 on the grid of ``image``.

    Raises:
        InputError: If ``mask`` is empty.
    """
    ras = to_ras(np.asarray(mask) != 0, image.affine)
    slices = np.flatnonzero(ras.any(axis=(0, 1)))
    if not slices.size:
        raise InputError("The mask to put a region of interest around must not be empty, got no voxel above 0.")
    centres = np.array([[axis.mean() for axis in np.nonzero(ras[:, :, index])] for index in slices])
    every = np.arange(ras.shape[2])
    centres = np.stack([np.interp(every, slices, centres[:, axis]) for axis in (0, 1)], axis=1)
    zooms = _ras_voxel_size(image)
    roi = np.zeros(ras.shape, dtype=np.uint8)
    x, y = (np.arange(n) for n in ras.shape[:2])
    for index, (cx, cy) in enumerate(centres):
        near = (np.abs(x - cx) * zooms[0] <= half_width_mm)[:, None] & (np.abs(y - cy) * zooms[1] <= half_width_mm)
        roi[:, :, index] = near
    return np.ascontiguousarray(from_ras(roi, image.affine))
