"""What both phantoms share: signed distances, smooth noise, blending of tissues, grids, and the files they write."""

import contextlib
import os
import shutil
import zipfile
from collections.abc import Collection, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import nibabel
import numpy as np
from nibabel import orientations
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import atomic_path, write_json
from ivadomed_labelfusion.locks import only_one

T = TypeVar("T")

TRUTH_FOLDER = "phantom_truth"
PARAMETERS = "phantom.json"
# more is a mistake in typing: the original datasets have 53 and 80
MOST_SUBJECTS = 10_000


def check_arguments(
    *,
    subjects: int,
    more: int,
    seed: int,
    size: str,
    sizes: Collection[str],
    layout: str,
    layouts: Collection[str],
) -> None:
    """Raise InputError for a number of subjects, a seed, a size or a layout that does not exist."""
    if seed < 0:
        raise InputError(f"seed must be a whole number of at least 0, got {seed!r}.")
    if int(subjects) != subjects or subjects < 1:
        raise InputError(f"subjects must be a whole number of at least 1, got {subjects!r}.")
    if subjects > MOST_SUBJECTS or not 0 <= more <= MOST_SUBJECTS:
        raise InputError(f"subjects must be at most {MOST_SUBJECTS}, got {subjects!r} and {more!r} for testing.")
    if size not in sizes:
        raise InputError(f"size must be one of {', '.join(sizes)}, got {size!r}.")
    if layout not in layouts:
        raise InputError(f"layout must be one of {', '.join(layouts)}, got {layout!r}.")


@contextlib.contextmanager
def new_folder(out: str | os.PathLike[str]) -> Generator[Path]:
    """Yield a folder beside ``out`` that takes its name when the block succeeds: no half dataset is left behind."""
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"The output folder must not exist or be empty, got {out}. Choose another folder.")
    partial = out.parent / f".partial-{out.name}"
    out.parent.mkdir(parents=True, exist_ok=True)
    busy = f"Another 'phantom' is writing {out}. Wait for it, or choose another folder."
    with only_one(out.parent / f".generating-{out.name}", busy=busy):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            if out.exists():
                out.rmdir()
            partial.rename(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def write_parameters(out: Path, content: dict[str, Any]) -> None:
    """Write ``phantom.json``: what was asked for, the raters' habits and the truth of each subject."""
    write_json(Path(out) / PARAMETERS, {"generator": f"ivadomed_labelfusion {__version__} phantom", **content})


def zip_folder(folder: Path, archive: Path, *, prefix: str = "") -> None:
    """Move the content of ``folder`` into ``archive`` (stored, fixed dates: equal content gives equal bytes)."""
    folder = Path(folder)
    with atomic_path(archive) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(prefix + path.relative_to(folder).as_posix(), date_time=(2016, 3, 2, 0, 0, 0))
                entry.external_attr = 0o644 << 16
                packed.writestr(entry, path.read_bytes())
    shutil.rmtree(folder)


def oblique_affine(
    shape: Sequence[int],
    voxel_mm: Sequence[float],
    *,
    rotation_deg: ArrayLike = (0.0, 0.0, 0.0),
    shift_mm: ArrayLike = (0.0, 0.0, 0.0),
) -> NDArray:
    """Return the (4, 4) affine of a RAS grid whose centre lies at ``shift_mm``, rotated about x, y and z."""
    from scipy.spatial.transform import Rotation

    linear = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix() @ np.diag(voxel_mm)
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = np.asarray(shift_mm) - linear @ ((np.asarray(shape) - 1) / 2)
    return affine


def grid_image(affine: NDArray, data: NDArray, axes: str = "RAS") -> nibabel.Nifti1Image:
    """Return a NIfTI image of a RAS array, stored with the axis codes ``axes`` (for example ``LPS``)."""
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    transform = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt(tuple(axes)))
    return image.as_reoriented(transform)


def smooth_noise(rng: np.random.Generator, shape: Sequence[int], voxel_mm: Sequence[float], corr_mm: float) -> NDArray:
    """Return a Gaussian random field of unit standard deviation (float32), smoothed with a Gaussian of ``corr_mm``."""
    # where the field is smooth over many voxels, it is drawn on a coarser grid: filters of hundreds of taps are slow
    steps = np.array([max(1, int(corr_mm / size / 2)) for size in voxel_mm])
    coarse = [int(np.ceil((n - 1) / step)) + 1 for n, step in zip(shape, steps, strict=True)]
    sigma = [corr_mm / (size * step) for size, step in zip(voxel_mm, steps, strict=True)]
    field = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), sigma, mode="wrap")
    if (steps > 1).any():
        field = ndimage.affine_transform(field, 1 / steps, output_shape=shape, order=1, mode="nearest")
    spread = field.std()
    return field / spread if spread > 0 else field


def inside(distance_mm: NDArray, width_mm: float) -> NDArray:
    """Return the share of a voxel inside a surface at signed distance ``distance_mm`` (negative is inside)."""
    return np.clip(0.5 - distance_mm / width_mm, 0, 1)


def ellipse(x: NDArray, y: NDArray, semi_x: float | NDArray, semi_y: float | NDArray) -> NDArray:
    """Return the signed distance to an ellipse, exact to first order at its edge, in the unit of its input."""
    k0 = np.hypot(x / semi_x, y / semi_y)
    k1 = np.hypot(x / semi_x**2, y / semi_y**2)
    return k0 * (k0 - 1) / np.maximum(k1, 1e-6)


def ellipsoid(offset: NDArray, semi: ArrayLike) -> NDArray:
    """Return the signed distance to an ellipsoid; ``offset`` is (3, ...) from its centre, in mm, as ``semi``."""
    radii = np.asarray(semi, dtype=np.float32).reshape((3, *[1] * (offset.ndim - 1)))
    k0 = np.sqrt(((offset / radii) ** 2).sum(0))
    k1 = np.sqrt(((offset / radii**2) ** 2).sum(0))
    return k0 * (k0 - 1) / np.maximum(k1, 1e-6)


def smooth_union(first: NDArray, second: NDArray, radius: float) -> NDArray:
    """Return the signed distance to two shapes joined with a fillet of ``radius``."""
    h = np.clip(0.5 + 0.5 * (second - first) / radius, 0, 1)
    return second + (first - second) * h - radius * h * (1 - h)


def rician(rng: np.random.Generator, signal: NDArray, sigma: float) -> NDArray:
    """Return ``signal`` with Rician noise, as a magnitude image has."""
    real = signal + sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.hypot(real, sigma * rng.standard_normal(signal.shape, dtype=np.float32))


def agreement(mask: ArrayLike, truth: ArrayLike) -> dict[str, float]:
    """Return sensitivity, specificity and Dice of a rater's mask against the true one."""
    mask, truth = np.asarray(mask, dtype=bool), np.asarray(truth, dtype=bool)
    both = int((mask & truth).sum())
    negatives = int((~truth).sum())
    return {
        "sensitivity": both / max(int(truth.sum()), 1),
        "specificity": int((~mask & ~truth).sum()) / max(negatives, 1),
        "dice": 2 * both / max(int(mask.sum()) + int(truth.sum()), 1),
    }


def track(items: Sequence[T], description: str, progress: bool) -> Iterator[T]:
    """Yield from ``items``, with a progress bar on stderr if ``progress``."""
    if not progress:
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, description=description, console=Console(stderr=True))
