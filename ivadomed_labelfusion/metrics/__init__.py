"""Metrics that compare a prediction with several raters: pure functions on arrays.

Predictions, averages and references are ``(*spatial)`` arrays of up to three dimensions, and a metric of one class is
a number. Several foreground classes, without the background, lie along the axis that ``class_axis`` names; metrics of
each class are then arrays. Raters' masks have the raters first. What the evaluation computes is registered in
`built_in`, own metrics with `metric` or `register_metric`. Definitions and conventions for empty masks stand in
each docstring.
"""

# fills the registry; last, because it takes from all the others
from ivadomed_labelfusion.metrics import built_in  # noqa: F401
from ivadomed_labelfusion.metrics.calibration import (
    ECE_FORMS,
    ReliabilityCurve,
    expected_calibration_error,
    reliability_curve,
)
from ivadomed_labelfusion.metrics.kinds import ClassMasks, Column, Metric, Options
from ivadomed_labelfusion.metrics.lesions import LesionDetection, lesion_detection
from ivadomed_labelfusion.metrics.matching import SetDice, set_dice
from ivadomed_labelfusion.metrics.overlap import (
    QUBIQ_LEVELS,
    Overlap,
    absolute_volume_difference,
    dice,
    precision,
    qubiq_dice,
    recall,
    relative_volume_difference,
    soft_dice,
)
from ivadomed_labelfusion.metrics.panel import calibrated_entropy, vote_counts
from ivadomed_labelfusion.metrics.proper import LOG_CLIP, BrierSplit, brier_split, log_score
from ivadomed_labelfusion.metrics.registry import built_in_metrics, metric, own_metrics, register_metric
from ivadomed_labelfusion.metrics.sets import generalized_energy_distance, hungarian_iou
from ivadomed_labelfusion.metrics.streaming import SubjectSums
from ivadomed_labelfusion.metrics.surface import SurfaceDistances, surface_distances
from ivadomed_labelfusion.metrics.thresholds import THRESHOLDS, argmax_labels, binarize, threshold_search
from ivadomed_labelfusion.metrics.uncertainty import ENTROPY_FORMS, brier_score, entropy, entropy_error, haze_share
from ivadomed_labelfusion.metrics.volumes import volume_crps

__all__ = [
    "ECE_FORMS",
    "ENTROPY_FORMS",
    "LOG_CLIP",
    "QUBIQ_LEVELS",
    "THRESHOLDS",
    "BrierSplit",
    "ClassMasks",
    "Column",
    "LesionDetection",
    "Metric",
    "Options",
    "Overlap",
    "ReliabilityCurve",
    "SetDice",
    "SubjectSums",
    "SurfaceDistances",
    "absolute_volume_difference",
    "argmax_labels",
    "binarize",
    "brier_score",
    "brier_split",
    "built_in_metrics",
    "calibrated_entropy",
    "dice",
    "entropy",
    "entropy_error",
    "expected_calibration_error",
    "generalized_energy_distance",
    "haze_share",
    "hungarian_iou",
    "lesion_detection",
    "log_score",
    "metric",
    "own_metrics",
    "precision",
    "qubiq_dice",
    "recall",
    "register_metric",
    "relative_volume_difference",
    "reliability_curve",
    "set_dice",
    "soft_dice",
    "surface_distances",
    "threshold_search",
    "volume_crps",
    "vote_counts",
]
