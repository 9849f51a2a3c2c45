"""Vote patterns: what all raters said at a voxel, encoded once and counted.

R raters with K labels leave at most K^R distinct patterns, usually far fewer. Every fusion method here depends on a
voxel only through its pattern, so a method is computed on the table of patterns (a few hundred rows) and looked up
per voxel. That is exact, and the only work that grows with the volume is one read of the masks and one write of the
result.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ivadomed_labelfusion.fusion.coders import DictionaryCoder, DirectCoder, VoteReader, add, count, look_up
from ivadomed_labelfusion.fusion.region import Box, Region, check_region, grow, inside_region, with_margin
from ivadomed_labelfusion.fusion.source import Masks, Source, UnexpectedValueError
from ivadomed_labelfusion.fusion.votes import BinaryVotes, LabelVotes

# patterns of up to so many bits are encoded directly (2^16 counters fit the cache), longer ones through a dictionary
DIRECT_BITS = 16


@dataclass(frozen=True, eq=False)
class Patterns:
    """The distinct vote patterns of a set of masks.

    Attributes:
        votes (ndarray): ``(P, R)`` uint8, the label index every rater gave in each pattern; sorted by row.
        counts (ndarray): ``(P,)`` int64, voxels of the region that show the pattern.
        labels (ndarray): ``(K,)`` label values that occur, 0 always first; at least two.
        names (list of str): The raters' names.
        shape (tuple): Spatial shape of the masks.
        n_region (int): Voxels in the region.
        n_outside (int): Votes for foreground outside the region; they do not count.
        notes (tuple of str): What was noticed in the masks.
    """

    votes: NDArray[np.uint8]
    counts: NDArray[np.int64]
    labels: NDArray[Any]
    names: list[str]
    shape: tuple[int, ...]
    n_region: int
    n_outside: int
    notes: tuple[str, ...]
    _coder: DirectCoder | DictionaryCoder = field(repr=False)
    _code_of_pattern: NDArray[np.intp] = field(repr=False)
    _region: Region | tuple[slice, ...] = field(repr=False)
    _codes: NDArray[Any] | None = field(repr=False)

    @property
    def n_raters(self) -> int:
        """R."""
        return self.votes.shape[1]

    @property
    def axis(self) -> int:
        """The axis along which `slabs` follow each other."""
        return self._coder.source.axis

    def expand(self, values: NDArray[Any], dtype: DTypeLike, *, outside: float = 0) -> NDArray[Any]:
        """Return the value of each voxel's pattern.

        Args:
            values (ndarray): ``(P,)``, one value per pattern.
            dtype (dtype): Of the result.
            outside (float): Value of voxels outside the region.

        Returns:
            ndarray: ``(*spatial)``, in the memory order of the masks.

        >>> patterns = binary_patterns([[0, 1, 1, 0], [0, 1, 0, 0]])
        >>> patterns.votes.tolist()
        [[0, 0], [1, 0], [1, 1]]
        >>> patterns.expand(np.array([7, 8, 9]), np.uint8).tolist()
        [7, 9, 8, 7]
        """
        lookup, start_value = self._lookup(values, dtype, outside)
        source = self._coder.source
        flat, shaped = source.empty(dtype, start_value)
        for planes, start, stop in source.blocks():
            self._fill(flat[start:stop], lookup, planes, start, stop, outside)
        return shaped

    def slabs(
        self, values: NDArray[Any], dtype: DTypeLike, *, outside: float = 0
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield ``(slice along axis, slab)`` like `expand`, for results that do not fit in memory."""
        lookup, start_value = self._lookup(values, dtype, outside)
        source = self._coder.source
        for planes, start, stop in source.blocks():
            flat = np.full(stop - start, start_value, dtype)
            self._fill(flat, lookup, planes, start, stop, outside)
            shape = list(source.shape)
            shape[source.axis] = planes.stop - planes.start
            yield planes, flat.reshape(shape, order=source.order)

    def _lookup(self, values: NDArray[Any], dtype: DTypeLike, outside: float) -> tuple[NDArray[Any], Any]:
        lookup = np.full(self._coder.n_codes, outside, dtype)
        lookup[self._code_of_pattern] = values
        return lookup, lookup[0]

    def _fill(
        self, flat: NDArray[Any], lookup: NDArray[Any], planes: slice, start: int, stop: int, outside: float
    ) -> None:
        """Write the looked-up values into ``flat``, which already holds the value of code 0."""
        if self._codes is None:
            codes = np.empty(stop - start, self._coder.dtype)
            self._coder.encode(planes, codes)
        else:
            codes = self._codes[start:stop]
        look_up(codes, lookup, flat)
        inside = inside_region(self._region, self._coder.source, planes)
        if inside is not None:
            flat[~inside] = outside

    def marginal(self, label: int) -> "Patterns":
        """Return the same patterns seen as binary votes for one label index against all others.

        >>> label_patterns([[0, 1, 2], [0, 2, 2]]).marginal(2).votes.tolist()
        [[0, 0], [0, 1], [1, 1]]
        """
        votes = (self.votes == label).astype(np.uint8)
        return replace(self, votes=votes, labels=np.array([0, 1]))

    def without(self, rater: int) -> "Patterns":
        """Return the patterns without one rater's votes; rows may repeat, which changes no result.

        >>> binary_patterns([[0, 1, 1], [0, 1, 0]]).without(1).names
        ['rater 1']
        """
        keep = [index for index in range(self.n_raters) if index != rater]
        return replace(self, votes=self.votes[:, keep], names=[self.names[index] for index in keep])

    def recoded(self, maps: list[NDArray[Any]]) -> "Patterns":
        """Return the patterns of other maps of whole numbers >= 0 of the same raters, in the same region.

        >>> patterns = binary_patterns([[0, 1, 1], [0, 1, 0]])
        >>> patterns.recoded([np.array([2, 1, 1]), np.array([0, 1, 2])]).votes.tolist()
        [[1, 1], [1, 2], [2, 0]]
        """
        source = Source(maps, self.names, order=self._coder.source.order)
        return _surveyed(LabelVotes(source), self._region, 0, self._codes is not None)


def encode(reader: VoteReader, *, region: Region = "image", margin: int = 10, keep_codes: bool = True) -> Patterns:
    """Encode and count the vote patterns.

    Args:
        reader (BinaryVotes, LabelVotes or ClassVotes): The votes.
        region (str or ndarray): ``image``; ``union`` (voxels that any rater marked); ``box`` (their bounding box); or
            a mask ``(*spatial)``, non-zero inside.
        margin (int): Voxels added to each side of ``box``.
        keep_codes (bool): Keep one code per voxel (1, 2 or 4 bytes). False reads the masks again for the result.

    Returns:
        Patterns

    Raises:
        InputError: If masks are not binary or the region does not fit.

    >>> encode(BinaryVotes(Source([[0, 1, 1], [0, 1, 0]]))).counts.tolist()
    [1, 1, 1]
    """
    return _surveyed(reader, check_region(region, margin, reader.source), margin, keep_codes)


def _surveyed(reader: VoteReader, region: Region | tuple[slice, ...], margin: int, keep_codes: bool) -> Patterns:
    """Encode, after a look at all values if they are other than the reader assumes."""
    try:
        return _encode(reader, region, margin, keep_codes)
    except UnexpectedValueError:
        reader.survey()
        return _encode(reader, region, margin, keep_codes)


class Reading(TypedDict, total=False):
    """How masks are read, by every function that takes masks.

    Attributes:
        names (sequence of str): Raters' names, for messages and reports.
        region (str or ndarray): Voxels that take part; the result is 0 elsewhere. ``image``: all of them. ``union``:
            those that any rater marked. ``box``: the bounding box of these and ``margin`` voxels. Or a mask
            ``(*spatial)``. The more background takes part, the higher all specificities and the larger the consensus.
        margin (int): Voxels around ``box``, 10 if not given.
        keep_codes (bool): Keep one code (1-4 bytes) per voxel. False reads the masks a second time for the result.
    """

    names: Sequence[str] | None
    region: Region
    margin: int
    keep_codes: bool


def auto_patterns(
    masks: Masks,
    *,
    names: Sequence[str] | None = None,
    region: Region = "image",
    margin: int = 10,
    keep_codes: bool = True,
) -> Patterns:
    """Return the `Patterns` of binary masks, or of label maps if the values are other whole numbers.

    >>> auto_patterns([[0, 1, 2], [0, 2, 2]]).labels.tolist()
    [0, 1, 2]
    """
    source = Source(masks, names)
    region = check_region(region, margin, source)
    reader = BinaryVotes(source)
    try:
        return _encode(reader, region, margin, keep_codes)
    except UnexpectedValueError:
        if reader.survey(allow_labels=True):
            return _encode(reader, region, margin, keep_codes)
    return encode(LabelVotes(source), region=region, margin=margin, keep_codes=keep_codes)


def _encode(reader: VoteReader, region: Region | tuple[slice, ...], margin: int, keep_codes: bool) -> Patterns:
    source = reader.source
    coder = (DirectCoder if reader.bits * len(source) <= DIRECT_BITS else DictionaryCoder)(reader)
    stored = np.empty(source.n_voxels, coder.dtype) if keep_codes else None
    counts, outside, box = _count_all(coder, region, stored)
    counted: Region | tuple[slice, ...] = region
    if isinstance(region, str) and region == "box":
        counted = with_margin(box, margin, source.shape)
        in_box = int(np.prod([part.stop - part.start for part in counted], dtype=np.int64))
        counts[0] = in_box - counts[1:].sum()
    elif isinstance(region, str) and region == "union":
        counts[0] = 0
    codes = np.flatnonzero(counts)
    votes = coder.votes(codes)
    # one order of rows whatever the order in which patterns were met, so that sums round the same way
    rows = np.lexsort(votes.T[::-1])
    used = np.union1d([0], votes).astype(np.intp)
    # there are always two labels: binary masks keep theirs, and all-empty label maps could have held a 1
    labels = reader.labels[used] if used.size > 1 else np.array([0, 1])
    n_outside = 0
    if outside.any():
        codes_outside = np.flatnonzero(outside)
        n_outside = int(((coder.votes(codes_outside) > 0).sum(axis=1) * outside[codes_outside]).sum())
    return Patterns(
        votes=np.searchsorted(used, votes[rows]).astype(np.uint8),
        counts=counts[codes][rows],
        labels=labels,
        names=source.names,
        shape=source.shape,
        n_region=int(counts.sum()),
        n_outside=n_outside,
        notes=tuple(reader.notes),
        _coder=coder,
        _code_of_pattern=codes[rows],
        _region=counted,
        _codes=stored,
    )


def _count_all(
    coder: DirectCoder | DictionaryCoder, region: Region | tuple[slice, ...], stored: NDArray[Any] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], Box | None]:
    """Encode all voxels, into ``stored`` if given; return counts of codes in and outside of the region, and the box."""
    source = coder.source
    counts = np.zeros(0, np.int64)
    counts_outside = np.zeros(0, np.int64)
    box: Box | None = None
    for planes, start, stop in source.blocks():
        codes = np.empty(stop - start, coder.dtype) if stored is None else stored[start:stop]
        coder.encode(planes, codes)
        inside = inside_region(region, source, planes)
        if inside is None:
            counts = add(counts, count(codes, coder.n_codes))
        else:
            counts = add(counts, count(codes[inside], coder.n_codes))
            counts_outside = add(counts_outside, count(codes[~inside], coder.n_codes))
        if isinstance(region, str) and region == "box":
            box = grow(box, codes, planes, source)
    return add(np.zeros(coder.n_codes, np.int64), counts), counts_outside, box


def binary_patterns(masks: Masks, *, names: Sequence[str] | None = None, **reading: Any) -> Patterns:
    """Return the `Patterns` of binary masks; see `encode` for the other arguments.

    >>> binary_patterns([[0, 1, 1], [0, 1, 0]]).votes.tolist()
    [[0, 0], [1, 0], [1, 1]]
    """
    return encode(BinaryVotes(Source(masks, names)), **reading)


def label_patterns(masks: Masks, *, names: Sequence[str] | None = None, **reading: Any) -> Patterns:
    """Return the `Patterns` of integer label maps; see `encode` for the other arguments.

    >>> label_patterns([[0, 1, 7], [0, 7, 7]]).labels.tolist()
    [0, 1, 7]
    """
    return encode(LabelVotes(Source(masks, names)), **reading)
