"""A table as plain data: what is in each cell, and the notes below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Table:
    """A table ready to be written.

    Attributes:
        title: Heading.
        header: One text per column, the first for the candidates.
        rows: One tuple of `Cell` per candidate.
        notes: Printed below.
        summary: Every statistic, for the CSV file.
        columns_together: How many columns after the first belong together and must not be torn apart.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]
    summary: pd.DataFrame
    columns_together: int = 1


@dataclass(frozen=True)
class Cell:
    """Text of a cell, its significance marks, and whether it is bold."""

    text: str
    marks: str = ""
    bold: bool = False
