"""Writing an evaluation: tables, reliability curves, one JSON per subject, pictures."""

import contextlib
import csv
import io
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.evaluation.reference import reference_name
from ivadomed_labelfusion.evaluation.subject import SubjectResult
from ivadomed_labelfusion.files import check_stays_inside, write_json, write_text
from ivadomed_labelfusion.locks import only_one
from ivadomed_labelfusion.metrics.calibration import ReliabilityCurve
from ivadomed_labelfusion.metrics.kinds import PREFIX
from ivadomed_labelfusion.plots import disagreement, entropy, reliability, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = dict[tuple[str, str], ReliabilityCurve]

TABLE = "evaluation.csv"
RATER_TABLE = "evaluation_raters.csv"
SUMMARY = "summary.csv"
RELIABILITY = "reliability.csv"
SUBJECTS = "subjects"
FIGURES = "figures"
# there while an evaluation is being written, and after one was cut short
UNFINISHED = ".unfinished"


@dataclass
class Evaluation:
    """What was evaluated and written.

    Attributes:
        rows (dict): Subject to its columns.
        rater_rows (dict): ``(subject, rater)`` to the columns of that rater against the others.
        pooled (dict): ``(form, region)`` to the ``ReliabilityCurve`` over the voxels of all subjects.
        errors (dict): ``(subject, own metric)`` to the reason why it failed.
        summary (list of dict): Rows of ``summary.csv``.
        files (list of Path): What was written.
        notes (list of str): What was noticed in the masks.
    """

    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    rater_rows: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    pooled: Curves = field(default_factory=dict)
    errors: dict[tuple[str, str], str] = field(default_factory=dict)
    summary: list[dict[str, Any]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class ResultWriter:
    """Write results as they come, so that a dataset of any size needs the memory of one subject.

    A context manager: within the block the folder is this evaluation's alone. One that is cut short is replaced by the
    next, also without ``overwrite``; files of an earlier evaluation go away when this one is complete.

    Args:
        output_dir (str or Path): Created; holds ``evaluation.csv``, ``summary.csv``, ``reliability.csv``, ``subjects/``
            and ``figures/``, and with raters' results ``evaluation_raters.csv``.
        table (str or None): File name of the table of subjects; None writes none (a host that adds the columns to a
            table of its own).
        overwrite (bool): Replace files of an earlier evaluation.

    Raises:
        InputError: If results of an earlier evaluation are there and ``overwrite`` is False.
    """

    def __init__(self, output_dir: str | Path, *, table: str | None = TABLE, overwrite: bool = False) -> None:
        self.output_dir = Path(output_dir)
        self.table = table
        self.overwrite = overwrite
        self.evaluation = Evaluation()
        self._curves: dict[str, Curves] = {}
        self._claim = contextlib.ExitStack()

    def __enter__(self) -> "ResultWriter":
        """Claim the folder: no second evaluation writes into it meanwhile, and what one left unfinished is replaced."""
        self.output_dir.mkdir(parents=True, exist_ok=True)
        check_stays_inside(self.output_dir)
        marker = self.output_dir / UNFINISHED
        if not self.overwrite and not marker.exists():
            for name in (self.table, SUMMARY, RELIABILITY):
                if name is not None and (self.output_dir / name).exists():
                    raise InputError(
                        f"{self.output_dir / name} exists already. Add --overwrite to replace it, "
                        "or choose another output."
                    )
        busy = f"Another evaluation is writing into {self.output_dir}. Wait for it, or choose another folder."
        interrupted = self._claim.enter_context(only_one(marker, busy=busy, mark=True))
        self.overwrite = self.overwrite or interrupted
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._claim.__exit__(*error)

    def add(self, result: SubjectResult) -> None:
        """Take up a ``SubjectResult`` of the model: write its JSON and picture, keep its columns and curves."""
        if result.subject in self.evaluation.rows:
            raise InputError(f"The subject {result.subject} is evaluated twice. Give every result its own name.")
        self.evaluation.rows[result.subject] = result.columns
        self._curves[result.subject] = result.reliability
        self.evaluation.errors.update({(result.subject, name): text for name, text in result.errors.items()})
        name = _file_name(result.subject)
        self._written(write_json, self.output_dir / SUBJECTS / f"{name}.json", _subject_content(result))
        if result.slices:
            figure = disagreement.disagreement_figure(
                result.slices,
                result.details["class_names"],
                title=f"{result.subject}: slices of most disagreement",
                reference=reference_name(result.details["reference"]["method"]),
            )
            self._save_figure(figure, f"{name}_disagreement.png")

    def add_rater(self, rater: str, result: SubjectResult) -> None:
        """Take up the ``SubjectResult`` of a rater's mask against the other raters."""
        self.evaluation.rater_rows[result.subject, rater] = result.columns
        for name, text in result.errors.items():
            self.evaluation.errors[f"{result.subject}, {rater}", name] = text

    def finish(self) -> Evaluation:
        """Write the tables and the pictures over all subjects; return the ``Evaluation``."""
        evaluation = self.evaluation
        if not evaluation.rows and not evaluation.rater_rows:
            raise InputError("There is nothing to write: no subject was evaluated.")
        if evaluation.rows:
            keys = list(next(iter(self._curves.values())))
            evaluation.pooled = {
                key: ReliabilityCurve.pool(curves[key] for curves in self._curves.values()) for key in keys
            }
            if self.table is not None:
                self._write_table(self.table, [{"image_id": key, **row} for key, row in evaluation.rows.items()])
            if keys:
                self._write_table(RELIABILITY, self._reliability_rows())
            self._write_figures()
        if evaluation.rater_rows:
            rows = [{"image_id": key[0], "rater": key[1], **row} for key, row in evaluation.rater_rows.items()]
            self._write_table(RATER_TABLE, rows)
        evaluation.summary = summary_rows(evaluation)
        self._write_table(SUMMARY, evaluation.summary)
        self._remove_earlier()
        return evaluation

    def _remove_earlier(self) -> None:
        """Remove what an earlier evaluation wrote here and this one did not: other subjects, tables of raters."""
        kinds = ((SUBJECTS, "*.json"), (FIGURES, "*.png"), (".", RATER_TABLE), (".", RELIABILITY))
        for path in [path for folder, names in kinds for path in (self.output_dir / folder).glob(names)]:
            if path not in self.evaluation.files:
                path.unlink()

    def _reliability_rows(self) -> list[dict[str, Any]]:
        curves = [("all", self.evaluation.pooled), *self._curves.items()]
        return [
            {
                "image_id": subject,
                "form": form,
                "region": region,
                "bin": index + 1,
                "lower": float(curve.bin_edges[index]),
                "upper": float(curve.bin_edges[index + 1]),
                "count": int(curve.bin_count[index]),
                "confidence": float(curve.bin_confidence[index]),
                "accuracy": float(curve.bin_accuracy[index]),
                "dropped": curve.n_dropped,
            }
            for subject, table in curves
            for (form, region), curve in table.items()
            for index in range(curve.bin_count.size)
        ]

    def _write_figures(self) -> None:
        rows, count = self.evaluation.rows, len(self.evaluation.rows)
        over = f"{count} image{'s' if count != 1 else ''}"
        if self.evaluation.pooled:
            figure = reliability.reliability_figure(self.evaluation.pooled, title=f"Reliability over {over}")
            self._save_figure(figure, "reliability.png")
        entropies = {}
        for form in ("paper", "shannon"):
            names = [f"{PREFIX}entropy_{form}_{who}" for who in ("raters", "prediction", "calibrated")]
            known = next(iter(rows.values()))
            if names[0] in known:
                raters, prediction, calibrated = names
                entropies[form] = (
                    [row[raters] for row in rows.values()],
                    [row[prediction] for row in rows.values()],
                    [row[calibrated] for row in rows.values()] if calibrated in known else None,
                )
        if entropies:
            self._save_figure(entropy.entropy_figure(entropies, title=f"Entropy of {over}"), "entropy.png")

    def _write_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        columns = list(dict.fromkeys(column for row in rows for column in row))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([[_cell(row.get(column)) for column in columns] for row in rows])
        self._written(write_text, self.output_dir / name, text.getvalue())

    def _written(self, write: Callable[..., None], path: Path, content: Any) -> None:
        write(path, content, overwrite=self.overwrite)
        self.evaluation.files.append(path)

    def _save_figure(self, figure: "Figure", name: str) -> None:
        path = self.output_dir / FIGURES / name
        style.save_figure(figure, path, overwrite=self.overwrite, dpi=150)
        self.evaluation.files.append(path)


def write_results(
    results: Iterable[SubjectResult],
    output_dir: str | Path,
    *,
    rater_results: Iterable[tuple[str, SubjectResult]] = (),
    table: str | None = TABLE,
    overwrite: bool = False,
) -> Evaluation:
    """Write the results of several subjects.

    Args:
        results (iterable of SubjectResult): Read once; a generator keeps only one subject in memory.
        output_dir (str or Path): As for ``ResultWriter``, like ``table`` and ``overwrite``.
        rater_results (iterable): ``(rater, SubjectResult)`` of raters against the others.
        table (str or None): File name of the table of subjects; None writes none.
        overwrite (bool): Replace files of an earlier evaluation.

    Returns:
        Evaluation: Columns by subject, pooled reliability, errors, summary and the files written.

    Raises:
        InputError: If there is nothing to write, a subject appears twice, or files exist and ``overwrite`` is False.
    """
    with ResultWriter(output_dir, table=table, overwrite=overwrite) as writer:
        for result in results:
            writer.add(result)
        for rater, result in rater_results:
            writer.add_rater(rater, result)
        return writer.finish()


def summary_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the rows of ``summary.csv``: mean, standard deviation (n - 1) and number of defined values per column.

    With raters' results every row also has the mean over raters and images (``raters_mean``), its deviation and number,
    and the mean over images of each rater. ECE and MCE of the pooled reliability curves follow as ``<column>_pooled``.
    """
    raters = list(dict.fromkeys(rater for _, rater in evaluation.rater_rows))
    everything = [*evaluation.rows.values(), *evaluation.rater_rows.values()]
    rows = []
    for column in dict.fromkeys(column for row in everything for column in row):
        row: dict[str, Any] = {"metric": column}
        if evaluation.rows:
            row.update(zip(("n", "mean", "std"), _statistics(evaluation.rows.values(), column), strict=True))
        if raters:
            numbers = _statistics(evaluation.rater_rows.values(), column)
            row.update(zip(("raters_n", "raters_mean", "raters_std"), numbers, strict=True))
            for rater in raters:
                chosen = [value for key, value in evaluation.rater_rows.items() if key[1] == rater]
                row[rater] = _statistics(chosen, column)[1]
        rows.append(row)
    for (form, region), curve in evaluation.pooled.items():
        for name, value in (("ece", curve.ece), ("mce", curve.mce)):
            rows.append({"metric": f"{PREFIX}{name}_{form}_{region}_pooled", "n": len(evaluation.rows), "mean": value})
    return rows


def _statistics(rows: Collection[Mapping[str, float]], column: str) -> tuple[int, float, float]:
    values = np.array([row[column] for row in rows if column in row], np.float64)
    values = values[~np.isnan(values)]
    mean = float(values.mean()) if values.size else math.nan
    return values.size, mean, float(values.std(ddof=1)) if values.size > 1 else math.nan


def _subject_content(result: SubjectResult) -> dict[str, Any]:
    return {
        "subject": result.subject,
        "software": f"ivadomed_labelfusion {__version__}",
        **result.details,
        "metrics": {name: _finite(value) for name, value in result.columns.items()},
        "errors": result.errors,
        "reliability": [
            {
                "form": form,
                "region": region,
                "bin_edges": curve.bin_edges.tolist(),
                "bin_count": curve.bin_count.tolist(),
                "bin_confidence": [_finite(value) for value in curve.bin_confidence.tolist()],
                "bin_accuracy": [_finite(value) for value in curve.bin_accuracy.tolist()],
                "ece": _finite(curve.ece),
                "mce": _finite(curve.mce),
                "voxels_dropped": curve.n_dropped,
            }
            for (form, region), curve in result.reliability.items()
        ],
    }


def _finite(value: float) -> float | None:
    """None for NaN and infinity, which JSON lacks."""
    return float(value) if math.isfinite(value) else None


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else value


def _file_name(subject: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", subject).lstrip(".") or "subject"
