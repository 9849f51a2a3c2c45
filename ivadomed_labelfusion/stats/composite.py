"""z-scores and the composite score of the paper."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.errors import InputError


def z_scores(values: ArrayLike, *, among: ArrayLike | None = None) -> NDArray:
    """Standardise to zero mean and unit (population) deviation; NaN stays NaN, constant values give 0.

    Args:
        values (array-like): ``(n,)``.
        among (array-like): ``(n,)`` bool: the values that give mean and deviation; None takes all. Without any of them
            every score is NaN.

    Example:
        >>> z_scores([1.0, 3.0]).tolist()
        [-1.0, 1.0]
    """
    values = np.asarray(values, dtype=np.float64)
    among = np.ones(values.shape, bool) if among is None else np.asarray(among, dtype=bool)
    valid = values[~np.isnan(values) & among]
    if valid.size == 0:
        return np.full(values.shape, np.nan)
    centred = values - valid.mean()
    deviation = valid.std()
    # rounding leaves a tiny deviation for constant values, which would be blown up to unit size
    if deviation <= 1e-12 * max(1.0, float(np.abs(valid).max())):
        return np.where(np.isnan(values), np.nan, 0.0)
    return centred / deviation


def composite_score(
    *,
    dice: ArrayLike,
    precision: ArrayLike,
    recall: ArrayLike,
    absolute_volume_difference: ArrayLike,
    among: ArrayLike | None = None,
) -> NDArray:
    """Combine four metrics into one score: z(Dice) + z(precision) + z(recall) - z(AVD).

    z-scores are taken over all rows given, that is over the results of all candidates together (Lemay et al. 2022,
    Section 2.3.4), or over the rows in ``among``, so that further candidates do not change the scores of the first.
    Higher is better; without NaN the mean over the rows that give the z-scores is 0.

    Args:
        dice, precision, recall, absolute_volume_difference (array-like): ``(n,)`` or ``(n, classes)``. With classes,
            each class is standardised and scored by itself and the row's score is the mean over classes.
        among (array-like): ``(n,)`` bool: the rows that give means and deviations; None takes all.

    Returns:
        ndarray: ``(n,)`` float64, NaN where one of the metrics is NaN.

    Example:
        >>> scores = {"dice": [0.8, 0.9], "precision": [0.8, 0.9], "recall": [0.8, 0.9]}
        >>> composite_score(**scores, absolute_volume_difference=[0.2, 0.1]).round(6).tolist()
        [-4.0, 4.0]
    """
    parts = [np.asarray(part, dtype=np.float64) for part in (dice, precision, recall, absolute_volume_difference)]
    if len({part.shape for part in parts}) != 1 or parts[0].ndim not in (1, 2):
        raise InputError(f"The four metrics must have one shape, (n,) or (n, classes), got {[p.shape for p in parts]}.")
    columns = [part.reshape(part.shape[0], -1) for part in parts]
    signs = (1, 1, 1, -1)
    score = np.zeros(columns[0].shape)
    for sign, column in zip(signs, columns, strict=True):
        for index in range(column.shape[1]):
            score[:, index] += sign * z_scores(column[:, index], among=among)
    return score.mean(axis=1)
