"""Finding images and the raters' masks that belong to them in BIDS datasets; files are known by their paths."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ivadomed_labelfusion.data.entities import PICTURE_EXTENSIONS, entity, is_image, natural, owner, stem, subject_of
from ivadomed_labelfusion.data.raters import LabelSet, nested_target_suffix
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import read_json
from ivadomed_labelfusion.fusion import METHODS

DERIVATIVES = "derivatives"
# what the sidecar of a rater's own mask says
MANUAL = "manual segmentation"
# the MSSEG-2016 download brings a consensus of its own
_CONSENSUS = "consensus"


def walk(folder) -> Iterator[Path]:
    """Yield the files below a folder, in the order of their names; symbolic links are followed.

    A link that leads back to a folder it lies in is not followed again. Links whose target is missing are yielded.

    Args:
        folder (str or Path): Where to begin; nothing is yielded if it does not exist.
    """
    yield from _walk(str(folder), (os.path.realpath(folder),))


def _walk(folder, above):
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        try:
            is_folder = entry.is_dir()
        except OSError:  # a link to itself
            is_folder = False
        if not is_folder:
            yield Path(entry.path)
            continue
        real = os.path.realpath(entry.path)
        if real not in above:
            yield from _walk(entry.path, (*above, real))


def find_images(bids_dir, *, subjects: Iterable[str] | None = None) -> dict[str, Path]:
    """Return the raw images of a dataset by their stems, label files left out.

    Args:
        bids_dir (str or Path): Root of the dataset.
        subjects (iterable of str): Look for these only; None takes all.

    Raises:
        InputError: If two different files have one stem.
    """
    root = Path(bids_dir)
    names = sorted(path.name for path in root.glob("sub-*") if path.is_dir()) if subjects is None else subjects
    found: dict[str, list[Path]] = {}
    for name in names:
        for path in walk(root / name):
            if path.name.startswith("sub-") and is_image(path.name):
                found.setdefault(stem(path), []).append(path)
    return {name: _one_image(paths) for name, paths in found.items()}


def _one_image(paths):
    """Return the one image among files of one stem; ivadomed leaves a NIfTI copy beside every picture."""
    pictures = [path for path in paths if path.name.lower().endswith(PICTURE_EXTENSIONS)]
    return one_path(pictures or paths)


def label_files(bids_dir) -> dict[str, list[Path]]:
    """Return the label files below ``derivatives/`` by their stems; several paths where a name occurs several times.

    Raises:
        InputError: If the dataset has no ``derivatives`` folder.
    """
    folder = Path(bids_dir) / DERIVATIVES
    if not folder.is_dir():
        raise InputError(f"{bids_dir} must be a BIDS dataset with a derivatives/ folder that holds the raters' masks.")
    found: dict[str, list[Path]] = {}
    for path in walk(folder):
        if path.name.startswith("sub-") and is_image(path.name):
            found.setdefault(stem(path), []).append(path)
    return found


def one_path(paths: Sequence[Path]) -> Path:
    """Return the one file among paths of one name.

    Raises:
        InputError: If two of them are different files; the message names both.
    """
    first = paths[0]
    for other in paths[1:]:
        # two ways to one file, through a link, are one file
        if os.path.realpath(other) != os.path.realpath(first):
            raise InputError(f"Two files are both {stem(first)}: {first} and {other}. Keep one.")
    return first


def find_label_sets(bids_dirs, target_suffix, *, subjects: Iterable[str] | None = None) -> list[LabelSet]:
    """Find every image that has at least one of the masks named by ``target_suffix``.

    Args:
        bids_dirs (str, Path or sequence of them): Roots of BIDS datasets; masks are looked for below ``derivatives/``.
        target_suffix (list): As in ivadomed's ``loader_parameters``, plain or nested.
        subjects (iterable of str): Keep these only, with or without ``sub-``. None keeps all.

    Returns:
        list of LabelSet: Dataset by dataset, sorted by image stem.

    Raises:
        InputError: If a folder has no ``derivatives``, no file matches (the message lists suffixes that exist), one
            label exists twice, or two datasets have a subject of one name.
    """
    nested = nested_target_suffix(target_suffix)
    folders = [bids_dirs] if isinstance(bids_dirs, str | Path) else list(bids_dirs)
    # two ways to one dataset are one dataset
    folders = list({os.path.realpath(folder): folder for folder in folders}.values())
    wanted = None if subjects is None else {"sub-" + str(name).removeprefix("sub-") for name in subjects}
    label_sets, seen = [], {}
    for folder in folders:
        found, names = _label_sets_of(folder, nested, wanted)
        label_sets += found
        seen[folder] = names
    if not label_sets:
        names = set().union(*seen.values())
        examples = ", ".join(sorted({name.split("_", 2)[-1] for name in names})[:8]) or "no label files at all"
        below = ", ".join(str(Path(folder) / DERIVATIVES) for folder in folders)
        raise InputError(f"No file below {below} ends with a suffix of {nested}. There is: {examples}.")
    check_subjects_apart({folder: {subject_of(name) for name in names} for folder, names in seen.items()})
    return label_sets


def check_subjects_apart(subjects: dict) -> None:
    """Refuse datasets that have a subject of one name.

    Args:
        subjects (dict): Folder of each dataset to the set of its subjects.

    Raises:
        InputError: Names a subject and both folders.
    """
    owner_of: dict[str, str] = {}
    for folder, names in subjects.items():
        for name in sorted(names):
            other = owner_of.setdefault(name, folder)
            if other != folder:
                raise InputError(
                    f"Every subject must belong to one dataset, but {name} is in {other} and in {folder}. "
                    "Results are told apart by subjects: rename those of one dataset, or use one dataset at a time."
                )


def _label_sets_of(bids_dir, nested, wanted):
    """Return the label sets of one dataset, and the stems of all its label files."""
    files = {
        name: paths for name, paths in label_files(bids_dir).items() if wanted is None or subject_of(name) in wanted
    }
    places = {
        suffix: (class_index, rater) for class_index, row in enumerate(nested) for rater, suffix in enumerate(row)
    }
    images = find_images(bids_dir, subjects=sorted({subject_of(name) for name in files}))
    of_subject: dict[str, list[str]] = {}
    for name in images:
        of_subject.setdefault(subject_of(name), []).append(name)
    found: dict[str, dict] = {}
    for name, paths in files.items():
        belongs = owner(name, places, of_subject.get(subject_of(name), ()))
        if belongs is not None:
            image_stem, suffix = belongs
            found.setdefault(image_stem, {})[places[suffix]] = one_path(paths)
    label_sets = [
        LabelSet(
            image_stem,
            tuple(tuple(table.get((index, rater)) for rater in range(len(row))) for index, row in enumerate(nested)),
            tuple(tuple(row) for row in nested),
            images.get(image_stem),
            Path(bids_dir),
        )
        for image_stem, table in sorted(found.items())
    ]
    return label_sets, set(files)


def expand_suffixes(bids_dir, target_suffix) -> list[list[str]]:
    """Replace suffixes with wildcards by those that occur in the dataset.

    Args:
        bids_dir (str or Path): Root of the BIDS dataset.
        target_suffix (list): One list of suffixes per class; ``*`` stands for anything within one BIDS entity, so that
            ``_desc-rater*_label-GM_seg`` finds all raters. Labels fused earlier (``_desc-staple_...``) and a
            challenge's ``_desc-consensus_...`` are left out, unless their sidecar says that a rater drew them.

    Returns:
        list: One list per class, raters in natural order (rater2 before rater10).

    Raises:
        InputError: If a wildcard matches nothing.
    """
    files = None
    expanded = []
    for suffixes in target_suffix:
        found = []
        for suffix in suffixes:
            if "*" not in suffix:
                found.append(suffix)
                continue
            if files is None:
                files = label_files(bids_dir)
            pattern = re.compile("(" + "[A-Za-z0-9]+".join(map(re.escape, suffix.split("*"))) + ")$")
            hits = {name: match[1] for name in files if (match := pattern.search(name))}
            matches = {suffix for name, suffix in hits.items() if not _is_fused(suffix, files[name][0])}
            if not matches:
                raise InputError(f"No label below {bids_dir}/derivatives ends with {suffix!r}. Check the suffix.")
            found += sorted(matches, key=natural)
        expanded.append(found)
    return expanded


def _is_fused(suffix, path):
    if entity("desc", suffix) not in (*METHODS, _CONSENSUS):
        return False
    sidecar = path.with_name(stem(path) + ".json")
    content = read_json(sidecar) if sidecar.exists() else None
    return not (isinstance(content, dict) and content.get("Method") == MANUAL)
