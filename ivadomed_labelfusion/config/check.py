"""Checks of an ivadomed configuration before anything is loaded.

Two kinds of mistake are found: keys that nothing reads (ivadomed merges them silently), and settings that contradict
each other, so that the training would run but not do what was asked for.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from ivadomed_labelfusion.config.contrasts import empty_contrasts, unknown_contrasts
from ivadomed_labelfusion.config.keys import (
    FUSION_COMMON,
    MODELS,
    NULLABLE,
    OVERLAP_LOSSES,
    PLUGIN_MODELS,
    PLUGIN_TRANSFORMS,
    SCHEMA,
    TRANSFORM_COMMON,
)
from ivadomed_labelfusion.config.kinds import is_number
from ivadomed_labelfusion.config.networks import wrong_networks
from ivadomed_labelfusion.config.optimisation import wrong_loss, wrong_schedule
from ivadomed_labelfusion.config.outputs import wrong_outputs
from ivadomed_labelfusion.config.schema import choices, wrong_values
from ivadomed_labelfusion.config.transformations import wrong_transformations
from ivadomed_labelfusion.data.raters import rater_clash
from ivadomed_labelfusion.errors import InputError


@dataclass(frozen=True)
class Problem:
    """One finding.

    Attributes:
        level (str): ``error`` or ``warning``.
        key (str): Where, for example ``training_parameters.loss.name``.
        message (str): What is wrong and what to do.
    """

    level: str
    key: str
    message: str

    def __str__(self):
        return f"{self.level}: {self.key}: {self.message}"


def check_config(config):
    """Check the content of a configuration file.

    Unknown keys are errors where the configuration uses this plugin (several raters, its transforms, model or
    evaluation) and warnings elsewhere, because ivadomed itself accepts them.

    Args:
        config (Mapping): The user's file as read from JSON, before ivadomed adds its defaults.

    Returns:
        list of Problem: Empty if all is well.
    """
    if not isinstance(config, Mapping):
        return [Problem("error", "configuration", f"must be a JSON object, got {type(config).__name__}.")]
    problems = []
    level = "error" if uses_plugin(config) else "warning"
    _unknown_keys(config, SCHEMA, "", level, problems)
    if any(problem.message.startswith("must be") for problem in problems):
        # the checks below rely on the sections being objects
        return problems
    for check in (
        _check_names,
        _check_raters,
        _check_fusion,
        _check_sampling,
        _check_soft,
        _check_model,
        _check_values,
        wrong_networks,
        wrong_outputs,
    ):
        problems.extend(Problem("error", *finding) for finding in check(config))
    loader = _section(config, "loader_parameters")
    problems.extend(Problem("error", *finding) for finding in empty_contrasts(loader) if level == "error")
    problems.extend(Problem("warning", *finding) for finding in unknown_contrasts(loader))
    return problems


def raise_on_errors(config, *, source):
    """Raise one InputError that lists all errors of a configuration; return its warnings.

    Args:
        config (Mapping): As in ``check_config``.
        source (str or Path): The file, for the message.

    Raises:
        InputError: If there is at least one error.
    """
    problems = check_config(config)
    errors = [problem for problem in problems if problem.level == "error"]
    if errors:
        lines = "\n".join(f"  {problem.key}: {problem.message}" for problem in errors)
        raise InputError(f"{source} cannot be used as it is:\n{lines}")
    return problems


def uses_plugin(config):
    """Tell whether a configuration asks for anything of this plugin."""
    transformation = _section(config, "transformation")
    return (
        is_nested(_section(config, "loader_parameters").get("target_suffix"))
        or any(name in transformation for name in PLUGIN_TRANSFORMS)
        or _section(config, "default_model").get("name") in PLUGIN_MODELS
        or "inter_rater" in _section(config, "evaluation_parameters")
    )


def is_nested(target_suffix):
    """Tell whether ``target_suffix`` lists several raters per class."""
    return isinstance(target_suffix, list) and any(isinstance(entry, list) for entry in target_suffix)


def _section(config, name):
    value = config.get(name)
    return value if isinstance(value, Mapping) else {}


def _nearest(name, known):
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else f" Known here: {', '.join(sorted(known))}."


def _unknown_keys(mapping, known, prefix, level, problems):
    for key, value in mapping.items():
        path = f"{prefix}{key}"
        if key not in known:
            problems.append(Problem(level, path, f"unknown key, nothing reads it.{_nearest(key, known)}"))
        elif isinstance(known[key], Mapping):
            if isinstance(value, Mapping):
                _unknown_keys(value, known[key], f"{path}.", level, problems)
            elif value is not None or not (path in NULLABLE if level == "warning" else prefix == "transformation."):
                # null would take ivadomed's defaults away
                text = f"must be a JSON object, got {value!r}. Fill it or leave it out."
                problems.append(Problem("error", path, text))


def _check_names(config):
    classes = _section(config, "loader_parameters").get("target_suffix")
    n_classes = len(classes) if isinstance(classes, list) else None
    yield from wrong_loss(_section(_section(config, "training_parameters"), "loss"), n_classes)
    model = _section(config, "default_model").get("name")
    if model is not None and model not in MODELS + PLUGIN_MODELS:
        yield "default_model.name", f"unknown model {model!r}.{_nearest(model, MODELS + PLUGIN_MODELS)}"


def _check_raters(config):
    target_suffix = _section(config, "loader_parameters").get("target_suffix")
    key = "loader_parameters.target_suffix"
    wanted = [name for name in PLUGIN_TRANSFORMS if name in _section(config, "transformation")]
    if not is_nested(target_suffix):
        for name in wanted:
            yield (
                key,
                f"{name} needs a list of raters per class, for example "
                '[["_desc-rater1_label-GM_seg", "_desc-rater2_label-GM_seg"]], '
                f"got {target_suffix!r}. List the raters, or remove {name}.",
            )
        if "inter_rater" in _section(config, "evaluation_parameters"):
            yield (
                "evaluation_parameters.inter_rater",
                "the evaluation against several raters needs a list of raters per class in target_suffix. List them, "
                "or remove it.",
            )
        return
    if any(not isinstance(entry, list) for entry in target_suffix):
        yield key, "some classes list raters and others do not. Give every class a list, with the same raters in order."
        return
    counts = sorted({len(entry) for entry in target_suffix})
    if len(counts) > 1:
        yield key, f"every class must list the same raters in the same order, got {counts} raters."
    elif counts[0] == 0:
        yield key, "a class lists no rater. Name the suffixes of its raters."
    elif counts[0] < 2:
        yield key, "one rater only: there is nothing to fuse or to sample. Write the suffix without the inner list."
    elif all(isinstance(suffix, str) for entry in target_suffix for suffix in entry) and rater_clash(target_suffix):
        yield key, f"every class must list the same raters in the same order: {rater_clash(target_suffix)}."
    for entry in target_suffix:
        repeated = sorted({suffix for suffix in entry if entry.count(suffix) > 1})
        if repeated:
            yield key, f"{', '.join(map(repr, repeated))} is listed twice for one class."


def _check_fusion(config):
    transformation = _section(config, "transformation")
    if "FuseRaters" not in transformation:
        return
    options = _section(transformation, "FuseRaters")
    if "SampleRater" in transformation:
        yield (
            "transformation",
            "FuseRaters and SampleRater exclude each other: a label is either fused or drawn. Remove one.",
        )
    from ivadomed_labelfusion.fusion.registry import DEFAULT, METHODS, check_method

    method = options.get("method", DEFAULT)
    if not isinstance(method, str) or method not in METHODS:
        yield "transformation.FuseRaters.method", f"unknown method {method!r}.{_nearest(method, METHODS)}"
        return
    general = {*FUSION_COMMON, *TRANSFORM_COMMON} - {"weights"}
    own = [name for name in options if name not in general]
    # decided here where ivadomed binarises the averages, not by the fusion
    if METHODS[method].soft and "ties" in own and not _section(config, "loader_parameters").get("soft_gt", False):
        own.remove("ties")
    try:
        check_method(method, own)
    except InputError as error:
        yield "transformation.FuseRaters", str(error)


def _choice(key, value):
    """Find a word that is not among the choices of a key."""
    if value not in choices(key):
        yield key, f"must be one of {', '.join(choices(key))}, got {value!r}."


def _check_sampling(config):
    transformation = _section(config, "transformation")
    if "SampleRater" not in transformation:
        return
    options = _section(transformation, "SampleRater")
    for name in ("policy", "unit", "validation"):
        key = f"transformation.SampleRater.{name}"
        yield from _choice(key, options.get(name, choices(key)[0]))
    seed = options.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        yield "transformation.SampleRater.seed", f"must be a whole number >= 0, got {seed!r}."
    weighted = options.get("policy") == "weighted"
    if weighted and options.get("weights") is None:
        yield (
            "transformation.SampleRater.weights",
            'policy "weighted" needs weights: one number per rater, or "staple".',
        )
    if not weighted and options.get("weights") is not None:
        yield "transformation.SampleRater.weights", 'weights act with policy "weighted" only. Set it, or remove them.'


def _check_soft(config):
    soft = bool(_section(config, "loader_parameters").get("soft_gt", False))
    loss = _section(_section(config, "training_parameters"), "loss").get("name")
    model = _section(config, "default_model")
    if not uses_plugin(config):
        return
    if soft and loss in OVERLAP_LOSSES:
        yield (
            "training_parameters.loss.name",
            f"{loss} on soft labels (loader_parameters.soft_gt true) pushes the output towards 0 and 1, away from the "
            "label. Use AdapWingLoss, or set soft_gt to false.",
        )
    if soft and model.get("final_activation") == "softmax":
        yield (
            "default_model.final_activation",
            "softmax with soft labels (soft_gt true): SoftSeg uses the normalised ReLU. Use the model SoftSegUnet with "
            '"final_activation": "relu", or set soft_gt to false.',
        )
    if not soft and loss == "AdapWingLoss":
        yield (
            "loader_parameters.soft_gt",
            "false binarises the labels, but AdapWingLoss is a regression on soft labels. Set soft_gt to true, or use "
            "DiceLoss (one class) or MultiClassDiceLoss.",
        )


def _check_model(config):
    model = _section(config, "default_model")
    name = model.get("name", "Unet")
    if name not in PLUGIN_MODELS:
        if "normalization" in model:
            yield (
                "default_model.normalization",
                f"has no effect on {name}. Use SoftSegUnet or SoftSegModified3DUNet, or remove it.",
            )
        return
    yield from _choice("default_model.normalization", model.get("normalization", "batch"))
    if model.get("final_activation", "relu") != "relu":
        yield (
            "default_model.final_activation",
            f'{name} always ends in the normalised ReLU; write "relu" or leave the key out, '
            f"got {model['final_activation']!r}.",
        )
    if name == "SoftSegModified3DUNet" and model.get("is_2d", True):
        yield "default_model.is_2d", "SoftSegModified3DUNet needs false (the default is true)."


def _check_values(config):
    """Find values that would end in an error of ivadomed's own after everything has been loaded."""
    own = uses_plugin(config)
    loader, training = _section(config, "loader_parameters"), _section(config, "training_parameters")
    yield from _choice("loader_parameters.slice_axis", loader.get("slice_axis", "axial"))
    schedule = _section(_section(training, "scheduler"), "lr_scheduler")
    yield from _choice("training_parameters.scheduler.lr_scheduler.name", schedule.get("name", "CosineAnnealingLR"))
    yield from wrong_values(config, strict=own)
    yield from wrong_schedule(schedule)
    split = _section(config, "split_dataset")
    fractions = [split.get(name, 0.0) for name in ("train_fraction", "test_fraction")]
    if all(is_number(fraction) for fraction in fractions) and not (min(fractions) >= 0 and sum(fractions) <= 1):
        yield (
            "split_dataset",
            f"train_fraction and test_fraction must be at least 0 and add up to 1 at most, got {fractions}.",
        )
    yield from wrong_transformations(config, strict=own)
    if not own:
        return
    transformation = _section(config, "transformation")
    for name in ("CenterCrop", "ROICrop"):
        yield from _check_depth(_section(config, "default_model"), _section(transformation, name).get("size"), name)
    nested = loader.get("target_suffix")
    if is_nested(nested) and isinstance(nested[0], list):
        for name in PLUGIN_TRANSFORMS:
            yield from _check_weights(_section(transformation, name).get("weights"), len(nested[0]), name)


def _check_weights(weights, n_raters, transform):
    """Find a list of weights that does not give each rater one, or gives nobody any."""
    if not isinstance(weights, list):
        return
    key = f"transformation.{transform}.weights"
    if len(weights) != n_raters:
        yield key, f"must be {n_raters} numbers, one per rater, got {len(weights)}."
    elif not all(is_number(weight) and weight >= 0 for weight in weights) or not sum(weights):
        yield key, f"must be numbers of at least 0, not all of them 0, got {weights}."


def _check_depth(model, size, crop):
    """Find a 2D network that halves its input to nothing."""
    depth = model.get("depth")
    if not isinstance(depth, int) or not isinstance(size, list) or not all(isinstance(side, int) for side in size):
        return
    smallest = min(size[:2], default=1)
    if depth >= 1 and model.get("is_2d", True) and smallest < 2**depth:
        yield (
            "default_model.depth",
            f"{depth} halves the {smallest} pixels of transformation.{crop}.size to nothing. Use at most "
            f"{max(1, smallest.bit_length() - 1)}, or a larger crop.",
        )
