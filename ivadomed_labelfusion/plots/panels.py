"""Figures of many equal panels: one for each candidate, or for each map on one slice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.plots import style
from ivadomed_labelfusion.plots.slices import draw_slice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 4


def panel_grid(n: int, *, columns: int = 2, height_each: float = 1.85) -> tuple[Figure, Any]:
    """Return a figure of one column's width and its n panels; more than fit a page become as wide as the page."""
    width = style.COLUMN_WIDTH_IN
    if math.ceil(n / columns) > MOST_ROWS:
        columns, width = 2 * columns, style.PAGE_WIDTH_IN
    rows = math.ceil(n / columns)
    figure, axes = style.new_figure(rows, columns, width=width, height=rows * height_each, squeeze=False)
    for spare in axes.flat[n:]:
        spare.set_visible(False)
    return figure, axes.flat[:n]


def maps_figure(
    maps: Sequence[tuple[str, NDArray | None, NDArray | None]],
    *,
    class_names: Sequence[str],
    spacing_mm: Sequence[float],
    title: str | None = None,
) -> Figure:
    """Draw one slice with soft maps side by side, such as references and predictions (the paper's Figures 2 and 3).

    Soft maps are drawn over the image: each class in its colour, as opaque as it is probable.

    Args:
        maps: ``(title, image (a, b) or None, soft (C, a, b) or None)``.
        class_names: C names for the legend.
        spacing_mm: Voxel size along a and b.
        title: Above all.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    colors = [style.OKABE_ITO[name] for name in ("vermillion", "sky blue", "yellow", "bluish green", "reddish purple")]
    shape = next(image.shape for _, image, _ in maps if image is not None)
    ratio = min(max(shape[1] * spacing_mm[1] / (shape[0] * spacing_mm[0]), 0.5), 2.0)
    figure, axes = panel_grid(len(maps), columns=3, height_each=style.COLUMN_WIDTH_IN / 3 * ratio + 0.2)
    with style.style():
        for axis, (name, image, soft) in zip(axes, maps, strict=True):
            draw_slice(axis, image, spacing=spacing_mm)
            axis.set_title(name, fontsize=6)
            if soft is not None:
                total = soft.sum(axis=0)
                shares = soft / np.maximum(total, 1e-12)
                rgb = sum(np.multiply.outer(part, to_rgb(color)) for part, color in zip(shares, colors, strict=False))
                rgba = np.dstack([np.clip(rgb, 0, 1), np.clip(total, 0, 1)])
                axis.imshow(
                    rgba.transpose(1, 0, 2),
                    origin="lower",
                    interpolation="nearest",
                    aspect=spacing_mm[1] / spacing_mm[0],
                )
        handles = [Patch(color=color, label=name) for name, color in zip(class_names, colors, strict=False)]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        if title:
            figure.suptitle(title, fontsize=8)
    return figure
