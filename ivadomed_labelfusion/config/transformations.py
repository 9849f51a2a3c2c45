"""Transformations that cannot be made, or that ivadomed would fail with once the first sample is loaded."""

from collections.abc import Iterator, Mapping
from typing import Any

from ivadomed_labelfusion.config.kinds import is_number
from ivadomed_labelfusion.config.networks import uses_subvolumes

# what ivadomed has no default for; a contract test compares it with the installed ivadomed
REQUIRED = {
    "Resample": ("hspace", "wspace"),
    "CenterCrop": ("size",),
    "ROICrop": ("size",),
    "BoundingBoxCrop": ("size",),
    "DilateGT": ("dilation_factor",),
    "RandomShiftIntensity": ("shift_range",),
    "ElasticTransform": ("alpha_range", "sigma_range"),
    "RandomGamma": ("log_gamma_range",),
    "RandomBiasField": ("coefficients", "order"),
    "RandomBlur": ("sigma_range",),
}
# what moves voxels has to move those of the label as well
_GEOMETRIC = ("Resample", "CenterCrop", "ROICrop", "RandomAffine", "RandomReverse", "ElasticTransform")
_CLAHE_KERNEL = (8, 8)


def wrong_transformations(config: Mapping[str, Any], *, strict: bool) -> Iterator[tuple[str, str]]:
    """Yield ``(key, message)`` of every transformation that cannot work.

    Args:
        config (Mapping): A configuration whose sections are objects; keys that are absent are fine.
        strict (bool): Also find what ivadomed does without failing, but wrongly: images that are moved without their
            labels.
    """
    steps = config.get("transformation")
    for name, options in (steps if isinstance(steps, Mapping) else {}).items():
        key = f"transformation.{name}"
        if options is None:
            if strict:
                yield key, "must be a JSON object, got null. Write {} or remove it."
            continue
        if not isinstance(options, Mapping):
            continue
        for needed in REQUIRED.get(name, ()):
            if needed not in options:
                yield key, f"needs {needed!r}."
        if strict and name in _GEOMETRIC:
            yield from _wrong_targets(key, options.get("applied_to"))
    if isinstance(steps, Mapping):
        yield from _wrong_boxes(config, steps)
        yield from _wrong_kernel(config, steps)
        yield from _wrong_percentiles(steps)
        yield from _wrong_coefficients(steps)


def _options(steps: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    options = steps.get(name)
    return options if isinstance(options, Mapping) else None


def _wrong_targets(key: str, applied_to: Any) -> Iterator[tuple[str, str]]:
    if isinstance(applied_to, list) and not {"im", "gt"} <= {entry for entry in applied_to if isinstance(entry, str)}:
        yield (
            f"{key}.applied_to",
            f'must hold "im" and "gt": images and labels are moved together, got {applied_to!r}.',
        )


def _wrong_boxes(config: Mapping[str, Any], steps: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    detection = config.get("object_detection_params")
    found = isinstance(detection, Mapping) and detection.get("object_detection_path") is not None
    if "BoundingBoxCrop" in steps and not found:
        yield (
            "transformation.BoundingBoxCrop",
            "needs a model that finds the boxes (object_detection_params.object_detection_path). Name it, or use "
            "CenterCrop or ROICrop.",
        )


def _wrong_kernel(config: Mapping[str, Any], steps: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    options = _options(steps, "Clahe")
    if options is None:
        return
    kernel, sides = options.get("kernel_size", _CLAHE_KERNEL), 3 if uses_subvolumes(config) else 2
    if isinstance(kernel, list | tuple) and len(kernel) != sides:
        yield (
            "transformation.Clahe.kernel_size",
            f"must be a list of {sides} whole numbers for a {sides}D model, got {list(kernel)}.",
        )


def _wrong_percentiles(steps: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    options = _options(steps, "HistogramClipping")
    if options is None:
        return
    low, high = options.get("min_percentile", 5.0), options.get("max_percentile", 95.0)
    if is_number(low) and is_number(high) and low >= high:
        yield (
            "transformation.HistogramClipping.min_percentile",
            f"must be below max_percentile {high}, got {low}: every voxel would get one value.",
        )


def _wrong_coefficients(steps: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    options = _options(steps, "RandomBiasField")
    value = options.get("coefficients") if options is not None else None
    numbers = value if isinstance(value, list) else [0, value]
    if all(map(is_number, numbers)) and numbers != sorted(numbers):
        yield (
            "transformation.RandomBiasField.coefficients",
            f"must be a number of at least 0, or a range from the smaller to the larger number, got {value!r}.",
        )
