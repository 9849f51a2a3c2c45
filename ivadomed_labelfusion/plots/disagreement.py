"""The slices of a subject on which the raters disagree most, with the prediction beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.plots import style
from ivadomed_labelfusion.plots.slices import SliceView, draw_slice
from ivadomed_labelfusion.plots.style import OVERCONFIDENT, UNDERCONFIDENT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# the faint background of a sigmoid would hide the image
_CLEAR_BELOW = 0.02


def disagreement_figure(
    slices: Sequence[SliceView], class_names: Sequence[str], *, title: str | None = None, reference: str = "STAPLE"
) -> Figure:
    """Return a figure with the slices of most disagreement: image, raters, average, consensus, prediction, error.

    Args:
        slices: One row each, per class.
        class_names: C names.
        title: Above all.
        reference: Name of the consensus.
    """
    from matplotlib.colors import LinearSegmentedColormap

    heads = ("image", "raters", "average", reference, "prediction", "prediction - average")
    shape = slices[0].average.shape[1:]
    ratio = shape[1] * slices[0].spacing_mm[1] / (shape[0] * slices[0].spacing_mm[0])
    rows = len(slices) * len(class_names)
    cell = style.PAGE_WIDTH_IN * 1.4 / len(heads)
    figure, axes = style.new_figure(
        rows,
        len(heads),
        width=style.PAGE_WIDTH_IN * 1.4 + 0.6,
        height=rows * (cell * min(max(ratio, 0.4), 2.0) + 0.15) + 0.6,
        squeeze=False,
    )
    figure.set_layout_engine("constrained", h_pad=0.1)  # the titles of panels of fixed shape need the room
    diverging = LinearSegmentedColormap.from_list("error", [UNDERCONFIDENT, "white", OVERCONFIDENT])
    with style.style():
        for row, (view, index) in enumerate((view, index) for view in slices for index in range(len(class_names))):
            cells = axes[row]
            options: dict[str, Any] = {"spacing": view.spacing_mm}
            draw_slice(cells[0], _gray(view), **options)
            draw_slice(cells[1], _gray(view), list(view.raters[:, index]), line_width=0.7, **options)
            draw_slice(cells[2], _gray(view), overlay=view.average[index], **options)
            draw_slice(cells[3], _gray(view), [view.reference[index]], **options)
            prediction = view.prediction[index]
            shown = np.where(prediction < _CLEAR_BELOW, 0, prediction)
            draw_slice(cells[4], _gray(view), overlay=shown, **options)
            error = prediction - view.average[index]
            draw_slice(cells[5], error, colormap=diverging, limits=(-1, 1), **options)
            for spine in cells[5].spines.values():
                spine.set(visible=True, color="#BBBBBB", linewidth=0.5)
            where = f"slice {view.index}" if view.axis >= 0 else "image"
            cells[0].set_ylabel(f"{where}\n{class_names[index]}" if len(class_names) > 1 else where)
            if row == 0:
                for axis, head in zip(cells, heads, strict=True):
                    axis.set_title(head)
        figure.colorbar(
            axes[-1, 2].images[-1], ax=axes[:, 4], shrink=0.6, location="bottom", label="probability", aspect=12
        )
        figure.colorbar(
            axes[-1, 5].images[-1], ax=axes[:, 5], shrink=0.6, location="bottom", label="too low / too high", aspect=12
        )
        if title:
            figure.suptitle(title, fontsize=9)
    return figure


def _gray(view: SliceView) -> NDArray:
    return np.zeros(view.average.shape[1:]) if view.image is None else view.image
