"""The paper's tables from a study's results: CSV with every statistic, Markdown and LaTeX to read."""

import math
import re
from dataclasses import dataclass

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.columns import (
    ECE_METRICS,
    FRAMEWORKS,
    METRICS,
    READING,
    REFERENCE,
    classes_of,
    display_name,
)
from ivadomed_labelfusion.experiment.summary import SIGNIFICANCE, summarise
from ivadomed_labelfusion.paper.printed import PAPER_MEAN_ECE, load_paper_results
from ivadomed_labelfusion.stats import OPTIMISM_NOTE
from ivadomed_labelfusion.tables.table import Cell, Table


@dataclass(frozen=True)
class TableSpec:
    """What a table shows.

    Attributes:
        title (str): Heading; ``{reference}`` stands for the consensus that predictions are compared with.
        metrics (tuple of str): Names of `columns.METRICS`.
        paper_table (str or None): The paper's table with the same numbers.
        against_ensembles (bool): Only the ensembles and the SoftSeg candidates they are compared with.
    """

    title: str
    metrics: tuple
    paper_table: str | None = None
    against_ensembles: bool = False


TABLES = {
    "table2": TableSpec(
        "Table 2: preservation of the inter-rater variability", ("brier_score", "entropy_mae", "entropy_floor"), "2"
    ),
    "table3": TableSpec(
        "Table 3: segmentation performance against {reference}",
        ("dice", "precision", "recall", "absolute_volume_difference", "relative_volume_difference", "composite_score"),
        "3",
    ),
    "table4": TableSpec(
        "Table 4: comparison with ensembles of one model per rater",
        ("brier_score", "entropy_mae", "ece_paper_image", "ece_exact_image", "ece_exact_roi"),
        "4",
        against_ensembles=True,
    ),
    "ece": TableSpec("Expected calibration error per model", ECE_METRICS),
    "entropy": TableSpec(
        "Entropy of the predictions, of the raters and of a perfectly calibrated predictor",
        ("entropy_prediction", "entropy_raters", "entropy_calibrated", "entropy_roi", "entropy_stored", "haze_share"),
    ),
    "proper_scores": TableSpec(
        "Proper scores against the raters",
        ("log_score_image", "log_score_roi", "brier_votes", "brier_calibration", "brier_refinement"),
    ),
}
# a metric that no table above names, such as a new one; those of agreement have a table of their own
_TABULATED = {name for spec in TABLES.values() for name in spec.metrics} | {"agreement_model", "agreement_panel"}
TABLES["further"] = TableSpec("Further metrics", tuple(name for name in METRICS if name not in _TABULATED))
PAIRS = "Pairs per test: "
LEGEND = (
    "mean ± standard deviation over models; bold: best mean; *: p < 0.05 against Conv-STAPLE (ref), two-sided "
    "Wilcoxon signed-rank, not adjusted (as in the paper); †: also after Holm's adjustment over the candidates."
)


def build_tables(results, models, class_names, *, candidates=(), notes=(), reference="STAPLE"):
    """Build every table that the results hold something for.

    Args:
        results (DataFrame): One row per candidate, split and image, with the composite score where it is wanted.
        models (DataFrame): One row per candidate and split.
        class_names (sequence of str): Classes in the configuration's order.
        candidates (sequence of Candidate): Those of the study, from which Table 4 takes the ensembles and every SoftSeg
            candidate; it is made only when there are results of an ensemble.
        notes (sequence of str): Printed under every table, such as settings that differ from the template's.
        reference (str): What the predictions are compared with, for titles.

    Returns:
        dict: Name of `TABLES` to Table.
    """
    ensembles = {candidate.name for candidate in candidates if candidate.ensemble}
    beside_ensembles = {candidate.name for candidate in candidates if candidate.base.startswith("softseg_")}
    beside_ensembles |= {*ensembles, REFERENCE}
    tables = {}
    for name, spec in TABLES.items():
        kept_results, kept_models = results, models
        if spec.against_ensembles:
            if not results["candidate"].isin(ensembles).any():
                continue
            kept_results, kept_models = (
                frame[frame["candidate"].isin(beside_ensembles)] for frame in (results, models)
            )
        summary = summarise(kept_results, kept_models, spec.metrics, class_names)
        if len(summary):
            tables[name] = _lay_out(spec, summary, class_names, notes, reference)
    return tables


def _lay_out(spec, summary, class_names, notes, reference):
    columns = [
        (name, class_name)
        for name in spec.metrics
        for class_name in classes_of(name, class_names)
        if ((summary["metric"] == name) & (summary["class"] == class_name)).any()
    ]
    means = {key: _select(summary, *key)["mean"] for key in columns}
    scales = {key: _shown_scale(METRICS[key[0]], means[key]) for key in columns}
    digits = {key: _shown_digits(METRICS[key[0]], means[key], scales[key]) for key in columns}
    candidates = list(dict.fromkeys(summary["candidate"]))
    lines = {(row["candidate"], row["metric"], row["class"]): row for row in summary.to_dict("records")}
    rows = []
    for candidate in candidates:
        name = display_name(candidate) + (" (ref)" if candidate == REFERENCE else "")
        cells = [_value_cell(lines.get((candidate, *key)), scales[key], digits[key]) for key in columns]
        rows.append((Cell(name), *cells))
    header = ("Candidate", *(_heading(*key, scales[key]) for key in columns))
    pairs = summary.loc[summary["n_pairs"] > 0, "n_pairs"]
    counts = " to ".join(dict.fromkeys(map(str, (pairs.min(), pairs.max()))))
    smallest = 0.0 if pairs.empty else 2.0 ** (1 - int(pairs.max()))  # the most extreme outcome of an exact test
    limit = f" No p-value can be below {smallest:.2g} with so few." if smallest > SIGNIFICANCE else ""
    paired = () if pairs.empty else (f"{PAIRS}{counts}.{limit}", OPTIMISM_NOTE)
    legend = (
        LEGEND
        if REFERENCE in candidates
        else LEGEND.partition(";")[0] + f"; bold: best mean; no {REFERENCE}, no tests."
    )
    reading = [READING[name] for name in dict.fromkeys(summary["metric"]) if name in READING]
    notes = (legend, *_incomplete_notes(summary), *reading, *paired, *notes)
    return Table(spec.title.format(reference=reference), header, tuple(rows), notes, summary)


def _incomplete_notes(summary):
    """Name the means over fewer models than others of their column, which do not compare."""
    for (metric, class_name), column in summary.groupby(["metric", "class"], sort=False):
        most = column["n_models"].max()
        fewer = [
            f"{display_name(row['candidate'])} {row['n_models']}"
            for row in column.to_dict("records")
            if row["n_models"] < most
        ]
        if fewer:
            label = f"{METRICS[metric].label} {class_name}".strip()
            why = "the others are not finished or not defined"
            yield f"{label}: means over {most} models, but {', '.join(fewer)}: {why}."


def _select(summary, metric, class_name):
    return summary[(summary["metric"] == metric) & (summary["class"] == class_name)]


def _shown_scale(metric, means):
    if metric.scale is not None:
        return metric.scale
    largest = means.abs().max()
    return 1.0 if not largest > 0 else 10.0 ** math.floor(math.log10(largest))


def _shown_digits(metric, means, scale):
    """Return the decimals of a column: the paper's, or up to four for two significant digits of the largest mean."""
    usual = 2 if metric.scale in (None, 1.0) else 1
    largest = max((abs(mean) for mean in means if not math.isnan(mean)), default=0.0) / scale
    return max(usual, min(4, 1 - math.floor(math.log10(largest)))) if largest > 0 else usual


def _heading(name, class_name, scale):
    label = METRICS[name].label
    if METRICS[name].scale is None and scale != 1.0:
        label += f" (×10^{round(math.log10(scale))})"
    return f"{label} {class_name}".strip()


def _value_cell(line, scale, digits):
    if line is None or not line["n"]:
        return Cell("–")
    text = re.sub(r"^-(0\.0*)$", r"\1", f"{line['mean'] / scale:.{digits}f}")
    if not math.isnan(line["std"]):
        text += f" ± {line['std'] / scale:.{digits}f}"
    marks = ("*" if line["significant"] else "") + ("†" if line["significant_holm"] else "")
    return Cell(text, marks, line["best"])


def compare_with_paper(tables, dataset, *, notes=()):
    """Set our means beside the paper's.

    Args:
        tables (dict): From `build_tables`.
        dataset (str): ``scgm`` or ``ms``.
        notes (sequence of str): Printed under every table, as in `build_tables`.

    Returns:
        dict: ``<name>_vs_paper`` to Table, with the columns ours and paper for each metric. The notes give, per metric,
        Spearman's rank correlation of the candidates' order with the paper's.

    Raises:
        InputError: If ``dataset`` is another one.
    """
    if dataset not in ("scgm", "ms"):
        raise InputError(f"--compare-paper must have a study of the template scgm or ms, got {dataset}.")
    compared = {}
    for name, spec in TABLES.items():
        if name in tables and spec.paper_table:
            paper = load_paper_results(dataset, spec.paper_table)
            shared = [row for row in tables[name].summary.to_dict("records") if _paper_key(row, spec) in paper]
            if shared:
                compared[f"{name}_vs_paper"] = _set_beside(tables[name], shared, paper, notes)
    if "ece" in tables:
        compared["ece_vs_paper"] = _ece_beside_paper(tables["ece"].summary, dataset, notes)
    return compared


def _paper_key(row, spec):
    return spec.paper_table, row["candidate"], row["metric"], row["class"]


def _set_beside(table, shared, paper, study_notes):
    import pandas as pd

    columns = list(dict.fromkeys((row["metric"], row["class"]) for row in shared))
    ours = {(row["candidate"], row["metric"], row["class"]): row for row in shared}
    theirs = {key[1:]: value for key, value in paper.items() if key[1:] in ours}
    scales = {key[1:]: value.scale for key, value in theirs.items()}
    means = {key: [row["mean"] for row in shared if (row["metric"], row["class"]) == key] for key in columns}
    digits = {key: _shown_digits(METRICS[key[0]], means[key], scales[key]) for key in columns}
    best_ours = _best_of({key: row["mean"] for key, row in ours.items()})
    # best among all of the paper's candidates, also where ours has fewer
    best_theirs = _best_of({key[1:]: value.mean for key, value in paper.items() if key[2:] in columns})
    header = ["Candidate"]
    for key in columns:
        header += [f"{_heading(*key, scales[key])} {whose}" for whose in ("ours", "paper")]
    rows = []
    for candidate in dict.fromkeys(row["candidate"] for row in shared):
        cells = [Cell(display_name(candidate))]
        for column in columns:
            key = candidate, *column
            # best among the candidates of the paper, ours may have more
            line = ours.get(key) and {**ours[key], "best": key in best_ours}
            cells.append(_value_cell(line, scales[column], digits[column]))
            cells.append(_paper_cell(theirs.get(key), key in best_theirs))
        rows.append(tuple(cells))
    records = [
        {
            **{name: ours[key][name] for name in ("candidate", "metric", "class", "mean", "std", "significant")},
            "paper_mean": value.mean,
            "paper_std": value.std,
            "paper_significant": value.significant,
        }
        for key, value in theirs.items()
    ]
    paper_note = "Paper: Lemay et al. 2022, MELBA 2022:031; bold there: best of its own candidates."
    pairs = [note for note in table.notes if note.startswith(PAIRS)]
    notes = (LEGEND, *_order_notes(columns, records), *pairs, paper_note, OPTIMISM_NOTE, *study_notes)
    title = f"{table.title}, beside the paper"
    return Table(title, tuple(header), tuple(rows), notes, pd.DataFrame(records), columns_together=2)


def _best_of(means):
    """Return the keys (candidate, metric, class) whose mean is the best of its metric and class."""
    ranks = {key: METRICS[key[1]].rank(mean) for key, mean in means.items()}
    lowest = {}
    for key, rank in ranks.items():
        lowest[key[1:]] = min(rank, lowest.get(key[1:], math.inf))
    return {key for key, rank in ranks.items() if rank == lowest[key[1:]]}


def _paper_cell(value, best):
    if value is None:
        return Cell("–")
    digits = 1 if METRICS[value.metric].scale == 0.01 else 2
    text = f"{value.mean / value.scale:.{digits}f} ± {value.std / value.scale:.{digits}f}"
    return Cell(text, "*" if value.significant else "", best)


def _order_notes(columns, records):
    from scipy.stats import spearmanr

    for metric, class_name in columns:
        chosen = [row for row in records if (row["metric"], row["class"]) == (metric, class_name)]
        # with two candidates every order is perfect or reversed, which says nothing
        if len(chosen) > 2:
            correlation = spearmanr([row["mean"] for row in chosen], [row["paper_mean"] for row in chosen])[0]
            label = f"{METRICS[metric].label} {class_name}".strip()
            yield f"{label}: rank correlation with the paper over {len(chosen)} candidates {correlation:.2f}."


def _ece_beside_paper(summary, dataset, study_notes):
    import pandas as pd

    lines, records = {}, []
    metrics = list(dict.fromkeys(summary["metric"]))
    for framework, name in FRAMEWORKS.items():
        names = [f"{framework}_{fusion}" for fusion in ("staple", "average", "random")]
        chosen = summary[summary["candidate"].isin(names)]
        n_fusions = chosen["candidate"].nunique()
        label = f"{name}, mean of {n_fusions} of 3 fusions" if n_fusions < 3 else f"{name}, mean of three fusions"
        ours = {metric: chosen.loc[chosen["metric"] == metric, "mean"].mean() for metric in metrics}
        paper = PAPER_MEAN_ECE[dataset, framework]
        lines[label] = ours, Cell(f"{paper * 100:.1f}")
        records += [
            {"framework": framework, "metric": metric, "mean": ours[metric], "paper_mean": paper} for metric in metrics
        ]
    scales = {metric: METRICS[metric].scale for metric in metrics}
    digits = {
        metric: _shown_digits(METRICS[metric], [ours[metric] for ours, _ in lines.values()], scales[metric])
        for metric in metrics
    }
    rows = []
    for label, (ours, paper_cell) in lines.items():
        cells = [
            Cell("–" if math.isnan(ours[metric]) else f"{ours[metric] / scales[metric]:.{digits[metric]}f}")
            for metric in metrics
        ]
        rows.append((Cell(label), *cells, paper_cell))
    header = ("Framework", *(METRICS[metric].label for metric in metrics), "paper [%]")
    notes = ("The paper prints the ECE only as the mean over the three fusions (Section 3.3).", *study_notes)
    return Table("Expected calibration error, beside the paper", header, tuple(rows), notes, pd.DataFrame(records))
