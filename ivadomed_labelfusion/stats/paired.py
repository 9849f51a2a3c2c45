"""Paired tests and the adjustment for several of them: arrays in, small results out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr
from scipy.stats import rankdata

from ivadomed_labelfusion.errors import InputError

EXACT_LIMIT = 50


@dataclass(frozen=True)
class WilcoxonResult:
    """Outcome of a two-sided Wilcoxon signed-rank test.

    Attributes:
        n (int): Pairs compared (pairs with NaN are left out before).
        n_zero (int): Pairs with equal values; they are dropped from the ranking (Wilcoxon's own rule).
        rank_sum_positive (float): Sum of ranks of the pairs where the first value is larger.
        rank_sum_negative (float): Sum of ranks of the pairs where the first value is smaller.
        p_value (float): In [0, 1]; 1 when no pair differs, NaN without any pair.
        effect_size (float): Matched-pairs rank-biserial correlation in [-1, 1], positive when the first value tends to
            be larger; 0 when no pair differs, NaN without any pair.
    """

    n: int
    n_zero: int
    rank_sum_positive: float
    rank_sum_negative: float
    p_value: float
    effect_size: float


def wilcoxon_signed_rank(first: ArrayLike, second: ArrayLike) -> WilcoxonResult:
    """Test whether paired values differ: two-sided Wilcoxon signed-rank test.

    Zero differences are dropped (Wilcoxon 1945); tied absolute differences share their mean rank. Up to 50 remaining
    pairs the p-value is exact, ties included: the distribution of the rank sum over all sign flips is counted. Above,
    it is the normal approximation with tie correction and without continuity correction, as in
    ``scipy.stats.wilcoxon``. The effect size is the matched-pairs rank-biserial correlation (W+ - W-) / (W+ + W-).

    Args:
        first (array-like): ``(n,)`` values, any unit.
        second (array-like): ``(n,)`` values paired with ``first``.

    Returns:
        WilcoxonResult

    Raises:
        InputError: If the shapes differ or are not one-dimensional.

    References:
        Wilcoxon, Biometrics Bulletin 1945, doi 10.2307/3001968; Kerby, Comprehensive Psychology 2014,
        doi 10.2466/11.IT.3.1.

    Example:
        >>> wilcoxon_signed_rank([1, 2, 3, 4, 5], [0, 0, 0, 0, 0]).p_value
        0.0625
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise InputError(
            f"Paired values must be two vectors of one length, got shapes {first.shape} and {second.shape}."
        )
    # equal infinities are a zero difference, although inf - inf is NaN
    difference = np.subtract(first, second, out=np.zeros_like(first), where=first != second)
    difference = difference[~np.isnan(difference)]
    n = difference.size
    difference = difference[difference != 0]
    n_zero = n - difference.size
    if n == 0:
        return WilcoxonResult(0, 0, 0.0, 0.0, float("nan"), float("nan"))
    if difference.size == 0:
        return WilcoxonResult(n, n_zero, 0.0, 0.0, 1.0, 0.0)
    ranks = rankdata(np.abs(difference))
    positive = float(ranks[difference > 0].sum())
    total = float(ranks.sum())
    negative = total - positive
    p_value = (_exact_p_value if difference.size <= EXACT_LIMIT else _normal_p_value)(ranks, positive)
    return WilcoxonResult(n, n_zero, positive, negative, p_value, (positive - negative) / total)


def _exact_p_value(ranks: NDArray, positive: float) -> float:
    # mean ranks are multiples of one half, so doubled they index a table of counts
    doubled = np.rint(2 * ranks).astype(np.int64)
    ways = np.zeros(doubled.sum() + 1)
    ways[0] = 1.0
    for rank in doubled:
        ways[rank:] = ways[rank:] + ways[: ways.size - rank]
    observed = round(2 * positive)
    tail = min(ways[: observed + 1].sum(), ways[observed:].sum()) / 2.0**ranks.size
    return float(min(1.0, 2 * tail))


def _normal_p_value(ranks: NDArray, positive: float) -> float:
    # the variance of a sum of ranks with random signs; with mid ranks this is the usual tie correction
    deviation = np.sqrt((ranks**2).sum() / 4)
    return float(min(1.0, 2 * ndtr(-abs(positive - ranks.sum() / 2) / deviation)))


def holm_adjust(p_values: ArrayLike) -> NDArray:
    """Adjust p-values for the number of tests with Holm's step-down method.

    Args:
        p_values (array-like): ``(m,)`` in [0, 1]; NaN entries are no tests and stay NaN.

    Returns:
        ndarray: ``(m,)`` float64 adjusted p-values in [0, 1], in the order given.

    Raises:
        InputError: If a value lies outside [0, 1].

    References:
        Holm, Scandinavian Journal of Statistics 1979, https://www.jstor.org/stable/4615733.

    Example:
        >>> holm_adjust([0.01, 0.04]).tolist()
        [0.02, 0.04]
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    valid = ~np.isnan(p_values)
    if np.any((p_values[valid] < 0) | (p_values[valid] > 1)):
        raise InputError(f"p-values must lie in [0, 1], got {p_values[valid].min():g} to {p_values[valid].max():g}.")
    adjusted = np.full(p_values.shape, np.nan)
    tested = p_values[valid]
    order = np.argsort(tested, kind="stable")
    stepped = np.maximum.accumulate(tested[order] * np.arange(tested.size, 0, -1))
    result = np.empty_like(tested)
    result[order] = np.minimum(stepped, 1.0)
    adjusted[valid] = result
    return adjusted
