"""One slice of a volume with outlined masks, and which slices to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.plots.style import _STYLE, COLORS_ON_IMAGE, OVERLAY_COLORMAP

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.image import AxesImage


@dataclass(frozen=True)
class SliceView:
    """One slice for the picture, cut out around the masks.

    Attributes:
        index: Number of the slice along ``axis`` of the volume.
        axis: Axis that was cut.
        spacing_mm: Voxel size of the two axes shown.
        image: ``(a, b)``.
        raters: ``(R, C, a, b)``.
        average, reference, prediction: ``(C, a, b)``.
    """

    index: int
    axis: int
    spacing_mm: tuple[float, ...]
    image: NDArray | None
    raters: NDArray
    average: NDArray
    reference: NDArray
    prediction: NDArray


def most_disagreement_slices(average: ArrayLike, n: int, axis: int = -1, *, min_gap: int | None = None) -> list[int]:
    """Choose the slices on which the raters disagree most.

    Disagreement of a slice is the sum over its voxels (and classes) of a(1 - a): the variance of the raters' votes.

    Args:
        average: Raters' mean in [0, 1], ``(*spatial)`` of two or more dimensions.
        n: How many slices at most.
        axis: The axis that slices are counted along.
        min_gap: Chosen slices are at least this many apart, so that they show different places. None takes a
            twentieth of the axis.

    Returns:
        list of int: Indices in ascending order. Where nobody disagrees, slices are filled up by the most foreground,
        and in an empty volume the middle slice is returned.
    """
    average = np.asarray(average)
    axis = axis % average.ndim
    others = tuple(other for other in range(average.ndim) if other != axis)
    disagreement = (average * (1.0 - average)).sum(axis=others, dtype=np.float64)
    foreground = average.sum(axis=others, dtype=np.float64)
    if not foreground.any():
        return [average.shape[axis] // 2]
    min_gap = max(1, average.shape[axis] // 20) if min_gap is None else min_gap
    chosen: list[int] = []
    # ties (slices without any disagreement) are ordered by the amount of foreground
    for index in np.lexsort((-foreground, -disagreement)):
        if len(chosen) == n or foreground[index] == 0:
            break
        if all(abs(index - other) >= min_gap for other in chosen):
            chosen.append(int(index))
    return sorted(chosen)


def slice_axis(spacing_mm: ArrayLike) -> int:
    """Return the axis to cut along: the one with the largest voxel size, the last of them where they are equal."""
    spacing_mm = np.asarray(spacing_mm, dtype=float)
    return int(np.flatnonzero(spacing_mm >= spacing_mm.max() - 1e-3)[-1])


def crop_around(mask: NDArray, *, margin: int = 8, min_size: int = 32) -> tuple[slice, ...]:
    """Return slices that cut a box around the True voxels of an n-D mask; the whole array if none is True.

    Args:
        mask: bool.
        margin: Voxels kept on each side.
        min_size: The box has at least this many voxels along each axis where the array has them.

    Returns:
        tuple of slice: One per axis.
    """
    box = []
    for axis, size in enumerate(mask.shape):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        if not hits.size:
            return (slice(None),) * mask.ndim
        first, last = max(0, int(hits[0]) - margin), min(size, int(hits[-1]) + margin + 1)
        length = min(size, max(last - first, min_size))
        first = min(max(0, first - (length - (last - first)) // 2), size - length)
        box.append(slice(first, first + length))
    return tuple(box)


# eleven: what an image, its overlay and its outlines look like, by keyword as in matplotlib
def draw_slice(
    axes: Axes,
    image: ArrayLike | None,
    masks: Sequence[ArrayLike] = (),
    *,
    spacing: Sequence[float] = (1.0, 1.0),
    colors: Sequence[str] = COLORS_ON_IMAGE,
    line_width: ArrayLike = 0.9,
    overlay: ArrayLike | None = None,
    overlay_alpha: float = 0.75,
    colormap: str | Colormap = "gray",
    limits: Sequence[float] | None = None,
    title: str | None = None,
) -> AxesImage:
    """Draw one slice in true proportions: an image, a soft overlay, and the outlines of masks.

    The first array axis runs to the right and the second upwards: with volumes in RAS+ order that is the usual view.

    Args:
        axes: Where to draw; its ticks are removed.
        image: ``(a, b)`` gray background; None draws black.
        masks: ``(a, b)`` masks, outlined along the voxels' edges at 0.5; empty ones are skipped.
        spacing: Voxel size along a and b in mm.
        colors: One colour per mask, repeated when there are more masks.
        line_width: Outline width in points, for all masks or for each: where outlines
            coincide, earlier ones show beside later ones if they are wider.
        overlay: ``(a, b)`` map in [0, 1]; values below 0.01 stay transparent.
        overlay_alpha: Opacity of the overlay.
        colormap: Colours of the image.
        limits: Values shown darkest and brightest; None takes the 0.5 and 99.5 percentiles.
        title: Text above.

    Returns:
        AxesImage: The overlay where there is one, else the image, for a colour bar.
    """
    shape = np.shape(image if image is not None else (overlay if overlay is not None else masks[0]))
    aspect = spacing[1] / spacing[0]
    background = np.zeros(shape) if image is None else np.asarray(image, dtype=float)
    if limits is None:
        limits = (0.0, 1.0) if image is None else tuple(np.percentile(background, (0.5, 99.5)))
    options: dict[str, Any] = {"origin": "lower", "interpolation": "nearest", "aspect": aspect}
    shown = axes.imshow(background.T, cmap=colormap, vmin=limits[0], vmax=max(limits[1], limits[0] + 1e-12), **options)
    if overlay is not None:
        overlay = np.asarray(overlay, dtype=float)
        visible = np.ma.masked_where(overlay < 0.01, overlay)
        shown = axes.imshow(visible.T, cmap=OVERLAY_COLORMAP, vmin=0, vmax=1, alpha=overlay_alpha, **options)
    widths = np.broadcast_to(line_width, len(masks))
    for index, mask in enumerate(masks):
        segments = outline_segments(np.asarray(mask) > 0.5)
        if segments.size:
            from matplotlib.collections import LineCollection

            lines = LineCollection(list(segments), colors=colors[index % len(colors)], linewidths=widths[index])
            lines.set_capstyle("round")
            axes.add_collection(lines, autolim=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title is not None:
        axes.set_title(title, fontsize=_STYLE["axes.titlesize"])
    return shown


def outline_segments(mask: ArrayLike) -> NDArray:
    """Return the voxel edges between inside and outside as line segments.

    Args:
        mask: ``(a, b)`` bool.

    Returns:
        ndarray: ``(n, 2, 2)`` float, end points (a, b); voxel centres lie on whole numbers.
    """
    padded = np.pad(np.asarray(mask, dtype=bool), 1)
    across = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1]).astype(float)  # edges that run along b
    along = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1]).astype(float)  # edges that run along a
    # edge number i of an axis lies between voxels i - 1 and i, at i - 0.5
    first = np.stack([across - 0.5, across + np.array([-0.5, 0.5])], axis=1)
    second = np.stack([along - 0.5, along + np.array([0.5, -0.5])], axis=1)
    return np.concatenate([first, second])
