"""A `tables.Table` as Markdown, LaTeX and CSV files."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ivadomed_labelfusion.files import write_text
from ivadomed_labelfusion.tables.table import Cell, Table


def to_markdown(table: Table) -> str:
    """Return a Table as a Markdown section with its notes."""
    lines = [f"## {table.title}", "", _markdown_row(table.header), _markdown_row(["---"] * len(table.header))]
    for row in table.rows:
        shown = [f"**{cell.text}**" if cell.bold else cell.text for cell in row]
        marks = [cell.marks.replace("*", "\\*") for cell in row]
        lines.append(_markdown_row([text + mark for text, mark in zip(shown, marks, strict=True)]))
    lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def _markdown_row(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


_LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}"}
_LATEX |= {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$", "†": r"$\dagger$"}
_LATEX |= {"–": "--", "<": r"$<$", ">": r"$>$"}


def escape_latex(text: str) -> str:
    """Return ``text`` with LaTeX's special characters escaped; powers of ten written ``×10^-4`` become formulas."""
    parts = re.split(r"×10\^(-?\d+)", text)
    escaped = ["".join(_LATEX.get(letter, letter) for letter in part) for part in parts]
    return "".join(rf"$\times 10^{{{part}}}$" if index % 2 else escaped[index] for index, part in enumerate(parts))


# what fits a line of 17 cm in LaTeX's \small, counting three letters between columns, and a page with the notes
LETTERS_PER_LINE = 100
LINES_PER_PAGE = 38


def to_latex(table: Table) -> str:
    """Return a Table as LaTeX ``table`` environments (package booktabs).

    A wide table is broken into several blocks, and blocks that do not fit a page into several environments; the notes
    stand under the last one.
    """
    # LaTeX numbers tables itself
    caption = escape_latex(re.sub(r"^Table \d+: ", "", table.title))
    caption = caption[0].upper() + caption[1:]
    blocks = [_latex_block(table, groups) for groups in _column_blocks(table)]
    per_page = max(1, LINES_PER_PAGE // (len(table.rows) + 4))
    pages = [blocks[start : start + per_page] for start in range(0, len(blocks), per_page)]
    notes = " ".join(escape_latex(note.replace("**", "")) for note in table.notes)
    lines = [r"% \usepackage{booktabs}"]
    for number, page in enumerate(pages, start=1):
        part = f" ({number} of {len(pages)})" if len(pages) > 1 else ""
        lines += [r"\begin{table}", r"\centering\small", rf"\caption{{{caption}{part}}}"]
        lines += r"\par\medskip".join(page).splitlines()
        lines += [r"\par\smallskip\raggedright\footnotesize " + notes] if number == len(pages) else []
        lines += [r"\end{table}"]
    return "\n".join(lines) + "\n"


def _column_blocks(table: Table) -> list[list[range]]:
    """Return the groups of columns of each block; the first column is in all and left out."""
    letters = [max(len(cell.text + cell.marks) for cell in column) + 3 for column in zip(*table.rows, strict=True)]
    together = table.columns_together
    first, width = max(letters[0], len(table.header[0]) + 3), 0
    blocks: list[list[range]] = []
    for start in range(1, len(letters), together):
        group = range(start, start + together)
        needed = max(len(_heading_of(table, group)) + 3, sum(letters[index] for index in group))
        if not blocks or width + needed > LETTERS_PER_LINE:
            blocks.append([])
            width = first
        blocks[-1].append(group)
        width += needed
    return blocks


def _heading_of(table: Table, group: range) -> str:
    """Return what the headings of columns that belong together have in common: all but the last word."""
    heading = table.header[group[0]]
    return heading if len(group) == 1 else heading.rpartition(" ")[0]


def _latex_block(table: Table, groups: list[range]) -> str:
    columns = [0, *(index for group in groups for index in group)]
    lines = [rf"\begin{{tabular}}{{l{'c' * (len(columns) - 1)}}}", r"\toprule"]
    if table.columns_together > 1:
        shared = [
            rf"\multicolumn{{{len(group)}}}{{c}}{{{escape_latex(_heading_of(table, group))}}}" for group in groups
        ]
        lines += [" & ".join(["", *shared]) + r" \\"]
        headings = [table.header[0], *(table.header[index].rpartition(" ")[2] for index in columns[1:])]
    else:
        headings = [table.header[index] for index in columns]
    lines += [" & ".join(map(escape_latex, headings)) + r" \\", r"\midrule"]
    lines += [" & ".join(_latex_cell(row[index]) for index in columns) + r" \\" for row in table.rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_cell(cell: Cell) -> str:
    text = re.sub(r"^-(?=\d)", "$-$", escape_latex(cell.text))
    marks = "".join({"*": r"\ast", "†": r"\dagger"}[mark] for mark in cell.marks)
    return (rf"\textbf{{{text}}}" if cell.bold else text) + (f"$^{{{marks}}}$" if marks else "")


def write_tables(tables: Mapping[str, Table], folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write each Table as ``<name>.csv``, ``.md`` and ``.tex`` into ``folder``; return the paths."""
    written = []
    for name, table in tables.items():
        for suffix, text in (
            ("csv", table.summary.to_csv(index=False)),
            ("md", to_markdown(table)),
            ("tex", to_latex(table)),
        ):
            path = folder / f"{name}.{suffix}"
            write_text(path, text, overwrite=overwrite)
            written.append(path)
    return written
