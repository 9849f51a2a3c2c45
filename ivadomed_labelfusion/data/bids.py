"""Finding images and the raters' masks that belong to them in a BIDS dataset.

Label files are named ``<image stem><suffix>.nii.gz`` with the suffix exactly as in ivadomed's ``target_suffix``, for
example ``sub-01_FLAIR_desc-rater1_label-lesion_seg.nii.gz``. Suffixes match exactly at the end of the stem, so that
``rater1`` never matches ``rater10``.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from ivadomed_labelfusion.errors import InputError

IMAGE_EXTENSIONS = (".nii.gz", ".nii")


def stem(path):
    """Return the file name without ``.nii`` or ``.nii.gz``."""
    name = Path(path).name
    for extension in IMAGE_EXTENSIONS:
        if name.endswith(extension):
            return name[: -len(extension)]
    return name.split(".")[0]


def acquisition_key(filename):
    """Return what the channels of one acquisition share: ``sub-01`` or ``sub-01_ses-02``."""
    return "_".join(part for part in stem(filename).split("_") if part.startswith(("sub-", "ses-")))


def contrast_name(filename):
    """Return the rest of the stem: ``FLAIR``, ``ce-gadolinium_T1w``, ``acq-ax_T2w``."""
    return "_".join(part for part in stem(filename).split("_") if not part.startswith(("sub-", "ses-")))


def channel_files(filenames, contrasts):
    """Tell which file of each acquisition belongs to which contrast of the configuration.

    A contrast is a BIDS suffix (``T1w``), or entities and suffix (``ce-gadolinium_T1w``). The exact name wins; a bare
    suffix else takes the one remaining file with that suffix.

    Args:
        filenames (iterable of str): Image files.
        contrasts (iterable of str): Contrasts of the configuration.

    Returns:
        dict: Acquisition (``sub-01`` or ``sub-01_ses-02``) -> dict of contrast -> file name; contrasts without a file
        are absent.

    Raises:
        InputError: If two files fit one contrast equally well.
    """
    groups = {}
    for filename in filenames:
        groups.setdefault(acquisition_key(filename), []).append(filename)
    return {acquisition: _by_contrast(members, contrasts) for acquisition, members in groups.items()}


def _by_contrast(filenames, contrasts):
    by_name = {contrast_name(filename): filename for filename in filenames}
    chosen = {contrast: by_name[contrast] for contrast in contrasts if contrast in by_name}
    for contrast in contrasts:
        if contrast in chosen:
            continue
        left = [
            filename
            for name, filename in by_name.items()
            if name.split("_")[-1] == contrast and filename not in chosen.values()
        ]
        if len(left) > 1:
            raise InputError(
                f"The contrast {contrast!r} fits {' and '.join(sorted(left))}. Name one in contrast_params with its "
                f"entities, for example {contrast_name(sorted(left)[0])!r}."
            )
        if left:
            chosen[contrast] = left[0]
    return chosen


def nested_target_suffix(target_suffix):
    """Return ``target_suffix`` as a list of classes, each a list of raters' suffixes.

    Raises:
        InputError: If it is empty, holds anything but strings, or the classes have different numbers of raters.
    """
    if isinstance(target_suffix, str) or not target_suffix:
        raise InputError(
            "target_suffix must be a non-empty list (one entry, or one list of raters, per class), "
            f"got {target_suffix!r}."
        )
    nested = [list(entry) if isinstance(entry, list | tuple) else [entry] for entry in target_suffix]
    for entry in nested:
        if not entry or not all(isinstance(suffix, str) and suffix for suffix in entry):
            raise InputError(f"target_suffix must hold suffixes such as '_desc-rater1_label-GM_seg', got {entry!r}.")
        if len(set(entry)) != len(entry):
            raise InputError(f"target_suffix names a rater twice: {entry!r}.")
    if len({len(entry) for entry in nested}) > 1:
        counts = ", ".join(str(len(entry)) for entry in nested)
        raise InputError(
            f"Every class in target_suffix must list the same raters in the same order, got {counts} raters."
        )
    clash = rater_clash(nested)
    if clash:
        raise InputError(f"Every class in target_suffix must list the same raters in the same order: {clash}.")
    return nested


def rater_clash(nested):
    """Return how two classes of a nested ``target_suffix`` differ in their raters, None if they do not.

    Raters are told by the ``desc-`` entity; suffixes without one are taken as they come.
    """
    named = [[re.search(r"_desc-([A-Za-z0-9]+)", suffix) for suffix in entry] for entry in nested]
    if not all(match for row in named for match in row):
        return None
    rows = [[match.group(1) for match in row] for row in named]
    for index, row in enumerate(rows[1:], start=1):
        if row != rows[0]:
            return f"class 0 has {', '.join(rows[0])}, class {index} has {', '.join(row)}"
    return None


def target_suffix(classes, raters):
    """Return ``target_suffix`` as ivadomed's ``loader_parameters`` take it: one list of raters' suffixes per class.

    Args:
        classes (iterable of str): Names of the classes, such as ``GM``.
        raters (iterable of str): Names of the raters or fusion methods, such as ``rater1``.
    """
    raters = list(raters)
    return [[f"_desc-{rater}_label-{name}_seg" for rater in raters] for name in classes]


@dataclass(frozen=True)
class LabelSet:
    """The masks of one image.

    Attributes:
        image_stem (str): ``sub-01_FLAIR``.
        files (tuple): One tuple per class with one Path (or None if missing) per rater, in the order of the suffixes.
    """

    image_stem: str
    files: tuple = field(repr=False)

    @property
    def subject(self):
        """``sub-01``."""
        return self.image_stem.split("_")[0]

    def missing(self, nested):
        """Return ``(class index, suffix)`` of every mask that does not exist."""
        return [
            (index, suffix)
            for index, (suffixes, paths) in enumerate(zip(nested, self.files, strict=True))
            for suffix, path in zip(suffixes, paths, strict=True)
            if path is None
        ]

    def with_complete_raters(self, nested):
        """Return the masks of the raters who marked every class, and their suffixes; of all raters if nobody did.

        Args:
            nested (list of list of str): Suffixes by class and rater.

        Returns:
            tuple: ``(LabelSet, suffixes by class and rater)``.
        """
        raters = [index for index, paths in enumerate(zip(*self.files, strict=True)) if None not in paths]
        raters = raters or range(len(nested[0]))
        files = tuple(tuple(row[index] for index in raters) for row in self.files)
        return LabelSet(self.image_stem, files), [[row[index] for index in raters] for row in nested]


def find_label_sets(bids_dir, target_suffix, *, subjects=None):
    """Find every image that has at least one of the masks named by ``target_suffix``.

    Args:
        bids_dir (str or Path): Root of the BIDS dataset; masks are looked for below ``derivatives/``.
        target_suffix (list): As in ivadomed's ``loader_parameters``, plain or nested.
        subjects (iterable of str): Keep these only, with or without ``sub-``. None keeps all.

    Returns:
        list of LabelSet: Sorted by image stem.

    Raises:
        InputError: If the folder has no ``derivatives`` or no file matches; the message lists suffixes that exist.
    """
    nested = nested_target_suffix(target_suffix)
    derivatives = Path(bids_dir) / "derivatives"
    if not derivatives.is_dir():
        raise InputError(f"{bids_dir} must be a BIDS dataset with a derivatives/ folder that holds the raters' masks.")
    wanted = None if subjects is None else {"sub-" + str(name).removeprefix("sub-") for name in subjects}
    found, seen = {}, set()
    for path in sorted(derivatives.rglob("sub-*")):
        if not path.name.endswith(IMAGE_EXTENSIONS):
            continue
        name = stem(path)
        if wanted is not None and name.split("_")[0] not in wanted:
            continue
        seen.add(name)
        for class_index, suffixes in enumerate(nested):
            for rater_index, suffix in enumerate(suffixes):
                if name.endswith(suffix):
                    table = found.setdefault(name[: -len(suffix)], {})
                    if (class_index, rater_index) in table:
                        raise InputError(
                            f"Two files are both {name}: {table[class_index, rater_index]} and {path}. Keep one."
                        )
                    table[class_index, rater_index] = path
    if not found:
        examples = ", ".join(sorted({name.split("_", 2)[-1] for name in seen})[:8]) or "no label files at all"
        raise InputError(f"No file below {derivatives} ends with a suffix of {nested}. There is: {examples}.")
    return [
        LabelSet(
            image_stem=image_stem,
            files=tuple(
                tuple(table.get((class_index, rater_index)) for rater_index in range(len(suffixes)))
                for class_index, suffixes in enumerate(nested)
            ),
        )
        for image_stem, table in sorted(found.items())
    ]
