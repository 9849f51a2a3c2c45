"""Robust fusion of continuous maps: heavy-tailed noise, a bias and a noise level per rater.

The model of Audelan et al. (2020, 2022) without its spatial prior, so that voxels are independent: in logits, rater r's
map at voxel n is ``d_rn = x_n + b_r + noise``, the noise Student's t with scale ``s_r``. As a mixture of Gaussians its
precision is ``tau_rn / s_r**2`` with ``tau`` Gamma distributed; the variational posterior of consensus and ``tau`` has
closed updates, and bias and scale are those that fit it best. Departures from the papers are told beside the code.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.fusion.patterns import Patterns
from ivadomed_labelfusion.fusion.registry import Limits, method
from ivadomed_labelfusion.fusion.result import Consensus
from ivadomed_labelfusion.fusion.soft import Rows, SoftConsensus, SoftMasks

# 0 and 1 have no logit: values are squeezed into [SQUEEZE, 1 - SQUEEZE] and stretched back in the end
SQUEEZE = 0.01
# tau and consensus of a voxel are updated until no tau changes by more than this, at most so often
TAU_TOL, TAU_ITER = 1e-4, 200

# scale of the noise that the prior expects, logits
PRIOR = 0.1


def to_logits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logits of values in [0, 1], finite.

    >>> to_logits(np.array([0.0, 0.5, 1.0])).round(3).tolist()
    [-4.595, 0.0, 4.595]
    """
    squeezed = SQUEEZE + (1 - 2 * SQUEEZE) * values
    return np.log(squeezed) - np.log1p(-squeezed)


def from_logits(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo `to_logits`; what lies beyond the logits of 0 and 1 becomes 0 and 1.

    >>> from_logits(to_logits(np.array([0.0, 0.25, 1.0]))).round(12).tolist()
    [0.0, 0.25, 1.0]
    """
    return np.clip((1 / (1 + np.exp(-logits)) - SQUEEZE) / (1 - 2 * SQUEEZE), 0.0, 1.0)


def on_scale(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where values are neither 0 nor 1: these stand for anything beyond the scale's ends and have no bias."""
    return (values > 0) & (values < 1)


@dataclass
class RaterModel:
    """Bias and noise of the raters.

    Attributes:
        weights (ndarray): ``(R,)``.
        tails (float): 1 / degrees of freedom of Student's t.
        bias (ndarray): ``(R,)``, logits.
        noise (ndarray): ``(R,)``, scale in logits, > 0.
    """

    weights: NDArray[np.float64]
    tails: float
    bias: NDArray[np.float64]
    noise: NDArray[np.float64]

    def consensus(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return the posterior's mean and variance ``(n,)`` in logits, and ``tau`` ``(R, n)``, of values ``(R, n)``."""
        unbiased = to_logits(values) - self.bias[:, None] * on_scale(values)
        variance = self.noise[:, None] ** 2
        # not in the papers: taking consensus and tau as independent makes the consensus look surer than it is, and the
        # best rater draws it to his map; so tau takes the variance that Student's t leaves (Lange, Little, Taylor 1989)
        unsure = (1 + 3 * self.tails) / (1 + self.tails)
        tau = np.ones_like(unbiased)
        mean, total = np.empty((2, unbiased.shape[1]))
        todo = np.arange(unbiased.shape[1])
        for _ in range(TAU_ITER):
            precision = tau[:, todo] * (self.weights[:, None] / variance)
            total[todo] = precision.sum(axis=0)
            mean[todo] = (precision * unbiased[:, todo]).sum(axis=0) / total[todo]
            squared = (unbiased[:, todo] - mean[todo]) ** 2 + unsure / total[todo]
            updated = (1 + self.tails) / (1 + self.tails * squared / variance)
            moving = np.abs(updated - tau[:, todo]).max(axis=0) > TAU_TOL
            tau[:, todo] = updated
            todo = todo[moving]
            if not todo.size:
                break
        return mean, 1 / total, tau

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the consensus ``(n,)`` in [0, 1] of values ``(R, n)``; where all raters say 0 or all say 1, that."""
        same, first = self.agreed(values), values[np.flatnonzero(self.weights)[0]]
        mean, _, _ = self.consensus(values)
        # ties that are exact in real numbers must not be decided by the order of summation
        mean[np.abs(mean) < 1e-9] = 0.0
        return np.where(same, first, from_logits(mean))

    def agreed(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return where all raters who count say 0, or all say 1, ``(n,)``."""
        counting = values[self.weights > 0]
        return (counting == 0).all(axis=0) | (counting == 1).all(axis=0)

    def update(self, rows: Rows) -> "RaterModel":
        """Return the model with the bias and noise that fit the present consensus best."""
        # sums of tau over voxels where the rater is on the scale, of tau x distance there; of both squared, everywhere
        sums = np.zeros((4, self.bias.size))
        for values, counts in rows():
            open_ = ~self.agreed(values)
            values, counts = values[:, open_], counts[open_]
            mean, variance, tau = self.consensus(values)
            off, weight = to_logits(values) - mean, counts * tau
            inside = weight * on_scale(values)
            sums += [part.sum(axis=1) for part in (inside, inside * off, weight, weight * (off**2 + variance))]
        bias = np.divide(sums[1], sums[0], out=np.zeros_like(self.bias), where=sums[0] > 0)
        squares = sums[3] - 2 * bias * sums[1] + bias**2 * sums[0]
        # prior: one more voxel at a distance of PRIOR, or a rater who never differs had no noise at all. Dividing by
        # the sum of tau instead of the number of voxels is the faster iteration of Kent, Tyler, Vardi 1994
        noise = np.sqrt((PRIOR**2 + np.maximum(squares, 0)) / (1 + sums[2]))
        counting = (sums[0] > 0) & (self.weights > 0)
        level = weighted_median(bias[counting], (self.weights / noise)[counting]) if counting.any() else 0.0
        return RaterModel(self.weights, self.tails, np.where(sums[0] > 0, bias - level, 0.0), noise)


def weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return the value with half of the weight on either side; the mean of two where they share the middle.

    >>> weighted_median(np.array([3.0, 1.0, 2.0]), np.ones(3)), weighted_median(np.array([1.0, 4.0]), np.ones(2))
    (2.0, 2.5)
    """
    order = np.argsort(values)
    up_to = weights[order].cumsum() / weights.sum()
    low, high = np.searchsorted(up_to, [0.5 - 1e-12, 0.5 + 1e-12])
    return float(values[order][[low, high]].mean())


def fit(
    rows: Rows, weights: NDArray[np.float64], tails: float, tol: float, max_iter: int
) -> tuple[RaterModel, int, bool]:
    """Return the fitted model, the iterations done, and whether bias and noise settled."""
    model = RaterModel(weights, tails, np.zeros(weights.size), np.ones(weights.size))
    for n_iter in range(1, max_iter + 1):
        last, model = model, model.update(rows)
        change = np.concatenate([model.bias - last.bias, np.log(model.noise / last.noise)])
        if (change**2 <= tol).all():
            return model, n_iter, True
    return model, max_iter, False


def _of_soft(masks: SoftMasks, *, weights: NDArray[np.float64], tails: float, tol: float, max_iter: int) -> Consensus:
    """Fuse soft masks; every iteration reads them once."""
    model, n_iter, converged = fit(masks.rows, weights, tails, tol, max_iter)
    found = {"bias": model.bias, "noise": model.noise}
    return SoftConsensus(masks, model, per_rater=found, n_iter=n_iter, converged=converged)


@method("robust", title="robust fusion", soft=True, binary_only=True, of_soft=_of_soft)
def robust_of_patterns(
    patterns: Patterns,
    *,
    weights: NDArray[np.float64],
    tails: Annotated[float, "1 / degrees of freedom of the noise; 0 is Gaussian", Limits(at_least=0)] = 0.25,
    tol: Annotated[float, "change that ends the iteration", Limits(at_least=0)] = 1e-8,
    max_iter: Annotated[int, "most iterations", Limits(at_least=1)] = 200,
) -> Consensus:
    """Estimate a consensus map, and each rater's bias and noise, with noise that outliers do not mislead.

    Values of exactly 0 and 1 lie beyond what a logit can tell: they take part as the ends of the scale, without bias
    (so that masks have none). Voxels where all raters say 0, or all say 1, keep that value and do not count for bias
    and noise, which therefore do not depend on how much background takes part. Adding a constant to all biases and
    taking it from the consensus changes nothing that could be seen; the median of the biases, weighted by 1 / noise,
    is 0.

    Args:
        patterns: Votes of masks; soft masks take the same way voxel by voxel (`fusion.fuse` sees which they are).
        weights: ``(R,)``; a rater of weight 2 counts as two raters with equal masks.
        tails: 1 / degrees of freedom of Student's t; 0 makes the noise Gaussian, 1 Cauchy.
        tol: Stop when no bias, and no logarithm of a noise level, changes by more than the square root of this.
        max_iter: Most iterations.

    Returns:
        Consensus: ``posterior`` is the consensus map, float32 in [0, 1]; ``bias`` ``(R,)``, logits by which a rater
        lies above the consensus; ``noise`` ``(R,)``, scale in logits of what is left; ``n_iter``, ``converged``.

    References:
        Audelan B et al. Robust fusion of probability maps. MICCAI 2020, doi 10.1007/978-3-030-59719-1_26. Audelan B et
        al. Robust Bayesian fusion of continuous segmentation maps. Med Image Anal 2022,
        doi 10.1016/j.media.2022.102398. The open level of the biases: Xing F, Prince JL, Landman BA. PLoS ONE 2016,
        doi 10.1371/journal.pone.0155862.
    """
    votes = patterns.votes.T.astype(np.float64)
    counts = patterns.counts.astype(np.float64)
    model, n_iter, converged = fit(lambda: [(votes, counts)], weights, tails, tol, max_iter)
    posterior = model(votes)
    found = {"bias": model.bias, "noise": model.noise}
    return Consensus(patterns, posterior > 0.5, posterior, per_rater=found, n_iter=n_iter, converged=converged)
