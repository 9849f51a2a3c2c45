"""Reading the CSV tables of an evaluation or a study: numbers where numbers belong, and shares that are shares."""

import csv
import math
from pathlib import Path

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import check_readable

# columns of names; everything else is a number or empty
TEXT_COLUMNS = ("candidate", "split", "subject", "image_id", "rater", "form", "region", "test_centre")
# scores per class and others that lie between 0 and 1; own metrics may be anything
_SHARES_PER_CLASS = ("dice", "precision", "recall", "soft_dice", "qubiq_dice", "brier")
_SHARES = ("confidence", "accuracy", "lower", "upper", "threshold")
_ENTROPIES = tuple(f"ir_entropy_{form}_{of}" for form in ("paper", "shannon") for of in ("raters", "prediction"))
_AMOUNTS = ("count", "dropped", *_ENTROPIES)
_TOLERANCE = 1e-6


def read_table(path, needed, cure, *, class_names=()):
    """Return a CSV table as a DataFrame.

    Args:
        path (str or Path): The file.
        needed (sequence of str): Columns that it must have; every one but those of names holds numbers.
        cure (str): What to do if it is damaged, the end of the message.
        class_names (sequence of str): Classes whose scores are checked.

    Raises:
        InputError: If the file is missing, no table, lacks a column or has one twice, has no row, holds a text where a
            number belongs, or a score outside of its range; the message names the column.
    """
    import pandas as pd

    path = Path(path)
    try:
        check_readable(path)
        with open(path, encoding="utf-8", newline="") as stream:
            header = next(csv.reader(stream), [])
        twice = sorted({name for name in header if header.count(name) > 1})
        missing = [name for name in needed if name not in header]
        if twice or missing:
            wrong = f"has {twice[0]!r} twice" if twice else f"lacks {missing[0]!r}, it has {', '.join(header[:6])}"
            raise _damaged(path, cure, f"it must have the columns {', '.join(needed)}, once each, but it {wrong}")
        # texts first: pandas would take a column for numbers or texts as its cells happen to be
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False, on_bad_lines="error")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. {cure}") from None
    except InputError:
        raise
    except (pd.errors.EmptyDataError, pd.errors.ParserError, csv.Error, ValueError, OverflowError) as error:
        raise _damaged(path, cure, str(error)) from None
    if frame.empty:
        raise _damaged(path, cure, "it must have at least one row")
    shares = {*_SHARES, *(f"ir_{stem}_{name}" for stem in _SHARES_PER_CLASS for name in class_names)}
    for name in [name for name in frame if name not in TEXT_COLUMNS]:
        frame[name] = _numbers(frame[name], path, cure)
        if name in shares or name.startswith("ece_"):
            _check_range(frame[name], 1.0, path, cure)
        elif name in _AMOUNTS:
            _check_range(frame[name], math.inf, path, cure)
    return frame


def _damaged(path, cure, found):
    return InputError(f"{path} is damaged. {cure} Found: {found}.")


def _numbers(cells, path, cure):
    """Return a column as numbers: whole ones where all are, NaN for empty cells."""
    import numpy as np
    import pandas as pd

    numbers = pd.to_numeric(cells.replace("", None), errors="coerce")
    wrong = cells[(numbers.isna() & (cells != "")) | np.isinf(numbers.astype(float))]
    if len(wrong):
        raise _damaged(path, cure, f"{cells.name} must hold numbers, got {wrong.iloc[0][:40]!r}")
    return numbers


def _check_range(numbers, highest, path, cure):
    outside = numbers[(numbers < -_TOLERANCE) | (numbers > highest + _TOLERANCE)]
    if len(outside):
        expected = "of at least 0" if math.isinf(highest) else f"from 0 to {highest:g}"
        raise _damaged(path, cure, f"{numbers.name} must hold numbers {expected}, got {outside.iloc[0]:g}")
