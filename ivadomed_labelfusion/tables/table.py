"""A table as plain data: what is in each cell, and the notes below it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table ready to be written.

    Attributes:
        title (str): Heading.
        header (tuple of str): One text per column, the first for the candidates.
        rows (tuple): One tuple of `Cell` per candidate.
        notes (tuple of str): Printed below.
        summary (DataFrame): Every statistic, for the CSV file.
        columns_together (int): How many columns after the first belong together and must not be torn apart.
    """

    title: str
    header: tuple
    rows: tuple
    notes: tuple
    summary: object
    columns_together: int = 1


@dataclass(frozen=True)
class Cell:
    """Text of a cell, its significance marks, and whether it is bold."""

    text: str
    marks: str = ""
    bold: bool = False
