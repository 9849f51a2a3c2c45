"""What is done to predictions after everything has been trained: postprocessing, and evaluation of objects."""

from collections.abc import Iterator, Mapping
from typing import Any

from ivadomed_labelfusion.config.kinds import is_number

# step -> its parameters, none of which has a default
_STEPS = {
    "binarize_prediction": ("thr",),
    "binarize_maxpooling": (),
    "uncertainty": ("thr", "suffix"),
    "fill_holes": (),
    "keep_largest": (),
    "remove_noise": ("thr",),
    "remove_small": ("unit", "thr"),
}
# what a test with random passes writes beside the prediction
_MAPS = ("_unc-vox.nii.gz", "_unc-cv.nii.gz", "_unc-iou.nii.gz", "_unc-avgUnc.nii.gz", "_soft.nii.gz")


def wrong_outputs(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield ``(key, message)`` of settings that ivadomed would fail with after training and inference.

    Args:
        config (Mapping): A configuration whose sections are objects; keys that are absent are fine.
    """
    postprocessing = _section(config, "postprocessing")
    for name, parameters in _STEPS.items():
        if name in postprocessing:
            yield from _wrong_parameters(f"postprocessing.{name}", _section(postprocessing, name), parameters)
    yield from _wrong_threshold(_section(postprocessing, "binarize_prediction"))
    yield from _wrong_sizes(config, _section(postprocessing, "remove_small"))
    if "uncertainty" in postprocessing:
        yield from _wrong_map(config, _section(postprocessing, "uncertainty"))
    evaluation = _section(config, "evaluation_parameters")
    for name in ("target_size", "overlap"):
        options = _section(evaluation, name)
        if options or isinstance(evaluation.get(name), Mapping):
            yield from _wrong_parameters(f"evaluation_parameters.{name}", options, ("unit", "thr"))
    yield from _wrong_overlap(_section(evaluation, "overlap"))


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = config.get(name)
    return value if isinstance(value, Mapping) else {}


def _wrong_parameters(key: str, given: Mapping[str, Any], needed: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name in needed:
        if name not in given:
            yield key, f"needs {name!r}."
    # other steps are in the table of known keys
    for name in () if needed else given:
        yield f"{key}.{name}", "nothing reads it: the step has no parameters. Write {}."


def _wrong_threshold(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    value = options.get("thr")
    if is_number(value) and (value == 0 or value > 1):
        yield (
            "postprocessing.binarize_prediction.thr",
            f"must be above 0 and at most 1, or -1 to keep soft values, got {value!r}.",
        )


def _wrong_sizes(config: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    sizes = options.get("thr")
    classes = _section(config, "loader_parameters").get("target_suffix")
    if isinstance(sizes, list) and isinstance(classes, list) and classes and len(sizes) != len(classes):
        yield (
            "postprocessing.remove_small.thr",
            f"must be one number, or a list of {len(classes)}, one per class of target_suffix, got {sizes!r}.",
        )


def _wrong_overlap(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    value = options.get("thr")
    if isinstance(value, list) and len(value) != 1:
        yield "evaluation_parameters.overlap.thr", f"must be one number, got {value!r}."
    elif options.get("unit") == "ratio" and is_number(value) and not 0 <= value <= 1:
        yield "evaluation_parameters.overlap.thr", f"must be a share from 0 to 1 of the object, got {value!r}."


def _wrong_map(config: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    passes = _section(config, "uncertainty")
    random = passes.get("epistemic") is True or passes.get("aleatoric") is True
    if not random or not passes.get("n_it"):
        yield (
            "postprocessing.uncertainty",
            "needs random passes of the test, which write the maps of uncertainty. Set epistemic or aleatoric to true "
            "and n_it to 2 or more in uncertainty, or remove it.",
        )
    suffix = options.get("suffix")
    if isinstance(suffix, str) and suffix not in _MAPS:
        yield "postprocessing.uncertainty.suffix", f"must be one of {', '.join(_MAPS)}, got {suffix!r}."
