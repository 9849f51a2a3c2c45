"""Finding the files of a download: a zip, a folder of zips, or an unpacked folder."""

import contextlib
import errno
import filecmp
import lzma
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import resolve
from ivadomed_labelfusion.locks import temporary_folder

# what a converter can use; everything else in an archive stays packed
WANTED = (".nii", ".nii.gz", ".txt", ".png", ".tif", ".tiff")
# how the names of folders with extracted files begin
EXTRACTED_PREFIX = ".extracted-"
RESERVE_BYTES = 256 * 2**20
# deflate cannot pack more tightly than 1032 to 1, and images never come near
MOST_RATIO = 1032
MOST_RATIO_OF_ARCHIVE = 200
UNSUSPICIOUS_BYTES = 100 * 2**20


# takes the parts of a place in the download, tells whether the converter can use the file
Accept = Callable[[tuple[str, ...]], bool]


@dataclass(frozen=True)
class SourceFile:
    """One file of the download.

    Attributes:
        path: Where it lies now (for a zip: the extracted copy).
        parts: Its place in the download, the name of RAW or of the zip first.
        packed: It came out of an archive.
    """

    path: Path
    parts: tuple[str, ...]
    packed: bool

    @property
    def name(self) -> str:
        """File name in lower case."""
        return self.parts[-1].lower()

    @property
    def place(self) -> str:
        """The place in the download, for messages and sidecars."""
        return "/".join(self.parts)


@dataclass
class Files:
    """Files filed under a key, with a check on duplicates."""

    found: dict[Any, SourceFile] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def add(self, key: Hashable, file: SourceFile) -> None:
        """File ``file`` under ``key``; a second, different one is an error, a second equal one a warning."""
        first = self.found.setdefault(key, file)
        if first is file:
            return
        if filecmp.cmp(first.path, file.path, shallow=False):
            self.problems.append(("warning", f"{file.place} is a second copy of {first.place} and is ignored."))
        else:
            self.problems.append(
                ("error", f"{first.place} and {file.place} claim to be the same file but differ. Remove one of them.")
            )


@contextlib.contextmanager
def open_source(
    raw: str | os.PathLike[str],
    *,
    scratch: Path,
    announce: Callable[[str], object],
    accept: Accept = lambda parts: True,
) -> Generator[list[SourceFile]]:
    """Yield the files of a download, sorted by place.

    Zips (``raw`` itself, or any below the folder ``raw``) are extracted into a temporary folder below ``scratch``,
    which is removed afterwards. Members that would leave it, links and encrypted members are refused; the extracted
    size is announced and compared with the free space first. Nothing in ``raw`` is changed.

    Args:
        raw: A zip or a folder.
        scratch: Existing folder for extracted files.
        announce: Takes one line of text.
        accept: Takes the parts of a place and tells whether the converter can use the file.

    Raises:
        InputError: If ``raw`` does not exist, holds nothing usable, or an archive is damaged or unsafe.
    """
    raw = Path(raw)
    if not raw.exists():
        raise InputError(f"RAW must be a zip, a folder of zips or an unpacked folder, got {raw}, which does not exist.")
    loose: list[SourceFile] = []
    if raw.is_dir():
        paths = sorted(path for path in raw.rglob("*") if path.is_file() and not _is_junk(path.parts))
        loose = [
            SourceFile(path, (resolve(raw).name, *path.relative_to(raw).parts), packed=False)
            for path in paths
            if path.name.lower().endswith(WANTED)
        ]
        archives = [path for path in paths if path.name.lower().endswith(".zip")]
    elif zipfile.is_zipfile(raw):
        archives = [raw]
    else:
        raise InputError(f"RAW must be a zip or a folder, got {raw}. Unpack other archives and give the folder.")
    loose = [file for file in loose if accept(file.parts)]
    if not archives:
        yield loose
        return
    with contextlib.ExitStack() as stack:
        members = {archive: _members(archive, accept) for archive in archives}
        size = sum(info.file_size for infos in members.values() for info in infos)
        if not size:
            yield loose
            return
        count = sum(map(len, members.values()))
        free = shutil.disk_usage(scratch).free
        announce(f"Extracting {count} files, {_size(size)}, to a temporary folder in {scratch} ({_size(free)} free).")
        if size + RESERVE_BYTES > free:
            raise InputError(
                f"Extracting {raw} needs {_size(size)} in {scratch}, where {_size(free)} are free. Free some space, or "
                "choose an output folder on another disk."
            )
        for archive, infos in members.items():
            _check_growth(archive, infos)
        target = stack.enter_context(temporary_folder(scratch, EXTRACTED_PREFIX))
        for index, (archive, infos) in enumerate(members.items()):
            loose += _extract(archive, infos, target / str(index))
        yield sorted(loose, key=lambda file: file.parts)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _is_junk(parts: Sequence[str]) -> bool:
    """Tell whether macOS added a file: it adds __MACOSX folders and ._ files to zips."""
    return "__MACOSX" in parts or parts[-1].startswith("._")


def _members(archive: Path, accept: Accept) -> list[zipfile.ZipInfo]:
    """Return the wanted members of a zip after checking that each of its members is harmless."""
    with _readable(archive), zipfile.ZipFile(archive) as packed:
        infos = packed.infolist()
    wanted = []
    for info in infos:
        parts = PurePosixPath(info.filename.replace("\\", "/")).parts
        if not parts or info.is_dir():
            continue
        if parts[0].startswith("/") or ".." in parts or ":" in parts[0]:
            raise InputError(f"{archive} holds {info.filename!r}, which would be written outside its folder. Refused.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise InputError(f"{archive} holds the link {info.filename!r}. Unpack it yourself if you trust it.")
        if info.flag_bits & 0x1:
            raise InputError(f"{archive} is encrypted. Unpack it with its password and give the folder.")
        if info.filename.lower().endswith(WANTED) and not _is_junk(parts) and accept((archive.stem, *parts)):
            wanted.append(info)
    return wanted


def _check_growth(archive: Path, infos: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse an archive that would grow beyond what images do, in a member or as a whole."""
    for info in infos:
        if info.file_size > MOST_RATIO * max(info.compress_size, 1) and info.file_size > UNSUSPICIOUS_BYTES:
            raise InputError(
                f"{archive}: {info.filename!r} claims {_size(info.file_size)} from {_size(info.compress_size)}, more "
                f"than {MOST_RATIO} times as much. Unpack it yourself if you trust it."
            )
    size, packed = sum(info.file_size for info in infos), archive.stat().st_size
    if size > max(MOST_RATIO_OF_ARCHIVE * packed, 10 * UNSUSPICIOUS_BYTES):
        raise InputError(
            f"{archive} claims {_size(size)} from {_size(packed)}, more than {MOST_RATIO_OF_ARCHIVE} times as much. "
            "Unpack it yourself if you trust it, and give the folder."
        )


@contextlib.contextmanager
def _readable(archive: Path, member: str | None = None) -> Generator[None]:
    """Turn what Python raises on a damaged zip into an InputError: its headers and streams can fail in many ways."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        # trouble of the disk, not of the archive
        if error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise InputError(f"{archive} is damaged ({error.strerror}). Download it again.") from None
    except (
        zipfile.BadZipFile, EOFError, RuntimeError, ValueError, OverflowError, struct.error, zlib.error,
        lzma.LZMAError,
    ) as error:  # fmt: skip
        where = f" at {member!r}" if member else ""
        raise InputError(f"{archive} is damaged{where} ({error or type(error).__name__}). Download it again.") from None


def _copy(stream: IO[bytes], copy: IO[bytes], info: zipfile.ZipInfo, archive: Path) -> None:
    """Copy a member and stop as soon as it is longer than it says, whatever its header promised."""
    left = info.file_size
    while block := stream.read(2**20):
        left -= len(block)
        if left < 0:
            raise InputError(f"{archive}: {info.filename!r} is longer than it says. Download it again.")
        copy.write(block)


def _extract(archive: Path, infos: Sequence[zipfile.ZipInfo], target: Path) -> list[SourceFile]:
    files = []
    with _readable(archive), zipfile.ZipFile(archive) as packed:
        for info in infos:
            parts = PurePosixPath(info.filename.replace("\\", "/")).parts
            path = target.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            # names may also repeat a folder, or differ in capitals only
            if path.exists():
                raise InputError(f"{archive} holds {info.filename!r} twice. Unpack it and remove one.")
            with _readable(archive, info.filename), packed.open(info) as stream, open(path, "xb") as copy:
                _copy(stream, copy, info, archive)
            files.append(SourceFile(path, (archive.stem, *parts), packed=True))
    return files
