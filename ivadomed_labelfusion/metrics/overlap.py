"""Agreement of binarised predictions with a reference, and Dice for soft maps.

Where both masks are empty there is nothing to find and nothing was found: Dice, precision and recall are 1. Where only
one is empty they are 0, also for the quotient 0/0 (precision of an empty prediction, recall of an empty reference).
"""

import numpy as np

from ivadomed_labelfusion.metrics.checks import Blocks, check_masks, check_probabilities, check_same_shape

QUBIQ_LEVELS = tuple(round(0.1 * step, 1) for step in range(1, 10))
# 0.1 + 0.2 is above 0.3 in binary numbers: a mean of k votes over R raters reaches a level up to this rounding
_LEVEL_ROUNDING = 1e-7


def dice(prediction, reference):
    """Return the Dice score of each class, 2 |P and S| / (|P| + |S|).

    Args:
        prediction (ndarray): ``(C, *spatial)``, binary (bool, or numbers 0 and 1).
        reference (ndarray): Same shape, binary.

    Returns:
        ndarray: ``(C,)`` float64 in [0, 1]; both empty 1, one empty 0.

    Raises:
        InputError: If a mask is not binary (NaN included), the shapes differ or the class axis is missing.

    References:
        Dice 1945, doi 10.2307/1932409.
    """
    return dice_of_counts(*overlap_counts(prediction, reference))


def precision(prediction, reference):
    """Return the precision of each class, |P and S| / |P|; arguments, empty cases and errors as in ``dice``.

    Returns:
        ndarray: ``(C,)`` float64 in [0, 1]; both empty 1, one empty 0.
    """
    return precision_of_counts(*overlap_counts(prediction, reference))


def recall(prediction, reference):
    """Return the recall (sensitivity) of each class, |P and S| / |S|; arguments, empty cases and errors as in ``dice``.

    Returns:
        ndarray: ``(C,)`` float64 in [0, 1]; both empty 1, one empty 0.
    """
    return recall_of_counts(*overlap_counts(prediction, reference))


def relative_volume_difference(prediction, reference):
    """Return the relative volume difference of each class, (V_S - V_P) / V_S: positive if the prediction is too small.

    Arguments and errors as in ``dice``.

    Returns:
        ndarray: ``(C,)`` float64, at most 1; both empty 0, an empty reference alone NaN (there is no volume to relate
        to).

    References:
        Lemay et al. 2022, MELBA 2022:031, Section 2.3.4.
    """
    return rvd_of_counts(*overlap_counts(prediction, reference))


def absolute_volume_difference(prediction, reference):
    """Return the absolute value of ``relative_volume_difference`` of each class.

    Returns:
        ndarray: ``(C,)`` float64, >= 0; both empty 0, an empty reference alone NaN.
    """
    return np.abs(relative_volume_difference(prediction, reference))


def soft_dice(prediction, average):
    """Return the soft Dice score of each class, 2 sum(p A) / (sum p + sum A), without binarising.

    Its maximum is reached by binary maps only: a soft map scores below 1 even against itself.

    Args:
        prediction (ndarray): ``(C, *spatial)`` in [0, 1].
        average (ndarray): Same shape, in [0, 1]: the raters' average, or any soft or binary reference.

    Returns:
        ndarray: ``(C,)`` float64 in [0, 1]; both empty 1, one empty 0.

    Raises:
        InputError: On NaN, values outside [0, 1], different shapes or a missing class axis.

    References:
        Milletari et al. 2016, doi 10.1109/3DV.2016.79 (without squares in the denominator).
    """
    prediction = check_probabilities("prediction", prediction)
    average = check_probabilities("average", average)
    check_same_shape("prediction", prediction, "average", average)
    shared, ours, theirs = np.zeros((3, prediction.shape[0]))
    for first, second in Blocks(prediction, prediction.ndim - 1).pieces(prediction, average):
        first, second = first.astype(np.float64), second.astype(np.float64)
        shared += (first * second).sum(axis=1)
        ours += first.sum(axis=1)
        theirs += second.sum(axis=1)
    return dice_of_counts(shared, ours, theirs)


def qubiq_dice(prediction, average, *, levels=QUBIQ_LEVELS):
    """Return the mean Dice of each class over several levels at which both maps are binarised (>= level).

    Args:
        prediction (ndarray): ``(C, *spatial)`` in [0, 1].
        average (ndarray): Mean of the raters' masks, same shape.
        levels (sequence of float): Increasing levels in (0, 1]; 0.1 to 0.9 by default. Values within 1e-7 below a level
            reach it.

    Returns:
        ndarray: ``(C,)`` float64 in [0, 1]. A level at which both maps are empty counts 1, one empty counts 0.

    Raises:
        InputError: As ``soft_dice``.

    References:
        QUBIQ challenge: Li et al. 2024, arXiv 2405.18435.
    """
    prediction = check_probabilities("prediction", prediction)
    average = check_probabilities("average", average)
    check_same_shape("prediction", prediction, "average", average)
    n_classes, n_levels = prediction.shape[0], len(levels)
    table = np.zeros((n_classes, n_levels + 1, n_levels + 1), np.int64)
    for ours, theirs in Blocks(prediction, prediction.ndim - 1).pieces(prediction, average):
        for index in range(n_classes):
            table[index] += level_table(ours[index], theirs[index], levels)
    return qubiq_dice_of_table(table)


def overlap_counts(prediction, reference):
    """Return ``(shared, in the prediction, in the reference)``, voxels per class, of binary ``(C, *spatial)`` masks."""
    prediction = check_masks("prediction", prediction)
    reference = check_masks("reference", reference)
    check_same_shape("prediction", prediction, "reference", reference)
    axes = tuple(range(1, prediction.ndim))
    return tuple(np.count_nonzero(mask, axis=axes) for mask in (prediction & reference, prediction, reference))


def dice_of_counts(shared, predicted, reference):
    """Return Dice from ``overlap_counts``; arrays of equal shape."""
    return _quotient(2 * np.asarray(shared, np.float64), np.asarray(predicted, np.float64) + reference, empty=1.0)


def precision_of_counts(shared, predicted, reference):
    """Return precision from ``overlap_counts``."""
    return np.where(np.add(predicted, reference) == 0, 1.0, _quotient(shared, predicted, empty=0.0))


def recall_of_counts(shared, predicted, reference):
    """Return recall from ``overlap_counts``."""
    return np.where(np.add(predicted, reference) == 0, 1.0, _quotient(shared, reference, empty=0.0))


def rvd_of_counts(shared, predicted, reference):
    """Return the relative volume difference from ``overlap_counts``."""
    predicted, reference = np.asarray(predicted, np.float64), np.asarray(reference, np.float64)
    return np.where(np.add(predicted, reference) == 0, 0.0, _quotient(reference - predicted, reference, empty=np.nan))


def level_table(first, second, levels):
    """Return ``(L + 1, L + 1)`` counts of voxels by the number of levels that each of two maps reaches."""
    levels = np.asarray(levels) - _LEVEL_ROUNDING
    size = levels.size + 1
    code = np.searchsorted(levels, first, side="right") * size + np.searchsorted(levels, second, side="right")
    return np.bincount(code.ravel(), minlength=size * size).reshape(size, size)


def qubiq_dice_of_table(table):
    """Return the mean Dice over levels from tables ``(..., L + 1, L + 1)`` of ``level_table``."""
    # reversed sums: [i, j] counts the voxels that reach at least i levels in the first and j in the second map
    at_least = np.cumsum(np.cumsum(table[..., ::-1, ::-1], axis=-1), axis=-2)[..., ::-1, ::-1]
    steps = np.arange(1, table.shape[-1])
    return dice_of_counts(at_least[..., steps, steps], at_least[..., steps, 0], at_least[..., 0, steps]).mean(axis=-1)


def _quotient(top, bottom, *, empty):
    top, bottom = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    return np.divide(top, bottom, out=np.full(bottom.shape, empty), where=bottom > 0)
