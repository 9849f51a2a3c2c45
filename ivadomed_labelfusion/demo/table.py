"""The demo's table: one row per candidate, as CSV, Markdown and text."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ivadomed_labelfusion.demo.settings import DemoSettings
from ivadomed_labelfusion.files import write_text

# (heading, column of the evaluation, factor)
COLUMNS = (
    ("Dice [%]", "ir_dice", 100),
    ("Brier [1e-4]", "ir_brier", 1e4),
    ("Entropy MAE [nats]", "ir_entropy_paper_error", 1),
    ("ECE exact, image [%]", "ir_ece_exact_image", 100),
    ("ECE exact, roi [%]", "ir_ece_exact_roi", 100),
    ("ECE paper, image [%]", "ir_ece_paper_image", 100),
    ("ECE raters, roi [%]", "ir_ece_raters_roi", 100),
)


def read_demo_results(output: Path, candidates: Sequence[str]) -> list[dict[str, Any]]:
    """Read the evaluation of every candidate.

    Args:
        output: Folder of the demo.
        candidates: Names.

    Returns:
        list of dict: One per candidate: ``candidate``, ``images`` and the mean over test images of every ``ir_``
        column, NaN where no image defines it.
    """
    results = []
    for candidate in candidates:
        path = Path(output) / "models" / candidate / "results_eval" / "evaluation_3Dmetrics.csv"
        with open(path, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        means: dict[str, Any] = {"candidate": candidate, "images": len(rows)}
        for column in rows[0]:
            if column.startswith("ir_"):
                values = [float(row[column]) for row in rows if row[column] not in ("", "nan")]
                means[column] = sum(values) / len(values) if values else math.nan
        results.append(means)
    return results


def write_demo_tables(
    results: Sequence[Mapping[str, Any]], output: Path, *, dataset: str, settings: DemoSettings
) -> str:
    """Write ``results.csv`` (all columns) and ``results.md`` (the chosen ones); return the latter as plain text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(results[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(results)
    write_text(output / "results.csv", text.getvalue(), overwrite=True)
    header, rows = table_rows(results)
    note = (
        f"Phantom {dataset}, {settings.subjects} subjects ({results[0]['images']} in the test set), {settings.epochs} "
        "epochs, reduced network: a demonstration, not a study. Means over test images, against all raters; lower is "
        "better for all but Dice."
    )
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)]
    write_text(output / "results.md", "\n".join([*lines, "", note, ""]), overwrite=True)
    widths = [max(len(row[index]) for row in (header, *rows)) for index in range(len(header))]
    plain = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (header, *rows)]
    return "\n".join(["", *plain, "", note])


def table_rows(results: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows as text; metrics per class get one column per class."""
    header, keys = ["Candidate"], []
    for heading, name, factor in COLUMNS:
        if name in results[0]:
            columns = [(heading, name)]
        else:
            found = [column for column in results[0] if column.startswith(f"{name}_")]
            columns = [(f"{heading.replace(' [', f' {column[len(name) + 1 :]} [')}", column) for column in found]
        header += [title for title, _ in columns]
        keys += [(column, factor) for _, column in columns]
    rows = [[result["candidate"], *(_number(result[column] * factor) for column, factor in keys)] for result in results]
    return header, rows


def _number(value: float) -> str:
    if math.isnan(value):
        return "undefined"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
