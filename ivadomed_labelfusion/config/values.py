"""What the values of a configuration must be, where a wrong one would end in an error of ivadomed's own, or in silence.

Python takes any text for true: ``"allow_missing_raters": "False"`` would switch it on.
"""

import math
from collections.abc import Mapping

from ivadomed_labelfusion.fusion.voting import TIES


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value):
    """Whether a value of JSON is a finite number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# kinds: what to say, and when it is met
_FLAG = "true or false", lambda value: value is None or isinstance(value, bool)
_COUNT = "a whole number of at least 1", lambda value: _is_whole(value) and value >= 1
_WHOLE = "a whole number of at least 0", lambda value: _is_whole(value) and value >= 0
_POSITIVE = "a number above 0", lambda value: is_number(value) and value > 0
_NOT_NEGATIVE = "a number of at least 0", lambda value: is_number(value) and value >= 0
_SHARE = "a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1
_NUMBER = "a number", is_number
_OBJECT = "a JSON object", lambda value: isinstance(value, Mapping)
_NAMES = (
    "a list of names",
    lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
)
_SIZE = (
    "a list of 2 or 3 whole numbers of at least 1",
    lambda value: isinstance(value, list) and len(value) in (2, 3) and all(_is_whole(n) and n >= 1 for n in value),
)


def _one_of(*names):
    return f"one of {', '.join(names)}", lambda value: value in names


_KINDS = {
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
            "early_stopping_mode": _one_of("host", "best"),
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
        "FuseRaters": {
            "ties": _one_of(*TIES),
            "margin": _WHOLE,
            "max_iter": _COUNT,
            "tol": _NOT_NEGATIVE,
            "confidence_weight": _NOT_NEGATIVE,
        },
    },
}


def wrong_values(config):
    """Yield ``(key, message)`` of every value that is not what its key needs; keys that are absent are fine.

    Args:
        config (Mapping): A configuration whose sections are objects.
    """
    yield from _wrong_below(config, _KINDS, "")


def _wrong_below(section, kinds, prefix):
    for key, kind in kinds.items():
        if key not in section:
            continue
        value, path = section[key], f"{prefix}{key}"
        if isinstance(kind, Mapping):
            if isinstance(value, Mapping):
                yield from _wrong_below(value, kind, f"{path}.")
            continue
        expected, is_right = kind
        if not is_right(value):
            yield path, f"must be {expected}, got {value!r}."
