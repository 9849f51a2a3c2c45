"""The region: which voxels take part in a fusion."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.source import Source

REGIONS = ("image", "union", "box")
# a name of REGIONS, or a mask (*spatial), non-zero inside
Region = str | NDArray[Any]
# first and last index per axis
Box = list[tuple[int, int]]


def check_region(region: Region, margin: int, source: Source) -> Region:
    """Return ``region``, or raise InputError unless it is a known name or a mask of the source's shape.

    >>> check_region("union", 10, Source(np.zeros((2, 5, 5))))
    'union'
    """
    if isinstance(region, str):
        if region not in REGIONS:
            raise InputError(f"region must be one of {', '.join(REGIONS)} or a mask, got {region!r}.")
        if region == "box" and (margin < 0 or int(margin) != margin):
            raise InputError(f"margin must be a whole number of voxels >= 0, got {margin!r}.")
        return region
    if tuple(np.shape(region)) != source.shape:
        raise InputError(f"The region's shape must be that of the masks, {source.shape}, got {np.shape(region)}.")
    return region


def inside_region(region: Region | tuple[slice, ...], source: Source, planes: slice) -> NDArray[np.bool_] | None:
    """Return which voxels of some planes lie in the region, flat; None if all do or it needs no voxel's own answer.

    >>> source = Source(np.zeros((2, 4)))
    >>> inside_region((slice(1, 3),), source, slice(0, 4)).tolist()
    [False, True, True, False]
    """
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


def grow(box: Box | None, codes: NDArray[Any], planes: slice, source: Source) -> Box | None:
    """Return per axis the first and last index of a non-zero code, of ``box`` and some further planes.

    >>> grow([(1, 1)], np.array([0, 1]), slice(2, 4), Source(np.zeros((2, 4))))
    [(1, 3)]
    """
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


def with_margin(box: Box | None, margin: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return a box as slices, with so many voxels around it as lie in the volume; empty for no box.

    >>> with_margin([(2, 3)], 1, (9,))
    (slice(1, 5, None),)
    """
    if box is None:
        return tuple(slice(0, 0) for _ in shape)
    return tuple(
        slice(max(0, first - int(margin)), min(size, last + 1 + int(margin)))
        for (first, last), size in zip(box, shape, strict=True)
    )
