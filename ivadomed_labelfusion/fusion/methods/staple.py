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
from ivadomed_labelfusion.fusion.result import Consensus
from ivadomed_labelfusion.fusion.source import Masks
from ivadomed_labelfusion.fusion.staple_em import em

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
    votes, counts = patterns.votes.T.astype(np.float64), patterns.counts.astype(np.float64)
    raters, findings = em(lambda: [(votes, counts)], weights, confidence_weight, tol, max_iter)
    truth = raters(votes)
    result = Consensus(patterns, truth > 0.5, truth, **findings)
    result.parameters = {
        "weights": weights.tolist(),
        "confidence_weight": confidence_weight,
        "tol": tol,
        "max_iter": max_iter,
    }
    return result
