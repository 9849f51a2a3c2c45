"""What the values of a configuration must be, where a wrong one would end in an error of ivadomed's own, or in silence.

Python takes any text for true: ``"allow_missing_raters": "False"`` would switch it on.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value):
    """Whether a value of JSON is a finite number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Kind:
    """What a value must be.

    Attributes:
        expected (str): In words, to follow "must be".
        is_right (callable): Takes a value of JSON, tells whether it is so.
        schema (dict): The same as a JSON Schema.
    """

    expected: str
    is_right: Callable
    schema: dict


def _is_size(value):
    return isinstance(value, list) and len(value) in (2, 3) and all(_is_whole(n) and n >= 1 for n in value)


_FLAG = Kind("true or false", lambda value: value is None or isinstance(value, bool), {"type": ["boolean", "null"]})
_COUNT = Kind(
    "a whole number of at least 1",
    lambda value: _is_whole(value) and value >= 1,
    {"type": "integer", "minimum": 1},
)
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
_NUMBER = Kind("a number", is_number, {"type": "number"})
_OBJECT = Kind("a JSON object", lambda value: isinstance(value, Mapping), {"type": "object"})
_NAMES = Kind(
    "a list of names",
    lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    {"type": "array", "items": {"type": "string"}},
)
_SIZE = Kind(
    "a list of 2 or 3 whole numbers of at least 1",
    _is_size,
    {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 3},
)

KINDS = {
    "debugging": _FLAG,
    "loader_parameters": {
        "contrast_params": {"training_validation": _NAMES, "testing": _NAMES},
        "slice_filter_params": {
            "filter_empty_mask": _FLAG,
            "filter_empty_input": _FLAG,
            "filter_absent_class": _FLAG,
        },
        "multichannel": _FLAG,
        "soft_gt": _FLAG,
        "is_input_dropout": _FLAG,
        "allow_missing_raters": _FLAG,
    },
    "split_dataset": {"random_seed": _WHOLE, "train_fraction": _SHARE, "test_fraction": _SHARE},
    "training_parameters": {
        "batch_size": _COUNT,
        # ivadomed drops what is no object here, and silently takes its own default
        "loss": _OBJECT,
        "training_time": {
            "num_epochs": _COUNT,
            "early_stopping_patience": _COUNT,
            "early_stopping_epsilon": _NOT_NEGATIVE,
        },
        "scheduler": {"initial_lr": _POSITIVE, "lr_scheduler": _OBJECT},
        "balance_samples": {"applied": _FLAG},
    },
    "default_model": {
        "depth": _COUNT,
        "n_filters": _COUNT,
        "dropout_rate": _SHARE,
        "bn_momentum": _SHARE,
        "is_2d": _FLAG,
    },
    "uncertainty": {"epistemic": _FLAG, "aleatoric": _FLAG, "n_it": _WHOLE},
    "postprocessing": {"binarize_prediction": {"thr": _NUMBER}},
    "evaluation_parameters": {"object_detection_metrics": _FLAG},
    "transformation": {
        "Resample": {"hspace": _POSITIVE, "wspace": _POSITIVE, "dspace": _POSITIVE},
        "CenterCrop": {"size": _SIZE},
        "ROICrop": {"size": _SIZE},
        "FuseRaters": {"margin": _WHOLE, "max_iter": _COUNT, "tol": _NOT_NEGATIVE, "confidence_weight": _NOT_NEGATIVE},
    },
}


def wrong_values(config):
    """Yield ``(key, message)`` of every value that is not what its key needs; keys that are absent are fine.

    Args:
        config (Mapping): A configuration whose sections are objects.
    """
    yield from _wrong_below(config, KINDS, "")


def _wrong_below(section, kinds, prefix):
    for key, kind in kinds.items():
        if key not in section:
            continue
        value, path = section[key], f"{prefix}{key}"
        if isinstance(kind, Mapping):
            if isinstance(value, Mapping):
                yield from _wrong_below(value, kind, f"{path}.")
            continue
        if not kind.is_right(value):
            yield path, f"must be {kind.expected}, got {value!r}."
