"""Reliability diagrams and the expected calibration error (ECE), counted exactly."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics.checks import (
    VoxelBlocks,
    check_masks,
    check_prediction,
    check_probabilities,
    check_same_shape,
    check_values,
    with_classes,
)

ECE_FORMS = ("exact", "paper", "raters")
# above the rounding of float32, far below what any histogram shows
EDGE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class ReliabilityCurve:
    """Accuracy against confidence, in K bins of equal width on [0, 1].

    Attributes:
        form (str): ``exact``, ``paper`` or ``raters``.
        bin_edges (ndarray): ``(K + 1,)``.
        bin_count (ndarray): ``(K,)`` int64, voxels in each bin.
        confidence_sum (ndarray): ``(K,)``, sum of the confidence over each bin's voxels.
        accuracy_sum (ndarray): ``(K,)``, sum of the correctness (0/1; the raters' share for ``raters``).
        n_dropped (int): Voxels in no bin: confidence exactly 1.0 in the form ``paper``, else 0.
    """

    form: str
    bin_edges: np.ndarray
    bin_count: np.ndarray
    confidence_sum: np.ndarray
    accuracy_sum: np.ndarray
    n_dropped: int = 0

    @property
    def bin_confidence(self) -> NDArray:
        """``(K,)`` mean confidence (Equation 4); NaN in an empty bin."""
        return _divide(self.confidence_sum, self.bin_count)

    @property
    def bin_accuracy(self) -> NDArray:
        """``(K,)`` mean accuracy (Equation 3); NaN in an empty bin."""
        return _divide(self.accuracy_sum, self.bin_count)

    @property
    def n_voxels(self) -> int:
        """Voxels counted, over all bins."""
        return int(self.bin_count.sum())

    @property
    def ece(self) -> float:
        """Expected calibration error in [0, 1] (Equation 5); NaN when no voxel is counted."""
        if not self.n_voxels:
            return float("nan")
        return float(np.abs(self.accuracy_sum - self.confidence_sum).sum() / self.n_voxels)

    @property
    def mce(self) -> float:
        """Maximum calibration error: the largest gap of a non-empty bin; NaN when no voxel is counted."""
        filled = self.bin_count > 0
        if not filled.any():
            return float("nan")
        return float((np.abs(self.accuracy_sum - self.confidence_sum)[filled] / self.bin_count[filled]).max())

    @classmethod
    def pool(cls, curves: Iterable["ReliabilityCurve"]) -> "ReliabilityCurve":
        """Return one curve over the voxels of several curves of equal form and bins.

        Raises:
            InputError: If there is no curve, or forms or bins differ.
        """
        curves = list(curves)
        if not curves:
            raise InputError("curves must hold at least one reliability curve, got none.")
        first = curves[0]
        for curve in curves[1:]:
            if curve.form != first.form or not np.array_equal(curve.bin_edges, first.bin_edges):
                raise InputError(
                    "curves must share form and bins, got "
                    f"{first.form} with {first.bin_count.size} and {curve.form} with {curve.bin_count.size} bins."
                )
        return cls(
            first.form,
            first.bin_edges,
            np.asarray(sum(curve.bin_count for curve in curves)),
            np.asarray(sum(curve.confidence_sum for curve in curves)),
            np.asarray(sum(curve.accuracy_sum for curve in curves)),
            sum(curve.n_dropped for curve in curves),
        )


def _divide(total: NDArray, count: NDArray) -> NDArray:
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


class BinSums:
    """Sums per confidence bin, from which every form of the curve follows.

    Slot K, beyond the K bins, holds the voxels whose confidence is exactly 1.0: ``exact`` and ``raters`` add it to the
    last bin, ``paper`` leaves it out.
    """

    def __init__(self, n_bins: int) -> None:
        if isinstance(n_bins, bool) or not isinstance(n_bins, int | np.integer) or n_bins < 1:
            raise InputError(f"n_bins must be a whole number of at least 1, got {n_bins!r}.")
        self.edges = np.linspace(0, 1, n_bins + 1)
        self.count = np.zeros(n_bins + 1, np.int64)
        self.confidence = np.zeros(n_bins + 1)
        self.correct = np.zeros(n_bins + 1)
        self.share = np.zeros(n_bins + 1)

    def slots(self, confidence: NDArray) -> NDArray:
        """Return the slot of each confidence: bin k holds [k/K, (k+1)/K), slot K holds 1.0.

        A confidence within 1e-6 below an inner edge k/K belongs to the bin above it, so that 0.7 is in the same bin
        whether it was stored in 32 or 64 bits. Exactly 1.0 has no such tolerance.
        """
        n_bins = self.edges.size - 1
        slots = np.floor(np.asarray(confidence, np.float64) * n_bins + EDGE_TOLERANCE * n_bins).astype(np.intp)
        np.minimum(slots, n_bins - 1, out=slots)
        slots[confidence >= 1] = n_bins
        return slots

    def add(
        self, slots: NDArray, confidence: NDArray, correct: NDArray | None = None, share: NDArray | None = None
    ) -> None:
        """Add voxels: their slots, confidence, and correctness against the reference and the raters' share."""
        size = self.count.size
        self.count += np.bincount(slots, minlength=size)
        self.confidence += np.bincount(slots, confidence, minlength=size)
        if correct is not None:
            self.correct += np.bincount(slots, correct, minlength=size)
        if share is not None:
            self.share += np.bincount(slots, share, minlength=size)

    def add_certain(self, voxels: int) -> None:
        """Add voxels of confidence 1.0 for the background that are background in the reference and for all raters."""
        self.count[-1] += voxels
        for sums in (self.confidence, self.correct, self.share):
            sums[-1] += voxels

    def curve(self, form: str) -> ReliabilityCurve:
        """Return the ``ReliabilityCurve`` of a form."""
        accuracy = self.share if form == "raters" else self.correct
        if form == "paper":
            return ReliabilityCurve(
                form,
                self.edges,
                self.count[:-1].copy(),
                self.confidence[:-1].copy(),
                accuracy[:-1].copy(),
                int(self.count[-1]),
            )
        count, confidence, accuracy = (self._closed(sums) for sums in (self.count, self.confidence, accuracy))
        return ReliabilityCurve(form, self.edges, count, confidence, accuracy)

    @staticmethod
    def _closed(sums: NDArray) -> NDArray:
        closed = sums[:-1].copy()
        closed[-1] += sums[-1]
        return closed


def with_background(prob: NDArray) -> NDArray:
    """Return ``(C + 1, n)``: the background ``max(0, 1 - sum of classes)`` before the foreground classes."""
    full = np.empty((prob.shape[0] + 1, prob.shape[1]))
    full[1:] = prob
    np.subtract(1, prob.sum(axis=0), out=full[0])
    np.maximum(full[0], 0, out=full[0])
    return full


def labels_of_masks(masks: NDArray) -> NDArray:
    """Return the class of each voxel of ``(C, n)`` binary masks: 0 background, else the first class that is set."""
    if masks.shape[0] == 1:
        return masks[0].astype(np.int8)
    return np.where(masks.any(axis=0), masks.argmax(axis=0) + 1, 0)


def reliability_curve(
    prediction: ArrayLike,
    reference: ArrayLike,
    *,
    form: str = "exact",
    n_bins: int = 10,
    mask: ArrayLike | None = None,
    class_axis: int | None = None,
) -> ReliabilityCurve:
    """Return the reliability curve of a prediction: accuracy against confidence.

    Confidence is the largest probability over all classes, background p_0 = max(0, 1 - sum of classes) included; the
    predicted class is the one that has it (ties: background first, then the first class). Bin k holds the confidences
    in [k/K, (k+1)/K) in float64, whatever the dtype of the file: one that lies within 1e-6 below an inner edge belongs
    to the bin above it.

    ``exact``: every voxel counts; the last bin is closed, so that a confidence of exactly 1.0 belongs to it.
    ``paper``: half-open bins throughout, as the code that the paper names: a confidence of exactly 1.0 falls in no bin
    and leaves the denominator too.
    ``raters``: as ``exact``, but a voxel's accuracy is the share of raters who chose the predicted class.

    Args:
        prediction (ndarray): ``(*spatial)``, foreground classes in [0, 1].
        reference (ndarray): Same shape. Binary masks for ``exact`` and ``paper`` (where masks overlap the first class
            counts); the raters' average in [0, 1] for ``raters``.
        form (str): ``exact``, ``paper`` or ``raters``.
        n_bins (int): Number of bins K.
        mask (ndarray): ``(*spatial)`` bool, the voxels to count; None counts all.
        class_axis (int): Axis of the classes, which count together; None for one class, up to three dimensions.

    Returns:
        ReliabilityCurve: With ``.ece``, ``.mce``, ``.bin_confidence``, ``.bin_accuracy``, ``.bin_count``. With no voxel
        in any bin ``ece`` and ``mce`` are NaN.

    Raises:
        InputError: On NaN, values outside [0, 1], different shapes, a soft reference for ``exact`` or ``paper``, an
            unknown form, or ``n_bins`` < 1.

    References:
        Naeini et al. 2015, doi 10.1609/aaai.v29i1.9602; Guo et al. 2017, arXiv 1706.04599; Lemay et al. 2022,
        MELBA 2022:031, Equations 3-5.

    Example:
        >>> curve = reliability_curve([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0])
        >>> float(curve.bin_accuracy[9])
        0.75
    """
    if form not in ECE_FORMS:
        raise InputError(f"form must be one of {', '.join(ECE_FORMS)}, got {form!r}.")
    _, prediction, reference = with_classes(class_axis, prediction=prediction, reference=reference)
    prediction = check_prediction("prediction", prediction)
    reference = check_probabilities("reference", reference) if form == "raters" else check_masks("reference", reference)
    check_same_shape("prediction", prediction, "reference", reference)
    if mask is None:
        mask = np.broadcast_to(np.True_, prediction.shape[1:])
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != prediction.shape[1:]:
        raise InputError(f"mask must be bool of shape {prediction.shape[1:]}, got {mask.dtype} of shape {mask.shape}.")
    sums = BinSums(n_bins)
    for prob, truth, keep in VoxelBlocks(prediction, prediction.ndim - 1).pieces(prediction, reference, mask):
        if not prob.size:
            continue
        check_values("prediction", prob.min(), prob.max())
        full = with_background(np.clip(prob[:, keep].astype(np.float64), 0, 1))
        predicted = full.argmax(axis=0)
        confidence = full.max(axis=0)
        slots = sums.slots(confidence)
        if form == "raters":
            average = with_background(truth[:, keep].astype(np.float64))
            sums.add(slots, confidence, share=np.take_along_axis(average, predicted[None], axis=0)[0])
        else:
            sums.add(slots, confidence, correct=predicted == labels_of_masks(truth[:, keep]))
    return sums.curve(form)


def expected_calibration_error(
    prediction: ArrayLike,
    reference: ArrayLike,
    *,
    form: str = "exact",
    n_bins: int = 10,
    mask: ArrayLike | None = None,
    class_axis: int | None = None,
) -> float:
    """Return the expected calibration error: the gap between accuracy and confidence, weighted by voxels per bin.

    ECE = sum_k #B_k / N |accuracy(B_k) - confidence(B_k)|, with arguments, forms and errors as in
    ``reliability_curve``.

    Returns:
        float: In [0, 1]; NaN when no voxel is counted (an empty mask, or the form ``paper`` with confidence 1.0
        everywhere).

    References:
        Naeini et al. 2015, doi 10.1609/aaai.v29i1.9602; Lemay et al. 2022, MELBA 2022:031, Equation 5.

    Example:
        >>> round(expected_calibration_error([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0]), 3)
        0.15
    """
    _, prediction, reference = with_classes(class_axis, prediction=prediction, reference=reference)
    return reliability_curve(prediction, reference, form=form, n_bins=n_bins, mask=mask, class_axis=0).ece
