"""Writing files whole or not at all."""

import contextlib
import errno
import gzip
import json
import math
import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Any, NoReturn

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.locks import create_temporary, remove_leftovers

# how the name of a file begins that is still being written
TEMPORARY_PREFIX = ".tmp-"
LARGEST_TEXT_BYTES = 256 * 2**20


@contextlib.contextmanager
def atomic_path(target: str | os.PathLike[str], *, overwrite: bool = False) -> Generator[Path]:
    """Yield a temporary path beside ``target`` that is renamed onto it when the block succeeds.

    Args:
        target: The file to write. Its folder is created.
        overwrite: Replace an existing file.

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
    remove_leftovers(target.parent, TEMPORARY_PREFIX)
    temporary, descriptor = create_temporary(target.parent, TEMPORARY_PREFIX, suffixes)
    try:
        yield temporary
        temporary.replace(target)
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def write_text(target: str | os.PathLike[str], text: str, *, overwrite: bool = False) -> None:
    """Write ``text`` (UTF-8) to ``target`` atomically."""
    with atomic_path(target, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: str | os.PathLike[str], content: Any, *, overwrite: bool = False) -> None:
    """Write ``content`` as indented JSON to ``target`` atomically; NaN is refused, as JSON has none."""
    write_text(target, json.dumps(content, indent=2, allow_nan=False) + "\n", overwrite=overwrite)


def resolve(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path behind every link.

    Raises:
        InputError: If its links lead in a circle.
    """
    try:
        return Path(os.path.realpath(path, strict=True))
    except OSError as error:
        if error.errno != errno.ELOOP:
            return Path(os.path.realpath(path))
        raise InputError(f"{path} must lead somewhere, but its links lead in a circle. Remove them.") from None


def check_stays_inside(folder: str | os.PathLike[str], *, spared: tuple[str, ...] = ()) -> None:
    """Check that what a program writes below a folder stays there: no link out of it, and no pipe or device.

    Links within the folder are fine, and those into the store of git-annex, which nobody writes through.

    Args:
        folder: Where a program is about to write. It may be a link itself, or be missing.
        spared: Endings of files that are replaced, never written into, and so may be links.

    Raises:
        InputError: Names the first that is found, where it leads, and what to do.
    """
    root = Path(os.path.realpath(folder))
    below = [root]
    while below:
        here = below.pop()
        try:
            entries = list(os.scandir(here))
        # not there yet, or gone meanwhile
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append(Path(entry.path))
            elif entry.is_symlink():
                target = Path(os.path.realpath(entry.path))
                kept = "annex" in target.parts or (entry.name.endswith(spared) and not target.is_dir())
                if not (target.is_relative_to(root) or kept):
                    raise InputError(
                        f"{entry.path} is a link out of {folder}, to {target}, through which files would be written "
                        "there. Put what it leads to in its place, or delete it."
                    )
            elif not entry.is_file(follow_symlinks=False) and os.path.lexists(entry.path):
                raise InputError(f"{entry.path} must be a file or folder, got a pipe or device. Delete it.")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return the content of a JSON file, with or without a byte-order mark.

    Raises:
        InputError: If the file is missing or is no JSON (the message names the line), gives a key twice, or holds NaN,
            an infinity, whole numbers beyond 64 bits, or nesting beyond what Python follows.
    """
    try:
        check_readable(path)
        return parse_json(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Check the path.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} must be a JSON file, but it is no text.") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(str(path)) else f"{path} {text}") from None


def check_readable(path: str | os.PathLike[str]) -> None:
    """Refuse what is no file, which would be waited for or read for ever, and texts that nobody writes.

    Raises:
        InputError: If the path leads to a folder, pipe or device, or to more than 256 MiB.
        OSError: If it leads nowhere.
    """
    state = Path(path).stat()
    if not stat.S_ISREG(state.st_mode):
        raise InputError(f"{path} must be a file, got a folder, pipe or device.")
    if state.st_size > LARGEST_TEXT_BYTES:
        raise InputError(f"{path} must be at most {LARGEST_TEXT_BYTES // 2**20} MiB, got {state.st_size} bytes.")


def parse_json(text: str) -> Any:
    """Return the content of a JSON text.

    Raises:
        json.JSONDecodeError: If it is no JSON.
        InputError: If it repeats keys or holds what `read_json` refuses; the message goes on after the name of a file.
    """
    try:
        return json.loads(
            text,
            object_pairs_hook=_without_repeats,
            parse_constant=_refuse_constant,
            parse_int=_whole_number,
            parse_float=_finite_number,
        )
    except RecursionError:
        raise InputError("must be nested less deeply than Python can follow.") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InputError(f"must give every key once, got {key!r} twice. Remove one.")
            seen.add(key)
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise InputError(f"must hold numbers that JSON knows, got {name}.")


def _refuse_number(text: str) -> NoReturn:
    raise InputError(f"must hold numbers that fit 64 bits, got {text if len(text) <= 40 else text[:37] + '...'}.")


def _whole_number(text: str) -> int:
    # times in nanoseconds have 19 digits
    number = int(text) if len(text) <= 20 else 2**64
    return number if abs(number) < 2**64 else _refuse_number(text)


def _finite_number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_number(text)


def write_gzip(target: str | os.PathLike[str], payload: bytes, *, overwrite: bool = False) -> None:
    """Write ``payload`` gzip-compressed without time stamp or name: equal content gives equal files."""
    with (
        atomic_path(target, overwrite=overwrite) as temporary,
        open(temporary, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
    ):
        packed.write(payload)
