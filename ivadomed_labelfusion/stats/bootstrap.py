"""The percentile bootstrap over whole clusters."""

import numpy as np
from numpy.typing import ArrayLike

from ivadomed_labelfusion.errors import InputError


def bootstrap_mean_interval(
    values: ArrayLike,
    subjects: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    seed: int,
    confidence: float = 0.95,
    n_resamples: int = 2000,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean that resamples subjects, not rows.

    With few subjects it is too narrow: with 5 it misses the true mean in 18-23 % of cases instead of 5 %, with 10 in
    10-15 %. Verdicts and tables take `clustered_mean`, which does not have this defect.

    All rows of a subject (every split in which it was tested) are drawn together, because they depend on each other.

    Args:
        values (array-like): ``(n,)`` values; NaN rows are left out.
        subjects (array-like): ``(n,)`` subject of each row.
        weights (array-like): ``(n,)`` weights of the rows in the mean, such as `model_weights`; None weighs all alike.
        seed (int): Seed of the generator; equal seeds and rows give equal intervals; the order of rows changes only
            rounding.
        confidence (float): In (0, 1).
        n_resamples (int): Number of bootstrap samples.

    Returns:
        tuple of float: Lower and upper bound. Both NaN with fewer than two subjects, which say nothing about others.

    References:
        Efron, Tibshirani, An Introduction to the Bootstrap, 1993; resampling whole clusters: Davison, Hinkley 1997,
        3.8.

    Example:
        >>> bootstrap_mean_interval([0.5, 0.5, 0.5], ["a", "b", "c"], seed=1)
        (0.5, 0.5)
    """
    values, subjects = np.asarray(values, dtype=np.float64), np.asarray(subjects)
    weights = np.ones(values.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if not values.shape == subjects.shape == weights.shape or values.ndim != 1:
        raise InputError(
            "values, subjects and weights must be vectors of one length, "
            f"got {values.shape}, {subjects.shape} and {weights.shape}."
        )
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie between 0 and 1, got {confidence}.")
    keep = ~np.isnan(values)
    names, subject = np.unique(subjects[keep], return_inverse=True)
    if names.size < 2:
        return float("nan"), float("nan")
    total = np.bincount(subject, weights=weights[keep])
    sums = np.bincount(subject, weights=weights[keep] * values[keep])
    draws = np.random.default_rng(seed).integers(names.size, size=(n_resamples, names.size))
    means = sums[draws].sum(axis=1) / total[draws].sum(axis=1)
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(means, [tail, 1 - tail])
    return float(lower), float(upper)
