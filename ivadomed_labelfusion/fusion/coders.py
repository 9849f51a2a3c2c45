"""Codes of vote patterns, one small number per voxel, and the work that every voxel costs: write, count, look up."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.fusion.source import CHUNK_VOXELS, Source


def _nonzero_words(codes: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.intp], int]:
    """Return 8-byte words of ``codes``, the indices of those that are not zero, and how many codes are left over."""
    tail = codes.size % (8 // codes.itemsize)
    words = codes[: codes.size - tail].view(np.uint64)
    return words, np.flatnonzero(words), tail


class VoteReader(Protocol):
    """Turns blocks of masks into votes; see `votes`."""

    source: Source
    labels: NDArray[Any]
    bits: int

    @property
    def notes(self) -> Sequence[str]:
        """What was noticed in the masks."""
        ...

    def open(self, planes: slice) -> list[Any]:
        """Return what `votes` reads some planes from."""
        ...

    def votes(self, opened: list[Any], rater: int, chunk: slice) -> NDArray[np.uint8]:
        """Return the label indices of one rater for a slice of the opened block."""
        ...

    def survey(self) -> object:
        """Look at every value, after one that was not expected."""
        ...


class DirectCoder:
    """Codes of up to 16 bits: the votes side by side, the first rater highest."""

    def __init__(self, reader: VoteReader) -> None:
        self.reader = reader
        self.source = reader.source
        self.total_bits = reader.bits * len(self.source)
        self.n_codes = 1 << self.total_bits
        self.dtype = np.dtype(np.uint8 if self.total_bits <= 8 else np.uint16)

    def encode(self, planes: slice, codes: NDArray[Any]) -> None:
        """Write the code of each voxel of some planes into ``codes``."""
        opened = self.reader.open(planes)
        for first in range(0, codes.size, CHUNK_VOXELS):
            chunk = slice(first, min(first + CHUNK_VOXELS, codes.size))
            part = codes[chunk]
            part[:] = self.reader.votes(opened, 0, chunk)
            for rater in range(1, len(self.source)):
                for _ in range(self.reader.bits):
                    np.add(part, part, out=part)
                np.bitwise_or(part, self.reader.votes(opened, rater, chunk), out=part)

    def votes(self, codes: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the votes ``(n, R)`` that codes stand for."""
        shifts = np.arange(len(self.source))[::-1] * self.reader.bits
        return ((codes[:, None] >> shifts) & ((1 << self.reader.bits) - 1)).astype(np.uint8)


class DictionaryCoder:
    """Codes for longer patterns: running numbers, given out as patterns are first met; 0 is all background."""

    dtype = np.dtype(np.uint32)

    def __init__(self, reader: VoteReader) -> None:
        self.reader = reader
        self.source = reader.source
        self.per_word = 64 // reader.bits
        n_words = -(-len(self.source) // self.per_word)
        self.words: list[dict[int, int]] = [{0: 0} for _ in range(n_words)]
        # (number so far, number of the next word) -> number
        self.pairs: list[dict[int, int]] = [{0: 0} for _ in range(n_words - 1)]

    @property
    def n_codes(self) -> int:
        """Codes given out so far."""
        return len(self.pairs[-1] if self.pairs else self.words[-1])

    def encode(self, planes: slice, codes: NDArray[Any]) -> None:
        """Write the code of each voxel of some planes into ``codes``."""
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

    def votes(self, codes: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the votes ``(n, R)`` that codes stand for."""
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


def _number(keys: NDArray[np.uint64], table: dict[int, int]) -> NDArray[np.uint64]:
    """Return the running number of each key as uint64; new keys are added to ``table``."""
    numbers = np.zeros(keys.size, np.uint64)
    index = np.flatnonzero(keys)
    distinct, inverse = np.unique(keys[index], return_inverse=True)
    numbers[index] = np.array([table.setdefault(key, len(table)) for key in distinct.tolist()], np.uint64)[inverse]
    return numbers


def count(codes: NDArray[Any], n_codes: int) -> NDArray[np.int64]:
    """Return how often each code occurs, ``(n_codes,)``.

    >>> count(np.array([0, 2, 2, 1], np.uint8), 4).tolist()
    [1, 1, 2, 0]
    """
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


def add(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add two vectors of counts; the shorter one is filled up with zeros (dictionaries grow).

    >>> add(np.array([1, 2]), np.array([3])).tolist()
    [4, 2]
    """
    total = np.zeros(max(left.size, right.size), np.int64)
    total[: left.size] += left
    total[: right.size] += right
    return total


def look_up(codes: NDArray[Any], table: NDArray[Any], target: NDArray[Any]) -> None:
    """Write ``table[codes]`` into ``target``, which already holds ``table[0]`` everywhere.

    >>> target = np.full(4, 5)
    >>> look_up(np.array([0, 1, 0, 2], np.uint8), np.array([5, 6, 7]), target)
    >>> target.tolist()
    [5, 6, 5, 7]
    """
    for first in range(0, codes.size, CHUNK_VOXELS):
        part = codes[first : first + CHUNK_VOXELS]
        found = target[first : first + CHUNK_VOXELS]
        words, index, tail = _nonzero_words(part)
        if index.size * 4 > words.size:
            np.take(table, part, out=found, mode="wrap")  # codes are in range; "wrap" skips the check
            continue
        width = 8 // part.itemsize
        body = part.size - tail
        busy = part[:body].reshape(-1, width)[index]
        found[:body].reshape(-1, width)[index] = np.take(table, busy, mode="wrap")
        found[body:] = table[part[body:]]
