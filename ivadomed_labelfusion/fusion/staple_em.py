"""The expectation maximisation of binary STAPLE, for votes and for votes that raters split.

A rater who gives a voxel the value v gives v of a vote to the foreground and 1 - v to the background: the logarithm of
its likelihood is v log P(yes | truth) + (1 - v) log P(no | truth), and both steps keep the closed form of STAPLE (Kats,
Goldberger, Greenspan 2019, arXiv 1910.12077). With 0 and 1 it is STAPLE.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.result import log_or_zero
from ivadomed_labelfusion.fusion.soft import Rows


@dataclass
class RaterRates:
    """What STAPLE believes of the raters.

    Attributes:
        weights (ndarray): ``(R,)``.
        prior (float): P(truth 1).
        hit, miss (ndarray): ``(R,)`` P(yes | truth 1), P(no | truth 1).
        false_alarm, rejection (ndarray): ``(R,)`` P(yes | truth 0), P(no | truth 0).
    """

    weights: NDArray[np.float64]
    prior: float
    hit: NDArray[np.float64]
    miss: NDArray[np.float64]
    false_alarm: NDArray[np.float64]
    rejection: NDArray[np.float64]

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of foreground ``(n,)`` of values ``(R, n)``, exactly 0.5 where it is within 1e-12."""
        truth, _ = self.expectation(values)
        # ties that are exact in real numbers, as of two nested masks, must not be decided by the order of summation
        truth[np.abs(truth - 0.5) < 1e-12] = 0.5
        return truth

    def expectation(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the probabilities of foreground and of background, each ``(n,)``: the E step."""
        log_prior, log_not_prior = log_or_zero(np.array([self.prior, 1.0 - self.prior]))
        said_yes, said_no = values.T, 1.0 - values.T
        log_truth, log_false = (
            start + said_yes @ (self.weights * log_or_zero(yes)) + said_no @ (self.weights * log_or_zero(no))
            for start, yes, no in (
                (log_prior, self.hit, self.miss),
                (log_not_prior, self.false_alarm, self.rejection),
            )
        )
        return _logistic(log_truth - log_false), _logistic(log_false - log_truth)


def em(
    rows: Rows, weights: NDArray[np.float64], confidence_weight: float, tol: float, max_iter: int
) -> tuple[RaterRates, dict[str, Any]]:
    """Iterate M and E steps.

    Args:
        rows: What the raters said, gone through once in each iteration.
        weights: ``(R,)``.
        confidence_weight, tol, max_iter: See `fusion.staple`.

    Returns:
        tuple: The rates, which give the probability of any voxel; and ``per_rater``, ``prior``, ``n_iter`` and
        ``converged`` for a `Consensus`.

    Raises:
        InputError: If ``confidence_weight`` leads to a prior outside [0, 1], or ``max_iter`` is below 1.

    >>> rates, found = em(lambda: [(np.array([[0, 0.5, 1], [0, 0.5, 1]]), np.ones(3))], np.ones(2), 1.0, 1e-14, 99)
    >>> rates(np.array([[0.0, 1.0], [0.0, 1.0]])).round(6).tolist(), found["prior"]
    ([0.066987, 0.933013], 0.5)
    """
    share = weights / weights.sum()
    rates, last = None, None
    converged, n_iter = False, 0
    while n_iter < max_iter and not converged:
        n_iter += 1
        # M step: the four outcomes each summed by itself, as 1 - rate would lose small ones
        sums, totals = np.zeros((2, 2, weights.size)), np.zeros(2)
        for values, counts in rows():
            states = (share @ values, share @ (1.0 - values)) if rates is None else rates.expectation(values)
            for state, probability in enumerate(states):
                mass = counts * probability
                sums[state] += values @ mass, (1.0 - values) @ mass
                totals[state] += mass.sum()
        prior = _prior(totals, confidence_weight) if rates is None else rates.prior
        hit, miss = sums[0] / totals[0] if totals[0] else np.repeat([[1.0], [0.0]], weights.size, axis=1)
        false_alarm, rejection = sums[1] / totals[1] if totals[1] else np.repeat([[0.0], [1.0]], weights.size, axis=1)
        rates = RaterRates(weights, prior, hit, miss, false_alarm, rejection)
        current = np.concatenate([hit, rejection])
        converged = last is not None and bool(((current - last) ** 2 <= tol).all())
        last = current
    if rates is None:
        raise InputError(f"max_iter must be a whole number of at least 1, got {max_iter}.")
    per_rater = {"sensitivity": rates.hit, "specificity": rates.rejection}
    return rates, {"per_rater": per_rater, "prior": rates.prior, "n_iter": n_iter, "converged": converged}


def _prior(totals: NDArray[np.float64], confidence_weight: float) -> float:
    """Return the prior P(truth 1): the raters' mean, times ``confidence_weight``."""
    total = totals.sum()
    prior = float(totals[0] / total) * confidence_weight if total else 0.0
    if not 0.0 <= prior <= 1.0:
        raise InputError(
            f"confidence_weight must keep the prior (mean foreground fraction x weight) within [0, 1], got "
            f"{confidence_weight}, which makes it {prior}."
        )
    return prior


def _logistic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # exp overflows to infinity beyond 709, and 1 / infinity is the right answer
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-values))
