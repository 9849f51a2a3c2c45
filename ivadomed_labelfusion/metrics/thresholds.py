"""From soft predictions to masks: a threshold for one class, argmax with the background for several."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics.calibration import with_background
from ivadomed_labelfusion.metrics.checks import (
    VoxelBlocks,
    check_masks,
    check_prediction,
    check_same_shape,
    check_values,
    with_classes,
)
from ivadomed_labelfusion.metrics.overlap import dice_of_counts

DEFINITIONS = ("volumes", "ivadomed")
# 0.05 to 0.95; the paper searches "between 0 and 1 with an increment of 0.05", of which 0 and 1 select all or nothing
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


def argmax_labels(prediction: ArrayLike, *, class_axis: int | None = None) -> NDArray:
    """Return the most probable class of each voxel, background p_0 = max(0, 1 - sum of classes) included.

    Args:
        prediction (ndarray): ``(*spatial)``, foreground classes in [0, 1].
        class_axis (int): Axis of the classes; None for one class, up to three dimensions.

    Returns:
        ndarray: ``(*spatial)`` uint8, 0 background and i for the i-th class. Ties go to the background, then to the
        first class.

    Raises:
        InputError: On NaN, values outside [0, 1], a missing class axis or more than 255 classes.

    Example:
        >>> argmax_labels([[0.2, 0.7], [0.3, 0.1]], class_axis=0)
        array([0, 1], dtype=uint8)
    """
    _, prediction = with_classes(class_axis, prediction=prediction)
    prediction = check_prediction("prediction", prediction)
    if prediction.shape[0] > 255:
        raise InputError(f"prediction must hold at most 255 classes, got {prediction.shape[0]}.")
    labels = np.zeros_like(prediction[0], dtype=np.uint8)
    blocks = VoxelBlocks(prediction, prediction.ndim - 1)
    for index, (block,) in enumerate(blocks.pieces(prediction)):
        if block.size:
            check_values("prediction", block.min(), block.max())
            blocks.write(labels, index, with_background(block.astype(np.float64)).argmax(axis=0).astype(np.uint8))
    return labels


def binarize(prediction: ArrayLike, *, threshold: float | None = None, class_axis: int | None = None) -> NDArray:
    """Return the binary masks of a soft prediction.

    Args:
        prediction (ndarray): ``(*spatial)``, foreground classes in [0, 1].
        threshold (float): In (0, 1]: voxels >= threshold (compared in the prediction's own dtype) are set. None: argmax
            with the background, as ``argmax_labels``; for one class that is > 0.5.
        class_axis (int): Axis of the classes; None for one class, up to three dimensions.

    Returns:
        ndarray: bool, of the prediction's shape.

    Raises:
        InputError: As ``argmax_labels``, for a threshold outside (0, 1], and for a threshold with several classes.

    Example:
        >>> binarize([0.2, 0.4, 0.6], threshold=0.4)
        array([False,  True,  True])
    """
    plain, prediction = with_classes(class_axis, prediction=prediction)
    masks = _masks(check_prediction("prediction", prediction), threshold)
    return masks[0] if plain else np.moveaxis(masks, 0, class_axis or 0)


def _masks(prediction: NDArray, threshold: float | None) -> NDArray:
    if threshold is None:
        labels = argmax_labels(prediction, class_axis=0)
        return np.stack([labels == index + 1 for index in range(prediction.shape[0])])
    check_threshold(threshold, prediction.shape[0])
    if prediction.size:
        check_values("prediction", prediction.min(), prediction.max())
    return prediction >= prediction.dtype.type(threshold) if prediction.dtype.kind == "f" else prediction >= threshold


def check_threshold(threshold: float, n_classes: int) -> None:
    """Refuse a threshold outside (0, 1], and any threshold for several classes, which argmax decides."""
    if isinstance(threshold, bool) or not isinstance(threshold, int | float | np.number) or not 0 < threshold <= 1:
        raise InputError(f"threshold must be a number in (0, 1], got {threshold!r}.")
    if n_classes > 1:
        raise InputError(
            f"threshold must be left out for several classes, got {threshold} for {n_classes} classes: "
            "the most probable class, background included, is chosen."
        )


def threshold_search(
    pairs: Iterable[tuple[ArrayLike, ArrayLike]],
    *,
    thresholds: ArrayLike = THRESHOLDS,
    definition: str = "volumes",
    class_axis: int | None = None,
) -> tuple[float, NDArray]:
    """Return the threshold with the highest mean Dice over subjects (one class).

    Meant for the training and validation subjects of one model; the test subjects are then binarised with the result.
    ``ivadomed --train -t`` offers the same two definitions (``inter_rater.threshold_search``):

    ``volumes``: two empty masks have a Dice of 1; of equally good thresholds the lowest.
    ``ivadomed``: as ivadomed's own search: a subject whose masks are both empty is left out at that threshold; of
    equally good thresholds the highest. NaN where everything is empty.

    Args:
        pairs (iterable): ``(prediction, reference)`` of each subject, ``(*spatial)`` in [0, 1] and binary of the
            same shape. It is read once and need not fit in memory.
        thresholds (sequence of float): Candidates in (0, 1]; steps of 0.05 by default.
        definition (str): One of `DEFINITIONS`.
        class_axis (int): Axis of length 1 of arrays that have a class axis.

    Returns:
        tuple: ``(threshold, scores)``: the best candidate and the mean Dice of every candidate, a float64 array.

    Raises:
        InputError: If there is no pair, no mask with a voxel (``ivadomed``), a prediction has several classes, the
            definition is unknown, or the arrays are not as stated.

    References:
        Lemay et al. 2022, MELBA 2022:031, Section 2.3.4; Gros et al. 2021,
        doi 10.1016/j.media.2021.102038.

    Example:
        >>> threshold_search([([0.2, 0.4, 0.9], [0, 1, 1])])[0]
        0.25
    """
    thresholds = np.asarray(thresholds, np.float64)
    if thresholds.ndim != 1 or not thresholds.size or not ((thresholds > 0) & (thresholds <= 1)).all():
        raise InputError(f"thresholds must be a list of numbers in (0, 1], got {thresholds.tolist()}.")
    if (np.diff(thresholds) <= 0).any():
        raise InputError(f"thresholds must increase, got {thresholds.tolist()}.")
    if definition not in DEFINITIONS:
        raise InputError(f"definition must be one of {', '.join(DEFINITIONS)}, got {definition!r}.")
    total, subjects, pair_seen = np.zeros(thresholds.size), np.zeros(thresholds.size, np.int64), False
    for prediction, reference in pairs:
        dice, empty = _dice_over_thresholds(prediction, reference, thresholds, class_axis)
        counted = ~empty if definition == "ivadomed" else np.ones_like(empty)
        total += np.where(counted, dice, 0)
        subjects += counted
        pair_seen = True
    if not pair_seen:
        raise InputError("pairs must hold at least one (prediction, reference), got none.")
    if not subjects.any():
        raise InputError("pairs must hold at least one mask that is not empty, got empty ones only.")
    scores = np.divide(total, subjects, out=np.full(thresholds.size, np.nan), where=subjects > 0)
    best = np.flatnonzero(scores == np.nanmax(scores))
    return float(thresholds[best[-1 if definition == "ivadomed" else 0]]), scores


def _dice_over_thresholds(
    prediction: ArrayLike, reference: ArrayLike, thresholds: NDArray, class_axis: int | None
) -> tuple[NDArray, NDArray]:
    _, prediction, reference = with_classes(class_axis, prediction=prediction, reference=reference)
    prediction = check_prediction("prediction", prediction)
    reference = check_masks("reference", reference)
    check_same_shape("prediction", prediction, "reference", reference)
    if prediction.shape[0] != 1:
        raise InputError(f"threshold_search is for one class, got {prediction.shape[0]}. Use argmax for several.")
    # levels in the prediction's dtype, as in binarize: a float32 0.7 reaches the level 0.7
    levels = thresholds.astype(prediction.dtype) if prediction.dtype.kind == "f" else thresholds
    counts = np.zeros((2, thresholds.size + 1), np.int64)
    for prob, truth in VoxelBlocks(prediction, prediction.ndim - 1).pieces(prediction[0], reference[0]):
        if prob.size:
            check_values("prediction", prob.min(), prob.max())
        reached = np.searchsorted(levels, prob, side="right")
        counts[0] += np.bincount(reached, minlength=thresholds.size + 1)
        counts[1] += np.bincount(reached[truth], minlength=thresholds.size + 1)
    predicted, shared = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1][:, 1:]
    reference_voxels = np.full(thresholds.size, counts[1].sum())
    return dice_of_counts(shared, predicted, reference_voxels), predicted + reference_voxels == 0
