"""The columns of a study's results, in one place: what they are called, how they are shown, and which value is best.

``results.csv`` has one row per candidate, split and test image: `KEYS`, then the columns of the evaluation, which call
a metric of one class ``ir_<metric>_<class>``, for example ``ir_dice_GM``. ``models.csv`` has one row per candidate and
split.
"""

from dataclasses import dataclass

KEYS = ("candidate", "split", "subject", "image_id")
REFERENCE = "conv_staple"


@dataclass(frozen=True)
class Metric:
    """How a metric is shown.

    Attributes:
        name (str): Name in the study's tables.
        stem (str): Column, or its part before the class.
        label (str): Heading.
        per_class (bool): One column per class.
        best (str): ``high``, ``low`` or ``zero``, whichever is the best mean; ``none`` for what only describes.
        scale (float or None): Values are shown divided by this (0.01 for per cent); None chooses a power of ten.
        per_model (bool): One value per model (``models.csv``) instead of one per image.
    """

    name: str
    stem: str
    label: str
    per_class: bool
    best: str
    scale: float | None
    per_model: bool = False

    def rank(self, mean):
        """Return a number that is lowest for the best mean; NaN where there is no best."""
        return {"high": -mean, "low": mean, "zero": abs(mean), "none": float("nan")}[self.best]


_ALL = (
    Metric("brier_score", "ir_brier", "Brier score", True, "low", None),
    Metric("entropy_mae", "ir_entropy_paper_error", "Entropy MAE [nats]", False, "low", None),
    Metric("entropy_floor", "ir_entropy_paper_floor", "MAE floor [nats]", False, "none", None),
    Metric("entropy_prediction", "ir_entropy_paper_prediction", "Entropy [nats]", False, "none", None),
    Metric("entropy_calibrated", "ir_entropy_paper_calibrated", "Calibrated [nats]", False, "none", None),
    Metric("entropy_raters", "ir_entropy_paper_raters", "Raters' [nats]", False, "none", None),
    Metric("entropy_roi", "ir_entropy_paper_prediction_roi", "In ROI [nats]", False, "none", None),
    Metric("entropy_stored", "ir_entropy_paper_stored", "In _pred.nii.gz [nats]", False, "none", None),
    Metric("haze_share", "ir_entropy_paper_haze_share", "Haze, p <= 0.01 [%]", False, "none", 0.01),
    Metric("log_score_image", "ir_log_score_image", "Log score, image [nats]", False, "low", None),
    Metric("log_score_roi", "ir_log_score_roi", "Log score, ROI [nats]", False, "low", 1.0),
    Metric("brier_votes", "ir_brier_votes", "Brier score, single raters", True, "low", None),
    Metric("brier_calibration", "ir_brier_calibration", "Calibration", True, "low", None),
    Metric("brier_refinement", "ir_brier_refinement", "Refinement", True, "low", None),
    Metric("agreement_model", "ir_agreement_model", "Dice with the raters [%]", True, "high", 0.01),
    Metric("agreement_panel", "ir_agreement_panel", "Dice among the raters [%]", True, "none", 0.01),
    Metric("dice", "ir_dice", "Dice [%]", True, "high", 0.01),
    Metric("precision", "ir_precision", "Precision [%]", True, "high", 0.01),
    Metric("recall", "ir_recall", "Recall [%]", True, "high", 0.01),
    Metric("absolute_volume_difference", "ir_avd", "AVD [%]", True, "low", 0.01),
    Metric("relative_volume_difference", "ir_rvd", "RVD [%]", True, "zero", 0.01),
    Metric("composite_score", "composite_score", "Composite score", False, "high", 1.0),
    Metric("ece_exact_image", "ece_exact_image", "ECE exact, image [%]", False, "low", 0.01, per_model=True),
    Metric("ece_exact_roi", "ece_exact_roi", "ECE exact, ROI [%]", False, "low", 0.01, per_model=True),
    Metric("ece_paper_image", "ece_paper_image", "ECE paper, image [%]", False, "low", 0.01, per_model=True),
    Metric("ece_paper_roi", "ece_paper_roi", "ECE paper, ROI [%]", False, "low", 0.01, per_model=True),
    Metric("ece_raters_image", "ece_raters_image", "ECE raters, image [%]", False, "low", 0.01, per_model=True),
    Metric("ece_raters_roi", "ece_raters_roi", "ECE raters, ROI [%]", False, "low", 0.01, per_model=True),
)
METRICS = {metric.name: metric for metric in _ALL}
ECE_METRICS = tuple(name for name in METRICS if name.startswith("ece_"))
ENTROPY_PREDICTION = "ir_entropy_paper_prediction"
ENTROPY_RATERS = "ir_entropy_paper_raters"
ENTROPY_CALIBRATED = "ir_entropy_paper_calibrated"

# what must be known to read a column, by metric
READING = {
    "entropy_mae": "Entropy MAE is no proper score: a perfectly calibrated predictor does not reach 0 but the floor.",
    "entropy_floor": "MAE floor: the entropy MAE of a perfectly calibrated predictor for a panel of this size, "
    "estimated from the raters (metrics.calibrated_entropy); the same for every candidate, save for missing models.",
    "entropy_calibrated": "Calibrated: the entropy of a perfectly calibrated predictor; only beyond it is the raters' "
    "disagreement overestimated. In _pred.nii.gz: after ivadomed's rounding and zeroing of 8-bit files.",
    "log_score_image": "Log score: mean negative log-likelihood of the raters' classes, probabilities clipped to at "
    "least 0.001. Brier score against single raters = calibration + refinement; calibration is best at 0.",
}

FRAMEWORKS = {"conv": "Conv", "softseg": "SoftSeg"}
FUSIONS = {"staple": "STAPLE", "average": "Average", "random": "RandomSampling", "ensemble": "Ensemble"}


def column(metric, class_name=""):
    """Return the column of a metric: ``ir_dice_GM``, or ``composite_score`` for metrics without classes."""
    metric = METRICS[metric]
    return f"{metric.stem}_{class_name}" if metric.per_class else metric.stem


def classes_of(metric, class_names):
    """Return the classes a metric has values for: ``class_names``, or one empty name for metrics of the whole image."""
    return tuple(class_names) if METRICS[metric].per_class else ("",)


def display_name(candidate):
    """Return the paper's spelling, ``SoftSeg-STAPLE``; names of users' own candidates stay as they are."""
    framework, _, fusion = candidate.partition("_")
    if framework in FRAMEWORKS and fusion in FUSIONS:
        return f"{FRAMEWORKS[framework]}-{FUSIONS[fusion]}"
    return candidate
