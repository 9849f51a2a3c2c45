"""Reading and writing NIfTI volumes on a known grid."""

from pathlib import Path

import nibabel
import numpy as np

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import atomic_path, write_gzip


def load_image(path):
    """Open an image lazily with nibabel.

    Raises:
        InputError: If the file is missing or is no image nibabel reads.
    """
    try:
        return nibabel.load(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Check the path.") from None
    except nibabel.filebasedimages.ImageFileError as error:
        raise InputError(f"{path} is not an image that nibabel can read: {error}") from None


def save_nifti(path, data, like, *, overwrite=False):
    """Save ``data`` on the grid (affine, units, qform and sform codes) of the image ``like``.

    The dtype of ``data`` is the dtype on disk, without scaling. The file is written atomically, and equal input gives
    equal bytes.

    Args:
        path (str or Path): ``.nii`` or ``.nii.gz``.
        data (ndarray): Volume of the spatial shape of ``like`` (a trailing axis may be added); bool becomes uint8.
        like (nibabel image): Gives the grid.
        overwrite (bool): Replace an existing file.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"The output must end with .nii or .nii.gz, got {path.name}.")
    data = np.asarray(data)
    if data.dtype == bool:
        data = data.astype(np.uint8)
    header = nibabel.Nifti1Header.from_header(like.header) if isinstance(like.header, nibabel.Nifti1Header) else None
    image = nibabel.Nifti1Image(data, like.affine, header)
    image.set_data_dtype(data.dtype)
    # the description, intent and display range of a reference image do not describe the new content
    image.header["descrip"] = b""
    image.header["cal_max"] = image.header["cal_min"] = 0
    image.header.set_slope_inter(1, 0)
    if path.name.endswith(".gz"):
        write_gzip(path, image.to_bytes(), overwrite=overwrite)
    else:
        with atomic_path(path, overwrite=overwrite) as temporary:
            temporary.write_bytes(image.to_bytes())


def voxel_size_mm(image):
    """Return the voxel size of the first three axes as a tuple of floats in mm."""
    return tuple(float(zoom) for zoom in image.header.get_zooms()[:3])
