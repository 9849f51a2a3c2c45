"""Proper scores of a soft prediction against the raters: best, on average, for the predictor that knows the truth.

The distance of entropies (`uncertainty.entropy_error`) is not such a score: a prediction of the right total entropy in
the wrong places is perfect to it, and a perfectly calibrated one is not (`panel.calibrated_entropy`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics.calibration import BinSums, with_background
from ivadomed_labelfusion.metrics.checks import VoxelBlocks, check_probabilities, check_same_shape, with_classes

# a probability below counts as this much: otherwise one rater's voxel at 0 makes every score infinite
LOG_CLIP = 1e-3


@dataclass(frozen=True)
class BrierSplit:
    """Brier score against the single raters, of one class.

    Attributes:
        score (float): Mean over voxels and raters of (p - y)^2, y = 1 where the rater marked the voxel; in [0, 1].
        calibration (float): Mean over voxels of the squared gap between the mean prediction and the raters' share in
            the voxel's bin; 0 for a calibrated predictor.
        refinement (float): ``score - calibration``: what a calibrated predictor of the same sharpness would score; 0 if
            the bins tell marked voxels from unmarked ones perfectly. With predictions that are all equal within bins it
            is the mean over voxels of a (1 - a), a being the bin's share.
    """

    score: float
    calibration: float
    refinement: float


def log_score(
    prediction: ArrayLike, average: ArrayLike, *, mask: ArrayLike | None = None, class_axis: int | None = None
) -> float:
    """Return the mean negative log-likelihood of the raters' classes, in nats per voxel; lower is better.

    -1/N sum over voxels and classes, background included, of A_c log max(p_c, 0.001): `LOG_CLIP` is the stated clip,
    below which a prediction cannot be punished further. Its expectation over raters is least for the raters' own
    probabilities (as long as none lies between 0 and the clip).

    Args:
        prediction (ndarray): ``(*spatial)``, foreground classes in [0, 1]; background p_0 = max(0, 1 - sum).
        average (ndarray): Same shape, mean of the raters' masks.
        mask (ndarray): ``(*spatial)`` bool, the voxels to count; None counts all.
        class_axis (int): Axis of the classes, which count together; None for one class, up to three dimensions.

    Returns:
        float: >= 0; NaN without voxels.

    Raises:
        InputError: On NaN, values outside [0, 1], different shapes or a missing class axis.

    References:
        Gneiting, Raftery 2007, doi 10.1198/016214506000001437.

    Example:
        >>> round(log_score([0.5, 0.5], [1.0, 0.0]), 4)  # log 2
        0.6931
    """
    _, prediction, average = with_classes(class_axis, prediction=prediction, average=average)
    total, voxels = 0.0, 0
    for prob, truth, keep in _pieces(prediction, average, mask):
        total += log_loss(with_background(prob[:, keep]), with_background(truth[:, keep])).sum()
        voxels += int(np.count_nonzero(keep))
    return float(total / voxels) if voxels else float("nan")


def brier_split(
    prediction: ArrayLike, average: ArrayLike, *, n_bins: int = 10, class_axis: int | None = None
) -> BrierSplit | tuple[BrierSplit, ...]:
    """Return the Brier score against the single raters and its split into calibration and refinement.

    Unlike `uncertainty.brier_score`, the distance from the raters' average, it holds the raters' own disagreement,
    which no predictor can undo: score = brier_score + mean of A (1 - A).

    Args:
        prediction (ndarray): ``(*spatial)``, foreground classes in [0, 1].
        average (ndarray): Same shape, mean of the raters' masks. A soft mask stands for the share of a vote.
        n_bins (int): Bins of equal width on [0, 1] for the calibration, the last one closed.
        class_axis (int): Axis of the classes; None for a single mask of up to three dimensions.

    Returns:
        BrierSplit: NaN without voxels. With ``class_axis`` a tuple of one for each class.

    Raises:
        InputError: On NaN, values outside [0, 1], different shapes, a missing class axis, or ``n_bins`` < 1.

    References:
        DeGroot, Fienberg 1983, doi 10.2307/2987588; Stephenson, Coelho, Jolliffe 2008, doi 10.1175/2007WAF2006116.1
        (the part within bins, which belongs to the refinement here).

    Example:
        >>> split = brier_split([0.5, 0.5], [1.0, 0.0])
        >>> split.score, split.calibration, split.refinement
        (0.25, 0.0, 0.25)
    """
    plain, prediction, average = with_classes(class_axis, prediction=prediction, average=average)
    sums = BrierSums(prediction.shape[0], n_bins)
    for prob, truth, _ in _pieces(prediction, average, None):
        sums.add(prob, truth)
    splits = tuple(sums.splits())
    return splits[0] if plain else splits


def _pieces(
    prediction: NDArray, average: NDArray, mask: ArrayLike | None
) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
    prediction = check_probabilities("prediction", prediction)
    average = check_probabilities("average", average)
    check_same_shape("prediction", prediction, "average", average)
    mask = np.broadcast_to(np.True_, prediction.shape[1:]) if mask is None else np.asarray(mask)
    if mask.dtype != bool or mask.shape != prediction.shape[1:]:
        raise InputError(f"mask must be bool of shape {prediction.shape[1:]}, got {mask.dtype} of shape {mask.shape}.")
    for prob, truth, keep in VoxelBlocks(prediction, prediction.ndim - 1).pieces(prediction, average, mask):
        yield np.clip(prob.astype(np.float64), 0, 1), np.clip(truth.astype(np.float64), 0, 1), keep


def log_loss(full: NDArray, average: NDArray) -> NDArray:
    """Return the negative log-likelihood of each voxel, ``(n,)``, from ``(C + 1, n)`` with the background."""
    return -(average * np.log(np.maximum(full, LOG_CLIP))).sum(axis=0)


class BrierSums:
    """Sums from which `BrierSplit` of every class follows."""

    def __init__(self, n_classes: int, n_bins: int) -> None:
        self.squares = np.zeros(n_classes)
        self.bins = [BinSums(n_bins) for _ in range(n_classes)]
        self.voxels = 0

    def add(self, prob: NDArray, average: NDArray) -> None:
        """Add voxels, ``(C, n)`` float64 each."""
        self.squares += (prob * (prob - 2 * average) + average).sum(axis=1)
        self.voxels += prob.shape[1]
        for bins, ours, theirs in zip(self.bins, prob, average, strict=True):
            bins.add(bins.slots(ours), ours, share=theirs)

    def add_empty(self, voxels: int) -> None:
        """Add voxels where prediction and raters are 0 in every class."""
        self.voxels += voxels
        for bins in self.bins:
            bins.count[0] += voxels

    def splits(self) -> list[BrierSplit]:
        """Return a list of BrierSplit."""
        if not self.voxels:
            return [BrierSplit(*[float("nan")] * 3) for _ in self.bins]
        scores = self.squares / self.voxels
        found = []
        for bins, score in zip(self.bins, scores.tolist(), strict=True):
            curve = bins.curve("raters")
            filled = curve.bin_count > 0
            gap = (curve.confidence_sum - curve.accuracy_sum)[filled]
            calibration = float((gap**2 / curve.bin_count[filled]).sum() / self.voxels)
            found.append(BrierSplit(score, calibration, score - calibration))
        return found
