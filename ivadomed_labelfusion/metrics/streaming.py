"""One pass over a subject that collects every sum from which the voxel-wise metrics follow.

Volumes are read once, in blocks that stay in the processor's cache. Voxels where the prediction, the raters and the
reference are all exactly 0 are most of a volume; they are background with confidence 1 and are counted without
arithmetic. Nothing is compiled, so that the first subject is as fast as the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics.calibration import BinSums, labels_of_masks, with_background
from ivadomed_labelfusion.metrics.checks import (
    VoxelBlocks,
    check_masks,
    check_prediction,
    check_raters,
    check_same_shape,
    check_values,
)
from ivadomed_labelfusion.metrics.overlap import QUBIQ_LEVELS, level_table
from ivadomed_labelfusion.metrics.panel import counts_of_votes, is_binary
from ivadomed_labelfusion.metrics.proper import BrierSums, log_loss
from ivadomed_labelfusion.metrics.sets import shared_voxels
from ivadomed_labelfusion.metrics.thresholds import check_threshold
from ivadomed_labelfusion.metrics.uncertainty import as_stored, entropy_of_haze

MEASURED_REGIONS = ("image", "roi")


@dataclass
class SubjectSums:
    """What one pass collects. C classes, R raters, L levels; counts are voxels.

    Attributes:
        n_voxels (int): Voxels of the image.
        n_above_one (int): Voxels whose classes sum to more than 1 (by over 1e-6); their background is taken as 0.
        entropy_prediction (dict): Entropy of the prediction in nats, by form.
        entropy_average (dict): Entropy of the raters' average in nats, by form.
        entropy_roi (dict): Entropy of the prediction inside the region ``roi``, by form.
        entropy_haze, entropy_stored (float): Form ``paper``: that of p <= 0.01, and that of ivadomed's file.
        votes (ndarray): ``(C + 1, R + 1)`` voxels by class, background first, and number of votes.
        soft_raters (bool): Whether a rater's mask is soft; ``votes`` then means nothing.
        log_loss (dict): Negative log-likelihood of the raters in nats, by region.
        n_roi (int): Voxels of the region ``roi``.
        brier (BrierSums): Against the single raters.
        squared_error (ndarray): ``(C,)`` sum of (average - prediction)^2.
        soft (ndarray): ``(3, C)`` sums of prediction times average, prediction, average.
        overlap (ndarray): ``(3, C)`` counts: binarised prediction and reference, prediction, reference.
        level_table (ndarray): ``(C, L + 1, L + 1)`` counts by the levels that prediction and average reach.
        shared (ndarray): ``(C, 1 + R, 1 + R)`` voxels shared by each pair of the binarised prediction and the raters.
        bins (dict): ``BinSums`` by region, ``image`` and ``roi``.
        labels (ndarray): ``(*spatial)`` uint8: the binarised prediction as label map, 0 background.
    """

    n_voxels: int
    n_above_one: int
    entropy_prediction: dict[str, float]
    entropy_average: dict[str, float]
    entropy_roi: dict[str, float]
    entropy_haze: float
    entropy_stored: float
    votes: np.ndarray
    soft_raters: bool
    log_loss: dict[str, float]
    n_roi: int
    brier: BrierSums
    squared_error: np.ndarray
    soft: np.ndarray
    overlap: np.ndarray
    level_table: np.ndarray
    shared: np.ndarray
    bins: dict[str, BinSums]
    labels: np.ndarray


def collect(
    prediction: ArrayLike,
    raters: ArrayLike,
    reference: ArrayLike,
    *,
    threshold: float | None = None,
    n_bins: int = 10,
    levels: Sequence[float] = QUBIQ_LEVELS,
) -> SubjectSums:
    """Read a subject once and return its ``SubjectSums``.

    The region ``roi`` is the union of the raters' masks and of the voxels whose most probable class is not the
    background.

    Args:
        prediction (ndarray): ``(C, *spatial)``, foreground classes in [0, 1].
        raters (ndarray): ``(R, C, *spatial)``, masks of 0 and 1 or soft masks in [0, 1].
        reference (ndarray): ``(C, *spatial)``, binary: the consensus.
        threshold (float): Binarises a single class (>= threshold); None takes argmax with the background.
        n_bins (int): Bins of the reliability curves.
        levels (sequence of float): Levels of the QUBIQ Dice.

    Returns:
        SubjectSums: Its arrays take one byte per voxel beside the inputs; everything else is small.

    Raises:
        InputError: On NaN, values outside [0, 1], shapes that do not fit, a reference that is not binary, more than 255
            classes, or a threshold for several classes.
    """
    prediction = check_prediction("prediction", prediction)
    raters = check_raters(raters, prediction)
    reference = check_masks("reference", reference)
    check_same_shape("prediction", prediction, "reference", reference)
    n_classes, n_raters = prediction.shape[0], raters.shape[0]
    if n_classes > 255:
        raise InputError(f"prediction must hold at most 255 classes, got {n_classes}.")
    if threshold is not None:
        check_threshold(threshold, n_classes)
        # compared in the prediction's dtype: a float32 0.7 reaches the threshold 0.7
        threshold = prediction.dtype.type(threshold) if prediction.dtype.kind == "f" else threshold
    sums = SubjectSums(
        n_voxels=prediction[0].size,
        n_above_one=0,
        entropy_prediction={"paper": 0.0, "shannon": 0.0},
        entropy_average={"paper": 0.0, "shannon": 0.0},
        entropy_roi={"paper": 0.0, "shannon": 0.0},
        entropy_haze=0.0,
        entropy_stored=0.0,
        votes=np.zeros((n_classes + 1, n_raters + 1), np.int64),
        soft_raters=False,
        log_loss=dict.fromkeys(MEASURED_REGIONS, 0.0),
        n_roi=0,
        brier=BrierSums(n_classes, n_bins),
        squared_error=np.zeros(n_classes),
        soft=np.zeros((3, n_classes)),
        overlap=np.zeros((3, n_classes), np.int64),
        level_table=np.zeros((n_classes, len(levels) + 1, len(levels) + 1), np.int64),
        shared=np.zeros((n_classes, n_raters + 1, n_raters + 1)),
        bins={region: BinSums(n_bins) for region in MEASURED_REGIONS},
        labels=np.zeros_like(prediction[0], dtype=np.uint8),
    )
    # the file's steps depend on its largest value
    top = min(1.0, float(prediction.max())) if prediction.size else 0.0
    blocks = VoxelBlocks(prediction, prediction.ndim - 1)
    for index, (prob, masks, truth) in enumerate(blocks.pieces(prediction, raters, reference)):
        if not prob.size:
            continue
        check_values("prediction", prob.min(), prob.max())
        check_values("raters", masks.min(), masks.max())
        labels = _add_block(sums, prob, masks, truth, threshold, levels, top)
        if labels is not None:
            blocks.write(sums.labels, index, labels)
    return sums


def _add_block(
    sums: SubjectSums,
    prob: NDArray,
    masks: NDArray,
    truth: NDArray,
    threshold: float | None,
    levels: Sequence[float],
    top: float,
) -> NDArray | None:
    """Add one block, ``(C, n)``, ``(R, C, n)`` and ``(C, n)``; return its labels, or None if all are 0."""
    votes = masks.sum(axis=0, dtype=np.uint16 if masks.dtype.kind in "bui" else np.float64)
    voted = votes.any(axis=0)
    _add_votes(sums, masks, voted)
    active = (prob != 0).any(axis=0) | voted | truth.any(axis=0)
    n_active = int(np.count_nonzero(active))
    sums.bins["image"].add_certain(active.size - n_active)
    sums.brier.add_empty(active.size - n_active)
    if not n_active:
        return None
    everything = n_active == active.size
    if not everything:
        prob, votes, truth, voted = prob[:, active], votes[:, active], truth[:, active], voted[active]
    full = with_background(np.clip(prob.astype(np.float64), 0, 1))
    average = with_background(np.clip(votes / masks.shape[0], 0, 1))
    predicted = full.argmax(axis=0)
    labels = (predicted if threshold is None else prob[0] >= threshold).astype(np.uint8)

    sums.n_above_one += int(np.count_nonzero(full[1:].sum(axis=0) > 1 + 1e-6))
    _add_entropy(sums.entropy_prediction, full)
    _add_entropy(sums.entropy_average, average[:, voted])
    sums.squared_error += np.square(full[1:] - average[1:]).sum(axis=1)
    sums.soft += [(full[1:] * average[1:]).sum(axis=1), full[1:].sum(axis=1), average[1:].sum(axis=1)]
    _add_reliability(sums.bins, full, average, predicted, voted, truth)
    _add_scores(sums, full, average, voted | (predicted > 0), top)
    raised = voted | (full[1:] >= levels[0] - 1e-3).any(axis=0) | (labels > 0)
    for index in range(truth.shape[0]):
        chosen = labels == index + 1
        sums.overlap[:, index] += [np.count_nonzero(mask) for mask in (chosen & truth[index], chosen, truth[index])]
        table = level_table(full[index + 1, raised], average[index + 1, raised], levels)
        table[0, 0] += active.size - np.count_nonzero(raised)
        sums.level_table[index] += table
    chosen = labels[raised] == np.arange(1, truth.shape[0] + 1)[:, None]
    members = masks[..., raised] if everything else masks[..., np.flatnonzero(active)[raised]]
    sums.shared += shared_voxels(np.concatenate([chosen[None], members >= 0.5]))

    if everything:
        return labels
    scattered = np.zeros(active.size, np.uint8)
    scattered[active] = labels
    return scattered


def _add_entropy(total: dict[str, float], full: NDArray) -> None:
    foreground = entr(full[1:]).sum()
    total["paper"] += float(foreground)
    total["shannon"] += float(foreground + entr(full[0]).sum())


def _add_scores(sums: SubjectSums, full: NDArray, average: NDArray, inside: NDArray, top: float) -> None:
    sums.entropy_haze += entropy_of_haze(full[1:])
    sums.entropy_stored += float(entr(as_stored(full[1:], top)).sum())
    _add_entropy(sums.entropy_roi, full[:, inside])
    sums.brier.add(full[1:], average[1:])
    losses = log_loss(full, average)
    sums.log_loss["image"] += float(losses.sum())
    sums.log_loss["roi"] += float(losses[inside].sum())
    sums.n_roi += int(np.count_nonzero(inside))


def _add_votes(sums: SubjectSums, masks: NDArray, voted: NDArray) -> None:
    nobody = voted.size - int(np.count_nonzero(voted))
    sums.votes[0, -1] += nobody
    sums.votes[1:, 0] += nobody
    if nobody == voted.size:
        return
    marked = masks[..., np.flatnonzero(voted)]
    if is_binary(marked):
        sums.votes += counts_of_votes(marked)
    else:
        sums.soft_raters = True


def _add_reliability(
    bins: dict[str, BinSums], full: NDArray, average: NDArray, predicted: NDArray, voted: NDArray, truth: NDArray
) -> None:
    confidence = full.max(axis=0)
    correct = predicted == labels_of_masks(truth)
    share = np.take_along_axis(average, predicted[None], axis=0)[0]
    slots = bins["image"].slots(confidence)
    bins["image"].add(slots, confidence, correct, share)
    inside = voted | (predicted > 0)
    bins["roi"].add(slots[inside], confidence[inside], correct[inside], share[inside])
