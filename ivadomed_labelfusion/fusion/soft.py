"""Fusing soft masks, which have no vote patterns: read block by block, as often as a method asks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.coding import BINARY, SOFT, coding_note
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.patterns import Patterns
from ivadomed_labelfusion.fusion.region import Region, check_region, inside_region
from ivadomed_labelfusion.fusion.result import Consensus, as_float32
from ivadomed_labelfusion.fusion.source import CHUNK_VOXELS, Masks, Source, coding_of_mask

# a method at single voxels: values (R, n) in [0, 1] to the consensus (n,), both float64
Voxelwise = Callable[[NDArray[np.float64]], NDArray[np.float64]]
# what methods that iterate go through, as often as they ask: values (R, n) and the number of voxels with them (n,)
Rows = Callable[[], Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]]]


def is_soft(masks: Masks, names: Sequence[str] | None = None) -> bool:
    """Return whether a float mask holds soft values, i.e. values between 0 and 1 that are no rounding of these.

    >>> is_soft([[0.0, 0.3], [0.0, 1.0]]), is_soft([[0, 255], [0, 0]])
    (True, False)
    """
    source = Source(masks, names)
    for index, mask in enumerate(source.masks):
        if np.dtype(getattr(mask, "dtype", np.float64)).kind != "f" or not _has_fractions(source, mask):
            continue
        if coding_of_mask(source, index).kind == SOFT:
            return True
    return False


def _has_fractions(source: Source, mask: Any) -> bool:
    for planes, _, _ in source.blocks():
        values = source.read(mask, planes)
        if ((values > 0) & (values < 1)).any():
            return True
    return False


class SoftMasks:
    """Soft masks, read block by block; in the place of `Patterns`.

    Attributes:
        names (list of str): The raters' names.
        labels (ndarray): ``(2,)``, background and foreground.
        axis (int): The axis along which `slabs` follow each other.
        shape (tuple): Spatial shape.
        n_outside (int): 0: no votes are counted.
        notes (tuple of str): What was noticed in the masks.

    >>> [part.tolist() for _, part in SoftMasks([[0.5, 1.0], [0.0, 1.0]]).slabs(lambda values: values.max(axis=0))]
    [[0.5, 1.0]]
    """

    n_outside = 0

    def __init__(
        self,
        masks: Masks,
        *,
        region: Region = "image",
        margin: int = 10,
        names: Sequence[str] | None = None,
    ) -> None:
        self._source = source = Source(masks, names)
        self._region = check_region(region, margin, source)
        if isinstance(region, str) and region != "image":
            raise InputError(f"region must be image or a mask for soft masks, got {region!r}: they have no outline.")
        self._codings = [coding_of_mask(source, index) for index in range(len(source))]
        for coding, name in zip(self._codings, source.names, strict=True):
            if coding.kind not in (BINARY, SOFT):
                raise InputError(
                    f"Soft masks must lie in [0, 1], {name} spans {coding.low:g} to {coding.high:g}. "
                    "Divide it by its maximum, or threshold it."
                )
        note = coding_note(dict(zip(source.names, self._codings, strict=True)))
        self.notes = (note,) if note else ()
        self.names = source.names
        self.labels = np.array([0, 1])
        self.axis = source.axis
        self.shape = source.shape
        self.n_raters = len(source)

    def rows(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield ``(values (R, n), counts (n,))`` of the voxels in the region, chunk by chunk, float64.

        Voxels where every rater has 0 come last, as one column with their number.

        >>> [(values.tolist(), n.tolist()) for values, n in SoftMasks([[0.5, 0, 0], [0, 0, 0]]).rows()]
        [([[0.5], [0.0]], [1.0]), ([[0.0], [0.0]], [2.0])]
        """
        empty = 0
        for planes, _, _ in self._source.blocks():
            inside = inside_region(self._region, self._source, planes)
            for chunk, values in self._chunks(planes):
                if inside is not None:
                    values = values[:, inside[chunk]]
                marked = values.any(axis=0)
                empty += marked.size - np.count_nonzero(marked)
                if marked.any():
                    yield values[:, marked], np.ones(np.count_nonzero(marked))
        if empty:
            yield np.zeros((self.n_raters, 1)), np.array([float(empty)])

    def slabs(self, fused: Voxelwise) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield ``(slice along axis, slab)`` of ``fused(values)``, float32, 0 outside the region."""
        source = self._source
        for planes, start, stop in source.blocks():
            flat = np.zeros(stop - start, np.float32)
            for chunk, values in self._chunks(planes):
                flat[chunk] = as_float32(fused(values))
            inside = inside_region(self._region, source, planes)
            if inside is not None:
                flat[~inside] = 0
            shape = list(source.shape)
            shape[self.axis] = planes.stop - planes.start
            yield planes, flat.reshape(shape, order=source.order)

    def _chunks(self, planes: slice) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield ``(slice of the flat planes, values (R, n))``."""
        opened = [self._source.read(mask, planes) for mask in self._source.masks]
        for first in range(0, opened[0].size, CHUNK_VOXELS):
            chunk = slice(first, min(first + CHUNK_VOXELS, opened[0].size))
            parts = [coding.soft(mask[chunk]) for mask, coding in zip(opened, self._codings, strict=True)]
            yield chunk, np.stack(parts).astype(np.float64)

    def empty(self, dtype: Any) -> NDArray[Any]:
        """Return a new volume in the memory order of the masks."""
        return self._source.empty(dtype)[1]


class SoftConsensus(Consensus):
    """The consensus of soft masks: a `Consensus` whose values are computed voxel by voxel.

    >>> result = SoftConsensus(SoftMasks([[0.5, 1.0], [0.0, 1.0]]), lambda values: values.mean(axis=0))
    >>> result.posterior.tolist(), result.labels().tolist(), result.volume()
    ([0.25, 1.0], [0, 1], 1)
    """

    has_votes: ClassVar[bool] = False
    is_multilabel = False

    def __init__(self, masks: SoftMasks, fused: Voxelwise, **findings: Any) -> None:
        """Take the method at single voxels, and what else it found out by the names of `Consensus`."""
        nothing = np.zeros(0)
        # has the names, labels, axis, shape and notes of patterns, which are all that is asked for without votes
        super().__init__(cast(Patterns, masks), nothing, nothing, **findings)
        self._masks, self._fused = masks, fused

    def labels(self) -> NDArray[np.uint8]:
        """Return where the posterior is above 0.5, ``(*spatial)`` uint8."""
        return (self.posterior > 0.5).astype(np.uint8)

    @cached_property
    def posterior(self) -> NDArray[np.float32]:
        """The consensus, ``(*spatial)`` float32 in [0, 1], 0 outside the region."""
        posterior = self._masks.empty(np.float32)
        for planes, slab in self.posterior_slabs():
            posterior[(slice(None),) * self.axis + (planes,)] = slab
        return posterior

    def label_slabs(self) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
        """Yield ``(slice along axis, slab)`` of `labels`."""
        for planes, slab in self.posterior_slabs():
            yield planes, (slab > 0.5).astype(np.uint8)

    def posterior_slabs(self, label: int = 1) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield ``(slice along axis, slab)`` of `posterior`, or of what is left to 1 for ``label`` 0."""
        for planes, slab in self._masks.slabs(self._fused):
            yield planes, slab if label else 1 - slab

    def volume(self, label: int = 1) -> int:
        """Return the voxels of one label index in `labels`."""
        return sum(int(np.count_nonzero(slab == label)) for _, slab in self.label_slabs())
