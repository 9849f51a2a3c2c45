"""Reliability diagrams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.plots import style
from ivadomed_labelfusion.plots.style import OVERCONFIDENT, UNDERCONFIDENT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from ivadomed_labelfusion.metrics import ReliabilityCurve

IDENTITY = "#C1121F"
FEW_VOXELS = 50
_STRONG, _PALE = 0.85, 0.2
_BAR = "#B9CFE4"


def draw_reliability(axes: Axes, curve: ReliabilityCurve, *, title: str | None = None) -> None:
    """Draw a reliability diagram in the style of the paper's Figure 4.

    Bars are accuracy; the band between accuracy and confidence is orange where the model is overconfident (accuracy
    below confidence) and purple where it is underconfident; bins of fewer than `FEW_VOXELS` voxels are pale. The red
    line is perfect calibration. The title ends with the ECE in percent.

    Args:
        axes: Where to draw.
        curve: What to draw; empty bins stay blank.
        title: Before the ECE.
    """
    with style.style():
        width = np.diff(curve.bin_edges)
        left = curve.bin_edges[:-1]
        filled = curve.bin_count > 0
        accuracy, confidence = curve.bin_accuracy, curve.bin_confidence
        options: dict[str, Any] = {"align": "edge", "edgecolor": "white", "linewidth": 0.6}
        low, gap = np.minimum(accuracy, confidence), np.abs(accuracy - confidence)
        # a handful of voxels says little, and its bar must not shout
        alpha = np.where(curve.bin_count < FEW_VOXELS, _PALE, _STRONG)
        for bin_ in np.flatnonzero(filled):
            axes.bar(left[bin_], low[bin_], width[bin_], color=_BAR, alpha=min(1.0, alpha[bin_] + 0.15), **options)
        for color, _, chosen in _bands(curve):
            for bin_ in np.flatnonzero(chosen):
                own: dict[str, Any] = {"bottom": low[bin_], "color": color, "alpha": alpha[bin_]}
                axes.bar(left[bin_], gap[bin_], width[bin_], **own, **options)
        for edge, size, value in zip(left[filled], width[filled], accuracy[filled], strict=True):
            axes.plot([edge, edge + size], [value, value], color="black", linewidth=1)
        axes.plot([0, 1], [0, 1], color=IDENTITY, linewidth=1)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="Confidence", ylabel="Accuracy", box_aspect=1)
        value = "not defined" if np.isnan(curve.ece) else f"{100 * curve.ece:.2f} %"
        axes.set_title(f"{title}\nECE: {value}" if title else f"ECE: {value}")
        handles = reliability_legend([curve])
        if handles:
            axes.legend(handles=handles, loc="upper left")


def _bands(curve: ReliabilityCurve) -> tuple[tuple[str, str, NDArray], ...]:
    """Return ``(color, label, bins)`` of the overconfident and the underconfident bins of a curve."""
    accuracy, confidence = curve.bin_accuracy, curve.bin_confidence
    return (
        (OVERCONFIDENT, "overconfident", accuracy < confidence),
        (UNDERCONFIDENT, "underconfident", accuracy > confidence),
    )


def reliability_legend(curves: Iterable[ReliabilityCurve]) -> list[Patch]:
    """Return the handles of a legend for diagrams of these curves: only what is to be seen in one of them.

    Args:
        curves: What `draw_reliability` draws.
    """
    from matplotlib.patches import Patch

    curves = list(curves)
    handles = {
        label: Patch(color=color, alpha=_STRONG, label=label)
        for curve in curves
        for color, label, chosen in _bands(curve)
        if chosen.any()
    }
    if any(((curve.bin_count > 0) & (curve.bin_count < FEW_VOXELS)).any() for curve in curves):
        handles["pale"] = Patch(color=_BAR, alpha=_PALE + 0.15, label=f"pale: below {FEW_VOXELS} voxels")
    return list(handles.values())


def reliability_figure(curves: Mapping[tuple[str, str], ReliabilityCurve], *, title: str | None = None) -> Figure:
    """Return a figure with one reliability diagram per region (columns) and form (rows).

    Args:
        curves: ``(form, region)`` to ``ReliabilityCurve``.
        title: Above all.
    """
    forms, regions = (list(dict.fromkeys(key[axis] for key in curves)) for axis in (0, 1))
    figure, axes = style.new_figure(
        len(forms), len(regions), width=2.9 * len(regions), height=3.0 * len(forms), squeeze=False
    )
    with style.style():
        for row, form in enumerate(forms):
            for column, region in enumerate(regions):
                draw_reliability(axes[row, column], curves[form, region], title=f"{form} form, {region}")
        if title:
            figure.suptitle(title, fontsize=9)
    return figure
