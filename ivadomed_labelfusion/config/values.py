"""What the values of a configuration must be, where a wrong one would end in an error of ivadomed's own, or in silence.

Python takes any text for true: ``"allow_missing_raters": "False"`` would switch it on.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ivadomed_labelfusion.config.keys import MODELS
from ivadomed_labelfusion.fusion.voting import TIES


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value):
    """Whether a value of JSON is a finite number, and not true or false."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # whole numbers of any length are finite, also those that no float holds
    return isinstance(value, int) or math.isfinite(value)


@dataclass(frozen=True)
class Kind:
    """What a value must be.

    Attributes:
        expected (str): In words, to follow "must be".
        is_right (callable): Takes a value of JSON, tells whether it is so.
        schema (dict): The same as a JSON Schema, or something weaker.
        limit (float or None): Largest number, beyond which a number is a mistake in typing and takes memory or time.
    """

    expected: str
    is_right: Callable
    schema: dict = field(default_factory=dict)
    limit: float | None = None

    def complaint(self, value):
        """Return what a value must be, None if it is so."""
        if not self.is_right(value):
            return self.expected
        numbers = value if isinstance(value, list) else [value]
        if self.limit is not None and any(is_number(number) and number > self.limit for number in numbers):
            return f"at most {self.limit:g}"
        return None


def _is_text(value):
    return isinstance(value, str) and value != "" and "\0" not in value


def _list_of(is_right, *lengths):
    def check(value):
        return isinstance(value, list) and (not lengths or len(value) in lengths) and all(map(is_right, value))

    return check


def _array(items, *lengths):
    """Return the schema of a list."""
    bounds = {"minItems": min(lengths), "maxItems": max(lengths)} if lengths else {}
    return {"type": "array", "items": items, **bounds}


def _or_null(kind):
    """Return a kind that may be null as well."""
    schema = {"anyOf": [kind.schema, {"type": "null"}]}
    return Kind(f"{kind.expected}, or null", lambda value: value is None or kind.is_right(value), schema, kind.limit)


def _at_most(kind, limit):
    """Return a kind with an upper limit."""
    return replace(kind, limit=limit)


def _one_of(*words):
    """Return the kind of some words."""
    return Kind(f"one of {', '.join(words)}", lambda value: value in words, {"enum": list(words)})


# a text with a zero byte is no path and no name
_ANY_TEXT_SCHEMA = {"type": "string", "not": {"pattern": "\\x00"}}
_TEXT_SCHEMA, _NUMBER_SCHEMA = {**_ANY_TEXT_SCHEMA, "minLength": 1}, {"type": "number"}
_COUNT_SCHEMA = {"type": "integer", "minimum": 1}
_FLAG = Kind("true or false", lambda value: value is None or isinstance(value, bool), {"type": ["boolean", "null"]})
_COUNT = Kind("a whole number of at least 1", lambda value: _is_whole(value) and value >= 1, _COUNT_SCHEMA)
_WHOLE = Kind(
    "a whole number of at least 0",
    lambda value: _is_whole(value) and value >= 0,
    {"type": "integer", "minimum": 0},
)
_POSITIVE = Kind(
    "a number above 0", lambda value: is_number(value) and value > 0, {"type": "number", "exclusiveMinimum": 0}
)
_NOT_NEGATIVE = Kind(
    "a number of at least 0", lambda value: is_number(value) and value >= 0, {"type": "number", "minimum": 0}
)
_SHARE = Kind(
    "a number from 0 to 1",
    lambda value: is_number(value) and 0 <= value <= 1,
    {"type": "number", "minimum": 0, "maximum": 1},
)
_NUMBER = Kind("a number", is_number, _NUMBER_SCHEMA)
_PERCENT = Kind(
    "a number from 0 to 100",
    lambda value: is_number(value) and 0 <= value <= 100,
    {"type": "number", "minimum": 0, "maximum": 100},
)
_OBJECT = Kind("a JSON object", lambda value: isinstance(value, Mapping), {"type": "object"})
_TEXT = Kind("a text", _is_text, _TEXT_SCHEMA)
_ANY_TEXT = Kind("a text", lambda value: isinstance(value, str) and "\0" not in value, _ANY_TEXT_SCHEMA)
_NAMES = Kind("a list of names", _list_of(_is_text), _array(_TEXT_SCHEMA))
_SIZE = Kind(
    "a list of 2 or 3 whole numbers of at least 1", _list_of(_COUNT.is_right, 2, 3), _array(_COUNT_SCHEMA, 2, 3)
)
_PATCH = Kind(
    "a list of 2 or 3 whole numbers of at least 1, or an empty one",
    lambda value: value is None or _list_of(_COUNT.is_right, 0, 2, 3)(value),
    {"anyOf": [_array(_COUNT_SCHEMA, 0), _array(_COUNT_SCHEMA, 2, 3), {"type": "null"}]},
)
_RANGE = Kind("a list of 2 numbers", _list_of(is_number, 2), _array(_NUMBER_SCHEMA, 2))
_SHARES = Kind("a list of 2 or 3 numbers from 0 to 1", _list_of(_SHARE.is_right, 2, 3), _array(_SHARE.schema, 2, 3))
_PATHS = Kind(
    "a path or a list of paths",
    lambda value: _is_text(value) or (bool(value) and _list_of(_is_text)(value)),
    {"anyOf": [_TEXT_SCHEMA, {**_array(_TEXT_SCHEMA), "minItems": 1}]},
)
_GPUS = Kind(
    "a list of at least one whole number",
    lambda value: bool(value) and _list_of(_WHOLE.is_right)(value),
    {**_array(_WHOLE.schema), "minItems": 1},
)
_SUFFIXES = Kind(
    "a list of suffixes, one per class, or a list of raters' suffixes per class",
    _list_of(lambda entry: isinstance(entry, str) or _list_of(_is_text)(entry)),
    _array({"anyOf": [{"type": "string"}, _array(_TEXT_SCHEMA)]}),
)
_WEIGHTS = Kind(
    "an object from names to numbers",
    lambda value: isinstance(value, Mapping) and all(map(is_number, value.values())),
    {"type": "object", "additionalProperties": _NUMBER_SCHEMA},
)
_ONE_OR_MORE = Kind(
    "a number or a list of numbers",
    lambda value: is_number(value) or _list_of(is_number)(value),
    {"anyOf": [_NUMBER_SCHEMA, _array(_NUMBER_SCHEMA)]},
)
_UNIT = Kind("vox or mm3", lambda value: value in ("vox", "mm3"), {"enum": ["vox", "mm3"]})
_APPLIED = Kind(
    'a list of "im", "gt" and "roi"',
    _list_of(lambda entry: entry in ("im", "gt", "roi")),
    _array({"enum": ["im", "gt", "roi"]}),
)
_ROLES = Kind(
    'a list of "training", "validation" and "testing"',
    _list_of(lambda entry: entry in ("training", "validation", "testing")),
    _array({"enum": ["training", "validation", "testing"]}),
)


_MODEL = {
    "name": _TEXT,
    "applied": _FLAG,
    "depth": _at_most(_COUNT, 20),
    "n_filters": _at_most(_COUNT, 4096),
    "dropout_rate": _SHARE,
    "bn_momentum": _SHARE,
    "is_2d": _FLAG,
    "length_2D": _at_most(_PATCH, 10_000),
    "stride_2D": _at_most(_PATCH, 10_000),
    "length_3D": _at_most(_PATCH, 10_000),
    "stride_3D": _at_most(_PATCH, 10_000),
    "in_channel": _at_most(_COUNT, 10_000),
    "out_channel": _at_most(_COUNT, 10_000),
    "n_metadata": _at_most(_WHOLE, 10_000),
    "attention": _FLAG,
    "missing_probability": _SHARE,
    "missing_probability_growth": _at_most(_NOT_NEGATIVE, 1e6),
    "film_layers": Kind(
        "a list of 0 and 1",
        _list_of(lambda layer: _is_whole(layer) and layer in (0, 1)),
        _array({"enum": [0, 1], "type": "integer"}),
    ),
    "multichannel": _FLAG,
}
_COMMON = {"applied_to": _APPLIED, "dataset_type": _ROLES, "preprocessing": _FLAG}
_CROP = {"size": _at_most(_SIZE, 10_000)}
_SPACE = _at_most(_POSITIVE, 1000)
_TRANSFORMS = {
    "Resample": {"hspace": _SPACE, "wspace": _SPACE, "dspace": _SPACE},
    "CenterCrop": _CROP,
    "ROICrop": _CROP,
    "BoundingBoxCrop": _CROP,
    "DilateGT": {"dilation_factor": _at_most(_NOT_NEGATIVE, 100)},
    "RandomAffine": {
        "degrees": Kind(
            "a number of at least 0 or a list of 2 or 3 numbers",
            lambda value: _NOT_NEGATIVE.is_right(value) or _list_of(is_number, 2, 3)(value),
            {"anyOf": [_NOT_NEGATIVE.schema, _array(_NUMBER_SCHEMA, 2, 3)]},
        ),
        "translate": _or_null(_SHARES),
        "scale": _or_null(_SHARES),
    },
    "RandomShiftIntensity": {"shift_range": _RANGE, "prob": _SHARE},
    "ElasticTransform": {"alpha_range": _RANGE, "sigma_range": _RANGE, "p": _SHARE},
    "AdditiveGaussianNoise": {"mean": _NUMBER, "std": _NOT_NEGATIVE},
    "Clahe": {"clip_limit": _POSITIVE, "kernel_size": _at_most(_SIZE, 10_000)},
    "HistogramClipping": {"min_percentile": _PERCENT, "max_percentile": _PERCENT},
    "RandomGamma": {"log_gamma_range": _RANGE, "p": _SHARE},
    "RandomBiasField": {"coefficients": _ONE_OR_MORE, "order": _at_most(_WHOLE, 20), "p": _SHARE},
    "RandomBlur": {"sigma_range": _RANGE, "p": _SHARE},
    "FuseRaters": {
        "ties": _one_of(*TIES),
        "margin": _WHOLE,
        "max_iter": _COUNT,
        "tol": _NOT_NEGATIVE,
        "confidence_weight": _NOT_NEGATIVE,
    },
}
_FILTER = dict.fromkeys(
    ("filter_empty_mask", "filter_empty_input", "filter_absent_class", "filter_classification"), _FLAG
)

KINDS = {
    "command": _or_null(_one_of("train", "test", "segment")),
    "gpu_ids": _GPUS,
    "path_output": _TEXT,
    "model_name": _TEXT,
    "log_file": _TEXT,
    "debugging": _FLAG,
    "loader_parameters": {
        "path_data": _PATHS,
        "bids_config": _or_null(_TEXT),
        "bids_validate": _FLAG,
        "subject_selection": {
            "n": Kind("a list of whole numbers of at least 0", _list_of(_WHOLE.is_right), _array(_WHOLE.schema)),
            "metadata": _NAMES,
            "value": Kind("a list", lambda value: isinstance(value, list), {"type": "array"}),
        },
        "target_suffix": _SUFFIXES,
        "extensions": _NAMES,
        "target_sessions": _or_null(_NAMES),
        "roi_params": {"suffix": _or_null(_ANY_TEXT), "slice_filter_roi": _or_null(_WHOLE)},
        "contrast_params": {
            "training_validation": _NAMES,
            "testing": _NAMES,
            "balance": _WEIGHTS,
            "contrast_lst": _NAMES,
        },
        "slice_filter_params": {**_FILTER, "classifier_path": _or_null(_ANY_TEXT)},
        "patch_filter_params": _FILTER,
        "slice_axis": _one_of("axial", "sagittal", "coronal"),
        "multichannel": _FLAG,
        "soft_gt": _FLAG,
        "is_input_dropout": _FLAG,
        "metadata_type": _or_null(_ANY_TEXT),
        "allow_missing_raters": _FLAG,
        "fast_loader": _FLAG,
    },
    "split_dataset": {
        "fname_split": _or_null(_ANY_TEXT),
        # the largest that numpy takes
        "random_seed": _at_most(_WHOLE, 2**32 - 1),
        "split_method": _TEXT,
        "data_testing": {
            "data_type": _or_null(_ANY_TEXT),
            "data_value": Kind(
                "a list of texts or numbers",
                _list_of(lambda value: isinstance(value, str) or is_number(value)),
                _array({"type": ["string", "number"]}),
            ),
        },
        "balance": _or_null(_ANY_TEXT),
        "train_fraction": _SHARE,
        "test_fraction": _SHARE,
    },
    "training_parameters": {
        "batch_size": _at_most(_COUNT, 100_000),
        # ivadomed drops what is no object here, and silently takes its own default
        "loss": _OBJECT,
        "training_time": {
            "num_epochs": _at_most(_COUNT, 10**7),
            "early_stopping_patience": _COUNT,
            "early_stopping_epsilon": _NOT_NEGATIVE,
            "early_stopping_mode": _one_of("host", "best"),
        },
        "scheduler": {"initial_lr": _at_most(_POSITIVE, 1e6), "lr_scheduler": _OBJECT},
        "balance_samples": {"applied": _FLAG, "type": _TEXT},
        "mixup_alpha": _or_null(_POSITIVE),
        "export_onnx": _FLAG,
        "amp": Kind(
            "bf16, fp16 or false",
            lambda value: value is False or value in ("bf16", "fp16"),
            {"enum": ["bf16", "fp16", False]},
        ),
        "channels_last": _FLAG,
        "compile": _FLAG,
        "transfer_learning": {"retrain_model": _or_null(_ANY_TEXT), "retrain_fraction": _SHARE, "reset": _FLAG},
    },
    "default_model": _MODEL,
    **dict.fromkeys(MODELS, _MODEL),
    "uncertainty": {"epistemic": _FLAG, "aleatoric": _FLAG, "n_it": _at_most(_WHOLE, 10_000), "applied": _FLAG},
    "postprocessing": {
        "binarize_prediction": {"thr": _NUMBER},
        "uncertainty": {"thr": _NUMBER, "suffix": _TEXT},
        "remove_noise": {"thr": _NUMBER},
        "remove_small": {"unit": _UNIT, "thr": _ONE_OR_MORE},
    },
    "evaluation_parameters": {
        "object_detection_metrics": _FLAG,
        "target_size": {"unit": _UNIT, "thr": _ONE_OR_MORE},
        "overlap": {"unit": _UNIT, "thr": _ONE_OR_MORE},
    },
    "transformation": {name: {**kinds, **_COMMON} for name, kinds in _TRANSFORMS.items()},
}


def wrong_values(config, *, strict=True):
    """Yield ``(key, message)`` of every value that is not what its key needs; keys that are absent are fine.

    Args:
        config (Mapping): A configuration whose sections are objects.
        strict (bool): Also name flags that are neither true nor false, which Python and so ivadomed takes for one.
    """
    yield from _wrong_below(config, KINDS, "", strict)


def _wrong_below(section, kinds, prefix, strict):
    for key, kind in kinds.items():
        if key not in section:
            continue
        value, path = section[key], f"{prefix}{key}"
        if isinstance(kind, Mapping):
            if isinstance(value, Mapping):
                yield from _wrong_below(value, kind, f"{path}.", strict)
            continue
        complaint = kind.complaint(value)
        if complaint is not None and (strict or kind is not _FLAG):
            yield path, f"must be {complaint}, got {_shown(value)}."


def _shown(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
