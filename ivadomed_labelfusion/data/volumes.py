"""Reading and writing NIfTI volumes on a known grid."""

import contextlib
import gzip
import zlib
from pathlib import Path

import nibabel
import numpy as np

from ivadomed_labelfusion.data.headers import check_header, check_numbers
from ivadomed_labelfusion.data.proxies import with_named_voxels
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import atomic_path, write_gzip

# two grids are one if no voxel centre lies further apart than this: headers are rounded, resampling moves more
GRID_TOLERANCE_MM = 0.01


def load_image(path):
    """Open an image lazily with nibabel.

    Raises:
        InputError: If the file is missing or is no image nibabel reads.
    """
    check_header(path)
    try:
        return with_named_voxels(nibabel.load(path))
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


def grid_distance_mm(image, other):
    """Return how far apart the same voxel's centre lies in two images of one shape at most, in mm."""
    shape = image.shape[:3] + (1,) * (3 - len(image.shape[:3]))
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, -1).T
    # positions are affine in the voxel index, so the largest distance is at a corner
    moved = nibabel.affines.apply_affine(image.affine, corners) - nibabel.affines.apply_affine(other.affine, corners)
    return float(np.linalg.norm(moved, axis=1).max())


def check_same_grid(images, names, *, tolerance_mm=GRID_TOLERANCE_MM):
    """Refuse images that do not lie on the grid of the first.

    Args:
        images (sequence of nibabel images): Spatial images.
        names (sequence): Their file names, for the message.
        tolerance_mm (float): Largest distance allowed between centres of the same voxel, in mm.

    Raises:
        InputError: If shapes or affines differ; the message shows both and the file names.
    """
    for image, name in zip(images[1:], names[1:], strict=True):
        same_shape = spatial_shape(image) == spatial_shape(images[0])
        if same_shape and grid_distance_mm(image, images[0]) <= tolerance_mm:
            continue
        if same_shape:
            found = f"voxels lie up to {grid_distance_mm(image, images[0]):.4g} mm apart"
            cure = (
                "Resample one onto the other, or, if only the headers' rounding differs, repair them "
                "(`prepare --repair-affine`) or raise the tolerance (`fuse --grid-tolerance`)."
            )
        else:
            found = f"shapes {spatial_shape(images[0])} and {spatial_shape(image)}"
            cure = "Resample one onto the other."
        raise InputError(
            f"All masks must lie on one grid, but {found}:\n"
            f"  {names[0]}\n{_indented(images[0].affine)}\n  {name}\n{_indented(image.affine)}\n{cure}"
        )


def _indented(affine):
    text = np.array2string(np.asarray(affine), precision=5, suppress_small=True)
    return "\n".join("    " + line for line in text.splitlines())


def spatial_shape(image):
    """Return the shape without trailing axes of length one beyond the third."""
    shape = tuple(int(size) for size in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def open_masks(paths, *, tolerance_mm=GRID_TOLERANCE_MM, lazy=False):
    """Open several raters' masks on the grid of the first.

    Masks stored in another orientation (axes flipped or swapped) are turned without resampling, if that brings them
    onto the first one's grid.

    Args:
        paths (sequence of str or Path): Anything nibabel reads as a volume.
        tolerance_mm (float): See `check_same_grid`.
        lazy (bool): Return arrays that are read from disk slab by slab, for volumes that do not fit in memory. Another
            orientation than the first one's is then refused.

    Returns:
        tuple: ``(image, arrays)``: the first image, and one array per mask. An array has the dtype on disk, or float if
        the file is scaled (``scl_slope``).

    Raises:
        InputError: If a file is missing, is no volume, has several volumes, or lies on another grid.
    """
    images = [load_image(path) for path in paths]
    for image, path in zip(images, paths, strict=True):
        if not isinstance(image, nibabel.spatialimages.SpatialImage):
            raise InputError(f"{path} must be a volume, got {type(image).__name__}.")
        check_numbers(image, path)
        if len(spatial_shape(image)) > 3:
            raise InputError(f"{path} must hold one volume, got the shape {image.shape}. Split it first.")
    if not lazy:
        images = images[:1] + [_turned(image, images[0], tolerance_mm) for image in images[1:]]
    check_same_grid(images, paths, tolerance_mm=tolerance_mm)
    if lazy:
        return images[0], [SlabReader(path) for path in paths]
    arrays = []
    for image, path in zip(images, paths, strict=True):
        with readable(path):
            arrays.append(np.asanyarray(image.dataobj).reshape(spatial_shape(image), order="A"))
    return images[0], arrays


@contextlib.contextmanager
def readable(path):
    """Turn what nibabel raises on truncated or damaged data of the file ``path`` into an InputError."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path} cannot be read, it seems to be damaged: {error}. Copy or download it again."
        ) from None


def _turned(image, like, tolerance_mm):
    """Return ``image`` with its axes in the order and direction of ``like`` if it then lies on that grid."""
    from nibabel.orientations import io_orientation, ornt_transform

    own, wanted = io_orientation(image.affine), io_orientation(like.affine)
    if np.array_equal(own, wanted) or len(spatial_shape(image)) != 3 or np.isnan(own).any() or np.isnan(wanted).any():
        return image
    turned = image.as_reoriented(ornt_transform(own, wanted))
    same = spatial_shape(turned) == spatial_shape(like) and grid_distance_mm(turned, like) <= tolerance_mm
    return turned if same else image


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
