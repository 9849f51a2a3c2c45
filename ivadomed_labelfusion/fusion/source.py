"""Reading raters' masks block by block, whatever their dtype, memory order or coding."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ivadomed_labelfusion.coding import Coding, coding_of
from ivadomed_labelfusion.errors import InputError

# (R, *spatial): one array, or one array-like per rater with shape and slices (memory maps, nibabel's dataobj)
Masks = NDArray[Any] | Sequence[Any]
# voxels handled at once: a chunk of votes and codes stays in the second-level cache of any recent CPU
CHUNK_VOXELS = 1 << 17
# voxels asked from a mask at once: bounds the memory of masks that are read from disk or converted
SLAB_VOXELS = 1 << 22


# of memory: blocks run along the first axis (C) or the last one (F)
Order = Literal["C", "F"]


class UnexpectedValueError(Exception):
    """A mask holds other values than the reader takes: the rater's index. The reader's ``survey`` says what to do."""


def as_list(masks: Masks, names: Sequence[str] | None = None) -> tuple[list[Any], list[str]]:
    """Return masks as a list of R arrays of one shape, and a name for each.

    Args:
        masks (ndarray or sequence): ``(R, *spatial)``, or R arrays (or array-likes with ``shape`` that can be sliced,
            such as memory maps and nibabel's ``dataobj``) of shape ``(*spatial)``.
        names (sequence of str): Raters' names for messages; None takes ``rater 1``, ``rater 2``, ...

    Returns:
        tuple: ``(masks, names)``, two lists of length R.

    Raises:
        InputError: If there is no mask, a mask has no axes, or the shapes differ.

    >>> as_list([[0, 1], [1, 1]])[1]
    ['rater 1', 'rater 2']
    """
    masks = [mask if hasattr(mask, "shape") else np.asarray(mask) for mask in masks]
    if not masks:
        raise InputError("Fusion needs at least one mask, got none.")
    names = [f"rater {index + 1}" for index in range(len(masks))] if names is None else [str(name) for name in names]
    if len(names) != len(masks):
        raise InputError(f"There must be one name per mask, got {len(names)} names for {len(masks)} masks.")
    for mask, name in zip(masks, names, strict=True):
        if len(mask.shape) == 0:
            raise InputError(f"Masks must be (raters, *spatial) with at least one spatial axis, {name} is one number.")
        if tuple(mask.shape) != tuple(masks[0].shape):
            raise InputError(
                "The masks of all raters must have one shape: "
                f"{names[0]} has {tuple(masks[0].shape)}, {name} has {tuple(mask.shape)}. Resample one onto the other."
            )
    return masks, names


def check_weights(weights: ArrayLike | None, n_raters: int) -> NDArray[np.float64]:
    """Return the raters' weights as ``(R,)`` float64; None gives ones.

    Raises:
        InputError: Unless there is one finite weight >= 0 per rater and one of them is positive.

    >>> check_weights(None, 3).tolist()
    [1.0, 1.0, 1.0]
    """
    if weights is None:
        return np.ones(n_raters)
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (n_raters,) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise InputError(
            f"weights must be {n_raters} numbers >= 0 (one per rater), not all zero, got {weights.tolist()}."
        )
    return weights


class Source:
    """R raters' masks, read in blocks of whole planes in the order in which they lie in memory.

    Attributes:
        shape (tuple): Spatial shape.
        order (str): ``C`` or ``F``: blocks run along the first or the last axis.
        names (list of str): One per rater.
    """

    def __init__(self, masks: Masks, names: Sequence[str] | None = None, *, order: Order | None = None) -> None:
        self.masks, self.names = as_list(masks, names)
        self.shape = tuple(int(size) for size in self.masks[0].shape)
        self.order: Order = order or ("F" if all(_is_fortran(mask) for mask in self.masks) else "C")
        self.n_voxels = int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def axis(self) -> int:
        """The axis along which blocks follow each other."""
        return 0 if self.order == "C" else len(self.shape) - 1

    def blocks(self) -> Iterator[tuple[slice, int, int]]:
        """Yield ``(planes, start, stop)``: a slice along `axis` and the range of flat voxels it covers."""
        if self.n_voxels == 0:
            return
        plane = self.n_voxels // self.shape[self.axis]
        step = max(1, SLAB_VOXELS // plane)
        for first in range(0, self.shape[self.axis], step):
            last = min(first + step, self.shape[self.axis])
            yield slice(first, last), first * plane, last * plane

    def read(self, array: Any, planes: slice) -> NDArray[Any]:
        """Return some planes of an array of this source's shape as a flat ndarray, a view where possible."""
        part = array[planes] if self.order == "C" else array[..., planes]
        return np.asarray(part).reshape(-1, order=self.order)

    def empty(self, dtype: DTypeLike, fill: Any = 0) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return ``(flat, shaped)``: one new array seen flat in this source's order, and in its spatial shape."""
        flat = np.zeros(self.n_voxels, dtype) if fill == 0 else np.full(self.n_voxels, fill, dtype)
        return flat, flat.reshape(self.shape, order=self.order)


def _is_fortran(mask: Any) -> bool:
    """Whether reading ``mask`` along its last axis is the natural order."""
    if isinstance(mask, np.ndarray):
        return mask.flags.f_contiguous and not mask.flags.c_contiguous
    return getattr(mask, "order", "C") == "F"


def coding_of_mask(source: Source, index: int) -> Coding:
    """Return the `Coding` of one mask of a source.

    >>> coding_of_mask(Source([[0, 1], [0, 255]]), 1).foreground
    255.0
    """
    mask = source.masks[index]
    return coding_of(lambda: (source.read(mask, planes) for planes, _, _ in source.blocks()), source.names[index])
