"""Binary STAPLE (Warfield, Zou, Wells 2004, doi 10.1109/TMI.2004.828354), exactly as ITK computes it.

ITK's semantics (itkSTAPLEImageFilter): the estimate starts as the raters' mean, the M step comes first, the prior is
the mean foreground fraction and stays fixed. Expectation maximisation needs only how often each vote pattern occurs, so
it runs on the table of patterns in float64.
"""

from typing import Annotated, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.methods.multilabel import MAX_ITER, multilabel_staple_of_patterns
from ivadomed_labelfusion.fusion.patterns import Patterns, Reading, binary_patterns
from ivadomed_labelfusion.fusion.registry import METHODS, Limits, method
from ivadomed_labelfusion.fusion.result import Consensus, log_or_zero
from ivadomed_labelfusion.fusion.source import Masks

# largest squared change of a rate that ends the iteration
TOL = 1e-14


def staple(
    masks: Masks,
    *,
    weights: ArrayLike | None = None,
    confidence_weight: float = 1.0,
    tol: float = TOL,
    max_iter: int = MAX_ITER,
    **reading: Unpack[Reading],
) -> Consensus:
    """Estimate the truth behind several binary masks, and each rater's sensitivity and specificity.

    Args:
        masks (ndarray or sequence): ``(R, *spatial)``, any number of axes, any dtype holding 0 and 1 (or 0 and 255,
            with a warning). A sequence may hold memory maps or nibabel's ``dataobj``, which are read in slabs.
        weights (sequence of float): ``(R,)``; a rater of weight 2 counts as two raters with equal masks. None: all 1.
        confidence_weight (float): Factor on the prior.
        tol (float): Stop when no sensitivity or specificity changes by more than the square root of this.
        max_iter (int): Most iterations.
        **reading: ``names``, ``region``, ``margin``, ``keep_codes``, see `Reading`.

    Returns:
        Consensus: ``posterior > 0.5`` (that is, ``labels()``) is the consensus. Exactly 0.5 is background: it is what
        STAPLE gives where two nested masks differ, and ITK decides such voxels by rounding errors. All empty masks
        give an empty consensus, all full ones a full one, one mask itself. ``sensitivity`` ``(R,)`` float64,
        P(rater says 1 | truth 1), is 1 where the consensus has no foreground; ``specificity`` ``(R,)``,
        P(rater says 0 | truth 0), is 1 where it has no background; ``prior``, P(truth 1), is fixed; ``n_iter`` counts
        pairs of M and E steps; ``converged`` tells whether the stopping rule was met within ``max_iter``.

    Raises:
        InputError: If masks, weights, region or parameters are not as described.

    References:
        Warfield SK, Zou KH, Wells WM. Simultaneous truth and performance level estimation (STAPLE). IEEE TMI 2004,
        doi 10.1109/TMI.2004.828354.

    >>> result = staple([[0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 1, 0, 1, 0]])
    >>> result.labels().tolist(), result.sensitivity.round(2).tolist(), result.converged
    ([0, 1, 1, 0, 0], [1.0, 1.0, 0.5], True)
    """
    return METHODS["staple"](
        binary_patterns(masks, **reading),
        weights=weights,
        confidence_weight=confidence_weight,
        tol=tol,
        max_iter=max_iter,
    )


@method("staple", title="STAPLE", reference=True)
def staple_of_patterns(
    patterns: Patterns,
    *,
    weights: NDArray[np.float64],
    confidence_weight: Annotated[float, "factor on the prior", Limits(at_least=0)] = 1.0,
    tol: Annotated[float | None, "change that ends the iteration", Limits(at_least=0)] = None,
    max_iter: Annotated[int, "most iterations", Limits(at_least=1)] = MAX_ITER,
) -> Consensus:
    """Run STAPLE on counted vote patterns, of masks or of label maps; see `staple` and `multilabel_staple`."""
    if patterns.labels.size > 2:
        if confidence_weight != 1.0:
            raise InputError("confidence_weight is an option of binary STAPLE only; leave it out for label maps.")
        options = {} if tol is None else {"tol": tol}
        return multilabel_staple_of_patterns(patterns, weights=weights, max_iter=max_iter, **options)
    tol = TOL if tol is None else tol
    result = _em(patterns, weights, confidence_weight, tol, max_iter)
    result.parameters = {
        "weights": weights.tolist(),
        "confidence_weight": confidence_weight,
        "tol": tol,
        "max_iter": max_iter,
    }
    return result


def _em(
    patterns: Patterns, weights: NDArray[np.float64], confidence_weight: float, tol: float, max_iter: int
) -> Consensus:
    """Iterate M and E steps on the table of patterns."""
    said_yes = patterns.votes.astype(np.float64)
    said_no = 1.0 - said_yes
    counts = patterns.counts.astype(np.float64)
    share = weights / weights.sum()
    truth, false = said_yes @ share, said_no @ share
    prior = _prior(counts, truth, confidence_weight)
    log_prior, log_not_prior = log_or_zero(np.array([prior, 1.0 - prior]))
    hit = rejection = np.zeros(weights.size)
    last = None
    converged, n_iter = False, 0
    while n_iter < max_iter and not converged:
        n_iter += 1
        # M step: rates of the four outcomes, each summed by itself, as 1 - rate would lose small ones
        hit, miss = _rates(counts * truth, said_yes, said_no)
        false_alarm, rejection = _rates(counts * false, said_yes, said_no, empty=(0.0, 1.0))
        # E step
        log_truth = log_prior + said_yes @ (weights * log_or_zero(hit)) + said_no @ (weights * log_or_zero(miss))
        log_false = (
            log_not_prior
            + said_yes @ (weights * log_or_zero(false_alarm))
            + said_no @ (weights * log_or_zero(rejection))
        )
        truth, false = _logistic(log_truth - log_false), _logistic(log_false - log_truth)
        current = np.concatenate([hit, rejection])
        converged = last is not None and bool(((current - last) ** 2 <= tol).all())
        last = current
    # ties that are exact in real numbers, as of two nested masks, must not be decided by the order of summation
    truth[np.abs(truth - 0.5) < 1e-12] = 0.5
    return Consensus(
        patterns,
        truth > 0.5,
        truth,
        per_rater={"sensitivity": hit, "specificity": rejection},
        prior=prior,
        n_iter=n_iter,
        converged=converged,
    )


def _prior(counts: NDArray[np.float64], truth: NDArray[np.float64], confidence_weight: float) -> float:
    """Return the prior P(truth 1): the raters' mean, times ``confidence_weight``."""
    total = counts.sum()
    prior = float(counts @ truth / total) * confidence_weight if total else 0.0
    if not 0.0 <= prior <= 1.0:
        raise InputError(
            f"confidence_weight must keep the prior (mean foreground fraction x weight) within [0, 1], got "
            f"{confidence_weight}, which makes it {prior}."
        )
    return prior


def _rates(
    mass: NDArray[np.float64],
    said_yes: NDArray[np.float64],
    said_no: NDArray[np.float64],
    *,
    empty: tuple[float, float] = (1.0, 0.0),
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return per rater the share of ``mass`` where they said yes and where they said no."""
    total = mass.sum()
    if total == 0:
        yes, no = (np.full(said_yes.shape[1], value) for value in empty)
        return yes, no
    return mass @ said_yes / total, mass @ said_no / total


def _logistic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # exp overflows to infinity beyond 709, and 1 / infinity is the right answer
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-values))
