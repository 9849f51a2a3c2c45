"""Checks on one mask: grid, values, classes. Each returns clean data and the problems it found."""

import nibabel
import numpy as np

from ivadomed_labelfusion.data.volumes import grid_distance_mm, readable, spatial_shape
from ivadomed_labelfusion.errors import InputError

# corners of both grids nearer than this are the same grid stored with float32 rounding
SAME_GRID_MM = 1e-3
# up to this share of a voxel a difference is taken for rounding in the header, beyond it for another space
ROUNDING_SHARE = 0.1


def axis_codes(image):
    """Return the orientation of the axes, for example ``LPS``."""
    return "".join(code or "?" for code in nibabel.aff2axcodes(image.affine))


def read_data(image, what):
    """Return ``(array, None)`` without trailing axes of length 1, or ``(None, text)`` if the voxels cannot be read."""
    try:
        with readable(what):
            data = np.asanyarray(image.dataobj)
    except (InputError, ValueError) as error:
        return None, str(error)
    return data.reshape(spatial_shape(image)), None


def turn_to(image, mask):
    """Return ``mask`` with its axes in the order and direction of ``image``, without resampling."""
    own, wanted = (nibabel.io_orientation(each.affine) for each in (mask, image))
    if np.array_equal(own, wanted) or np.isnan(own).any() or np.isnan(wanted).any() or len(mask.shape) != 3:
        return mask
    return mask.as_reoriented(nibabel.orientations.ornt_transform(own, wanted))


def check_grid(image, mask, what, *, repair):
    """Compare the grids of an image and its mask.

    Args:
        image (nibabel image): The image the mask was drawn on.
        mask (nibabel image): The mask.
        what (str): Place of the mask, for messages.
        repair (bool): Accept a difference that is rounding in the header; the image's affine is then used.

    Returns:
        tuple: ``(level, text)`` of a problem, or None.
    """
    if spatial_shape(image) != spatial_shape(mask):
        return "error", (
            f"{what} must have its image's shape {spatial_shape(image)} (axes {axis_codes(image)}), got "
            f"{spatial_shape(mask)} (axes {axis_codes(mask)}). It belongs to another image or release: leave the "
            "subject out with --subjects, or get the mask again."
        )
    distance = grid_distance_mm(image, mask)
    if distance <= SAME_GRID_MM:
        return None
    if distance > ROUNDING_SHARE * min(image.header.get_zooms()[:3]):
        return "error", (
            f"{what} lies up to {distance:.3g} mm off its image (the affines differ). It was drawn in another space: "
            "resample it yourself, or leave the subject out with --subjects."
        )
    if repair:
        return "warning", f"{what} differs from its image by {distance:.3g} mm in the header; the image's was taken."
    return "error", (
        f"{what} differs from its image by {distance:.3g} mm in the header, which looks like rounding. Add "
        "--repair-affine to take the image's header for the mask."
    )


def clean_mask(data, values, what):
    """Return one boolean mask per class, and the problems of the values.

    Args:
        data (ndarray): Voxels of the mask file.
        values (dict): Class -> integer value, or None for a binary mask of that class.
        what (str): Place of the mask, for messages.

    Returns:
        tuple: ``(dict class -> bool ndarray, list of (level, text))``. Non-integer values of label maps are rounded to
        the nearest integer (0.2 is background); values of binary masks are rescaled from {0, v} or cut above 0.5.
    """
    found = np.unique(data)
    if not np.isfinite(found).all():
        return {}, [("error", f"{what} must hold finite values, got NaN or infinity. Get the file again.")]
    binary = None in values.values()
    allowed = [0, 1] if binary else [0, *values.values()]
    problems = []
    odd = found[~np.isin(found, allowed)]
    if odd.size:
        count = int(np.isin(data, odd).sum())
        shown = ", ".join(f"{value:g}" for value in odd[:6]) + (" ..." if odd.size > 6 else "")
        text = f"{what} must hold {', '.join(map(str, allowed))}, got also {shown} ({count} voxels)"
        if binary and found.size == 2 and found[0] == 0 and found[1] > 1:
            data = data == found[1]
            problems.append(("warning", f"{text}; {found[1]:g} was taken as 1."))
        elif found.min() < -0.5 or not np.isin(np.rint(odd), allowed).all():
            return {}, [("error", f"{text}. This is no mask of {', '.join(values)}; leave the subject out or mend it.")]
        else:
            data = data > 0.5 if binary else np.rint(data)
            rule = "values above 0.5 were taken as 1." if binary else "values were rounded."
            problems.append(("warning", f"{text}; {rule}"))
    if binary:
        return {name: np.asarray(data != 0) for name in values}, problems
    return {name: np.asarray(data == value) for name, value in values.items()}, problems


def dice(first, second):
    """Return the Dice coefficient of two boolean arrays; 1.0 if both are empty."""
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / total if total else 1.0


def header_problem(image, what):
    """Return a warning text if the header does not say where the image lies, else None."""
    if isinstance(image, nibabel.Nifti1Image) and not (image.header["sform_code"] or image.header["qform_code"]):
        return (
            f"{what} has neither qform nor sform: its orientation is not known and {axis_codes(image)} is assumed. "
            "Check left and right in a viewer."
        )
    return None
