"""Writing files whole or not at all."""

import contextlib
import gzip
import json
import os
import tempfile
from pathlib import Path

from ivadomed_labelfusion.errors import InputError

# how the name of a file begins that is still being written
TEMPORARY_PREFIX = ".tmp-"


@contextlib.contextmanager
def atomic_path(target, *, overwrite=False):
    """Yield a temporary path beside ``target`` that is renamed onto it when the block succeeds.

    Args:
        target (str or Path): The file to write. Its folder is created.
        overwrite (bool): Replace an existing file.

    Yields:
        Path: Where to write; it carries the suffixes of ``target``, so that format detection works.

    Raises:
        InputError: If ``target`` exists and ``overwrite`` is False.
    """
    target = Path(target)
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists already. Add --overwrite to replace it, or choose another output.")
    target.parent.mkdir(parents=True, exist_ok=True)
    suffixes = "".join(target.suffixes[-2:]) if target.name.endswith(".gz") else target.suffix
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=suffixes, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; outputs follow the user's umask like any other file
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(target, text, *, overwrite=False):
    """Write ``text`` (UTF-8) to ``target`` atomically."""
    with atomic_path(target, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target, content, *, overwrite=False):
    """Write ``content`` as indented JSON to ``target`` atomically; NaN is refused, as JSON has none."""
    write_text(target, json.dumps(content, indent=2, allow_nan=False) + "\n", overwrite=overwrite)


def read_json(path):
    """Return the content of a JSON file, with or without a byte-order mark.

    Raises:
        InputError: If the file is missing or is no JSON; the message names the line.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Check the path.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} must be a JSON file, but it is no text.") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None


def try_lock(stream, *, shared=False):
    """Take a lock on an open file; return whether nobody else holds it.

    The lock lasts until the file is closed by every process that inherited it.

    Args:
        stream (file object): Open for writing, for a shared lock for reading.
        shared (bool): Bear other shared locks beside it, no exclusive one.

    Raises:
        InputError: If the file system has no locks.
    """
    import fcntl

    try:
        fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise InputError(
            f"The file system of {stream.name} must be able to lock files (flock): {error.strerror}. "
            "Choose a folder on another one."
        ) from None
    return True


def write_gzip(target, payload, *, overwrite=False):
    """Write ``payload`` (bytes) gzip-compressed without time stamp or name: equal content gives equal files."""
    with (
        atomic_path(target, overwrite=overwrite) as temporary,
        open(temporary, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
    ):
        packed.write(payload)
