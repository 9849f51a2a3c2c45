"""The built-in metrics of an evaluation, in the order of their columns: each with how it is shown, told once."""

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.metrics.calibration import ECE_FORMS, expected_calibration_error
from ivadomed_labelfusion.metrics.kinds import ClassMasks, Column, Options
from ivadomed_labelfusion.metrics.lesions import lesion_detection
from ivadomed_labelfusion.metrics.overlap import (
    Overlap,
    dice_of_counts,
    precision_of_counts,
    qubiq_dice_of_table,
    recall_of_counts,
    rvd_of_counts,
    soft_dice,
)
from ivadomed_labelfusion.metrics.panel import calibrated_entropy
from ivadomed_labelfusion.metrics.registry import metric
from ivadomed_labelfusion.metrics.sets import (
    agreement_of_counts,
    energy_distance_of_iou,
    hungarian_of_iou,
    iou_of_counts,
)
from ivadomed_labelfusion.metrics.streaming import MEASURED_REGIONS, SubjectSums
from ivadomed_labelfusion.metrics.surface import surface_distances
from ivadomed_labelfusion.metrics.uncertainty import brier_score, entropy_error

NAN = float("nan")
_MAE_NOTE = "Entropy MAE is no proper score: a perfectly calibrated predictor does not reach 0 but the floor."
_FLOOR_NOTE = (
    "MAE floor: the entropy MAE of a perfectly calibrated predictor for a panel of this size, estimated from the "
    "raters (metrics.calibrated_entropy); the same for every candidate, save for missing models."
)
_CALIBRATED_NOTE = (
    "Calibrated: the entropy of a perfectly calibrated predictor; only beyond it is the raters' disagreement "
    "overestimated. In _pred.nii.gz: after ivadomed's rounding and zeroing of 8-bit files."
)
_LOG_NOTE = (
    "Log score: mean negative log-likelihood of the raters' classes, probabilities clipped to at least 0.001. Brier "
    "score against single raters = calibration + refinement; calibration is best at 0."
)


def _shannon(*names: str) -> tuple[Column, ...]:
    """Return the columns of the form ``shannon``, which no study shows."""
    return tuple(Column(f"entropy_shannon_{name}", f"Entropy, shannon, {name} [nats]") for name in names)


@metric(
    "entropy",
    needs=(SubjectSums, Options),
    in_validation=lambda prediction, target: entropy_error(prediction, target, class_axis=0),
    columns=(
        Column("entropy_paper_prediction", "Entropy [nats]", name="entropy_prediction"),
        Column("entropy_paper_raters", "Raters' [nats]", name="entropy_raters"),
        Column("entropy_paper_error", "Entropy MAE [nats]", best="low", name="entropy_mae", note=_MAE_NOTE, shown=True),
        Column("entropy_paper_prediction_roi", "In ROI [nats]", name="entropy_roi"),
        Column("entropy_paper_haze_share", "Haze, p <= 0.01 [%]", scale=0.01, name="haze_share"),
        Column("entropy_paper_stored", "In _pred.nii.gz [nats]", name="entropy_stored"),
        *_shannon("prediction", "raters", "error", "prediction_roi"),
    ),
)
def _entropy(sums: SubjectSums, options: Options) -> dict[str, float]:
    """Entropies of prediction and raters, inside the region, of the haze and of ivadomed's file."""
    found = {}
    for form in options.entropy_forms:
        ours, theirs = sums.entropy_prediction[form], sums.entropy_average[form]
        stem = f"entropy_{form}"
        found |= {f"{stem}_prediction": ours, f"{stem}_raters": theirs, f"{stem}_error": abs(ours - theirs)}
        if "roi" in options.regions:
            found[f"{stem}_prediction_roi"] = sums.entropy_roi[form]
        if form == "paper":
            found[f"{stem}_haze_share"] = sums.entropy_haze / ours if ours > 0 else NAN
            found[f"{stem}_stored"] = sums.entropy_stored
    return found


@metric(
    "calibrated_entropy",
    needs=(SubjectSums, Options),
    columns=(
        Column("entropy_paper_calibrated", "Calibrated [nats]", name="entropy_calibrated", note=_CALIBRATED_NOTE),
        Column("entropy_paper_floor", "MAE floor [nats]", name="entropy_floor", note=_FLOOR_NOTE),
        *_shannon("calibrated", "floor"),
    ),
)
def _panel_entropy(sums: SubjectSums, options: Options) -> dict[str, float]:
    """Entropy of a perfectly calibrated predictor and its distance from the raters'; NaN for soft masks."""
    found = {}
    for form in options.entropy_forms:
        # the background counts in the form `shannon` only
        classes = sums.votes if form == "shannon" else sums.votes[1:]
        value = NAN if sums.soft_raters else float(sum(calibrated_entropy(counts) for counts in classes))
        found[f"entropy_{form}_calibrated"] = value
        found[f"entropy_{form}_floor"] = abs(value - sums.entropy_average[form])
    return found


@metric(
    "brier",
    needs=SubjectSums,
    per_class=True,
    best="low",
    label="Brier score",
    study="brier_score",
    shown=True,
    in_validation=lambda prediction, target: brier_score(prediction, target, class_axis=0),
)
def _brier(sums: SubjectSums) -> NDArray:
    """Distance from the raters' average."""
    return sums.squared_error / sums.n_voxels


@metric(
    "brier_split",
    needs=SubjectSums,
    columns=(
        Column("brier_votes", "Brier score, single raters", True, "low", name="brier_votes"),
        Column("brier_calibration", "Calibration", True, "low", name="brier_calibration"),
        Column("brier_refinement", "Refinement", True, "low", name="brier_refinement"),
    ),
)
def _brier_split(sums: SubjectSums) -> dict[str, list[float]]:
    """Brier score against the single raters, its calibration and refinement."""
    splits = sums.brier.splits()
    return {
        "brier_votes": [split.score for split in splits],
        "brier_calibration": [split.calibration for split in splits],
        "brier_refinement": [split.refinement for split in splits],
    }


@metric(
    "log_score",
    needs=(SubjectSums, Options),
    columns=(
        Column("log_score_image", "Log score, image [nats]", False, "low", name="log_score_image", note=_LOG_NOTE),
        Column("log_score_roi", "Log score, ROI [nats]", False, "low", 1.0, name="log_score_roi"),
    ),
)
def _log_score(sums: SubjectSums, options: Options) -> dict[str, float]:
    """Mean negative log-likelihood of the raters in each region; NaN in an empty one."""
    voxels = {"image": sums.n_voxels, "roi": sums.n_roi}
    return {
        f"log_score_{region}": sums.log_loss[region] / voxels[region] if voxels[region] else NAN
        for region in options.regions
    }


@metric(
    "ece",
    needs=(SubjectSums, Options),
    in_validation=lambda prediction, target: expected_calibration_error(
        prediction, target, form="raters", class_axis=0
    ),
    columns=(
        Column(
            f"{name.lower()}_{form}_{region}",
            f"{name} {form}, {region.replace('roi', 'ROI')} [%]",
            False,
            "low",
            0.01,
            shown=(name, region) == ("ECE", "roi") and form != "paper",
        )
        for form in ECE_FORMS
        for region in MEASURED_REGIONS
        for name in ("ECE", "MCE")
    ),
)
def _ece(sums: SubjectSums, options: Options) -> dict[str, float]:
    """Mean and largest gap between accuracy and confidence."""
    found = {}
    for form in options.ece_forms:
        for region in options.regions:
            curve = sums.bins[region].curve(form)
            found |= {f"ece_{form}_{region}": curve.ece, f"mce_{form}_{region}": curve.mce}
    return found


@metric("dice", needs=Overlap, per_class=True, best="high", label="Dice [%]", scale=0.01, shown=True)
def _dice(overlap: Overlap) -> NDArray:
    """Dice of the binarised prediction and the consensus."""
    return dice_of_counts(overlap.shared, overlap.predicted, overlap.reference)


@metric("precision", needs=Overlap, per_class=True, best="high", label="Precision [%]", scale=0.01, shown=True)
def _precision(overlap: Overlap) -> NDArray:
    """Share of the binarised prediction that is in the consensus."""
    return precision_of_counts(overlap.shared, overlap.predicted, overlap.reference)


@metric("recall", needs=Overlap, per_class=True, best="high", label="Recall [%]", scale=0.01, shown=True)
def _recall(overlap: Overlap) -> NDArray:
    """Share of the consensus that was predicted."""
    return recall_of_counts(overlap.shared, overlap.predicted, overlap.reference)


@metric(
    "rvd",
    needs=Overlap,
    per_class=True,
    best="zero",
    label="RVD [%]",
    scale=0.01,
    study="relative_volume_difference",
)
def _rvd(overlap: Overlap) -> NDArray:
    """Relative volume difference."""
    return rvd_of_counts(overlap.shared, overlap.predicted, overlap.reference)


@metric(
    "avd",
    needs=Overlap,
    per_class=True,
    best="low",
    label="AVD [%]",
    scale=0.01,
    study="absolute_volume_difference",
    shown=True,
)
def _avd(overlap: Overlap) -> NDArray:
    """Absolute value of the relative volume difference."""
    return np.abs(_rvd(overlap))


@metric(
    "soft_dice",
    needs=SubjectSums,
    per_class=True,
    best="high",
    label="Soft Dice [%]",
    scale=0.01,
    study="",
    in_validation=lambda prediction, target: soft_dice(prediction, target, class_axis=0),
)
def _soft_dice_of_sums(sums: SubjectSums) -> NDArray:
    """Dice of prediction and average, without binarising."""
    return dice_of_counts(*sums.soft)


@metric("qubiq_dice", needs=SubjectSums, per_class=True, best="high", label="QUBIQ Dice [%]", scale=0.01, study="")
def _qubiq_dice(sums: SubjectSums) -> NDArray:
    """Mean Dice over several levels."""
    return qubiq_dice_of_table(sums.level_table)


@metric("ged", needs=SubjectSums, best="low", label="Energy distance", scale=1.0, study="", shown=True)
def _ged(sums: SubjectSums) -> float:
    """Squared generalised energy distance between the binarised prediction and the raters."""
    return energy_distance_of_iou(iou_of_counts(sums.shared).mean(axis=0), 1)


@metric("hungarian_iou", needs=SubjectSums, best="high", label="Matched IoU [%]", scale=0.01, study="")
def _hungarian_iou(sums: SubjectSums) -> float:
    """IoU of the best matching between the binarised prediction and the raters."""
    return hungarian_of_iou(iou_of_counts(sums.shared).mean(axis=0), 1)


@metric(
    "rater_agreement",
    needs=SubjectSums,
    columns=(
        Column("agreement_model", "Dice with the raters [%]", True, "high", 0.01, name="agreement_model"),
        Column("agreement_panel", "Dice among the raters [%]", True, "none", 0.01, name="agreement_panel"),
    ),
)
def _rater_agreement(sums: SubjectSums) -> dict[str, NDArray]:
    """Mean Dice of the binarised prediction with each rater, and of the raters with each other."""
    model, panel = agreement_of_counts(sums.shared)
    return {"agreement_model": model, "agreement_panel": panel}


@metric(
    "lesions",
    needs=(ClassMasks, Options),
    columns=(
        Column("lesion_tpr", "Lesions found [%]", True, "high", 0.01),
        Column("lesion_fdr", "False lesions [%]", True, "low", 0.01),
        Column("lesion_n_reference", "Lesions of the reference", True, "none", 1.0),
        Column("lesion_n_prediction", "Predicted lesions", True, "none", 1.0),
    ),
)
def _lesions(masks: ClassMasks, options: Options) -> dict[str, float]:
    """Lesions found, and false ones."""
    found = lesion_detection(masks.prediction, masks.reference, min_overlap=options.lesion_min_overlap)
    return {
        "lesion_tpr": found.true_positive_rate,
        "lesion_fdr": found.false_detection_rate,
        "lesion_n_reference": found.n_reference,
        "lesion_n_prediction": found.n_prediction,
    }


@metric(
    "surface",
    needs=(ClassMasks, Options),
    columns=(
        Column("hd95_mm", "HD95 [mm]", True, "low", 1.0),
        Column("assd_mm", "ASSD [mm]", True, "low", 1.0),
        Column("surface_dice", "Surface Dice [%]", True, "high", 0.01),
    ),
)
def _surface(masks: ClassMasks, options: Options) -> dict[str, float]:
    """Distances between the surfaces."""
    found = surface_distances(
        masks.prediction,
        masks.reference,
        voxel_size_mm=masks.voxel_size_mm,
        tolerance_mm=options.surface_tolerance_mm,
    )
    return dict(zip(("hd95_mm", "assd_mm", "surface_dice"), asdict(found).values(), strict=True))
