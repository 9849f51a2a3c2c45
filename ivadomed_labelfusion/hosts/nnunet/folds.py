"""Which subjects train, validate in each fold, and test; no subject is in two parts of a fold."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import read_json

# nnU-Net's own number
N_FOLDS = 5


@dataclass(frozen=True)
class Parts:
    """Subjects of a dataset.

    Attributes:
        test (tuple of str): Kept apart.
        folds (tuple): Per fold ``(training subjects, validation subjects)``.
    """

    test: tuple
    folds: tuple

    def check(self, subjects: Iterable[str]) -> None:
        """Refuse subjects that the dataset lacks.

        Raises:
            InputError: Names one, or a part that is empty.
        """
        known = set(subjects)
        for part in (self.test, *(names for fold in self.folds for names in fold)):
            unknown = sorted(set(part) - known)
            if unknown:
                raise InputError(f"Subjects must be in the dataset with masks, got {', '.join(unknown[:5])}.")
        if any(not names for fold in self.folds for names in fold):
            raise InputError("Every fold must have subjects to train and to validate, got a fold without.")


def draw_parts(subjects: Iterable[str], *, test: Sequence[str] | float, n_folds: int = N_FOLDS, seed: int = 0) -> Parts:
    """Draw test subjects and folds at random.

    Args:
        subjects (iterable of str): All subjects; their order does not matter.
        test (sequence of str or float): The test subjects, or their share of all in [0, 1).
        n_folds (int): Folds; with fewer training subjects there are as many folds as those.
        seed (int): Seed of the draw.

    Returns:
        Parts

    Raises:
        InputError: If a number is out of its range, or fewer than two subjects remain to train and validate.
    """
    subjects = sorted(set(subjects))
    if n_folds < 2:
        raise InputError(f"folds must be at least 2, got {n_folds}.")
    drawn = [subjects[place] for place in np.random.default_rng(seed).permutation(len(subjects))]
    if isinstance(test, float | int):
        if not 0 <= test < 1:
            raise InputError(f"The share of test subjects must be at least 0 and below 1, got {test}.")
        kept_apart = drawn[: round(test * len(subjects))]
    else:
        kept_apart = ["sub-" + name.removeprefix("sub-") for name in test]
    rest = [name for name in drawn if name not in kept_apart]
    if len(rest) < 2:
        raise InputError(f"At least 2 subjects must remain to train and validate, got {len(rest)} of {len(subjects)}.")
    n_folds = min(n_folds, len(rest))
    folds = []
    for fold in range(n_folds):
        held_out = set(rest[fold::n_folds])
        folds.append((tuple(sorted(set(rest) - held_out)), tuple(sorted(held_out))))
    return Parts(tuple(sorted(kept_apart)), tuple(folds))


def read_parts(paths: Sequence) -> Parts:
    """Return the parts that splits of a study say, one fold per file.

    Args:
        paths (sequence of str or Path): JSON files with ``subjects``, or ivadomed's ``train``, ``valid``, ``test``.

    Raises:
        InputError: If a file has no such lists, a subject is in two of them, or the test subjects differ.
    """
    tests, folds = {}, []
    for path in paths:
        content = read_json(path)
        lists = content.get("subjects", content) if isinstance(content, dict) else None
        parts = [_subjects(lists, name, path) for name in ("train", "valid", "test")]
        train, valid, test = parts
        shared = (train & valid) | (train & test) | (valid & test)
        if shared:
            raise InputError(f"{path} must have every subject in one list, got {min(shared)} in two.")
        folds.append((tuple(sorted(train)), tuple(sorted(valid))))
        tests[str(path)] = tuple(sorted(test))
    if len(set(tests.values())) != 1:
        raise InputError(
            f"Splits of one dataset must have the same test subjects, got different ones in {' and '.join(tests)}. "
            "Export one dataset for each."
        )
    return Parts(next(iter(tests.values())), tuple(folds))


def _subjects(lists, name, path):
    names = lists.get(name) if isinstance(lists, dict) else None
    if not isinstance(names, list) or not all(isinstance(entry, str) for entry in names):
        raise InputError(f"{path} must be a split with the lists train, valid and test, got no list {name!r}.")
    return {entry.split("_")[0] for entry in names}
