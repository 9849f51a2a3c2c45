"""What went into a fusion and what came out, on the slices where the raters disagree most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.plots.slices import crop_around, draw_slice, most_disagreement_slices, slice_axis
from ivadomed_labelfusion.plots.style import COLORS_ON_IMAGE, PAGE_WIDTH_IN, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def fusion_figure(
    masks: Sequence[ArrayLike],
    names: Sequence[str],
    soft: ArrayLike | None,
    hard: ArrayLike | None,
    *,
    image: ArrayLike | None = None,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    n_slices: int = 3,
    method: str = "consensus",
) -> Figure:
    """Show the slices on which raters disagree most: their outlines, and the consensus they led to.

    Args:
        masks: R masks ``(i, j, k)`` or ``(i, j)``, foreground non-zero; in RAS+ order for the
            usual view.
        names: The raters' names, for the legend.
        soft: Posterior or average in [0, 1]; None shows the raters' average.
        hard: The hard consensus, outlined on the overlay; None outlines ``soft`` at 0.5.
        image: The image itself; None leaves the background black.
        spacing_mm: Voxel size.
        n_slices: Slices at most.
        method: For the title of the overlay.
    """
    from matplotlib.lines import Line2D

    volumes = [np.asarray(mask) > 0 for mask in masks]
    average = np.asarray(np.mean(volumes, axis=0, dtype=np.float32))
    soft = average if soft is None else np.asarray(soft)
    hard = np.asarray(soft > 0.5 if hard is None else np.asarray(hard) > 0)
    flat = average.ndim == 2
    axis = None if flat else slice_axis(spacing_mm[:3])
    others = [other for other in range(average.ndim) if other != axis]
    chosen = [None] if axis is None else [*most_disagreement_slices(average, n_slices, axis)]

    def cut(volume: NDArray, index: int | None) -> NDArray:
        return volume if index is None else np.take(volume, index, axis)

    # one window for all slices, so that they compare
    extent = average > 0 if flat else np.any([cut(average, index) > 0 for index in chosen], axis=0)
    window = crop_around(extent)
    shape = [part.indices(size)[1] - part.indices(size)[0] for part, size in zip(window, extent.shape, strict=True)]
    spacing = tuple(spacing_mm[other] for other in others)
    # height over width of one panel
    width, height = _size(len(chosen), shape[1] * spacing[1] / (shape[0] * spacing[0]), legend_rows=-(-len(names) // 4))
    figure, axes = new_figure(2, len(chosen), width=width, height=height, squeeze=False)
    colors = [COLORS_ON_IMAGE[index % len(COLORS_ON_IMAGE)] for index in range(len(names))]
    limits = (0.0, 1.0) if image is None else tuple(np.percentile(np.asarray(image), (0.5, 99.5)))
    options: dict[str, Any] = {"spacing": spacing, "limits": limits}
    with style():
        for column, index in enumerate(chosen):
            background = np.zeros(shape) if image is None else cut(np.asarray(image), index)[window]
            draw_slice(
                axes[0, column],
                background,
                [cut(volume, index)[window] for volume in volumes],
                colors=colors,
                line_width=np.linspace(0.7 + 0.25 * (len(volumes) - 1), 0.7, len(volumes)),
                title=None if flat else f"slice {index}",
                **options,
            )
            outline, overlay = [cut(hard, index)[window]], cut(soft, index)[window]
            draw_slice(axes[1, column], background, outline, colors=["white"], overlay=overlay, **options)
        axes[0, 0].set_ylabel("raters")
        axes[1, 0].set_ylabel(f"{method}, outline at 0.5")
        figure.colorbar(
            axes[1, -1].images[-1], ax=list(axes[1]), fraction=0.05, pad=0.01, label="probability of foreground"
        )
        handles = [Line2D([], [], color=color, label=name) for color, name in zip(colors, names, strict=True)]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(names)))
    return figure


def _size(columns: int, ratio: float, legend_rows: int) -> tuple[float, float]:
    """Return width and height in inches of two rows of panels and a legend."""
    width = min(PAGE_WIDTH_IN, 2.6 * columns / min(1.0, max(ratio, 0.4)) + 0.6)
    width = max(width, 5.0)
    return width, 2 * min(width / columns * 0.9 * ratio, 4.5) + 0.5 + 0.2 * legend_rows
