"""Agreement of binarised predictions with a reference, and Dice for soft maps.

Where both masks are empty there is nothing to find and nothing was found: Dice, precision and recall are 1. Where only
one is empty they are 0, also for the quotient 0/0 (precision of an empty prediction, recall of an empty reference).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.metrics.checks import (
    VoxelBlocks,
    check_masks,
    check_probabilities,
    check_same_shape,
    per_class,
    with_classes,
)

QUBIQ_LEVELS = tuple(round(0.1 * step, 1) for step in range(1, 10))
# 0.1 + 0.2 is above 0.3 in binary numbers: a mean of k votes over R raters reaches a level up to this rounding
_LEVEL_ROUNDING = 1e-7


@dataclass(frozen=True)
class Overlap:
    """Voxels of the binarised prediction and the consensus, by class.

    Attributes:
        shared (ndarray): ``(C,)`` voxels in both.
        predicted (ndarray): ``(C,)`` voxels of the prediction.
        reference (ndarray): ``(C,)`` voxels of the consensus.
        n_voxels (int): Voxels of the image.
    """

    shared: NDArray
    predicted: NDArray
    reference: NDArray
    n_voxels: int


def dice(prediction: ArrayLike, reference: ArrayLike, *, class_axis: int | None = None) -> float | NDArray:
    """Return the Dice score, 2 |P and S| / (|P| + |S|).

    Args:
        prediction (ndarray): ``(*spatial)``, binary (bool, or numbers 0 and 1).
        reference (ndarray): Same shape, binary.
        class_axis (int): Axis of the classes; None for a single mask of up to three dimensions.

    Returns:
        float: In [0, 1]; both empty 1, one empty 0. With ``class_axis`` ``(C,)`` float64, one for each class.

    Raises:
        InputError: If a mask is not binary (NaN included), the shapes differ or there is no such axis.

    References:
        Dice 1945, doi 10.2307/1932409.

    Example:
        >>> import numpy as np
        >>> prediction, reference = np.array([[1, 1], [0, 0]]), np.array([[1, 0], [0, 0]])
        >>> dice(prediction, reference)
        0.6666666666666666
        >>> dice(np.stack([prediction, reference]), np.stack([reference, reference]), class_axis=0)
        array([0.66666667, 1.        ])
    """
    plain, *counts = overlap_counts(prediction, reference, class_axis)
    return per_class(dice_of_counts(*counts), plain)


def precision(prediction: ArrayLike, reference: ArrayLike, *, class_axis: int | None = None) -> float | NDArray:
    """Return the precision, |P and S| / |P|; arguments, empty cases and errors as in ``dice``.

    Returns:
        float: In [0, 1]; both empty 1, one empty 0. With ``class_axis`` ``(C,)`` float64, one for each class.

    Example:
        >>> import numpy as np
        >>> prediction, reference = np.array([[1, 1], [0, 0]]), np.array([[1, 0], [0, 0]])
        >>> precision(prediction, reference)
        0.5
    """
    plain, *counts = overlap_counts(prediction, reference, class_axis)
    return per_class(precision_of_counts(*counts), plain)


def recall(prediction: ArrayLike, reference: ArrayLike, *, class_axis: int | None = None) -> float | NDArray:
    """Return the recall (sensitivity), |P and S| / |S|; arguments, empty cases and errors as in ``dice``.

    Returns:
        float: In [0, 1]; both empty 1, one empty 0. With ``class_axis`` ``(C,)`` float64, one for each class.

    Example:
        >>> import numpy as np
        >>> prediction, reference = np.array([[1, 1], [0, 0]]), np.array([[1, 0], [0, 0]])
        >>> recall(prediction, reference)
        1.0
    """
    plain, *counts = overlap_counts(prediction, reference, class_axis)
    return per_class(recall_of_counts(*counts), plain)


def relative_volume_difference(
    prediction: ArrayLike, reference: ArrayLike, *, class_axis: int | None = None
) -> float | NDArray:
    """Return the relative volume difference, (V_S - V_P) / V_S: positive if the prediction is too small.

    Arguments and errors as in ``dice``.

    Returns:
        float: At most 1; both empty 0, an empty reference alone NaN (there is no volume to relate to). With
        ``class_axis`` ``(C,)`` float64.

    References:
        Lemay et al. 2022, MELBA 2022:031, Section 2.3.4.

    Example:
        >>> import numpy as np
        >>> prediction, reference = np.array([[1, 1], [0, 0]]), np.array([[1, 0], [0, 0]])
        >>> relative_volume_difference(prediction, reference)
        -1.0
    """
    plain, *counts = overlap_counts(prediction, reference, class_axis)
    return per_class(rvd_of_counts(*counts), plain)


def absolute_volume_difference(
    prediction: ArrayLike, reference: ArrayLike, *, class_axis: int | None = None
) -> float | NDArray:
    """Return the absolute value of ``relative_volume_difference``.

    Returns:
        float: >= 0; both empty 0, an empty reference alone NaN. With ``class_axis`` ``(C,)`` float64.

    Example:
        >>> import numpy as np
        >>> prediction, reference = np.array([[1, 1], [0, 0]]), np.array([[1, 0], [0, 0]])
        >>> absolute_volume_difference(prediction, reference)
        1.0
    """
    plain, *counts = overlap_counts(prediction, reference, class_axis)
    return per_class(np.abs(rvd_of_counts(*counts)), plain)


def soft_dice(prediction: ArrayLike, average: ArrayLike, *, class_axis: int | None = None) -> float | NDArray:
    """Return the soft Dice score, 2 sum(p A) / (sum p + sum A), without binarising.

    Its maximum is reached by binary maps only: a soft map scores below 1 even against itself.

    Args:
        prediction (ndarray): ``(*spatial)`` in [0, 1].
        average (ndarray): Same shape, in [0, 1]: the raters' average, or any soft or binary reference.
        class_axis (int): Axis of the classes; None for a single mask of up to three dimensions.

    Returns:
        float: In [0, 1]; both empty 1, one empty 0. With ``class_axis`` ``(C,)`` float64, one for each class.

    Raises:
        InputError: On NaN, values outside [0, 1], different shapes or a missing axis.

    References:
        Milletari et al. 2016, doi 10.1109/3DV.2016.79 (without squares in the denominator).

    Example:
        >>> soft_dice([0.5, 0.0], [1.0, 0.0])
        0.6666666666666666
    """
    plain, prediction, average = with_classes(class_axis, prediction=prediction, average=average)
    prediction = check_probabilities("prediction", prediction)
    average = check_probabilities("average", average)
    check_same_shape("prediction", prediction, "average", average)
    shared, ours, theirs = np.zeros((3, prediction.shape[0]))
    for first, second in VoxelBlocks(prediction, prediction.ndim - 1).pieces(prediction, average):
        first, second = first.astype(np.float64), second.astype(np.float64)
        shared += (first * second).sum(axis=1)
        ours += first.sum(axis=1)
        theirs += second.sum(axis=1)
    return per_class(dice_of_counts(shared, ours, theirs), plain)


def qubiq_dice(
    prediction: ArrayLike,
    average: ArrayLike,
    *,
    levels: Sequence[float] = QUBIQ_LEVELS,
    class_axis: int | None = None,
) -> float | NDArray:
    """Return the mean Dice over several levels at which both maps are binarised (>= level).

    Args:
        prediction (ndarray): ``(*spatial)`` in [0, 1].
        average (ndarray): Mean of the raters' masks, same shape.
        levels (sequence of float): Increasing levels in (0, 1]; 0.1 to 0.9 by default. Values within 1e-7 below a level
            reach it.
        class_axis (int): Axis of the classes; None for a single mask of up to three dimensions.

    Returns:
        float: In [0, 1]. A level at which both maps are empty counts 1, one empty counts 0. With ``class_axis``
        ``(C,)`` float64.

    Raises:
        InputError: As ``soft_dice``.

    References:
        QUBIQ challenge: Li et al. 2024, arXiv 2405.18435.

    Example:
        >>> round(qubiq_dice([0.5, 0.0], [1.0, 0.0]), 3)
        0.556
    """
    plain, prediction, average = with_classes(class_axis, prediction=prediction, average=average)
    prediction = check_probabilities("prediction", prediction)
    average = check_probabilities("average", average)
    check_same_shape("prediction", prediction, "average", average)
    n_classes, n_levels = prediction.shape[0], len(levels)
    table = np.zeros((n_classes, n_levels + 1, n_levels + 1), np.int64)
    for ours, theirs in VoxelBlocks(prediction, prediction.ndim - 1).pieces(prediction, average):
        for index in range(n_classes):
            table[index] += level_table(ours[index], theirs[index], levels)
    return per_class(qubiq_dice_of_table(table), plain)


def overlap_counts(
    prediction: ArrayLike, reference: ArrayLike, class_axis: int | None
) -> tuple[bool, NDArray, NDArray, NDArray]:
    """Return whether there is no class axis, and ``(C,)`` voxels shared, in the prediction and in the reference."""
    plain, prediction, reference = with_classes(class_axis, prediction=prediction, reference=reference)
    prediction = check_masks("prediction", prediction)
    reference = check_masks("reference", reference)
    check_same_shape("prediction", prediction, "reference", reference)
    axes = tuple(range(1, prediction.ndim))
    return plain, *(np.count_nonzero(mask, axis=axes) for mask in (prediction & reference, prediction, reference))


def dice_of_counts(shared: ArrayLike, predicted: ArrayLike, reference: ArrayLike) -> NDArray:
    """Return Dice from ``overlap_counts``; arrays of equal shape."""
    return _quotient(
        2 * np.asarray(shared, np.float64), np.add(np.asarray(predicted, np.float64), reference), empty=1.0
    )


def precision_of_counts(shared: ArrayLike, predicted: ArrayLike, reference: ArrayLike) -> NDArray:
    """Return precision from ``overlap_counts``."""
    return np.where(np.add(predicted, reference) == 0, 1.0, _quotient(shared, predicted, empty=0.0))


def recall_of_counts(shared: ArrayLike, predicted: ArrayLike, reference: ArrayLike) -> NDArray:
    """Return recall from ``overlap_counts``."""
    return np.where(np.add(predicted, reference) == 0, 1.0, _quotient(shared, reference, empty=0.0))


def rvd_of_counts(shared: ArrayLike, predicted: ArrayLike, reference: ArrayLike) -> NDArray:
    """Return the relative volume difference from ``overlap_counts``."""
    predicted, reference = np.asarray(predicted, np.float64), np.asarray(reference, np.float64)
    return np.where(np.add(predicted, reference) == 0, 0.0, _quotient(reference - predicted, reference, empty=np.nan))


def level_table(first: NDArray, second: NDArray, levels: Sequence[float]) -> NDArray:
    """Return ``(L + 1, L + 1)`` counts of voxels by the number of levels that each of two maps reaches."""
    levels = np.asarray(levels) - _LEVEL_ROUNDING
    size = levels.size + 1
    code = np.searchsorted(levels, first, side="right") * size + np.searchsorted(levels, second, side="right")
    return np.bincount(code.ravel(), minlength=size * size).reshape(size, size)


def qubiq_dice_of_table(table: NDArray) -> NDArray:
    """Return the mean Dice over levels from tables ``(..., L + 1, L + 1)`` of ``level_table``."""
    # reversed sums: [i, j] counts the voxels that reach at least i levels in the first and j in the second map
    at_least = np.cumsum(np.cumsum(table[..., ::-1, ::-1], axis=-1), axis=-2)[..., ::-1, ::-1]
    steps = np.arange(1, table.shape[-1])
    return dice_of_counts(at_least[..., steps, steps], at_least[..., steps, 0], at_least[..., 0, steps]).mean(axis=-1)


def _quotient(top: ArrayLike, bottom: ArrayLike, *, empty: float) -> NDArray:
    top, bottom = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    return np.divide(top, bottom, out=np.full(bottom.shape, empty), where=bottom > 0)
