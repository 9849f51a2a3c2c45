"""Columns on uncertainty and on agreement with the raters, from the sums of one pass over a subject."""

import numpy as np

from ivadomed_labelfusion.metrics.panel import calibrated_entropy

PREFIX = "ir_"


def entropy_columns(sums, settings):
    """Return the entropies of prediction and raters, inside the region, of the haze and of ivadomed's file."""
    columns = {}
    for form in settings.entropy_forms:
        ours, theirs = sums.entropy_prediction[form], sums.entropy_average[form]
        stem = f"{PREFIX}entropy_{form}"
        columns |= {f"{stem}_prediction": ours, f"{stem}_raters": theirs, f"{stem}_error": abs(ours - theirs)}
        if "roi" in settings.regions:
            columns[f"{stem}_prediction_roi"] = sums.entropy_roi[form]
        if form == "paper":
            columns[f"{stem}_haze_share"] = sums.entropy_haze / ours if ours > 0 else float("nan")
            columns[f"{stem}_stored"] = sums.entropy_stored
    return columns


def calibrated_entropy_columns(sums, settings):
    """Return the entropy of a perfectly calibrated predictor and its distance from the raters'; NaN for soft masks."""
    columns = {}
    for form in settings.entropy_forms:
        # the background counts in the form `shannon` only
        classes = sums.votes if form == "shannon" else sums.votes[1:]
        value = float("nan") if sums.soft_raters else float(sum(calibrated_entropy(counts) for counts in classes))
        stem = f"{PREFIX}entropy_{form}"
        columns |= {f"{stem}_calibrated": value, f"{stem}_floor": abs(value - sums.entropy_average[form])}
    return columns


def brier_split_columns(sums, names):
    """Return Brier score against the single raters, calibration and refinement of each class."""
    columns = {}
    for name, split in zip(names, sums.brier.splits(), strict=True):
        columns[f"{PREFIX}brier_votes_{name}"] = split.score
        columns[f"{PREFIX}brier_calibration_{name}"] = split.calibration
        columns[f"{PREFIX}brier_refinement_{name}"] = split.refinement
    return columns


def log_score_columns(sums, settings):
    """Return the mean negative log-likelihood of the raters in each region; NaN in an empty one."""
    voxels = {"image": sums.n_voxels, "roi": sums.n_roi}
    return {
        f"{PREFIX}log_score_{region}": sums.log_loss[region] / voxels[region] if voxels[region] else float("nan")
        for region in settings.regions
    }


def agreement_columns(shared, names):
    """Return the mean Dice of the binarised prediction with the raters, and of the raters with each other.

    Args:
        shared (ndarray): ``(C, 1 + R, 1 + R)`` voxels shared by each pair, the prediction first.
        names (sequence of str): C names.
    """
    columns = {}
    for name, table in zip(names, shared, strict=True):
        volumes = np.diag(table)
        total = volumes[:, None] + volumes
        # two empty masks agree
        dice = np.divide(2 * table, total, out=np.ones_like(total), where=total > 0)
        among = dice[1:, 1:][np.triu_indices(volumes.size - 1, 1)]
        columns[f"{PREFIX}agreement_model_{name}"] = float(dice[0, 1:].mean())
        columns[f"{PREFIX}agreement_panel_{name}"] = float(among.mean()) if among.size else float("nan")
    return columns
