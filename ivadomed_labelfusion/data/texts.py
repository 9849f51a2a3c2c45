"""The text files of a BIDS dataset that others read: the table of subjects, and JSON as pybids reads it."""

import contextlib
import csv
import json
import sys
from pathlib import Path

from ivadomed_labelfusion.errors import InputError

PARTICIPANTS = "participants.tsv"
# columns that the table of files has itself
_TAKEN = ("path", "filename", "session", "suffix", "extension", "datatype")
_BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_text(path):
    """Return the content of a text file, UTF-8 with or without a byte-order mark.

    Raises:
        InputError: If it is no such text.
    """
    content = Path(path).read_bytes()
    for mark, coding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            raise InputError(f"{path} must be text in UTF-8, got {coding}. Save it as UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path} must be text in UTF-8, but line {line} is not. Save it as UTF-8.") from None
    if "\0" in text:
        raise InputError(f"{path} must be text, but it holds null characters. Save it as text in UTF-8.")
    return text


def check_participants(root):
    """Check the table of subjects of a dataset; one that is absent is fine.

    A table may have the column ``participant_id`` alone, and rows may lack values at their end.

    Args:
        root (str or Path): The dataset.

    Raises:
        InputError: If ``participants.tsv`` is no table of the dataset's subjects, separated by tabs, that tells one
            thing about each subject.
    """
    path = Path(root, PARTICIPANTS)
    if not path.exists():
        return
    if not path.is_file():
        raise InputError(f"{path} must be a file. Remove the folder of that name.")
    text = read_text(path)
    rows = [(number, line.split("\t")) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not rows:
        raise InputError(f"{path} is empty. Give it a line of column names, the first participant_id, or remove it.")
    names = rows[0][1]
    column = _column_of_subjects(path, names)
    _check_columns(path, names)
    _check_rows(path, rows, column, text)
    listed = [row[column].strip() for _, row in rows[1:] if len(row) > column]
    subjects = sorted(folder.name for folder in Path(root).glob("sub-*") if folder.is_dir())
    known = {name.removeprefix("sub-") for name in subjects}
    if subjects and not known.intersection(name.removeprefix("sub-") for name in listed):
        raise InputError(
            f"{path} must list the dataset's subjects in participant_id, such as {subjects[0]}, but it lists "
            f"{'others only, such as ' + listed[0] if listed else 'none'}. Correct it, or remove it."
        )


def read_participants(root: str | Path, *, why: str) -> list[dict]:
    """Return the rows of a dataset's table of subjects, column to text; None where a row ends early.

    Args:
        root: The dataset.
        why: What the table is needed for, for the message.

    Raises:
        InputError: If there is no table, or as in `check_participants`.
    """
    path = Path(root, PARTICIPANTS)
    if not path.exists():
        raise InputError(f"{path} must exist: {why}.")
    check_participants(root)
    return list(csv.DictReader(read_text(path).splitlines(), delimiter="\t"))


def _column_of_subjects(path, names):
    """Return the place of the column with the subjects; pybids takes the name ``subject``, too."""
    for name in ("participant_id", "subject"):
        if name in names:
            return names.index(name)
    separators = {" ": "spaces", ",": "commas", ";": "semicolons"}
    found = [name for sign, name in separators.items() if sign in names[0]]
    if len(names) == 1 and names[0].startswith("participant_id") and found:
        raise InputError(f"{path} must have columns separated by tabs, got {found[0]}. Save it with tabs.")
    raise InputError(f"{path} must have a column participant_id, got {', '.join(names)[:80]}. Rename the column.")


def _check_columns(path, names):
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path} must name every column once, got {repeated[0]!r} twice. Rename one.")
    taken = [name for name in names if name in _TAKEN]
    if taken:
        raise InputError(f"{path} must not have a column {taken[0]!r}, which ivadomed needs for itself. Rename it.")


def _check_rows(path, rows, column, text):
    n_columns = len(rows[0][1])
    for number, row in rows:
        if len(row) > n_columns:
            raise InputError(
                f"{path} must have {n_columns} values in a row as in its first line, got {len(row)} in line {number}. "
                "Correct the row."
            )
    if len(list(csv.reader(text.splitlines(), delimiter="\t"))) != len(text.splitlines()):
        raise InputError(f"{path} has a quotation mark that is not closed. Close or remove it.")
    told = {}
    for number, row in rows[1:]:
        values = [value.strip() for value in row] + [""] * (n_columns - len(row))
        subject = values.pop(column).removeprefix("sub-")
        if told.setdefault(subject, (number, values))[1] != values:
            raise InputError(
                f"{path} must tell one thing about every subject, but lines {told[subject][0]} and {number} tell "
                f"different things about {row[column]}. Remove one."
            )


class _JsonOfDatasets:
    """Stands in for ``json`` in pybids: a byte-order mark is read over, and a damaged file is named."""

    def __getattr__(self, name):
        return getattr(json, name)

    @staticmethod
    def load(stream, **options):
        """Return the object in a file.

        Raises:
            InputError: If it is no JSON object.
        """
        text = read_text(stream.name)
        try:
            content = json.loads(text, **options)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{stream.name} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
            ) from None
        if not isinstance(content, dict):
            raise InputError(f"{stream.name} must be a JSON object, got {type(content).__name__}. Correct it.")
        return content


@contextlib.contextmanager
def reading_over_marks():
    """Within the block, pybids reads JSON files with a byte-order mark, and says which file it cannot read."""
    readers = [
        module
        for name, module in list(sys.modules.items())
        if name.split(".")[0] == "bids" and getattr(module, "json", None) is json
    ]
    for module in readers:
        module.json = _JsonOfDatasets()
    try:
        yield
    finally:
        for module in readers:
            module.json = json
