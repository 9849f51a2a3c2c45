"""Opening, reading and writing volumes: NIfTI and whatever nibabel reads, and 2-D pictures."""

import contextlib
import gzip
import os
import zlib
from pathlib import Path

import nibabel
import numpy as np

from ivadomed_labelfusion.data.entities import PICTURE_EXTENSIONS
from ivadomed_labelfusion.data.grid import spatial_shape
from ivadomed_labelfusion.data.headers import check_header, check_is_file, check_opened
from ivadomed_labelfusion.data.proxies import with_named_voxels
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import atomic_path, write_gzip

# what the endings of `PICTURE_EXTENSIONS` stand for
_PICTURE_FORMATS = ("PNG", "TIFF", "JPEG")


def load_image(path):
    """Open an image lazily; pictures (PNG, TIFF, JPEG) become volumes with one slice and pixels of 1 mm.

    Raises:
        InputError: If the file is missing, has not been fetched, or is no image.
    """
    if str(path).lower().endswith(PICTURE_EXTENSIONS):
        return _load_picture(Path(path))
    try:
        check_header(path)
    except InputError:
        if _is_unfetched(path):
            raise InputError(_not_fetched(path)) from None
        raise
    try:
        image = nibabel.load(path)
        # surfaces and tracks have no voxels
        if not isinstance(image, nibabel.spatialimages.SpatialImage):
            raise InputError(f"{path} must be a volume, got {type(image).__name__}.")
        check_opened(image, path)
    except InputError:
        raise
    # each format has a reader of its own, and a damaged header can make any of them fail in any way
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"{path} is not an image that nibabel can read ({reason}). Copy it anew, or convert it to NIfTI."
        ) from None
    return with_named_voxels(image)


def _not_fetched(path):
    tool, command = "git-annex", "datalad get"
    if os.path.isfile(path) and b"git-lfs" in Path(path).read_bytes()[:64]:
        tool, command = "Git LFS", "git lfs pull --include"
    return (
        f"{path} is in the dataset, but its content is not on this machine (a link of {tool}). Get it with: "
        f"{command} {path}"
    )


def _is_unfetched(path):
    """Whether a link to nothing, or a small text, stands in the place of a file that git-annex or Git LFS keeps."""
    if os.path.islink(path) and not os.path.exists(path):
        return True
    if not os.path.isfile(path) or not os.access(path, os.R_OK):
        return False
    with open(path, "rb") as stream:
        return stream.read(64).startswith((b"/annex/objects/", b"version https://git-lfs"))


def _load_picture(path):
    return nibabel.Nifti1Image(read_picture(path)[..., None], np.eye(4))


def read_picture(path, name=None):
    """Return the pixels of a PNG, TIFF or JPEG file.

    Args:
        path (str or Path): The picture.
        name (str): What messages call it; None takes the path.

    Returns:
        ndarray: ``(height, width)`` in the dtype stored (bool becomes uint8). Equal colour channels are one,
        transparency is left out, and the colours of a palette count, not their numbers.

    Raises:
        InputError: If it is missing, damaged, no picture, coloured, or several pictures.
    """
    from PIL import Image, UnidentifiedImageError

    name = path if name is None else name
    if _is_unfetched(path):
        raise InputError(_not_fetched(path))
    check_is_file(path, name)
    try:
        # of these formats only: one for PostScript starts a program
        with Image.open(path, formats=_PICTURE_FORMATS) as picture:
            if getattr(picture, "n_frames", 1) > 1:
                raise InputError(f"{name} must hold one picture, got {picture.n_frames}. Split it first.")
            data = np.asarray(picture.convert("RGBA") if picture.mode == "P" else picture)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{name} is not a picture (PNG, TIFF or JPEG) that can be read. Save it anew.") from None
    # what the tags of a damaged picture make of its reader cannot be foreseen
    except Exception as error:
        raise InputError(f"{name} cannot be read, it seems to be damaged: {error}.") from None
    if data.ndim == 3 and data.shape[2] in (2, 4):
        data = data[..., :-1]
    if data.ndim == 3 and (data == data[..., :1]).all():
        data = data[..., 0]
    if data.ndim != 2:
        raise InputError(f"{name} must be a gray picture, got one in colours. Save it with one channel.")
    return data.astype(np.uint8) if data.dtype == bool else data


@contextlib.contextmanager
def readable(path):
    """Turn what nibabel raises on truncated or damaged data of the file ``path`` into an InputError."""
    try:
        yield
    except InputError:
        raise
    except (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error) as error:
        raise InputError(
            f"{path} cannot be read, it seems to be damaged: {error}. Copy or download it again."
        ) from None


def read_volume(image, path):
    """Return the voxels of an opened image as ``(*spatial)``, without trailing axes of length one.

    Returns:
        ndarray: In the dtype on disk, or float if the file is scaled (``scl_slope``).

    Raises:
        InputError: If the data is damaged, or there is more than one volume.
    """
    if len(spatial_shape(image)) > 3:
        raise InputError(f"{path} must hold one volume, got the shape {image.shape}. Split it first.")
    with readable(path):
        return np.asanyarray(image.dataobj).reshape(spatial_shape(image), order="A")


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
    path = _nifti_path(path)
    data = np.asarray(data)
    if data.dtype == bool:
        data = data.astype(np.uint8)
    image = _on_grid(data, like)
    if path.name.endswith(".gz"):
        write_gzip(path, image.to_bytes(), overwrite=overwrite)
    else:
        with atomic_path(path, overwrite=overwrite) as temporary:
            temporary.write_bytes(image.to_bytes())


@contextlib.contextmanager
def slab_writer(path, shape, dtype, like, *, overwrite=False):
    """Write a volume piece by piece, for results that do not fit in memory; the file equals one of `save_nifti`.

    Args:
        path, like, overwrite: See `save_nifti`.
        shape (tuple of int): Shape of the whole volume.
        dtype (dtype): On disk.

    Yields:
        callable: Takes the slabs ``(..., n)`` one after the other along the last axis.
    """
    path = _nifti_path(path)
    header = _on_grid(np.broadcast_to(np.zeros((), dtype), shape), like).header
    header["vox_offset"] = header.single_vox_offset
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(atomic_path(path, overwrite=overwrite))
        stream = stack.enter_context(open(temporary, "wb"))
        if path.name.endswith(".gz"):
            stream = stack.enter_context(
                gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0, compresslevel=6)
            )
        header.write_to(stream)  # with the four bytes that say that no extension follows
        yield lambda slab: stream.write(np.asarray(slab, dtype).tobytes(order="F"))


def _nifti_path(path):
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"The output must end with .nii or .nii.gz, got {path.name}.")
    return path


def _on_grid(data, like):
    """Return ``data`` as a NIfTI image with the grid of ``like`` and nothing else of its header."""
    header = nibabel.Nifti1Header.from_header(like.header) if isinstance(like.header, nibabel.Nifti1Header) else None
    image = nibabel.Nifti1Image(data, like.affine, header)
    image.set_data_dtype(data.dtype)
    # the description, intent and display range of a reference image do not describe the new content
    image.header["descrip"] = b""
    image.header["cal_max"] = image.header["cal_min"] = 0
    image.header.set_slope_inter(1, 0)
    return image


def voxel_size_mm(image):
    """Return the voxel size of the first three axes as a tuple of floats in mm."""
    return tuple(float(zoom) for zoom in image.header.get_zooms()[:3])


class SlabReader:
    """A volume on disk that is read slab by slab along its last axis, ``reader[..., first:last]``.

    Compressed files are read forward and stay open between slabs, so that reading all of them costs one pass.
    """

    order = "F"

    def __init__(self, path):
        self.path = path
        self._image = nibabel.load(path, keep_file_open=True)
        self.shape = spatial_shape(self._image)

    def __getitem__(self, index):
        # further axes of length one must not be cut
        extra = (0,) * (len(self._image.shape) - len(self.shape))
        full = (slice(None),) * (len(self.shape) - 1) + (index[-1], *extra)
        with readable(self.path):
            return np.asanyarray(self._image.dataobj[full])

    @property
    def dtype(self):
        """The dtype of the slabs: as on disk, or float64 if the file is scaled."""
        proxy = self._image.dataobj
        scaled = getattr(proxy, "slope", 1) != 1 or getattr(proxy, "inter", 0) != 0
        return np.dtype(np.float64) if scaled else np.dtype(self._image.get_data_dtype())
