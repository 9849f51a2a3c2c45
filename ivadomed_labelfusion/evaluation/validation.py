"""The metrics as functions of (prediction, ground truth), to be shown during validation epochs."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.evaluation.offer import Offer
from ivadomed_labelfusion.evaluation.settings import Settings
from ivadomed_labelfusion.metrics.kinds import PREFIX, Metric
from ivadomed_labelfusion.metrics.registry import built_in_metrics

# of prediction and target
Computation = Callable[[NDArray, NDArray], Any]

logger = logging.getLogger(__name__)


def validation_functions(settings: Settings | None = None) -> list[Callable[[NDArray, NDArray], float]]:
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
    built_in = built_in_metrics()
    functions = [
        _guarded(name, _mean(compute))
        for name in settings.built_in
        if (compute := built_in[name].in_validation) is not None
    ]
    return functions + [_guarded(metric.name, _own(metric, settings)) for metric in settings.own]


def _mean(function: Computation) -> Computation:
    return lambda prediction, target: np.mean(function(prediction, target))


def _own(metric: Metric, settings: Settings) -> Computation:
    def compute(prediction: NDArray, target: NDArray) -> Any:
        names = tuple(f"class{index + 1}" for index in range(prediction.shape[0]))
        known = {"voxel_size_mm": (1.0,) * (prediction.ndim - 1), "class_names": names, "subject": ""}
        plain = dataclasses.replace(settings, threshold=None)
        offer = Offer(prediction, target[np.newaxis], target >= 0.5, settings=plain, subject=known)
        return np.mean(list(offer.columns([metric], names).values()))

    return compute


def _guarded(name: str, compute: Computation) -> Callable[[NDArray, NDArray], float]:
    failed: list[str] = []

    def function(prediction: NDArray, target: NDArray) -> float:
        try:
            return float(compute(np.clip(prediction, 0, 1), np.clip(target, 0, 1)))
        except (Exception, SystemExit) as error:  # a metric may fail in any way; training must go on
            if not failed:
                logger.warning("The metric %r failed in validation: %s: %s", name, type(error).__name__, error)
            failed.append(name)
            return float("nan")

    function.__name__ = PREFIX + name
    return function
