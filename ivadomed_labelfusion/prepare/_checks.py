"""Checks on one mask: grid, values, classes. Each returns clean data and the problems it found."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import nibabel
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from ivadomed_labelfusion.coding import BINARY, CODING_TOLERANCE, SOFT, Coding, coding_of, refusal
from ivadomed_labelfusion.data.grid import GRID_TOLERANCE_MM, Onto, onto, spatial_shape
from ivadomed_labelfusion.data.volumes import read_volume, voxel_size_mm
from ivadomed_labelfusion.errors import InputError

# up to this share of a voxel a difference is taken for rounding in the header, beyond it for another space
ROUNDING_SHARE = 0.1


def axis_codes(image: SpatialImage) -> str:
    """Return the orientation of the axes, for example ``LPS``."""
    return "".join(code or "?" for code in nibabel.aff2axcodes(image.affine))


def read_data(image: SpatialImage, what: str) -> NDArray:
    """Return the voxels, without trailing axes of length 1.

    Raises:
        InputError: If there are more than three axes, or the voxels cannot be read.
    """
    if len(spatial_shape(image)) > 3:
        raise InputError(f"{what} must be a 3D image, got shape {image.shape}. Leave the subject out with --subjects.")
    try:
        return read_volume(image, what)
    except ValueError as error:
        raise InputError(str(error)) from None


def check_grid(
    image: SpatialImage, mask: SpatialImage, what: str, *, repair: bool
) -> tuple[Onto | None, tuple[str, str] | None]:
    """Compare the grids of an image and its mask.

    Args:
        image: The image the mask was drawn on.
        mask: The mask.
        what: Place of the mask, for messages.
        repair: Accept a difference that is rounding in the header; the image's affine is then used.

    Returns:
        tuple: ``(Onto or None, problem)``: how the mask's axes become the image's, and ``(level, text)`` or None.
    """
    found = onto(mask, image)
    if found is None:
        return None, (
            "error",
            f"{what} must have its image's shape {spatial_shape(image)} (axes {axis_codes(image)}), got "
            f"{spatial_shape(mask)} (axes {axis_codes(mask)}). It belongs to another image or release: leave the "
            "subject out with --subjects, or get the mask again.",
        )
    if found.distance_mm <= GRID_TOLERANCE_MM:
        return found, None
    distance = f"{found.distance_mm:.3g} mm"
    if found.distance_mm > ROUNDING_SHARE * min(voxel_size_mm(image)):
        return found, (
            "error",
            f"{what} lies up to {distance} off its image (the affines differ). It was drawn in another space: "
            "resample it yourself, or leave the subject out with --subjects.",
        )
    if repair:
        return found, ("warning", f"{what} differs from its image by {distance} in the header; the image's was taken.")
    return found, (
        "error",
        f"{what} differs from its image by {distance} in the header, which looks like rounding. Add "
        "--repair-affine to take the image's header for the mask.",
    )


@dataclass
class CleanMask:
    """A mask file after its values were read.

    Attributes:
        masks: Class to bool ndarray; empty after an error.
        problems: ``(level, text)`` of what was wrong with the values.
        coding: How a binary mask was coded.
    """

    masks: dict[str, NDArray] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    coding: Coding | None = None


def clean_mask(data: NDArray, values: Mapping[str, int | None], what: str) -> CleanMask:
    """Return one boolean mask per class.

    Args:
        data: Voxels of the mask file.
        values: Class -> integer value, or None for a binary mask of that class.
        what: Place of the mask, for messages.

    Returns:
        CleanMask: Non-integer values of label maps are rounded to the nearest integer (0.2 is background). Binary masks
        are read by the rule of `coding`, soft ones cut above 0.5.
    """
    if None in values.values():
        return _clean_binary(data, values, what)
    if data.dtype.kind not in "buif" or not np.isfinite(data).all():
        text = f"{what} must hold finite values, got NaN, infinity or no real numbers. Get the file again."
        return CleanMask({}, [("error", text)])
    found = np.unique(data)
    allowed = [0, *(value for value in values.values() if value is not None)]
    problems = []
    odd = found[np.abs(found[:, None] - np.array(allowed)).min(axis=1) > CODING_TOLERANCE]
    if odd.size:
        count = int(np.isin(data, odd).sum())
        shown = ", ".join(f"{value:g}" for value in odd[:6]) + (" ..." if odd.size > 6 else "")
        text = f"{what} must hold {', '.join(map(str, allowed))}, got also {shown} ({count} voxels)"
        if found.min() < -0.5 or not np.isin(np.rint(odd), allowed).all():
            cure = f"This is no mask of {', '.join(values)}; leave the subject out or mend it."
            return CleanMask({}, [("error", f"{text}. {cure}")])
        problems.append(("warning", f"{text}; values were rounded."))
    return CleanMask({name: np.asarray(np.rint(data) == value) for name, value in values.items()}, problems)


def _clean_binary(data: NDArray, values: Mapping[str, int | None], what: str) -> CleanMask:
    """Read the binary mask of one class."""
    try:
        coding = coding_of(lambda: (data,), what)
    except InputError as error:
        return CleanMask({}, [("error", str(error))])
    if coding.kind == BINARY:
        return CleanMask(dict.fromkeys(values, coding.binary(data)), [], coding)
    if coding.kind == SOFT:
        text = f"{what} must hold 0, 1, got a soft mask; values above 0.5 were taken as 1."
        return CleanMask(dict.fromkeys(values, data > 0.5), [("warning", text)])
    names = ", ".join(values)
    cure = f"If it is a label map, name the value of each class (--class {names}=VALUE)."
    return CleanMask({}, [("error", f"{refusal(coding, what, cure)} This is no mask of {names}.")])


def dice(first: NDArray, second: NDArray) -> float:
    """Return the Dice coefficient of two boolean arrays; 1.0 if both are empty."""
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / total if total else 1.0


def header_problem(image: SpatialImage, what: str) -> str | None:
    """Return a warning text if the header does not say where the image lies, else None."""
    if isinstance(image, nibabel.Nifti1Image) and not (image.header["sform_code"] or image.header["qform_code"]):
        return (
            f"{what} has neither qform nor sform: its orientation is not known and {axis_codes(image)} is assumed. "
            "Check left and right in a viewer."
        )
    return None
