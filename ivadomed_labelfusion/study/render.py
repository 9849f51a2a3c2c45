"""A `tables.Table` as Markdown, LaTeX and CSV files."""

import re

from ivadomed_labelfusion.files import write_text


def to_markdown(table):
    """Return a Table as a Markdown section with its notes."""
    lines = [f"## {table.title}", "", _markdown_row(table.header), _markdown_row(["---"] * len(table.header))]
    for row in table.rows:
        shown = [f"**{cell.text}**" if cell.bold else cell.text for cell in row]
        marks = [cell.marks.replace("*", "\\*") for cell in row]
        lines.append(_markdown_row([text + mark for text, mark in zip(shown, marks, strict=True)]))
    lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def _markdown_row(texts):
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


_LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}"}
_LATEX |= {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$", "†": r"$\dagger$"}
_LATEX |= {"–": "--", "<": r"$<$", ">": r"$>$"}


def escape_latex(text):
    """Return ``text`` with LaTeX's special characters escaped; powers of ten written ``×10^-4`` become formulas."""
    parts = re.split(r"×10\^(-?\d+)", text)
    escaped = ["".join(_LATEX.get(letter, letter) for letter in part) for part in parts]
    return "".join(rf"$\times 10^{{{part}}}$" if index % 2 else escaped[index] for index, part in enumerate(parts))


def to_latex(table):
    """Return a Table as a LaTeX ``table`` environment (package booktabs)."""
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(table.title)}}}"]
    lines += [rf"\begin{{tabular}}{{l{'c' * (len(table.header) - 1)}}}", r"\toprule"]
    lines += [" & ".join(escape_latex(text) for text in table.header) + r" \\", r"\midrule"]
    for row in table.rows:
        cells = []
        for cell in row:
            text = escape_latex(cell.text)
            marks = "".join({"*": r"\ast", "†": r"\dagger"}[mark] for mark in cell.marks)
            cells.append((rf"\textbf{{{text}}}" if cell.bold else text) + (f"$^{{{marks}}}$" if marks else ""))
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = " ".join(escape_latex(note.replace("**", "")) for note in table.notes)
    lines += [r"\par\smallskip\footnotesize " + notes, r"\end{table}"]
    return "\n".join(lines) + "\n"


def write_tables(tables, folder, *, overwrite=False):
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
