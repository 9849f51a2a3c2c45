"""What the header of a volume may say, checked before anything it asks for is allocated.

nibabel believes a header. Here it is compared with the file: types that can be read, axes, a place in space, and no
more voxels than the file can hold.
"""

import bz2
import gzip
import math
import os
import stat
import zlib
from pathlib import Path

import nibabel
import numpy as np

from ivadomed_labelfusion.errors import InputError

# deflate turns at most this many bytes into one
DEFLATE_RATIO = 1032
# other packers have no such limit: an empty mask of this size is believed, of more only by the ratio of deflate
_UNLIMITED_PACKER_BYTES = 2**28
# the largest scaling that any scanner or tool writes is far below
LARGEST_SLOPE = 1e15
# a scanner's bore is 1e3 mm long, a voxel of a whole-body scan 10 mm
LARGEST_MM = 1e6
_HEADERS = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}
_MAGIC = (b"n+1", b"n+2")
_OPENERS = {".nii": open, ".nii.gz": gzip.open, ".nii.bz2": bz2.open}
_CURE = "Copy it anew, or write it again with the tool it is from."


def check_header(path):
    """Check the header of a NIfTI file (``.nii``, ``.nii.gz``, ``.nii.bz2``) without reading or allocating its voxels.

    Refused are types nibabel cannot read, impossible axes, data that begin before the header ends or end after the file
    does (of a compressed file: after the largest file that its bytes can hold), NaN, infinite or zero voxel sizes and
    affines, and huge scalings. Other formats only need to be files here; see `check_opened`.

    Args:
        path (str or Path): The file.

    Raises:
        InputError: Names the file, the field, what it must be and what it is.
    """
    path = Path(path)
    size = check_is_file(path)
    name = path.name.lower()
    open_as = next((how for end, how in _OPENERS.items() if name.endswith(end)), None)
    if open_as is None:
        return
    room = _room(path, size)
    try:
        with open_as(path, "rb") as stream:
            header = _read_header(stream, path)
            _check_axes(header, path, room, size)
            _check_extensions(stream, header, path)
    except PermissionError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}. Check its rights.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is not an image that nibabel can read: {error}. {_CURE}") from None
    _check_scaling(header, path)
    _check_place(header, path)


def check_is_file(path, name=None):
    """Refuse what is no file: a folder, and pipes and devices, which would be waited for.

    Args:
        path (str or Path): Where it is.
        name (str): What messages call it; None takes the path.

    Returns:
        int: Its size in bytes.

    Raises:
        InputError: If it is no file, does not exist, or cannot be reached.
    """
    name = path if name is None else name
    try:
        state = Path(path).stat()
    except FileNotFoundError:
        raise InputError(f"{name} does not exist. Check the path.") from None
    except OSError as error:
        raise InputError(f"{name} cannot be opened: {error.strerror}. Check the path.") from None
    if not stat.S_ISREG(state.st_mode):
        kind = "a folder" if stat.S_ISDIR(state.st_mode) else "a device or pipe"
        raise InputError(f"{name} must be a file, got {kind}.")
    return state.st_size


def check_opened(image, path):
    """Check a volume of any format after nibabel has read its header and before it reads voxels.

    Args:
        image (nibabel.spatialimages.SpatialImage): Opened, not read.
        path (str or Path): Its file, for the messages.

    Raises:
        InputError: If an axis is empty, the files cannot hold the voxels, or the affine is no place in space.
    """
    shape, dtype = image.shape, image.get_data_dtype()
    if not shape or min(shape) < 1:
        raise InputError(f"{path}: every axis must have at least one voxel, got the shape {shape}. {_CURE}")
    files = {Path(holder.filename) for holder in image.file_map.values() if holder.filename is not None}
    sizes = {file: file.stat().st_size for file in files if file.is_file()}
    needed, room = math.prod(shape) * dtype.itemsize, sum(_room(file, size) for file, size in sizes.items())
    if needed > room:
        _refuse_claim(path, shape, needed, sum(sizes.values()), room)
    if isinstance(image.header, nibabel.Nifti1Header):
        _check_place(image.header, path)
    lengths = np.linalg.norm(image.affine[:3, :3], axis=0)
    # as of a single slice that comes without a thickness
    if not np.isfinite(image.affine).all() or not (lengths[[size > 1 for size in (*shape, 1, 1)[:3]]] > 0).all():
        raise InputError(f"{path}: the affine must be numbers with no axis of length 0, got\n{image.affine}\n{_CURE}")


def _room(path, size):
    """Return how many bytes a file of ``size`` bytes can hold unpacked; MINC files pack inside."""
    end = path.suffix.lower()
    if end in (".gz", ".mgz", ".mnc"):
        return size * DEFLATE_RATIO
    return max(size * DEFLATE_RATIO, _UNLIMITED_PACKER_BYTES) if end in (".bz2", ".zst") else size


def check_numbers(image, path):
    """Refuse voxels that are no single numbers: complex ones and colours.

    Args:
        image (nibabel image): Opened, not read.
        path (str or Path): Its file, for the message.

    Raises:
        InputError: Names the type.
    """
    dtype = np.dtype(image.get_data_dtype())
    if dtype.kind not in "biuf":
        what = "complex numbers" if dtype.kind == "c" else "colours"
        raise InputError(f"{path} must hold one number per voxel, got {what} ({dtype}). Write it as a mask.")


def _read_header(stream, path):
    """Return the header in its byte order, unchecked."""
    start = stream.read(4)
    sizes = {order: int.from_bytes(start, order) for order in ("little", "big")}
    order = next((order for order, size in sizes.items() if size in _HEADERS), None)
    if len(start) < 4 or order is None:
        raise InputError(f"{path} must be a NIfTI file, but it does not begin like one. {_CURE}")
    kind = _HEADERS[sizes[order]]
    block = start + stream.read(sizes[order] - 4)
    if len(block) < sizes[order]:
        raise InputError(f"{path} ends within its header. {_CURE}")
    header = kind(block, endianness="<" if order == "little" else ">", check=False)
    if bytes(header["magic"])[:3] not in _MAGIC:
        raise InputError(f"{path} must be a NIfTI file with header and voxels in one, but its mark is missing. {_CURE}")
    return header


def _check_axes(header, path, room, size):
    """Check the type, the number of axes, their lengths, and that the voxels fit into ``room`` bytes."""
    dim = [int(value) for value in header["dim"]]
    if not 1 <= dim[0] <= 7:
        raise InputError(f"{path}: the number of axes must be 1 to 7, got {dim[0]}. {_CURE}")
    shape = dim[1 : dim[0] + 1]
    if min(shape) < 1:
        raise InputError(f"{path}: every axis must have at least one voxel, got the shape {tuple(shape)}. {_CURE}")
    code = int(header["datatype"])
    try:
        dtype = nibabel.nifti1.data_type_codes.dtype[code]
    except KeyError:
        dtype = None
    if dtype is None or dtype.itemsize == 0:
        raise InputError(f"{path}: the type of the voxels must be one that NIfTI knows, got the code {code}. {_CURE}")
    offset, first = float(header["vox_offset"]), header.single_vox_offset
    if not math.isfinite(offset) or (offset != 0 and offset < first):
        raise InputError(f"{path}: vox_offset must be {first} or more, where the header ends, got {offset:g}. {_CURE}")
    needed = max(int(offset), first) + math.prod(shape) * dtype.itemsize
    if needed > room:
        _refuse_claim(path, shape, needed, size, room)


def _refuse_claim(path, shape, needed, size, room):
    claimed = " x ".join(map(str, shape))
    unpacked = f", which hold at most {room} unpacked" if room != size else ""
    raise InputError(
        f"{path} cannot be read to its end: the header claims {claimed} voxels, {needed} bytes, but the file has "
        f"{size} bytes{unpacked}. {_CURE}"
    )


def _check_extensions(stream, header, path):
    """Check that the extensions between header and voxels end where they say and before the voxels."""
    here, end = int(header.sizeof_hdr) + 4, max(int(header["vox_offset"]), header.single_vox_offset)
    if not stream.read(4)[:1].strip(b"\0"):
        return
    order = "little" if header.endianness == "<" else "big"
    while here + 16 <= end:
        length = int.from_bytes(stream.read(4), order)
        if length == 0:
            return
        if length % 16 or here + length > end:
            raise InputError(
                f"{path}: an extension of the header claims {length} bytes, {end - here} are left. {_CURE}"
            )
        stream.seek(length - 4, os.SEEK_CUR)
        here += length


def _check_scaling(header, path):
    if "scl_slope" not in header.keys():  # noqa: SIM118  a header is no dict
        return
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    # 0 and NaN say that there is no scaling
    if slope == 0 or math.isnan(slope):
        return
    if not abs(slope) <= LARGEST_SLOPE or not abs(inter) <= LARGEST_SLOPE:
        raise InputError(
            f"{path}: scl_slope and scl_inter must be at most {LARGEST_SLOPE:g}, got {slope:g} and {inter:g}. {_CURE}"
        )


def _check_place(header, path):
    """Check voxel sizes, and the affine that is in force."""
    n_axes = min(int(header["dim"][0]), 3)
    for axis in range(1, n_axes + 1):
        size = float(header["pixdim"][axis])
        # a single slice may come without a thickness
        if not abs(size) <= LARGEST_MM or (size == 0 and int(header["dim"][axis]) > 1):
            raise InputError(
                f"{path}: the voxel size (pixdim) must be above 0 and at most {LARGEST_MM:g} mm, got {size:g} on axis "
                f"{axis}. {_CURE}"
            )
    if int(header["qform_code"]) > 0:
        quaternion = np.array([float(header[f"quatern_{part}"]) for part in "bcd"])
        shift = np.array([float(header[f"qoffset_{part}"]) for part in "xyz"])
        # rounded to four bytes, the squares add up to slightly more than 1
        if not (np.square(quaternion).sum() <= 1 + 1e-5 and np.abs(shift).max() <= LARGEST_MM):
            raise InputError(f"{path}: the rotation and shift (qform) must be numbers, a unit quaternion. {_CURE}")
    if int(header["sform_code"]) > 0:
        rows = np.array([header[f"srow_{part}"] for part in "xyz"], np.float64)
        lengths = np.linalg.norm(rows[:, :3], axis=0)
        if not np.abs(rows).max() <= LARGEST_MM or not (lengths > 0).all():
            raise InputError(
                f"{path}: the affine (sform) must be numbers with no axis of length 0, got\n{rows}\n{_CURE}"
            )
        if not abs(np.linalg.det(rows[:, :3] / lengths)) > 1e-6:
            raise InputError(f"{path}: the axes of the affine (sform) must point apart, got\n{rows}\n{_CURE}")
