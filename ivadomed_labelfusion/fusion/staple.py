"""Binary STAPLE (Warfield, Zou, Wells 2004, doi 10.1109/TMI.2004.828354), exactly as ITK computes it.

ITK's semantics (itkSTAPLEImageFilter): the estimate starts as the raters' mean, the M step comes first, the prior is
the mean foreground fraction and stays fixed. Expectation maximisation needs only how often each vote pattern occurs, so
it runs on the table of patterns in float64.
"""

from dataclasses import dataclass

import numpy as np

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.consensus import Consensus, log_or_zero
from ivadomed_labelfusion.fusion.patterns import binary_patterns
from ivadomed_labelfusion.fusion.source import check_weights

MAX_ITER = 1000


@dataclass(eq=False)
class StapleResult(Consensus):
    """The outcome of binary STAPLE; see `Consensus` for ``posterior`` and ``labels()``.

    Attributes:
        sensitivity (ndarray): ``(R,)`` float64, P(rater says 1 | truth 1); 1 where the consensus has no foreground.
        specificity (ndarray): ``(R,)`` float64, P(rater says 0 | truth 0); 1 where it has no background.
        prior (float): P(truth 1), fixed.
        n_iter (int): Pairs of M and E steps done.
        converged (bool): Whether the stopping rule was met within ``max_iter``.
    """

    sensitivity: np.ndarray
    specificity: np.ndarray
    prior: float
    n_iter: int
    converged: bool


def staple(
    masks,
    *,
    weights=None,
    region="image",
    margin=10,
    confidence_weight=1.0,
    tol=1e-14,
    max_iter=MAX_ITER,
    names=None,
    keep_codes=True,
):
    """Estimate the truth behind several binary masks, and each rater's sensitivity and specificity.

    Args:
        masks (ndarray or sequence): ``(R, *spatial)``, any number of axes, any dtype holding 0 and 1 (or 0 and 255,
            with a warning). A sequence may hold memory maps or nibabel's ``dataobj``, which are read in slabs.
        weights (sequence of float): ``(R,)``; a rater of weight 2 counts as two raters with equal masks. None: all 1.
        region (str or ndarray): Voxels that take part; the result is 0 elsewhere. ``image``: all of them. ``union``:
            those that any rater marked. ``box``: the bounding box of these and ``margin`` voxels. Or a mask
            ``(*spatial)``. The more background takes part, the higher all specificities and the larger the consensus.
        margin (int): Voxels around ``box``.
        confidence_weight (float): Factor on the prior.
        tol (float): Stop when no sensitivity or specificity changes by more than the square root of this.
        max_iter (int): Most iterations.
        names (sequence of str): Raters' names, for messages and reports.
        keep_codes (bool): Keep one code (1-4 bytes) per voxel. False reads the masks a second time for the result.

    Returns:
        StapleResult: ``posterior > 0.5`` (that is, ``labels()``) is the consensus. Exactly 0.5 is background: it is
        what STAPLE gives where two nested masks differ, and ITK decides such voxels by rounding errors. All empty masks
        give an empty consensus, all full ones a full one, one mask itself.

    Raises:
        InputError: If masks, weights, region or parameters are not as described.

    References:
        Warfield SK, Zou KH, Wells WM. Simultaneous truth and performance level estimation (STAPLE). IEEE TMI 2004,
        doi 10.1109/TMI.2004.828354.
    """
    patterns = binary_patterns(masks, names=names, region=region, margin=margin, keep=keep_codes)
    return staple_of_patterns(
        patterns, weights=weights, confidence_weight=confidence_weight, tol=tol, max_iter=max_iter
    )


def staple_of_patterns(patterns, *, weights=None, confidence_weight=1.0, tol=1e-14, max_iter=MAX_ITER):
    """Run binary STAPLE on counted vote patterns; see `staple`."""
    weights = check_weights(weights, patterns.n_raters)
    check_em(tol, max_iter)
    posterior, estimate = _em(patterns.votes, patterns.counts, weights, confidence_weight, tol, max_iter)
    return StapleResult(
        method="staple",
        parameters={
            "weights": weights.tolist(),
            "confidence_weight": confidence_weight,
            "tol": tol,
            "max_iter": max_iter,
        },
        patterns=patterns,
        pattern_labels=(posterior > 0.5).astype(np.uint8),
        pattern_posterior=posterior,
        **estimate,
    )


def check_em(tol, max_iter):
    """Raise InputError unless the parameters of an iteration make sense."""
    if not tol >= 0:
        raise InputError(f"tol must be a number >= 0, got {tol!r}.")
    if isinstance(max_iter, bool) or max_iter != int(max_iter) or max_iter < 1:
        raise InputError(f"max_iter must be a whole number >= 1, got {max_iter!r}.")


def _em(votes, counts, weights, confidence_weight, tol, max_iter):
    """Return the posterior per pattern and the estimates."""
    said_yes = votes.astype(np.float64)
    said_no = 1.0 - said_yes
    counts = counts.astype(np.float64)
    share = weights / weights.sum()
    truth, false = said_yes @ share, said_no @ share
    total = counts.sum()
    prior = float(counts @ truth / total) * confidence_weight if total else 0.0
    if not 0.0 <= prior <= 1.0:
        raise InputError(
            f"confidence_weight must keep the prior (mean foreground fraction x weight) within [0, 1], got "
            f"{confidence_weight}, which makes it {prior}."
        )
    log_prior, log_not_prior = log_or_zero(np.array([prior, 1.0 - prior]))
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
    return truth, {
        "sensitivity": hit,
        "specificity": rejection,
        "prior": prior,
        "n_iter": n_iter,
        "converged": converged,
    }


def _rates(mass, said_yes, said_no, *, empty=(1.0, 0.0)):
    """Return per rater the share of ``mass`` where they said yes and where they said no."""
    total = mass.sum()
    if total == 0:
        return tuple(np.full(said_yes.shape[1], value) for value in empty)
    return mass @ said_yes / total, mass @ said_no / total


def _logistic(values):
    # exp overflows to infinity beyond 709, and 1 / infinity is the right answer
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-values))
