"""PNG and TIFF files as volumes of one slice, so that everything after ``prepare`` works with NIfTI."""

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.data.volumes import read_picture
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.prepare._source import SourceFile

EXTENSIONS = (".png", ".tif", ".tiff")
# of the one slice: volumes in mm3 are then areas in mm2
SLICE_MM = 1.0


def is_picture(name: str) -> bool:
    """Tell whether a file is a picture, by its name."""
    return str(name).lower().endswith(EXTENSIONS)


@contextlib.contextmanager
def as_volumes(pixel_size_mm: float | None, scratch: Path) -> Generator[Callable[[SourceFile], SourceFile]]:
    """Yield a function that turns a SourceFile of a picture into one of a NIfTI file, and leaves others as they are.

    The NIfTI files lie in a temporary folder, which is removed afterwards. Rows of the picture are the first axis and
    columns the second, as ivadomed has it.

    Args:
        pixel_size_mm: Side of a pixel, > 0; needed for pictures only.
        scratch: Existing folder for the temporary one.

    Yields:
        callable: ``convert(file)``.

    Raises:
        InputError: If the pixel size is no such thing; from ``convert``, if a picture cannot be used.
    """
    if pixel_size_mm is not None and not (math.isfinite(pixel_size_mm) and pixel_size_mm > 0):
        raise InputError(f"--pixel-size must be a number above 0, the side of a pixel in mm, got {pixel_size_mm:g}.")
    with tempfile.TemporaryDirectory(prefix=".pictures-", dir=scratch) as folder:
        converted: dict[Path, Path] = {}

        def convert(file: SourceFile) -> SourceFile:
            if not is_picture(file.name):
                return file
            if pixel_size_mm is None:
                raise InputError(
                    f"{file.place} is a picture, which does not tell the size of its pixels. Give it in mm with "
                    "--pixel-size, for example --pixel-size 0.0005 for half a micrometre."
                )
            if file.path not in converted:
                converted[file.path] = Path(folder, f"{len(converted)}.nii.gz")
                _write(converted[file.path], read_picture(file.path, file.place), pixel_size_mm)
            return dataclasses.replace(file, path=converted[file.path])

        yield convert


def _write(path: Path, pixels: NDArray, pixel_size_mm: float) -> None:
    affine = np.diag([pixel_size_mm, pixel_size_mm, SLICE_MM, 1.0])
    nibabel.Nifti1Image(pixels[..., None], affine).to_filename(path)
