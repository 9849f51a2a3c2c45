"""The columns of a study's results. What the evaluation measures tells there how it is shown and which value is best.

``results.csv`` has one row per candidate, split and test image: `RESULT_KEYS`, then those of the evaluation, which call
a metric of one class ``ir_<metric>_<class>``, for example ``ir_dice_GM``. ``models.csv`` has one row per candidate
and split.
"""

from collections.abc import Sequence
from dataclasses import replace

from ivadomed_labelfusion.metrics.kinds import PREFIX, Column
from ivadomed_labelfusion.metrics.registry import built_in_metrics

RESULT_KEYS = ("candidate", "split", "subject", "image_id")
REFERENCE = "conv_staple"


def _of_the_study():
    """Return every column that a study's tables show: the evaluation's that have a name for it, and its own."""
    found = [column for metric in built_in_metrics().values() for column in metric.columns]
    columns = [column for column in found if column.name]
    columns.append(Column("composite_score", "Composite score", False, "high", 1.0, name="composite_score"))
    # the ECE of a model is that of the curve pooled over its test images
    for column in found:
        name = column.stem.removeprefix(PREFIX)
        if name.startswith("ece_"):
            columns.append(replace(column, stem=name, name=name, per_model=True))
    return {column.name: column for column in columns}


METRICS = _of_the_study()
ECE_METRICS = tuple(name for name in METRICS if name.startswith("ece_"))
ENTROPY_PREDICTION = "ir_entropy_paper_prediction"
ENTROPY_RATERS = "ir_entropy_paper_raters"
ENTROPY_CALIBRATED = "ir_entropy_paper_calibrated"

# what must be known to read a column, by metric
READING = {name: column.note for name, column in METRICS.items() if column.note}

FRAMEWORKS = {"conv": "Conv", "softseg": "SoftSeg"}
FUSIONS = {"staple": "STAPLE", "average": "Average", "random": "RandomSampling", "ensemble": "Ensemble"}


def column(metric: str, class_name: str = "") -> str:
    """Return the column of a metric: ``ir_dice_GM``, or ``composite_score`` for metrics without classes."""
    known = METRICS[metric]
    return f"{known.stem}_{class_name}" if known.per_class else known.stem


def classes_of(metric: str, class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the classes a metric has values for: ``class_names``, or one empty name for metrics of the whole image."""
    return tuple(class_names) if METRICS[metric].per_class else ("",)


def display_name(candidate: str) -> str:
    """Return the paper's spelling, ``SoftSeg-STAPLE``; names of users' own candidates stay as they are."""
    framework, _, fusion = candidate.partition("_")
    if framework in FRAMEWORKS and fusion in FUSIONS:
        return f"{FRAMEWORKS[framework]}-{FUSIONS[fusion]}"
    return candidate
