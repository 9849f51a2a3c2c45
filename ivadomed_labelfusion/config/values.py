"""What the values of a configuration must be, where a wrong one would end in an error of ivadomed's own, or in silence.

Python takes any text for true: ``"allow_missing_raters": "False"`` would switch it on.
"""

import math
from collections.abc import Mapping

from ivadomed_labelfusion.config.keys import MODELS


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value):
    """Whether a value of JSON is a finite number, and not true or false."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # whole numbers of any length are finite, also those that no float holds
    return isinstance(value, int) or math.isfinite(value)


def _is_text(value):
    return isinstance(value, str) and value != "" and "\0" not in value


def _list_of(is_right, *lengths):
    def check(value):
        return isinstance(value, list) and (not lengths or len(value) in lengths) and all(map(is_right, value))

    return check


def _or_null(kind):
    return f"{kind[0]}, or null", lambda value: value is None or kind[1](value)


# kinds: what to say, and when it is met
_FLAG = "true or false", lambda value: value is None or isinstance(value, bool)
_COUNT = "a whole number of at least 1", lambda value: _is_whole(value) and value >= 1
_WHOLE = "a whole number of at least 0", lambda value: _is_whole(value) and value >= 0
_POSITIVE = "a number above 0", lambda value: is_number(value) and value > 0
_NOT_NEGATIVE = "a number of at least 0", lambda value: is_number(value) and value >= 0
_SHARE = "a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1
_NUMBER = "a number", is_number
_PERCENT = "a number from 0 to 100", lambda value: is_number(value) and 0 <= value <= 100
_OBJECT = "a JSON object", lambda value: isinstance(value, Mapping)
_TEXT = "a text", _is_text
_ANY_TEXT = "a text", lambda value: isinstance(value, str) and "\0" not in value
_NAMES = "a list of names", _list_of(_is_text)
_SIZE = "a list of 2 or 3 whole numbers of at least 1", _list_of(_COUNT[1], 2, 3)
_PATCH = (
    "a list of 2 or 3 whole numbers of at least 1, or an empty one",
    lambda value: value is None or _list_of(_COUNT[1], 0, 2, 3)(value),
)
_RANGE = "a list of 2 numbers", _list_of(is_number, 2)
_SHARES = "a list of 2 or 3 numbers from 0 to 1", _list_of(_SHARE[1], 2, 3)
_PATHS = "a path or a list of paths", lambda value: _is_text(value) or (bool(value) and _list_of(_is_text)(value))
_GPUS = "a list of at least one whole number", lambda value: bool(value) and _list_of(_WHOLE[1])(value)
_SUFFIXES = (
    "a list of suffixes, one per class, or a list of raters' suffixes per class",
    _list_of(lambda entry: isinstance(entry, str) or _list_of(_is_text)(entry)),
)
_WEIGHTS = (
    "an object from names to numbers",
    lambda value: isinstance(value, Mapping) and all(map(is_number, value.values())),
)
_ONE_OR_MORE = "a number or a list of numbers", lambda value: is_number(value) or _list_of(is_number)(value)
_UNIT = "vox or mm3", lambda value: value in ("vox", "mm3")
_APPLIED = (
    'a list of "im", "gt" and "roi"',
    _list_of(lambda entry: entry in ("im", "gt", "roi")),
)
_ROLES = (
    'a list of "training", "validation" and "testing"',
    _list_of(lambda entry: entry in ("training", "validation", "testing")),
)


def _at_most(kind, highest):
    """Return a kind with an upper limit, beyond which a number is a mistake in typing and takes memory or time."""
    return kind, (
        f"at most {highest:g}",
        lambda value: all(
            not is_number(number) or number <= highest for number in (value if isinstance(value, list) else [value])
        ),
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
    "film_layers": ("a list of 0 and 1", _list_of(lambda layer: layer in (0, 1))),
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
        "degrees": (
            "a number of at least 0 or a list of 2 or 3 numbers",
            lambda value: _NOT_NEGATIVE[1](value) or _list_of(is_number, 2, 3)(value),
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
        "margin": _WHOLE,
        "max_iter": _COUNT,
        "tol": _NOT_NEGATIVE,
        "confidence_weight": _NOT_NEGATIVE,
    },
}
_FILTER = dict.fromkeys(
    ("filter_empty_mask", "filter_empty_input", "filter_absent_class", "filter_classification"), _FLAG
)

_KINDS = {
    "command": _or_null(("train, test or segment", lambda value: value in ("train", "test", "segment"))),
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
            "n": ("a list of whole numbers of at least 0", _list_of(_WHOLE[1])),
            "metadata": _NAMES,
            "value": ("a list", lambda value: isinstance(value, list)),
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
        "slice_axis": ("axial, sagittal or coronal", lambda value: value in ("axial", "sagittal", "coronal")),
        "multichannel": _FLAG,
        "soft_gt": _FLAG,
        "is_input_dropout": _FLAG,
        "metadata_type": _or_null(_ANY_TEXT),
        "allow_missing_raters": _FLAG,
    },
    "split_dataset": {
        "fname_split": _or_null(_ANY_TEXT),
        # the largest that numpy takes
        "random_seed": _at_most(_WHOLE, 2**32 - 1),
        "split_method": _TEXT,
        "data_testing": {
            "data_type": _or_null(_ANY_TEXT),
            "data_value": (
                "a list of texts or numbers",
                _list_of(lambda value: isinstance(value, str) or is_number(value)),
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
        },
        "scheduler": {"initial_lr": _at_most(_POSITIVE, 1e6), "lr_scheduler": _OBJECT},
        "balance_samples": {"applied": _FLAG, "type": _TEXT},
        "mixup_alpha": _or_null(_POSITIVE),
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
    yield from _wrong_below(config, _KINDS, "", strict)


def _wrong_below(section, kinds, prefix, strict):
    for key, kind in kinds.items():
        if key not in section:
            continue
        value, path = section[key], f"{prefix}{key}"
        if isinstance(kind, Mapping):
            if isinstance(value, Mapping):
                yield from _wrong_below(value, kind, f"{path}.", strict)
            continue
        for expected, is_right in (kind,) if isinstance(kind[0], str) else kind:
            if not is_right(value) and (strict or kind is not _FLAG):
                yield path, f"must be {expected}, got {_shown(value)}."
                break


def _shown(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
