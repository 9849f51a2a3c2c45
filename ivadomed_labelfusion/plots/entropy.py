"""The prediction's entropy over that of the raters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ivadomed_labelfusion.plots import style
from ivadomed_labelfusion.plots.style import DOT_COLOR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_entropy(
    axes: Axes,
    raters: ArrayLike,
    prediction: ArrayLike,
    *,
    calibrated: ArrayLike | None = None,
    title: str | None = None,
) -> None:
    """Draw the prediction's entropy against the raters' in the style of the paper's Figure 1.

    Args:
        axes: Where to draw.
        raters: Entropy of the raters' average of each subject, in nats.
        prediction: Entropy of the prediction of each subject, in nats.
        calibrated: Entropy of a perfectly calibrated predictor of each subject, in nats; draws a
            dotted line through the origin at their mean ratio to the raters'. None, or NaN, draws none.
        title: Before mean absolute and mean squared error.
    """
    with style.style():
        raters, prediction = np.asarray(raters, np.float64), np.asarray(prediction, np.float64)
        error = prediction - raters
        top = 1.06 * max(raters.max(initial=0), prediction.max(initial=0)) or 1.0
        axes.plot([0, top], [0, top], color="black", linestyle="--", linewidth=1)
        ratio = calibrated_ratio(raters, calibrated)
        if ratio is not None:
            axes.axline((0, 0), slope=ratio, color="0.35", linestyle=":", linewidth=1.2)
        axes.scatter(raters, prediction, s=16, color=DOT_COLOR, edgecolor="white", linewidth=0.4, zorder=3)
        axes.set(xlim=(0, top), ylim=(0, top), box_aspect=1)
        axes.set(xlabel="Entropy of the raters [nats]", ylabel="Entropy of the prediction [nats]")
        scores = f"MAE: {np.abs(error).mean():.4g}   MSE: {np.square(error).mean():.4g}"
        axes.set_title(f"{title}\n{scores}" if title else scores)


def calibrated_ratio(raters: ArrayLike, calibrated: ArrayLike | None) -> float | None:
    """Return the calibrated predictor's entropy as a multiple of the raters', over all subjects; None if unknown."""
    if calibrated is None:
        return None
    raters, calibrated = np.asarray(raters, np.float64), np.asarray(calibrated, np.float64)
    known = ~np.isnan(calibrated)
    total = raters[known].sum()
    return float(calibrated[known].sum() / total) if total > 0 else None


def entropy_figure(
    entropies: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike | None]], *, title: str | None = None
) -> Figure:
    """Return a figure with one scatter plot per form of the entropy.

    The dashed line is agreement, the dotted one a perfectly calibrated predictor for a panel of this size.

    Args:
        entropies: Form to ``(raters, prediction, calibrated or None)``, each a sequence over subjects.
        title: Above all.
    """
    figure, axes = style.new_figure(1, len(entropies), width=3.2 * len(entropies), height=3.9, squeeze=False)
    with style.style():
        for cell, (form, (raters, prediction, calibrated)) in zip(axes[0], entropies.items(), strict=True):
            draw_entropy(cell, raters, prediction, calibrated=calibrated, title=f"{form} form")
            if calibrated_ratio(raters, calibrated) is not None:
                cell.set_xlabel("Entropy of the raters [nats]\n(dotted: a calibrated predictor)")
        if title:
            figure.suptitle(title, fontsize=9)
    return figure
