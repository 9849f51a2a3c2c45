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


# what fits a line of 17 cm in LaTeX's \small, counting three letters between columns
LETTERS_PER_LINE = 100


def to_latex(table):
    """Return a Table as a LaTeX ``table`` environment (package booktabs); a wide one is broken into several blocks."""
    # LaTeX numbers tables itself
    caption = escape_latex(re.sub(r"^Table \d+: ", "", table.title))
    lines = [r"% \usepackage{booktabs}", r"\begin{table}", r"\centering\small"]
    lines += [rf"\caption{{{caption[0].upper() + caption[1:]}}}"]
    lines += r"\par\medskip".join(_latex_block(table, columns) for columns in _column_blocks(table)).splitlines()
    notes = " ".join(escape_latex(note.replace("**", "")) for note in table.notes)
    lines += [r"\par\smallskip\raggedright\footnotesize " + notes, r"\end{table}"]
    return "\n".join(lines) + "\n"


def _column_blocks(table):
    """Return the columns of each block, the first column (the candidates) in all of them."""
    columns = zip(table.header, *([cell.text + cell.marks for cell in row] for row in table.rows), strict=True)
    first, *widths = (max(map(len, column)) + 3 for column in columns)
    together = table.columns_together
    blocks, width = [[0]], first
    for start in range(0, len(widths), together):
        letters = sum(widths[start : start + together])
        if width + letters > LETTERS_PER_LINE and len(blocks[-1]) > 1:
            blocks.append([0])
            width = first
        blocks[-1] += range(start + 1, start + together + 1)
        width += letters
    return blocks


def _latex_block(table, columns):
    lines = [rf"\begin{{tabular}}{{l{'c' * (len(columns) - 1)}}}", r"\toprule"]
    lines += [" & ".join(escape_latex(table.header[index]) for index in columns) + r" \\", r"\midrule"]
    lines += [" & ".join(_latex_cell(row[index]) for index in columns) + r" \\" for row in table.rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_cell(cell):
    text = re.sub(r"^-(?=\d)", "$-$", escape_latex(cell.text))
    marks = "".join({"*": r"\ast", "†": r"\dagger"}[mark] for mark in cell.marks)
    return (rf"\textbf{{{text}}}" if cell.bold else text) + (f"$^{{{marks}}}$" if marks else "")


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
