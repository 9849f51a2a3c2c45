"""Metrics that compare a prediction with several raters: pure functions on arrays.

Predictions, averages and references are ``(C, *spatial)``: foreground classes, without the background. Raters' masks
are ``(R, C, *spatial)``. Definitions and conventions for empty masks stand in each docstring.
"""

from ivadomed_labelfusion.metrics.binarize import THRESHOLDS, argmax_labels, binarize, threshold_search
from ivadomed_labelfusion.metrics.calibration import (
    ECE_FORMS,
    ReliabilityCurve,
    expected_calibration_error,
    reliability_curve,
)
from ivadomed_labelfusion.metrics.lesions import LesionDetection, lesion_detection
from ivadomed_labelfusion.metrics.overlap import (
    QUBIQ_LEVELS,
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
from ivadomed_labelfusion.metrics.sets import generalized_energy_distance, hungarian_iou
from ivadomed_labelfusion.metrics.surface import SurfaceDistances, surface_distances
from ivadomed_labelfusion.metrics.uncertainty import ENTROPY_FORMS, brier_score, entropy, entropy_error, haze_share

__all__ = [
    "ECE_FORMS",
    "ENTROPY_FORMS",
    "LOG_CLIP",
    "QUBIQ_LEVELS",
    "THRESHOLDS",
    "BrierSplit",
    "LesionDetection",
    "ReliabilityCurve",
    "SurfaceDistances",
    "absolute_volume_difference",
    "argmax_labels",
    "binarize",
    "brier_score",
    "brier_split",
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
    "precision",
    "qubiq_dice",
    "recall",
    "relative_volume_difference",
    "reliability_curve",
    "soft_dice",
    "surface_distances",
    "threshold_search",
    "vote_counts",
]
