"""PNG and TIFF files as volumes of one slice, so that everything after ``prepare`` works with NIfTI."""

import contextlib
import dataclasses
import math
import tempfile
from pathlib import Path

import numpy as np

from ivadomed_labelfusion.errors import InputError

EXTENSIONS = (".png", ".tif", ".tiff")
# of the one slice: volumes in mm3 are then areas in mm2
SLICE_MM = 1.0


def is_picture(name):
    """Tell whether a file is a picture, by its name."""
    return str(name).lower().endswith(EXTENSIONS)


@contextlib.contextmanager
def as_volumes(pixel_size_mm, scratch):
    """Yield a function that turns a SourceFile of a picture into one of a NIfTI file, and leaves others as they are.

    The NIfTI files lie in a temporary folder, which is removed afterwards. Rows of the picture are the first axis and
    columns the second, as ivadomed has it.

    Args:
        pixel_size_mm (float or None): Side of a pixel, > 0; needed for pictures only.
        scratch (Path): Existing folder for the temporary one.

    Yields:
        callable: ``convert(file, is_mask)``; a mask that holds nothing but 0 and 255 becomes 0 and 1.

    Raises:
        InputError: If the pixel size is no such thing; from ``convert``, if a picture cannot be used.
    """
    if pixel_size_mm is not None and not (math.isfinite(pixel_size_mm) and pixel_size_mm > 0):
        raise InputError(f"--pixel-size must be a number above 0, the side of a pixel in mm, got {pixel_size_mm:g}.")
    with tempfile.TemporaryDirectory(prefix=".pictures-", dir=scratch) as folder:
        converted = {}

        def convert(file, is_mask):
            if not is_picture(file.name):
                return file
            if pixel_size_mm is None:
                raise InputError(
                    f"{file.place} is a picture, which does not tell the size of its pixels. Give it in mm with "
                    "--pixel-size, for example --pixel-size 0.0005 for half a micrometre."
                )
            if file.path not in converted:
                converted[file.path] = Path(folder, f"{len(converted)}.nii.gz")
                _write(converted[file.path], _pixels(file), pixel_size_mm, is_mask=is_mask)
            return dataclasses.replace(file, path=converted[file.path])

        yield convert


def _pixels(file):
    """Return a picture as ``(height, width)``; equal colour channels are one, transparency is left out."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file.path) as picture:
            if getattr(picture, "n_frames", 1) > 1:
                raise InputError(f"{file.place} must hold one picture, got {picture.n_frames}. Split it first.")
            # the colours of a palette are what the picture shows, not their numbers
            data = np.asarray(picture.convert("RGBA") if picture.mode == "P" else picture)
    except UnidentifiedImageError:
        raise InputError(f"{file.place} is not a picture that can be read. Save it anew.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{file.place} cannot be read, it seems to be damaged: {error}.") from None
    if data.ndim == 3 and data.shape[2] in (2, 4):
        data = data[..., :-1]
    if data.ndim == 3 and (data == data[..., :1]).all():
        data = data[..., 0]
    if data.ndim != 2:
        raise InputError(f"{file.place} must be a gray picture, got one in colours. Save it with one channel.")
    return data.astype(np.uint8) if data.dtype == bool else data


def _write(path, pixels, pixel_size_mm, *, is_mask):
    import nibabel

    if is_mask and np.isin(pixels, (0, 255)).all():
        pixels = (pixels > 0).astype(np.uint8)
    affine = np.diag([pixel_size_mm, pixel_size_mm, SLICE_MM, 1.0])
    nibabel.Nifti1Image(pixels[..., None], affine).to_filename(path)
