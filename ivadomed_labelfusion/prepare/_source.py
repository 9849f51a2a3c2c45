"""Finding the files of a download: a zip, a folder of zips, or an unpacked folder."""

import contextlib
import filecmp
import shutil
import stat
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ivadomed_labelfusion.errors import InputError

# what a converter can use; everything else in an archive stays packed
WANTED = (".nii", ".nii.gz", ".txt", ".png", ".tif", ".tiff")
RESERVE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class SourceFile:
    """One file of the download.

    Attributes:
        path (Path): Where it lies now (for a zip: the extracted copy).
        parts (tuple of str): Its place in the download, the name of RAW or of the zip first.
        packed (bool): It came out of an archive.
    """

    path: Path
    parts: tuple
    packed: bool

    @property
    def name(self):
        """File name in lower case."""
        return self.parts[-1].lower()

    @property
    def place(self):
        """The place in the download, for messages and sidecars."""
        return "/".join(self.parts)


@dataclass
class Files:
    """Files filed under a key, with a check on duplicates."""

    found: dict = field(default_factory=dict)
    problems: list = field(default_factory=list)

    def add(self, key, file):
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
def open_source(raw, *, scratch, announce, accept=lambda parts: True):
    """Yield the files of a download as a list of SourceFile, sorted by place.

    Zips (``raw`` itself, or any below the folder ``raw``) are extracted into a temporary folder below ``scratch``,
    which is removed afterwards. Members that would leave it, links and encrypted members are refused; the extracted
    size is announced and compared with the free space first. Nothing in ``raw`` is changed.

    Args:
        raw (str or Path): A zip or a folder.
        scratch (Path): Existing folder for extracted files.
        announce (callable): Takes one line of text.
        accept (callable): Takes the parts of a place and tells whether the converter can use the file.

    Raises:
        InputError: If ``raw`` does not exist, holds nothing usable, or an archive is damaged or unsafe.
    """
    raw = Path(raw)
    if not raw.exists():
        raise InputError(f"RAW must be a zip, a folder of zips or an unpacked folder, got {raw}, which does not exist.")
    if raw.is_dir():
        paths = sorted(path for path in raw.rglob("*") if path.is_file() and not _is_junk(path.parts))
        loose = [
            SourceFile(path, (raw.resolve().name, *path.relative_to(raw).parts), packed=False)
            for path in paths
            if path.name.lower().endswith(WANTED)
        ]
        archives = [path for path in paths if path.name.lower().endswith(".zip")]
    elif zipfile.is_zipfile(raw):
        loose, archives = [], [raw]
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
        target = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".extracted-", dir=scratch)))
        for index, (archive, infos) in enumerate(members.items()):
            loose += _extract(archive, infos, target / str(index))
        yield sorted(loose, key=lambda file: file.parts)


def _size(count):
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _is_junk(parts):
    """macOS adds __MACOSX folders and ._ files to zips."""
    return "__MACOSX" in parts or parts[-1].startswith("._")


def _members(archive, accept):
    """Return the wanted members of a zip after checking that each of its members is harmless."""
    try:
        with zipfile.ZipFile(archive) as packed:
            infos = packed.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{archive} is damaged ({error}). Download it again.") from None
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


def _extract(archive, infos, target):
    files = []
    with zipfile.ZipFile(archive) as packed:
        for info in infos:
            parts = PurePosixPath(info.filename.replace("\\", "/")).parts
            path = target.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with packed.open(info) as stream, open(path, "xb") as copy:
                    shutil.copyfileobj(stream, copy, 2**20)
            except FileExistsError:
                raise InputError(f"{archive} holds {info.filename!r} twice. Unpack it and remove one.") from None
            except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
                raise InputError(f"{archive} is damaged at {info.filename!r} ({error}). Download it again.") from None
            files.append(SourceFile(path, (archive.stem, *parts), packed=True))
    return files
