"""Figures: plain data in, a matplotlib figure out."""

from ivadomed_labelfusion.plots.disagreement import disagreement_figure
from ivadomed_labelfusion.plots.entropy import draw_entropy, entropy_figure
from ivadomed_labelfusion.plots.fusion import fusion_figure
from ivadomed_labelfusion.plots.reliability import draw_reliability, reliability_figure, reliability_legend
from ivadomed_labelfusion.plots.slices import draw_slice, most_disagreement_slices
from ivadomed_labelfusion.plots.style import new_figure, save_figure

__all__ = [
    "disagreement_figure",
    "draw_entropy",
    "draw_reliability",
    "draw_slice",
    "entropy_figure",
    "fusion_figure",
    "most_disagreement_slices",
    "new_figure",
    "reliability_figure",
    "reliability_legend",
    "save_figure",
]
