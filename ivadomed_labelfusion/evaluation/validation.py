"""The metrics as functions of (prediction, ground truth), to be shown during validation epochs."""

import logging

import numpy as np

from ivadomed_labelfusion.evaluation.settings import Settings
from ivadomed_labelfusion.evaluation.subject import PREFIX
from ivadomed_labelfusion.metrics import binarize, brier_score, entropy_error, expected_calibration_error, soft_dice

logger = logging.getLogger(__name__)

# built-in metrics that make sense on a patch with one soft target
_BUILT_IN = {
    "entropy": entropy_error,
    "brier": lambda prediction, target: brier_score(prediction, target).mean(),
    "ece": lambda prediction, target: expected_calibration_error(prediction, target, form="raters"),
    "soft_dice": lambda prediction, target: soft_dice(prediction, target).mean(),
}


def validation_functions(settings=None):
    """Return functions ``f(prediction, target) -> float`` named ``ir_<metric>``, as ivadomed's ``MetricManager`` takes.

    Both arguments are ``(C, *spatial)`` arrays of one sample. The target (a fused label, or the one rater drawn) stands
    for the raters: ``raters`` is that one map, ``average`` the same, ``reference`` the target at >= 0.5, the voxel size
    is 1 in every direction, because a resampled patch knows none. Values are clipped to [0, 1]. Built-in are the error
    of the entropy, the Brier score, the ECE in the form ``raters`` and the soft Dice (means over classes); own metrics
    that return one number per class give their mean too.

    A metric that fails returns NaN, which ivadomed leaves out of its mean, and its first failure is logged: a metric
    must not stop a training.

    Args:
        settings (Settings): Which metrics; None takes the defaults.
    """
    settings = Settings() if settings is None else settings
    functions = [_guarded(name, _BUILT_IN[name]) for name in settings.built_in if name in _BUILT_IN]
    return functions + [_guarded(metric.name, _own(metric)) for metric in settings.own]


def _own(metric):
    def compute(prediction, target):
        available = {
            "prediction": prediction,
            "raters": target[np.newaxis],
            "average": target.astype(np.float32),
            "reference": target >= 0.5,
            "binarized": binarize(prediction),
            "voxel_size_mm": (1.0,) * (prediction.ndim - 1),
            "class_names": tuple(f"class{index + 1}" for index in range(prediction.shape[0])),
            "subject": "",
        }
        value = metric(available)
        return np.mean([float(number) for number in value.values()] if isinstance(value, dict) else value)

    return compute


def _guarded(name, compute):
    failed = []

    def function(prediction, target):
        try:
            return float(compute(np.clip(prediction, 0, 1), np.clip(target, 0, 1)))
        except (Exception, SystemExit) as error:  # a metric may fail in any way; training must go on
            if not failed:
                logger.warning("The metric %r failed in validation: %s: %s", name, type(error).__name__, error)
            failed.append(name)
            return float("nan")

    function.__name__ = PREFIX + name
    return function
