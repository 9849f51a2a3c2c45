"""Tables of subjects in ivadomed: what is read from them, and how the dataset is split by them."""

from pathlib import Path

import pandas

from ivadomed_labelfusion.data.texts import PARTICIPANTS, read_text
from ivadomed_labelfusion.errors import InputError


def add_tsv_metadata(original):
    """Wrap ``BidsDataframe.add_tsv_metadata``: a table of participants may have one column; a bad table is named."""

    def wrapped(self, df, path_data, layout):
        try:
            table = original(self, df, path_data, layout)
        except KeyError as error:
            raise InputError(
                f"a table (_sessions.tsv, _scans.tsv or samples.tsv) in {path_data} must have the column "
                f"{error.args[0]!r}. Add it, or remove the table."
            ) from None
        except (pandas.errors.ParserError, pandas.errors.EmptyDataError, UnicodeDecodeError) as error:
            text = " ".join(str(error).split())
            raise InputError(f"a table (.tsv) in {path_data} cannot be read: {text}. Correct it.") from None
        participants = Path(path_data, PARTICIPANTS)
        if "participant_id" not in table and participants.is_file():
            # pybids takes a table with nothing but the subjects for an empty one
            lines = [line.strip() for line in read_text(participants).splitlines()[1:]]
            listed = {line.removeprefix("sub-") for line in lines}
            table["participant_id"] = ("sub-" + table["subject"]).where(table["subject"].isin(listed))
        return table

    return wrapped


def split_dataset(original):
    """Wrap ``ivadomed.loader.utils.split_dataset``: too few values to split by end in one line."""

    def wrapped(df, split_method, data_testing, random_seed, train_frac=0.8, test_frac=0.1):
        data_type = data_testing["data_type"] or split_method
        for key, column in (("split_method", split_method), ("data_testing.data_type", data_type)):
            if column not in df:
                raise InputError(
                    f"split_dataset.{key} must be a column of participants.tsv or an entity of the file names, "
                    f"got {column!r}."
                )
        wanted = data_testing["data_value"]
        known = df[data_type].dropna().unique().tolist()
        if wanted and not set(wanted).intersection(known):
            raise InputError(
                f"split_dataset.data_testing.data_value must hold values of {data_type!r} ({_shown(known)}), "
                f"got {_shown(wanted)}."
            )
        try:
            lists = original(df, split_method, data_testing, random_seed, train_frac, test_frac)
        except (ValueError, RuntimeError, ZeroDivisionError):
            lists = [], [], []
        if not lists[0] or not lists[1]:
            values = df[split_method].dropna().unique().tolist()
            raise InputError(
                f"split_dataset must leave at least one value of split_method {split_method!r} for training and one "
                f"for validation, but there are {len(values)} ({_shown(values)}) for train_fraction {train_frac:g}, "
                f"test_fraction {test_frac:g} and the test images"
                f"{f' with {data_type} {_shown(wanted)}' if wanted else ''}. Change the fractions, or split by another "
                "column."
            )
        return lists

    return wrapped


def _shown(values):
    return ", ".join(sorted(map(str, values))[:5]) + (", ..." if len(values) > 5 else "")
