"""Reading the small JSON files of a study: each kind of file has one list of what it must hold.

A study may come from somebody else, and names of candidates become folders and words of a command.
"""

import math
import re

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import read_json

# what names of candidates, splits and models are made of
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}"
# a study of more is a mistake in typing: the paper has 40
MOST_SPLITS = 1000
_MOST_WORKERS = 100_000


def is_name(value):
    """Whether a value is the name of a candidate: letters, digits, ``_`` and ``-``."""
    return isinstance(value, str) and re.fullmatch(NAME, value) is not None and value != "all"


def _whole(lowest, highest=2**63):
    return (
        f"a whole number from {lowest} to {highest}" if highest < 2**63 else f"a whole number of at least {lowest}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest,
    )


def _one_of(*choices):
    return f"one of {', '.join(choices)}", lambda value: isinstance(value, str) and value in choices


def _or_none(kind):
    return f"{kind[0]}, or null", lambda value: value is None or kind[1](value)


def _list_of(kind, noun):
    return f"a list of {noun}", lambda value: isinstance(value, list) and all(kind[1](item) for item in value)


TEXT = "a text", lambda value: isinstance(value, str) and "\0" not in value
FLAG = "true or false", lambda value: isinstance(value, bool)
OBJECT = "an object", lambda value: isinstance(value, dict)
NUMBER = (
    "a number",
    lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
)
SECONDS = "a number of at least 0", lambda value: NUMBER[1](value) and value >= 0
SHARE = "a number from 0 to 1", lambda value: NUMBER[1](value) and 0 <= value <= 1
TEXTS = _list_of(TEXT, "texts")

STUDY = {
    "folder": TEXT,
    "bids": TEXT,
    "template": TEXT,
    "design": _one_of("centre", "random"),
    "candidates": _list_of(OBJECT, "objects"),
    "n_splits": _whole(1, MOST_SPLITS),
    "study_seed": _whole(0),
    "overrides": OBJECT,
    "cores": _whole(1, _MOST_WORKERS),
    "gpus": _whole(0, _MOST_WORKERS),
    "threads": _whole(1, _MOST_WORKERS),
    "scheduled": FLAG,
    "models_per_gpu": _whole(1, 100),
}
CANDIDATE = {
    "name": ("a name of letters, digits, _ and -", is_name),
    "base": TEXT,
    "overrides": OBJECT,
    "raters": _list_of(_whole(1, 1000), "positions from 1"),
    "ensemble": FLAG,
}
SPLIT = {
    "name": ("a name of letters, digits, _ and -", is_name),
    "seed": _whole(0),
    "test_centre": _or_none(TEXT),
    "subjects": OBJECT,
    "files": OBJECT,
}
SPLIT_PARTS = {"train": TEXTS, "valid": TEXTS, "test": TEXTS}
RUNNING = {
    "kind": _one_of("train", "test", "evaluate"),
    "host": TEXT,
    "log": TEXT,
    "started": NUMBER,
    "log_start": _whole(0),
}
FAILED = {
    "kind": _one_of("train", "test", "evaluate"),
    "reason": TEXT,
    "attempts": _whole(1),
    "log": TEXT,
}
DONE = {
    "seconds": SECONDS,
    "resumed": FLAG,
    "threshold": _or_none(SHARE),
    "epochs": _whole(0),
    "best_validation_loss": _or_none(NUMBER),
}


def check_fields(content, kinds, where, cure):
    """Check that an object holds what it must; further keys are left alone.

    Args:
        content: As read from JSON.
        kinds (dict): Key to ``(what it must be, check)``.
        where (str or Path): The file, for the message.
        cure (str): What to do, the end of the message.

    Returns:
        dict: ``content``.

    Raises:
        InputError: If it is no object, or a key is missing or wrong; the message names the first.
    """
    if not isinstance(content, dict):
        raise InputError(f"{where} must hold a JSON object, got {type(content).__name__}. {cure}")
    for key, (expected, is_right) in kinds.items():
        if key not in content:
            raise InputError(f"{where} must have the key {key!r} ({expected}). {cure}")
        if not is_right(content[key]):
            raise InputError(f"{where}: {key} must be {expected}, got {_shown(content[key])}. {cure}")
    return content


def _shown(value):
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def read_done(folder, kind, *keys):
    """Return what a finished job wrote of itself.

    Args:
        folder (Path): Of the model.
        kind (str): ``train``, ``test`` or ``evaluate``.
        *keys (str): What the caller needs of it.

    Raises:
        InputError: If ``<kind>.done.json`` is missing or damaged.
    """
    path, kinds = folder / f"{kind}.done.json", {key: DONE[key] for key in keys}
    return check_fields(read_json(path), kinds, path, "Delete it and repeat 'study run': the job is done again.")


def read_if_there(path, kinds):
    """Return the content of a file that a job may remove at any moment, None if it is not there.

    Raises:
        InputError: If it is damaged.
    """
    try:
        content = read_json(path)
    except InputError:
        if path.exists():
            raise InputError(f"{path} is damaged. Delete it.") from None
        return None
    return check_fields(content, kinds, path, "Delete it.")
