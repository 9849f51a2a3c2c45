"""Vote patterns: what all raters said at a voxel, encoded once and counted.

R raters with K labels leave at most K^R distinct patterns, usually far fewer. Every fusion method here depends on a
voxel only through its pattern, so a method is computed on the table of patterns (a few hundred rows) and looked up
per voxel. That is exact, and the only work that grows with the volume is one read of the masks and one write of the
result.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.source import CHUNK_VOXELS, BinaryVotes, LabelVotes, Source, UnexpectedValueError

# patterns of up to so many bits are encoded directly (2^16 counters fit the cache), longer ones through a dictionary
DIRECT_BITS = 16
REGIONS = ("image", "union", "box")


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

    votes: np.ndarray
    counts: np.ndarray
    labels: np.ndarray
    names: list
    shape: tuple
    n_region: int
    n_outside: int
    notes: tuple
    _coder: object = field(repr=False)
    _code_of_pattern: np.ndarray = field(repr=False)
    _region: object = field(repr=False)
    _codes: np.ndarray | None = field(repr=False)

    @property
    def n_raters(self):
        """R."""
        return self.votes.shape[1]

    @property
    def axis(self):
        """The axis along which `slabs` follow each other."""
        return self._coder.source.axis

    def expand(self, values, dtype, *, outside=0):
        """Return the value of each voxel's pattern.

        Args:
            values (ndarray): ``(P,)``, one value per pattern.
            dtype (dtype): Of the result.
            outside (float): Value of voxels outside the region.

        Returns:
            ndarray: ``(*spatial)``, in the memory order of the masks.
        """
        lookup, start_value = self._lookup(values, dtype, outside)
        source = self._coder.source
        flat, shaped = source.empty(dtype, start_value)
        for planes, start, stop in source.blocks():
            self._fill(flat[start:stop], lookup, planes, start, stop, outside)
        return shaped

    def slabs(self, values, dtype, *, outside=0):
        """Yield ``(slice along axis, slab)`` like `expand`, for results that do not fit in memory."""
        lookup, start_value = self._lookup(values, dtype, outside)
        source = self._coder.source
        for planes, start, stop in source.blocks():
            flat = np.full(stop - start, start_value, dtype)
            self._fill(flat, lookup, planes, start, stop, outside)
            shape = list(source.shape)
            shape[source.axis] = planes.stop - planes.start
            yield planes, flat.reshape(shape, order=source.order)

    def _lookup(self, values, dtype, outside):
        lookup = np.full(self._coder.n_codes, outside, dtype)
        lookup[self._code_of_pattern] = values
        return lookup, lookup[0]

    def _fill(self, flat, lookup, planes, start, stop, outside):
        """Write the looked-up values into ``flat``, which already holds the value of code 0."""
        if self._codes is None:
            codes = np.empty(stop - start, self._coder.dtype)
            self._coder.encode(planes, codes)
        else:
            codes = self._codes[start:stop]
        for first in range(0, codes.size, CHUNK_VOXELS):
            part = codes[first : first + CHUNK_VOXELS]
            target = flat[first : first + CHUNK_VOXELS]
            words, index, tail = _nonzero_words(part)
            if index.size * 4 > words.size:
                np.take(lookup, part, out=target, mode="wrap")  # codes are in range; "wrap" skips the check
                continue
            width = 8 // part.itemsize
            body = part.size - tail
            busy = part[:body].reshape(-1, width)[index]
            target[:body].reshape(-1, width)[index] = np.take(lookup, busy, mode="wrap")
            target[body:] = lookup[part[body:]]
        inside = inside_region(self._region, self._coder.source, planes)
        if inside is not None:
            flat[~inside] = outside

    def marginal(self, label):
        """Return the same patterns seen as binary votes for one label index against all others."""
        votes = (self.votes == label).astype(np.uint8)
        return replace(self, votes=votes, labels=np.array([0, 1]))

    def without(self, rater):
        """Return the patterns without one rater's votes; rows may repeat, which changes no result."""
        keep = [index for index in range(self.n_raters) if index != rater]
        return replace(self, votes=self.votes[:, keep], names=[self.names[index] for index in keep])


def _nonzero_words(codes):
    """Return 8-byte words of ``codes``, the indices of those that are not zero, and how many codes are left over."""
    tail = codes.size % (8 // codes.itemsize)
    words = codes[: codes.size - tail].view(np.uint64)
    return words, np.flatnonzero(words), tail


class _DirectCoder:
    """Codes of up to 16 bits: the votes side by side, the first rater highest."""

    def __init__(self, reader):
        self.reader = reader
        self.source = reader.source
        self.total_bits = reader.bits * len(self.source)
        self.n_codes = 1 << self.total_bits
        self.dtype = np.dtype(np.uint8 if self.total_bits <= 8 else np.uint16)

    def encode(self, planes, codes):
        opened = self.reader.open(planes)
        for first in range(0, codes.size, CHUNK_VOXELS):
            chunk = slice(first, min(first + CHUNK_VOXELS, codes.size))
            part = codes[chunk]
            part[:] = self.reader.votes(opened, 0, chunk)
            for rater in range(1, len(self.source)):
                for _ in range(self.reader.bits):
                    np.add(part, part, out=part)
                np.bitwise_or(part, self.reader.votes(opened, rater, chunk), out=part)

    def votes(self, codes):
        shifts = np.arange(len(self.source))[::-1] * self.reader.bits
        return ((codes[:, None] >> shifts) & ((1 << self.reader.bits) - 1)).astype(np.uint8)


class _DictionaryCoder:
    """Codes for longer patterns: running numbers, given out as patterns are first met; 0 is all background."""

    dtype = np.dtype(np.uint32)

    def __init__(self, reader):
        self.reader = reader
        self.source = reader.source
        self.per_word = 64 // reader.bits
        n_words = -(-len(self.source) // self.per_word)
        self.words = [{0: 0} for _ in range(n_words)]
        self.pairs = [{0: 0} for _ in range(n_words - 1)]  # (number so far, number of the next word) -> number

    @property
    def n_codes(self):
        return len(self.pairs[-1] if self.pairs else self.words[-1])

    def encode(self, planes, codes):
        opened = self.reader.open(planes)
        for first in range(0, codes.size, CHUNK_VOXELS):
            chunk = slice(first, min(first + CHUNK_VOXELS, codes.size))
            numbers = None
            for word, table in enumerate(self.words):
                raters = range(word * self.per_word, min((word + 1) * self.per_word, len(self.source)))
                key = np.zeros(chunk.stop - chunk.start, np.uint64)
                for rater in raters:
                    np.left_shift(key, np.uint64(self.reader.bits), out=key)
                    np.bitwise_or(key, self.reader.votes(opened, rater, chunk), out=key)
                key = _number(key, table)
                if numbers is not None:
                    key = _number(numbers << np.uint64(32) | key, self.pairs[word - 1])
                numbers = key
            codes[chunk] = numbers

    def votes(self, codes):
        columns = []
        for word in reversed(range(len(self.words))):
            if word:
                pair = np.fromiter(self.pairs[word - 1], np.uint64, len(self.pairs[word - 1]))[codes]
                codes, number = pair >> np.uint64(32), pair & np.uint64(0xFFFFFFFF)
            else:
                number = codes
            key = np.fromiter(self.words[word], np.uint64, len(self.words[word]))[number]
            n_raters = min((word + 1) * self.per_word, len(self.source)) - word * self.per_word
            shifts = (np.arange(n_raters)[::-1] * self.reader.bits).astype(np.uint64)
            columns.insert(0, (key[:, None] >> shifts) & np.uint64((1 << self.reader.bits) - 1))
        return np.concatenate(columns, axis=1).astype(np.uint8)


def _number(keys, table):
    """Return the running number of each key as uint64; new keys are added to ``table``."""
    numbers = np.zeros(keys.size, np.uint64)
    index = np.flatnonzero(keys)
    distinct, inverse = np.unique(keys[index], return_inverse=True)
    numbers[index] = np.array([table.setdefault(key, len(table)) for key in distinct.tolist()], np.uint64)[inverse]
    return numbers


def encode(reader, *, region="image", margin=10, keep=True):
    """Encode and count the vote patterns.

    Args:
        reader (BinaryVotes, LabelVotes or ClassVotes): The votes.
        region (str or ndarray): ``image``; ``union`` (voxels that any rater marked); ``box`` (their bounding box); or
            a mask ``(*spatial)``, non-zero inside.
        margin (int): Voxels added to each side of ``box``.
        keep (bool): Keep one code per voxel (1, 2 or 4 bytes). False reads the masks again for the result instead.

    Returns:
        Patterns

    Raises:
        InputError: If masks are not binary or the region does not fit.
    """
    region = check_region(region, margin, reader.source)
    try:
        return _encode(reader, region, margin, keep)
    except UnexpectedValueError:
        reader.survey()
        return _encode(reader, region, margin, keep)


def auto_patterns(masks, *, names=None, region="image", margin=10, keep=True):
    """Return the `Patterns` of binary masks, or of label maps if the values are other whole numbers."""
    source = Source(masks, names)
    region = check_region(region, margin, source)
    reader = BinaryVotes(source)
    try:
        return _encode(reader, region, margin, keep)
    except UnexpectedValueError:
        if reader.survey(allow_labels=True):
            return _encode(reader, region, margin, keep)
    return encode(LabelVotes(source), region=region, margin=margin, keep=keep)


def _encode(reader, region, margin, keep):
    source = reader.source
    coder = (_DirectCoder if reader.bits * len(source) <= DIRECT_BITS else _DictionaryCoder)(reader)
    stored = np.empty(source.n_voxels, coder.dtype) if keep else None
    counts = np.zeros(0, np.int64)
    counts_outside = np.zeros(0, np.int64)
    box = None
    for planes, start, stop in source.blocks():
        codes = stored[start:stop] if keep else np.empty(stop - start, coder.dtype)
        coder.encode(planes, codes)
        inside = inside_region(region, source, planes)
        if inside is None:
            counts = _add(counts, _count(codes, coder.n_codes))
        else:
            counts = _add(counts, _count(codes[inside], coder.n_codes))
            counts_outside = _add(counts_outside, _count(codes[~inside], coder.n_codes))
        if isinstance(region, str) and region == "box":
            box = _grow(box, codes, planes, source)
    counts = _add(np.zeros(coder.n_codes, np.int64), counts)
    if isinstance(region, str) and region != "image":
        if region == "box":
            region = _with_margin(box, margin, source.shape)
            in_box = int(np.prod([part.stop - part.start for part in region], dtype=np.int64))
            counts[0] = in_box - counts[1:].sum()
        else:
            counts[0] = 0
    codes = np.flatnonzero(counts)
    votes = coder.votes(codes)
    # one order of rows whatever the order in which patterns were met, so that sums round the same way
    rows = np.lexsort(votes.T[::-1])
    used = np.union1d([0], votes).astype(np.intp)
    # there are always two labels: binary masks keep theirs, and all-empty label maps could have held a 1
    labels = reader.labels[used] if used.size > 1 else np.array([0, 1])
    n_outside = 0
    if counts_outside.any():
        outside = np.flatnonzero(counts_outside)
        n_outside = int(((coder.votes(outside) > 0).sum(axis=1) * counts_outside[outside]).sum())
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
        _region=region,
        _codes=stored,
    )


def _count(codes, n_codes):
    counts = np.zeros(n_codes, np.int64)
    for first in range(0, codes.size, CHUNK_VOXELS):
        part = codes[first : first + CHUNK_VOXELS]
        words, index, tail = _nonzero_words(part)
        if index.size * 4 > words.size:
            counts += np.bincount(part, minlength=n_codes)
            continue
        width = 8 // part.itemsize
        body = part.size - tail
        busy = part[:body].reshape(-1, width)[index].reshape(-1)
        counts += np.bincount(busy, minlength=n_codes) + np.bincount(part[body:], minlength=n_codes)
        counts[0] += body - busy.size
    return counts


def _add(left, right):
    """Add two vectors of counts; the shorter one is filled up with zeros (dictionaries grow)."""
    total = np.zeros(max(left.size, right.size), np.int64)
    total[: left.size] += left
    total[: right.size] += right
    return total


def check_region(region, margin, source):
    """Return ``region``, or raise InputError unless it is a known name or a mask of the source's shape."""
    if isinstance(region, str):
        if region not in REGIONS:
            raise InputError(f"region must be one of {', '.join(REGIONS)} or a mask, got {region!r}.")
        if region == "box" and (margin < 0 or int(margin) != margin):
            raise InputError(f"margin must be a whole number of voxels >= 0, got {margin!r}.")
        return region
    if tuple(np.shape(region)) != source.shape:
        raise InputError(f"The region's shape must be that of the masks, {source.shape}, got {np.shape(region)}.")
    return region


def inside_region(region, source, planes):
    """Return which voxels of some planes lie in the region, flat; None if all do or it needs no voxel's own answer."""
    if isinstance(region, str):
        return None
    if isinstance(region, tuple):
        shape = list(source.shape)
        shape[source.axis] = planes.stop - planes.start
        inside = np.zeros(shape, bool, order=source.order)
        along = region[source.axis]
        box = list(region)
        box[source.axis] = slice(max(along.start - planes.start, 0), max(along.stop - planes.start, 0))
        inside[tuple(box)] = True
        return inside.reshape(-1, order=source.order)
    values = source.read(region, planes)
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise InputError("The region must say of every voxel whether it belongs to it, got NaN. Write it as 0 and 1.")
    return values != 0


def _grow(box, codes, planes, source):
    """Return per axis the first and last index of a non-zero code, of ``box`` and some further planes."""
    shape = list(source.shape)
    shape[source.axis] = planes.stop - planes.start
    marked = codes.reshape(shape, order=source.order) != 0
    if not marked.any():
        return box
    bounds = []
    for axis in range(marked.ndim):
        hits = np.flatnonzero(marked.any(axis=tuple(other for other in range(marked.ndim) if other != axis)))
        offset = planes.start if axis == source.axis else 0
        bounds.append((int(hits[0]) + offset, int(hits[-1]) + offset))
    if box is None:
        return bounds
    return [(min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(box, bounds, strict=True)]


def _with_margin(box, margin, shape):
    if box is None:
        return tuple(slice(0, 0) for _ in shape)
    return tuple(
        slice(max(0, first - int(margin)), min(size, last + 1 + int(margin)))
        for (first, last), size in zip(box, shape, strict=True)
    )


def binary_patterns(masks, *, names=None, region="image", margin=10, keep=True):
    """Return the `Patterns` of binary masks; see `encode` for the arguments."""
    return encode(BinaryVotes(Source(masks, names)), region=region, margin=margin, keep=keep)


def label_patterns(masks, *, names=None, region="image", margin=10, keep=True):
    """Return the `Patterns` of integer label maps; see `encode` for the arguments."""
    return encode(LabelVotes(Source(masks, names)), region=region, margin=margin, keep=keep)
