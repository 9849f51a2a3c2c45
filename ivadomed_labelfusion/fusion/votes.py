"""Votes: blocks of masks of any dtype and coding as uint8 label indices, what the coders of patterns work on."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.coding import BINARY, CODING_TOLERANCE, LABELS, Coding, coding_note, refusal
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.source import Source, UnexpectedValueError, coding_of_mask

_LABEL_MAPS = "For label maps use multilabel_staple, or fuse, which tells label maps from masks."


class BinaryVotes:
    """Turns blocks of binary masks of any dtype and coding into uint8 votes 0 and 1.

    Masks coded otherwise than 0 and 1 are found by `survey`, which reads them by the rule of `coding` and says so once.
    """

    bits = 1

    def __init__(self, source: Source) -> None:
        self.source = source
        self.codings: list[Coding | None] = [None] * len(source)
        self.labels = np.array([0, 1])
        self.notes: list[str] = []

    def open(self, planes: slice) -> list[NDArray[Any]]:
        """Return the raters' flat arrays for some planes."""
        return [self.source.read(mask, planes) for mask in self.source.masks]

    def votes(self, opened: list[Any], rater: int, chunk: slice) -> NDArray[np.uint8]:
        """Return uint8 votes of one rater for a slice of the opened block.

        Raises:
            UnexpectedValueError: If a value is neither 0 nor 1 and `survey` has not told how to read it.
        """
        values = opened[rater][chunk]
        coding = self.codings[rater]
        if coding is not None:
            return coding.binary(values).view(np.uint8)
        if values.dtype.itemsize == 1 and values.dtype.kind in "bui":
            values = values.view(np.uint8)
            if values.size and values.max() > 1:
                raise UnexpectedValueError(rater)
            return values
        if values.dtype.kind not in "buif":
            raise UnexpectedValueError(rater)
        foreground = values == 1
        # NaN is unequal to 0, hence found here as well
        if not np.array_equal(values != 0, foreground):
            raise UnexpectedValueError(rater)
        return foreground.view(np.uint8)

    def survey(self, *, allow_labels: bool = False) -> bool:
        """Look at every value after a UnexpectedValueError, and note masks that are not coded 0 and 1 with a warning.

        Args:
            allow_labels (bool): Answer False for label maps instead of raising.

        Returns:
            bool: Whether the masks are binary.

        Raises:
            InputError: If a mask is no binary mask by the rule of `coding`; the message shows values and the cure.
        """
        if allow_labels and any(_surely_labels(self.source, mask) for mask in self.source.masks):
            return False
        codings = [coding_of_mask(self.source, index) for index in range(len(self.source))]
        others = [index for index, coding in enumerate(codings) if coding.kind != BINARY]
        if others:
            if allow_labels and _are_label_maps(codings):
                return False
            index = others[0]
            cure = "" if codings[index].kind != LABELS else _LABEL_MAPS
            raise InputError(refusal(codings[index], self.source.names[index], cure))
        self.codings = [*codings]
        note = coding_note(dict(zip(self.source.names, codings, strict=True)))
        if note:
            self.notes.append(note)
            warnings.warn(note, stacklevel=2)
        return True


def _are_label_maps(codings: list[Coding]) -> bool:
    """Whether masks that are not all binary are label maps: whole numbers >= 0."""
    return all(
        coding.kind == LABELS or (coding.kind == BINARY and float(coding.foreground).is_integer()) for coding in codings
    )


def _surely_labels(source: Source, mask: Any) -> bool:
    """Whether an unsigned integer mask holds several labels at first sight; much faster than listing its values."""
    if np.dtype(getattr(mask, "dtype", np.float64)).kind != "u":
        return False
    for planes, _, _ in source.blocks():
        values = source.read(mask, planes)
        top = values.max(initial=0)
        if top > 1 and ((values > 0) & (values < top)).any():
            return True
    return False


def maximum(source: Source, mask: Any) -> int:
    """Return the largest value of an integer mask, 0 if it has no voxels.

    >>> source = Source([np.array([0, 2, 7])])
    >>> maximum(source, source.masks[0])
    7
    """
    return max((int(source.read(mask, planes).max()) for planes, _, _ in source.blocks()), default=0)


def distinct_labels(source: Source, mask: Any, name: str, limit: int = 256) -> NDArray[Any]:
    """Return the sorted distinct whole numbers of a label map; reading stops once there are more than ``limit``.

    Raises:
        InputError: If a value is NaN, infinite, negative or no whole number (to `coding.TOLERANCE`), or the dtype is
            not numeric.

    >>> source = Source([np.array([0, 2, 7])])
    >>> distinct_labels(source, source.masks[0], "rater 1").tolist()
    [0.0, 2.0, 7.0]
    """
    found = np.empty(0)
    for planes, _, _ in source.blocks():
        values = source.read(mask, planes)
        if values.dtype.kind not in "buif":
            raise InputError(f"Masks must hold numbers, {name} has dtype {values.dtype}.")
        if values.dtype.kind == "f":
            if not np.isfinite(values).all():
                raise InputError(f"Masks must hold finite numbers, {name} holds NaN or infinity. Replace those voxels.")
            values = np.unique(values)
        whole = np.rint(values)
        odd = values[(np.abs(values - whole) > CODING_TOLERANCE) | (whole < 0)]
        if odd.size:
            raise InputError(
                f"Label maps must hold whole numbers >= 0, {name} holds "
                f"{', '.join(f'{value:g}' for value in np.unique(odd)[:6])}. "
                "Soft masks need a method that takes them (average); resample label maps with nearest neighbours."
            )
        found = np.union1d(found, whole)
        if found.size > limit:
            break
    return found


class LabelVotes:
    """Turns blocks of integer label maps into uint8 indices into `labels` (sorted, 0 always first)."""

    notes: Sequence[str] = ()

    def __init__(self, source: Source) -> None:
        self.source = source
        if all(getattr(mask, "dtype", None) == np.uint8 for mask in source.masks):
            # most label maps have few labels: assume so, and look at all values only if one is larger
            self._use(np.arange(4), direct=True)
        else:
            self._use(self._collect(), direct=False)

    def _use(self, labels: NDArray[Any], *, direct: bool) -> None:
        if labels.size > 256:
            raise InputError(f"Label maps must hold at most 256 labels, got more: {labels[:3]}... Are these images?")
        self.labels = labels
        self.direct = direct  # values are their own index
        self.bits = max(1, int(labels.size - 1).bit_length())

    def survey(self) -> None:
        """Look at every value after a UnexpectedValueError: a label was larger than assumed."""
        top = max(maximum(self.source, mask) for mask in self.source.masks)
        self._use(np.arange(top + 1) if top < 16 else self._collect(), direct=top < 16)

    def _collect(self) -> NDArray[np.int64]:
        labels = np.zeros(1)
        for mask, name in zip(self.source.masks, self.source.names, strict=True):
            labels = np.union1d(labels, distinct_labels(self.source, mask, name))
        return labels.astype(np.int64)

    def open(self, planes: slice) -> list[NDArray[Any]]:
        """Return the raters' flat label indices for some planes."""
        blocks = [self.source.read(mask, planes) for mask in self.source.masks]
        if self.direct:
            return blocks
        # a header's scale factor leaves 0.9999999 for 1
        blocks = [np.rint(block) if block.dtype.kind == "f" else block for block in blocks]
        if self.labels[-1] == self.labels.size - 1:
            return [block.astype(np.uint8) for block in blocks]
        return [np.searchsorted(self.labels, block).astype(np.uint8) for block in blocks]

    def votes(self, opened: list[Any], rater: int, chunk: slice) -> NDArray[np.uint8]:
        """Return uint8 label indices of one rater for a slice of the opened block.

        Raises:
            UnexpectedValueError: If a value is larger than the labels assumed so far.
        """
        values = opened[rater][chunk]
        if self.direct and values.size and values.max() >= self.labels.size:
            raise UnexpectedValueError(rater)
        return values


class ClassVotes:
    """Turns one binary mask per rater and class into label indices: 0 background, c + 1 for class c.

    A voxel that one rater gives to several classes counts for the class listed first; `n_overlap` counts such voxels.
    """

    def __init__(self, by_class: Sequence[Sequence[Any]], names: Sequence[str] | None = None) -> None:
        flat = Source([mask for of_class in by_class for mask in of_class])  # checks shapes, chooses one order for all
        self.readers = [BinaryVotes(Source(of_class, names, order=flat.order)) for of_class in by_class]
        self.source = self.readers[0].source
        self.labels = np.arange(len(by_class) + 1)
        self.bits = len(by_class).bit_length()
        self.n_overlap = np.zeros(len(self.source), np.int64)

    @property
    def notes(self) -> list[str]:
        """What was noticed in the masks of any class."""
        return [note for reader in self.readers for note in reader.notes]

    def survey(self) -> None:
        """See `BinaryVotes.survey`."""
        self.n_overlap[:] = 0  # encoding starts again
        for reader in self.readers:
            reader.survey()

    def open(self, planes: slice) -> list[list[NDArray[Any]]]:
        """Return the raters' flat arrays per class for some planes."""
        return [reader.open(planes) for reader in self.readers]

    def votes(self, opened: list[Any], rater: int, chunk: slice) -> NDArray[np.uint8]:
        """Return uint8 label indices of one rater for a slice of the opened block."""
        label = np.zeros(chunk.stop - chunk.start, np.uint8)
        total = np.zeros_like(label)
        # later classes first, so that the class listed first is written last
        for index in reversed(range(len(self.readers))):
            votes = self.readers[index].votes(opened[index], rater, chunk)
            np.copyto(label, np.uint8(index + 1), where=votes.view(bool))
            total += votes
        self.n_overlap[rater] += np.count_nonzero(total > 1)
        return label
