"""Tables beside the paper's: are the models within inter-rater variability, and what does a mixed model say?"""

import math

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.columns import METRICS, REFERENCE, classes_of, column, display_name
from ivadomed_labelfusion.stats import mixed_model, within_rater_variability
from ivadomed_labelfusion.tables.table import Cell, Table

VARIABILITY_NOTES = (
    "Mean Dice of the binarised prediction with each rater, beside the raters' with each other. within: the 95 % "
    "interval of the difference lies above zero (the model agrees with the raters at least as well as they agree); "
    "outside: below; else undecided, which does not show that there is no difference.",
)
MIXED_NOTES = (
    "score ~ candidate + (1 | subject) + (1 | split), restricted maximum likelihood: difference from Conv-STAPLE with "
    "its 95 % interval; *: p < 0.05 (Wald, not adjusted). It assumes normal effects and many splits, and does not know "
    "that the test images of one model share the luck of its training.",
)
MIXED_METRICS = (
    "brier_score",
    "entropy_mae",
    "log_score_roi",
    "dice",
    "precision",
    "recall",
    "absolute_volume_difference",
    "composite_score",
)


def variability_table(results, class_names, *, notes=()):
    """Return the Table of `stats.within_rater_variability` of every candidate and class, or None without its columns.

    Args:
        results (DataFrame): One row per candidate, split and image.
        class_names (sequence of str): Classes in the configuration's order.
        notes (sequence of str): Printed below.
    """
    import pandas as pd

    names = [name for name in class_names if column("agreement_panel", name) in results]
    if not names:
        return None
    rows, records = [], []
    for candidate, own in results.groupby("candidate", sort=False):
        cells = [Cell(display_name(candidate))]
        for name in names:
            test = within_rater_variability(
                own[column("agreement_model", name)],
                own[column("agreement_panel", name)],
                subjects=own["subject"],
                splits=own["split"],
            )
            low, high = test.interval
            interval = "" if math.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"
            cells += [Cell(_percent(test.model)), Cell(_percent(test.raters))]
            cells += [Cell(_percent(test.difference) + interval), Cell(test.verdict)]
            records.append(
                {
                    "candidate": candidate,
                    "class": name,
                    "model": test.model,
                    "raters": test.raters,
                    "difference": test.difference,
                    "ci_low": low,
                    "ci_high": high,
                    "p_value": test.p_value,
                    "subjects": test.n_clusters[0],
                    "splits": test.n_clusters[1],
                    "verdict": test.verdict,
                }
            )
        rows.append(tuple(cells))
    parts = ("with the raters [%]", "among the raters [%]", "difference", "verdict")
    header = ("Candidate", *(f"{name}: {part}" for name in names for part in parts))
    title = "Is the model within inter-rater variability?"
    return Table(title, header, tuple(rows), (*VARIABILITY_NOTES, *notes), pd.DataFrame(records))


def _percent(share):
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


def mixed_table(results, class_names, *, notes=()):
    """Return the Table of `stats.mixed_model` of the subject-level metrics, against Conv-STAPLE.

    Args:
        results (DataFrame): One row per candidate, split and image.
        class_names (sequence of str): Classes in the configuration's order.
        notes (sequence of str): Printed below.

    Raises:
        InputError: If statsmodels is not installed, or there are no rows of Conv-STAPLE and another candidate, or only
            one subject or split.
    """
    import pandas as pd

    columns = [
        (name, class_name)
        for name in MIXED_METRICS
        for class_name in classes_of(name, class_names)
        if column(name, class_name) in results and results[column(name, class_name)].nunique() > 1
    ]
    records = [
        {
            "candidate": effect.candidate,
            "metric": name,
            "class": class_name,
            "difference": effect.difference,
            "ci_low": effect.interval[0],
            "ci_high": effect.interval[1],
            "p_value": effect.p_value,
            "converged": effect.converged,
        }
        for name, class_name in columns
        for effect in mixed_model(
            results[column(name, class_name)],
            candidates=results["candidate"],
            splits=results["split"],
            subjects=results["subject"],
            reference=REFERENCE,
        )
    ]
    if not records:
        raise InputError(
            f"A mixed model must have results of {REFERENCE} and of another candidate, got none to compare."
        )
    found = {(row["candidate"], row["metric"], row["class"]): row for row in records}
    rows = [
        (Cell(display_name(candidate)), *(_effect_cell(found.get((candidate, *key)), key[0]) for key in columns))
        for candidate in dict.fromkeys(row["candidate"] for row in records)
    ]
    header = ("Candidate", *(f"{METRICS[name].label} {class_name}".strip() for name, class_name in columns))
    title = "Mixed model: differences from Conv-STAPLE"
    return Table(title, header, tuple(rows), (*MIXED_NOTES, *notes), pd.DataFrame(records))


def _effect_cell(row, metric):
    if row is None:
        return Cell("–")
    scale = METRICS[metric].scale or 1.0
    numbers = [f"{row[name] / scale:.3g}" for name in ("difference", "ci_low", "ci_high")]
    text = f"{numbers[0]} [{numbers[1]}, {numbers[2]}]"
    if not row["converged"]:
        return Cell(f"{text} (not converged)")
    return Cell(text, "*" if row["p_value"] < 0.05 else "")
