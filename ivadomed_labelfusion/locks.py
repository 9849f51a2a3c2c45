"""Who works where: locks on files, and leftovers of programs that were killed."""

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Generator
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from ivadomed_labelfusion.errors import InputError

# folders in which this process has looked for leftovers already
_swept: set[tuple[str, str]] = set()


def try_lock(stream: IO[Any], *, shared: bool = False) -> bool:
    """Take a lock on an open file; return whether nobody else holds it.

    The lock lasts until the file is closed by every process that inherited it.

    Args:
        stream: Open for writing, for a shared lock for reading.
        shared: Bear other shared locks beside it, no exclusive one.

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


@contextlib.contextmanager
def only_one(path: str | os.PathLike[str], *, busy: str, mark: bool = False) -> Generator[bool]:
    """Hold a lock file, which is removed afterwards; a file left by a killed program binds nobody.

    Args:
        path: The lock file. Its folder exists.
        busy: The message if another program holds it.
        mark: Leave the file when the block fails, as a sign that what was done under the lock was cut short.

    Yields:
        bool: Whether the file was there already: what was done under the lock was cut short.

    Raises:
        InputError: If another program holds it, or if a link, folder or pipe lies in its place.
    """
    path = Path(path)
    found = path.exists()
    while True:
        with _open_lock(path) as stream:
            if not try_lock(stream):
                raise InputError(busy)
            # whoever held the lock before may have removed the file between opening and locking
            if not _is_at(stream.fileno(), path):
                continue
            try:
                yield found
            except BaseException:
                if not mark:
                    path.unlink(missing_ok=True)
                raise
            path.unlink(missing_ok=True)
            return


def _open_lock(path: Path) -> TextIOWrapper:
    """Open a lock file for writing; create it, but not where a link leads, and do not wait for a pipe."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise InputError(_no_lock_file(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(_no_lock_file(path))
    return open(descriptor, "w", encoding="utf-8")


def _no_lock_file(path: Path) -> str:
    return f"{path} must be a plain file, a sign of work going on, got a link, folder, pipe or device. Delete it."


def _is_at(descriptor: int, path: str | os.PathLike[str]) -> bool:
    """Whether an open file is the one that a path leads to."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _flock(descriptor: int, *, shared: bool) -> bool | None:
    """Lock a descriptor without waiting; return whether it worked, None where the file system cannot tell."""
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def create_temporary(folder: Path, prefix: str, suffix: str) -> tuple[Path, int]:
    """Create an empty file with a new name, with the rights that any new file gets, and mark it as being written.

    Args:
        folder: Existing.
        prefix, suffix: Of the name.

    Returns:
        tuple: ``(path, descriptor)``; while the descriptor is open, `remove_leftovers` leaves the file alone.
    """
    while True:
        path = folder / f"{prefix}{secrets.token_hex(6)}{suffix}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        _flock(descriptor, shared=True)
        if _is_at(descriptor, path):
            return path, descriptor
        os.close(descriptor)


@contextlib.contextmanager
def temporary_folder(parent: Path, prefix: str) -> Generator[Path]:
    """Yield a new folder in ``parent``, which goes away afterwards; those of killed programs go away first.

    Args:
        parent: Existing.
        prefix: Of the name, by which leftovers are known.
    """
    remove_leftovers(parent, prefix, again=True)
    while True:
        with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as name:
            descriptor = os.open(name, os.O_RDONLY)
            try:
                _flock(descriptor, shared=True)
                if not _is_at(descriptor, name):
                    continue
                yield Path(name)
                return
            finally:
                os.close(descriptor)


def remove_leftovers(folder: str | os.PathLike[str], prefix: str, *, again: bool = False) -> None:
    """Remove what killed programs left in a folder: files and folders of this prefix that nobody marks as in work.

    Args:
        folder: Where to look; not below.
        prefix: Of the names.
        again: Also look where this process has looked before.
    """
    key = (os.fspath(folder), prefix)
    if key in _swept and not again:
        return
    _swept.add(key)
    for path in [Path(entry.path) for entry in os.scandir(folder) if entry.name.startswith(prefix)]:
        _remove_unless_locked(path)


def _remove_unless_locked(path: Path) -> None:
    is_folder = path.is_dir() and not path.is_symlink()
    try:
        descriptor = os.open(path, (os.O_RDONLY if is_folder else os.O_RDWR) | os.O_NOFOLLOW)
    # gone meanwhile, somebody else's, or no plain file
    except OSError:
        return
    try:
        if _flock(descriptor, shared=False):
            if is_folder:
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
