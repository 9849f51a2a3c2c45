"""Intervals and p-values of a mean that keep their level with few clusters (subjects, splits) and skewed values.

How they are made: docs/study.md, "Intervals". A simulation in the tests holds the rate of false verdicts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from ivadomed_labelfusion.errors import InputError

MIN_CLUSTERS = 3
# share of the nominal error rate that is spent below so many clusters: their skewness cannot be estimated well
FEW_CLUSTERS = ((10, 0.4), (20, 0.6))
# times the first-order effect of the skewness on Student's statistic (Johnson); 1 leaves too many false verdicts
SKEWNESS_ALLOWANCE = 2


@dataclass(frozen=True)
class ClusteredMean:
    """A mean, and what its interval follows from.

    Attributes:
        mean (float): The weighted mean; NaN without values.
        error (float): Its standard error, from every kind of cluster together; NaN with fewer than 3 clusters.
        skewness (float): Estimated skewness of the mean itself.
        n_clusters (tuple of int): Clusters of each kind.
    """

    mean: float
    error: float
    skewness: float
    n_clusters: tuple[int, ...]

    @property
    def fewest(self) -> int:
        """The smallest number of clusters, which gives the degrees of freedom."""
        return min(self.n_clusters)

    @property
    def share(self) -> float:
        """Share of the nominal error rate that is spent, in (0, 1]."""
        return next((share for limit, share in FEW_CLUSTERS if self.fewest < limit), 1.0)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the bounds, which miss the true mean with a probability of about 1 - ``confidence`` at most.

        Student's, with one degree of freedom less than the fewest clusters, made wider on the side of the long tail by
        twice the first-order effect of the skewness (`_reach`). With fewer than 20 clusters it is taken at a higher
        confidence (`FEW_CLUSTERS`).

        Args:
            confidence (float): In (0, 1).

        Returns:
            tuple of float: Lower and upper bound; both the mean if the clusters do not differ, both NaN with fewer than
            3 clusters of a kind.

        Raises:
            InputError: If ``confidence`` is out of range.
        """
        if not 0 < confidence < 1:
            raise InputError(f"confidence must lie between 0 and 1, got {confidence}.")
        if np.isnan(self.error):
            return float("nan"), float("nan")
        critical = student.ppf(1 - (1 - confidence) * self.share / 2, self.fewest - 1)
        below, above = (self._reach(critical, side) for side in (1, -1))
        return self.mean - self.error * below, self.mean + self.error * above

    @property
    def p_value(self) -> float:
        """Two-sided p-value of a mean of zero, in [0, 1]; below 0.05 exactly where the 95 % interval leaves zero out.

        Without any difference between the clusters it is 1 for a mean of zero, else 0. NaN with fewer than 3 clusters
        of a kind.
        """
        if np.isnan(self.error):
            return float("nan")
        if self.error == 0:
            return float(self.mean == 0)
        statistic = self.mean / self.error
        return float(min(1.0, 2 * student.sf(self._undo_reach(statistic), self.fewest - 1) / self.share))

    def _against(self, side: float) -> float:
        """Skewness that makes a mean on this side of the truth (1 above, -1 below) look surer than it is, >= 0."""
        return SKEWNESS_ALLOWANCE * max(0.0, -side * self.skewness)

    def _reach(self, critical: float, side: float) -> float:
        """Return how many standard errors a mean on this side must be away for Student's ``critical``."""
        return critical + self._against(side) * (1 + 2 * critical**2) / 6

    def _undo_reach(self, statistic: float) -> float:
        """Return Student's statistic whose `_reach` is the given one."""
        a = self._against(np.sign(statistic))
        if a < 1e-8:
            return abs(statistic)
        return max(0.0, (np.sqrt(max(0.0, 1 - 4 * a / 3 * (a / 6 - abs(statistic)))) - 1) * 3 / (2 * a))


def clustered_mean(values: ArrayLike, *clusters: ArrayLike, weights: ArrayLike | None = None) -> ClusteredMean:
    """Estimate a mean whose rows depend on each other through clusters of one or two kinds: subjects, splits.

    The variance of two kinds is that of each kind less that of their intersections (Cameron, Gelbach, Miller), and
    never less than that of one kind alone. The skewness is that of the kind with more clusters, unless its variance is
    less than half of the other's. Each is corrected for its number of clusters.

    Args:
        values (array-like): ``(n,)`` values, any unit; NaN rows are left out.
        *clusters (array-like): One or two times ``(n,)``: the cluster of each row, of each kind.
        weights (array-like): ``(n,)`` weights of the rows in the mean, such as `model_weights`; None weighs all alike.

    Returns:
        ClusteredMean: Without values, or with an infinite one, mean and error are NaN or infinite and nothing follows.

    Raises:
        InputError: If lengths differ, or there is not one or two kinds of clusters.

    References:
        Johnson, J. Am. Stat. Assoc. 1978, Modified t tests and confidence intervals for asymmetrical populations;
        Cameron, Gelbach, Miller, J. Bus. Econ. Stat. 2011, doi 10.1198/jbes.2010.07136.

    Example:
        >>> estimate = clustered_mean([0.8, 0.9, 0.7, 0.8], ["a", "b", "c", "d"])
        >>> round(estimate.mean, 2), estimate.n_clusters
        (0.8, (4,))
    """
    values = np.asarray(values, dtype=np.float64)
    labels = [np.asarray(kind) for kind in clusters]
    weights = np.ones(values.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(labels) not in (1, 2):
        raise InputError(f"clusters must be of one or two kinds, got {len(labels)}.")
    if values.ndim != 1 or any(part.shape != values.shape for part in (weights, *labels)):
        raise InputError(
            "values, clusters and weights must be vectors of one length, "
            f"got {[part.shape for part in (values, *labels, weights)]}."
        )
    keep = ~np.isnan(values) & (weights > 0)
    values, weights = values[keep], weights[keep]
    kinds = [np.unique(kind[keep], return_inverse=True)[1] for kind in labels]
    counts = tuple(int(kind.max()) + 1 if kind.size else 0 for kind in kinds)
    if not np.isfinite(values).all() or min(counts) < MIN_CLUSTERS:
        mean = float(np.average(values, weights=weights)) if values.size else float("nan")
        return ClusteredMean(mean, float("nan"), float("nan"), counts)
    mean = float(np.average(values, weights=weights))
    parts = weights * (values - mean) / weights.sum()
    variance, third = _two_kinds(parts, kinds) if len(kinds) == 2 else _moments(parts, kinds[0])[:2]
    # rounding leaves a tiny deviation for constant values
    if variance <= (1e-12 * max(abs(mean), float(np.abs(values).max()))) ** 2:
        return ClusteredMean(mean, 0.0, 0.0, counts)
    return ClusteredMean(mean, float(np.sqrt(variance)), float(third / variance**1.5), counts)


def _two_kinds(parts: NDArray, kinds: list[NDArray]) -> tuple[float, float]:
    variances, thirds, counts = zip(*(_moments(parts, kind) for kind in kinds), strict=True)
    shared, _, _ = _moments(parts, np.unique(np.stack(kinds), axis=1, return_inverse=True)[1].ravel())
    variance = max(*variances, sum(variances) - shared)
    if variance == 0:
        return 0.0, 0.0
    # the skewness is best estimated from many clusters, but only those that matter
    chosen = max((i for i in range(2) if variances[i] >= max(variances) / 2), key=lambda i: counts[i])
    return variance, thirds[chosen] * (variance / variances[chosen]) ** 1.5


def _moments(parts: NDArray, cluster: NDArray) -> tuple[float, float, int]:
    """Return variance and third central moment of the sum of ``parts``, from sums over clusters, and their number."""
    sums = np.bincount(cluster, weights=parts)
    n = sums.size
    return n / (n - 1) * (sums**2).sum(), n**2 / ((n - 1) * (n - 2)) * (sums**3).sum(), n
