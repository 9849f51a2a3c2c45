"""Raters and classes of a dataset: what ``target_suffix`` says of them, and who marked an image."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ivadomed_labelfusion.data.entities import entity, subject_of
from ivadomed_labelfusion.errors import InputError

_LABEL = re.compile(r"_desc-(?P<rater>[A-Za-z0-9]+)_label-(?P<label>[A-Za-z0-9]+)_(?:seg|softseg)$")
# how each entrance goes on without a rater
ALLOW_IN_CONFIG = 'set "allow_missing_raters": true in loader_parameters'
ALLOW_BY_OPTION = "add --allow-missing"


def nested_target_suffix(target_suffix) -> list[list[str]]:
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


def rater_clash(nested) -> str | None:
    """Return how two classes of a nested ``target_suffix`` differ in their raters, None if they do not.

    Raters are told by the ``desc-`` entity; suffixes without one are taken as they come.
    """
    rows = [[entity("desc", suffix) for suffix in entry] for entry in nested]
    if any(name is None for row in rows for name in row):
        return None
    for index, row in enumerate(rows[1:], start=1):
        if row != rows[0]:
            return f"class 0 has {', '.join(rows[0])}, class {index} has {', '.join(row)}"
    return None


def target_suffix(classes: Iterable[str], raters: Iterable[str]) -> list[list[str]]:
    """Return ``target_suffix`` as ivadomed's ``loader_parameters`` take it: one list of raters' suffixes per class.

    Args:
        classes (iterable of str): Names of the classes, such as ``GM``.
        raters (iterable of str): Names of the raters or fusion methods, such as ``rater1``.
    """
    raters = list(raters)
    return [[f"_desc-{rater}_label-{name}_seg" for rater in raters] for name in classes]


def one_class_or_more(target_suffix) -> list[list[str]]:
    """Return ``target_suffix`` as one list of raters per class.

    A plain list of several suffixes that name one class (``_label-``) is one class with several raters; ivadomed itself
    takes a plain list as one class per entry, which leaves nothing to fuse.
    """
    if not isinstance(target_suffix, str) and target_suffix and all(isinstance(entry, str) for entry in target_suffix):
        labels = {match["label"] for match in map(_LABEL.search, target_suffix) if match}
        if len(labels) <= 1:
            target_suffix = [list(target_suffix)]
    return nested_target_suffix(target_suffix)


def names_of_suffixes(nested) -> tuple[list[str], list[str]]:
    """Return class names (``label-`` entity) and rater names (``desc-`` entity) of the suffixes.

    Where the entities are missing or do not tell them apart, classes are ``class1``... and raters ``rater1``...
    """
    classes = [entity("label", suffixes[0]) for suffixes in nested]
    raters = [entity("desc", suffix) for suffix in nested[0]]
    return _distinct(classes, "class"), _distinct(raters, "rater")


def _distinct(names, kind):
    if None in names or len(set(names)) != len(names):
        return [f"{kind}{index + 1}" for index in range(len(names))]
    return names


def classes_and_raters(nested) -> tuple[list[str], list[str]]:
    """Return the names of classes and raters that suffixes of the form ``_desc-<rater>_label-<class>_seg`` hold.

    Raises:
        InputError: If a suffix has another form, a list mixes classes, two lists are of one class, or the raters of the
            lists differ or come in another order.
    """
    classes, raters = [], None
    for suffixes in nested:
        matches = [_LABEL.search(suffix) for suffix in suffixes]
        for suffix, match in zip(suffixes, matches, strict=True):
            if match is None:
                raise InputError(
                    "Suffixes must have the form _desc-<rater>_label-<class>_seg, such as _desc-rater1_label-GM_seg, "
                    f"got {suffix!r}. 'ivadomed_labelfusion prepare generic' renames other files."
                )
        labels = list(dict.fromkeys(match["label"] for match in matches))
        if len(labels) > 1:
            raise InputError(f"Each list of suffixes must be of one class, got {', '.join(labels)} in one list.")
        if labels[0] in classes:
            raise InputError(f"Each class must have one list of suffixes, got two for {labels[0]}.")
        names = [match["rater"] for match in matches]
        if raters is not None and names != raters:
            raise InputError(
                f"Every class must list the same raters in the same order: {classes[0]} has {', '.join(raters)}, "
                f"{labels[0]} has {', '.join(names)}."
            )
        classes, raters = [*classes, labels[0]], names
    return classes, raters


@dataclass(frozen=True)
class LabelSet:
    """The masks of one image.

    Attributes:
        image_stem (str): ``sub-01_FLAIR``.
        files (tuple): One tuple per class with one Path (or None if missing) per rater, in the order of the suffixes.
        nested (tuple): The suffixes by class and rater.
        image (Path or None): The image, if it is in the dataset.
        bids_dir (Path or None): The dataset.
    """

    image_stem: str
    files: tuple = field(repr=False)
    nested: tuple = field(repr=False)
    image: Path | None = field(default=None, repr=False)
    bids_dir: Path | None = field(default=None, repr=False)

    @property
    def subject(self) -> str:
        """``sub-01``."""
        return subject_of(self.image_stem)

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the classes."""
        return names_of_suffixes(self.nested)[0]

    @cached_property
    def rater_names(self) -> list[str]:
        """Names of the raters."""
        return names_of_suffixes(self.nested)[1]

    def paths(self) -> list[tuple[int, int, Path]]:
        """Return ``(class, rater, path)`` of every mask that exists."""
        return [
            (class_index, rater, path)
            for class_index, row in enumerate(self.files)
            for rater, path in enumerate(row)
            if path is not None
        ]

    def describe(self, class_index: int, rater: int) -> str:
        """Return how messages call a mask: its rater, class and file."""
        path = self.files[class_index][rater]
        return f"{self.rater_names[rater]}'s mask of {self.class_names[class_index]} ({path})"

    def missing(self) -> list[tuple[int, int]]:
        """Return ``(class, rater)`` of every mask that does not exist."""
        return [
            (class_index, rater)
            for class_index, row in enumerate(self.files)
            for rater, path in enumerate(row)
            if path is None
        ]

    def present(self, *, allow_missing: bool, cure: str = ALLOW_IN_CONFIG) -> list[int]:
        """Return which raters marked every class of this image; the one rule for missing masks.

        Args:
            allow_missing (bool): Leave out raters who lack a class, for all classes. One rater has to remain.
            cure (str): How the command at hand goes on without a rater.

        Returns:
            list of int: Positions among the raters.

        Raises:
            InputError: If a mask is missing and that is not allowed, or nobody remains.
        """
        missing = self.missing()
        lacking = {rater for _, rater in missing}
        present = [rater for rater in range(len(self.nested[0])) if rater not in lacking]
        if present and (allow_missing or not missing):
            return present
        files = ", ".join(f"{self.image_stem}{self.nested[index][rater]}" for index, rater in missing)
        advice = f"Add it (an empty mask is a mask), leave the rater out of the suffixes, or {cure} to go on without."
        if not present:
            advice = "No rater has marked every class: leave this image out, or add masks."
        raise InputError(f"{self.image_stem}: {self.absence_note()} ({files}). {advice}")

    def of_raters(self, raters: Sequence[int]) -> "LabelSet":
        """Return the masks of some raters only, by their positions."""
        return LabelSet(
            self.image_stem,
            tuple(tuple(row[rater] for rater in raters) for row in self.files),
            tuple(tuple(row[rater] for rater in raters) for row in self.nested),
            self.image,
            self.bids_dir,
        )

    def absence_note(self) -> str:
        """Return a sentence on who lacks which masks, empty if nobody does."""
        by_rater: dict[str, list[str]] = {}
        for class_index, rater in self.missing():
            by_rater.setdefault(self.rater_names[rater], []).append(self.class_names[class_index])
        return "; ".join(f"{rater} has no mask of {', '.join(names)}" for rater, names in by_rater.items())
