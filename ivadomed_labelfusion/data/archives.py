"""Reading one array of an ``.npz`` archive that another program, or a stranger, wrote."""

import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ivadomed_labelfusion.data.headers import DEFLATE_RATIO
from ivadomed_labelfusion.errors import InputError


def load_npz_array(path, key, *, n_axes=None, what="archive of arrays (.npz)"):
    """Return an array of numbers from an archive, never unpickled, and never larger than its bytes can hold.

    Args:
        path (str or Path): A ``.npz`` file.
        key (str): Name of the array.
        n_axes (int): How many axes it must have; None takes any number.
        what (str): What the file is to its reader, for messages.

    Returns:
        ndarray: Integer, float or bool, in the dtype stored.

    Raises:
        InputError: If the file is no archive or damaged, lacks the array, or holds anything but finite axes of numbers.
    """
    path = Path(path)
    cure = "Write it anew."
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if key not in names:
                raise InputError(
                    f"{path} must be an {what} with {key!r}, got {', '.join(names[:5]) or 'nothing'}. {cure}"
                )
            member = archive.getinfo(f"{key}.npy")
            with archive.open(member) as stream:
                shape, dtype = _read_header(stream)
                _check_claim(path, key, shape, dtype, member, n_axes, what)
            with archive.open(member) as stream:
                return np.lib.format.read_array(stream, allow_pickle=False)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Check the path.") from None
    except (
        zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, KeyError, ValueError, TypeError,
        OverflowError, SyntaxError, zlib.error,
    ) as error:  # fmt: skip
        raise InputError(f"{path} must be an {what}, but it is damaged: {error}. {cure}") from None


def _read_header(stream):
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def _check_claim(path, key, shape, dtype, member, n_axes, what):
    if dtype.kind not in "biuf":
        raise InputError(f"{path} must be an {what} whose {key} are numbers, got the type {dtype}.")
    if n_axes is not None and len(shape) != n_axes:
        raise InputError(f"{path}: {key} must have {n_axes} axes, got the shape {shape}.")
    needed, held = math.prod(shape) * dtype.itemsize, member.file_size
    if min(shape, default=1) < 0 or needed > held or held > DEFLATE_RATIO * max(member.compress_size, 1):
        raise InputError(f"{path}: {key} claims the shape {shape}, {needed} bytes, more than the file holds.")
