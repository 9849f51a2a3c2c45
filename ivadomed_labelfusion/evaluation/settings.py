"""What to evaluate: the ``inter_rater`` block of a configuration as a checked, frozen object."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion import METHODS
from ivadomed_labelfusion.fusion.engine import MULTICLASS
from ivadomed_labelfusion.metrics import ECE_FORMS, ENTROPY_FORMS
from ivadomed_labelfusion.metrics.kinds import Metric
from ivadomed_labelfusion.metrics.registry import nearest, resolve_metrics
from ivadomed_labelfusion.metrics.streaming import MEASURED_REGIONS
from ivadomed_labelfusion.metrics.thresholds import DEFINITIONS

REFERENCES = tuple(name for name, method in METHODS.items() if method.reference)
BLOCK = "inter_rater"


@dataclass(frozen=True)
class Settings:
    """How predictions are evaluated against several raters.

    Attributes:
        reference (str): Binary consensus for overlap, lesions, surfaces and two forms of the ECE: ``staple``
            (posterior > 0.5) or ``majority``.
        multiclass (str): Fusion of several classes: ``joint`` (one label map per rater) or ``per_class``.
        metrics (tuple of str): Built-in metrics, own metrics by name, or dotted paths ``package.module:function``; None
            takes all built-in and all registered metrics.
        entropy_forms (tuple of str): ``paper``, ``shannon``.
        ece_forms (tuple of str): ``exact``, ``paper``, ``raters``.
        regions (tuple of str): Where calibration is measured: ``image``, ``roi``.
        n_bins (int): Bins of the reliability curves, 1 to 1000.
        threshold (float): Binarises the prediction of a single class (>= threshold), in (0, 1]; None takes argmax with
            the background (for one class: > 0.5), the only choice for several classes.
        threshold_search (str): How ``ivadomed --train -t`` chooses the threshold: ``ivadomed`` (its own way) or
            ``volumes``, see `metrics.threshold_search`.
        lesion_min_overlap (float): Fraction of a lesion that must overlap, in [0, 1].
        surface_tolerance_mm (float): Tolerance of the surface Dice in mm.
        disagreement_slices (int): Slices in each subject's picture; 0 makes none.
        built_in (tuple of str): The built-in ones among ``metrics`` (derived).
        own (tuple of Metric): The own ones among ``metrics`` (derived).
    """

    reference: str = "staple"
    multiclass: str = "joint"
    metrics: tuple[str, ...] | None = None
    entropy_forms: tuple[str, ...] = ENTROPY_FORMS
    ece_forms: tuple[str, ...] = ECE_FORMS
    regions: tuple[str, ...] = MEASURED_REGIONS
    n_bins: int = 10
    threshold: float | None = None
    threshold_search: str = "ivadomed"
    lesion_min_overlap: float = 0.1
    surface_tolerance_mm: float = 1.0
    disagreement_slices: int = 3
    built_in: tuple[str, ...] = field(init=False, repr=False)
    own: tuple[Metric, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _one_of("reference", self.reference, REFERENCES)
        _one_of("multiclass", self.multiclass, MULTICLASS)
        _one_of("threshold_search", self.threshold_search, DEFINITIONS)
        for key, allowed in (("entropy_forms", ENTROPY_FORMS), ("ece_forms", ECE_FORMS), ("regions", MEASURED_REGIONS)):
            entries = _names(key, getattr(self, key))
            for entry in entries:
                _one_of(key, entry, allowed)
            object.__setattr__(self, key, entries)
        _whole("n_bins", self.n_bins, 1, 1000)
        _whole("disagreement_slices", self.disagreement_slices, 0, 100)
        _number("lesion_min_overlap", self.lesion_min_overlap, 0, 1)
        _number("surface_tolerance_mm", self.surface_tolerance_mm, 0, math.inf)
        if self.threshold is not None:
            _number("threshold", self.threshold, 0, 1)
            if self.threshold == 0:
                raise InputError(f"{BLOCK}.threshold must be above 0 (0 would select every voxel), got 0.")
        if self.metrics is not None:
            object.__setattr__(self, "metrics", _names("metrics", self.metrics))
        built_in, own = resolve_metrics(self.metrics, where=f"{BLOCK}.metrics")
        object.__setattr__(self, "built_in", built_in)
        object.__setattr__(self, "own", own)

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration block that gives these settings, all metrics named, ready for JSON."""
        block = {key: getattr(self, key) for key in KEYS}
        if self.metrics is None:
            block["metrics"] = [*self.built_in, *(metric.name for metric in self.own)]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in block.items()}


KEYS = tuple(entry.name for entry in fields(Settings) if entry.init)


def settings_from_config(mapping: Mapping[str, Any]) -> Settings:
    """Return ``Settings`` from a configuration.

    Args:
        mapping (dict): The content of ``inter_rater``, or a dict that holds it as ``inter_rater``, or a whole ivadomed
            configuration that holds it in ``evaluation_parameters``. Without the block the defaults are taken.

    Returns:
        Settings

    Raises:
        InputError: For an unknown key (the message names the nearest) or a value out of range.

    Example:
        >>> settings_from_config({"metrics": ["dice"], "reference": "majority"}).reference
        'majority'
    """
    if not isinstance(mapping, Mapping):
        raise InputError(f"The evaluation configuration must be a JSON object, got {type(mapping).__name__}.")
    if "evaluation_parameters" in mapping:
        parameters = mapping["evaluation_parameters"]
        if not isinstance(parameters, Mapping):
            raise InputError(f"evaluation_parameters must be a JSON object, got {parameters!r}.")
        mapping = {BLOCK: {}, **parameters}
    elif "loader_parameters" in mapping:
        mapping = {BLOCK: {}}
    if BLOCK in mapping:
        mapping = mapping[BLOCK]
        if not isinstance(mapping, Mapping):
            raise InputError(f"{BLOCK} must be a JSON object, got {mapping!r}.")
    for key in mapping:
        if key not in KEYS:
            raise InputError(f"{BLOCK} has no key {key!r}. {nearest(key, KEYS)}")
    given: dict[str, Any] = dict(mapping)
    return Settings(**given)


def _one_of(key: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InputError(f"{BLOCK}.{key} must be {' or '.join(allowed)}, got {value!r}. {nearest(value, allowed)}")


def _names(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise InputError(f"{BLOCK}.{key} must be a list of names, got {value!r}.")
    if not value:
        raise InputError(f"{BLOCK}.{key} must name at least one, got an empty list. Leave the key out for all.")
    return tuple(dict.fromkeys(value))


def _whole(key: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{BLOCK}.{key} must be a whole number from {low} to {high}, got {value!r}.")


def _number(key: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(f"{BLOCK}.{key} must be a number from {low} to {high}, got {value!r}.")
