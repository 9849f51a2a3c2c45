"""Plan and summary as tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ivadomed_labelfusion.prepare._plan import DatasetPlan, PlanProblem
from ivadomed_labelfusion.prepare._subject import SubjectReport

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# width of tables that go to a file or pipe
PLAIN_WIDTH = 150


@dataclass
class Report:
    """Outcome of a conversion.

    Attributes:
        out: The dataset written; None after a dry run.
        plan: What was planned.
        subjects: Empty after a dry run.
        problems: Of the plan and of all subjects.
        fused: Fusion methods whose results were written too.
    """

    out: Path | None
    plan: DatasetPlan
    subjects: list[SubjectReport]
    problems: list[PlanProblem]
    fused: list[str]

    @property
    def warnings(self) -> list[str]:
        """Texts of the warnings."""
        return [str(problem) for problem in self.problems if problem.level == "warning"]


def problems_text(problems: Iterable[PlanProblem], level: str) -> str:
    """Return the problems of one level as lines."""
    return "\n".join(f"  - {problem}" for problem in problems if problem.level == level)


def dataset_problem(level: str, text: str) -> PlanProblem:
    """Return a PlanProblem of the dataset as a whole."""
    return PlanProblem(level, "", text)


def print_plan(plan: DatasetPlan, console: Console) -> None:
    """Print what would be written as a table."""
    table = _table(f"{plan.title}: plan", "subject", "source", "institution", "raters", "other masks", "images")
    for subject in plan.subjects:
        others = [mask.rater for mask in subject.masks if mask.is_consensus]
        table.add_row(
            subject.name,
            subject.source_id,
            str(subject.participant.get("institution_id", "")),
            _numbers(subject.raters),
            ", ".join([*dict.fromkeys(others), *(["brain"] if subject.brain else [])]) or "-",
            ", ".join(image.contrast + (" (registered)" if image.register else "") for image in subject.images),
        )
    console.print(table)


def _table(title: str, *headings: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=heading != "images")
    return table


def _numbers(raters: Iterable[str]) -> str:
    return " ".join(rater.removeprefix("rater") for rater in raters) or "none"


def print_summary(report: Report, console: Console) -> None:
    """Print subjects, raters, volumes per class and rater, pairwise Dice, crop coverage and all problems."""
    if report.subjects:
        for name in report.plan.classes:
            console.print(_class_table(report, name))
        title = "Pairwise Dice of the raters, mean over subjects"
        table = _table(title, "class", "lowest pair", "mean of pairs", "highest pair")
        for name in report.plan.classes:
            table.add_row(name, *_dice_row([subject.dice.get(name, {}) for subject in report.subjects]))
        console.print(table)
    print_problems(report.problems, console)
    if report.out is not None:
        raters = sorted({rater for subject in report.subjects for rater in subject.raters}, key=lambda r: (len(r), r))
        console.print(
            f"Wrote {len(report.subjects)} subjects with {len(raters)} raters to {report.out}"
            + (f", fused by {', '.join(report.fused)}" if report.fused else "")
            + f"; warnings: {len(report.warnings)}.",
            markup=False,
            soft_wrap=True,
        )


def print_problems(problems: Sequence[PlanProblem], console: Console) -> None:
    """Print errors, warnings and notes, the most serious last."""
    for level, style in (("note", "cyan"), ("warning", "yellow"), ("error", "red")):
        chosen = [problem for problem in problems if problem.level == level]
        for problem in chosen:
            console.print(f"{level}: {problem}", style=style, markup=False, highlight=False, soft_wrap=True)


def _class_table(report: Report, name: str) -> Table:
    raters = sorted({r for s in report.subjects for r in s.volumes_mm3.get(name, {})}, key=lambda r: (len(r), r))
    columns = (rater.replace("rater", "r") for rater in raters)
    title = f"{name}: volume in ml per rater, mean Dice of their pairs, share kept by the crop"
    table = _table(title, "subject", "axes", "voxel mm", *columns, "Dice", "kept")
    for subject in report.subjects:
        volumes = subject.volumes_mm3.get(name, {})
        pairs = list(subject.dice.get(name, {}).values())
        table.add_row(
            subject.name,
            subject.axes,
            "x".join(f"{size:.3g}" for size in subject.voxel_mm),
            *(f"{volumes[rater] / 1000:.3g}" if rater in volumes else "missing" for rater in raters),
            f"{np.mean(pairs):.3f}" if pairs else "-",
            "-" if subject.kept is None else f"{100 * subject.kept:.2f}%",
        )
    return table


def _dice_row(tables: Sequence[Mapping[tuple[str, str], float]]) -> tuple[str, str, str]:
    pairs = sorted({pair for table in tables for pair in table})
    if not pairs:
        return "-", "-", "-"
    means = {pair: float(np.mean([table[pair] for table in tables if pair in table])) for pair in pairs}

    def show(pair: tuple[str, str]) -> str:
        return f"{pair[0]} and {pair[1]}: {means[pair]:.3f}"

    lowest, highest = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    return show(lowest), f"{np.mean(list(means.values())):.3f}", show(highest)
