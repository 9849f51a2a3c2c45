"""SIMPLE: leave out raters who agree badly with the consensus (Langerak et al. 2010, doi 10.1109/TMI.2010.2057442)."""

from typing import Annotated, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.fusion.patterns import Patterns, Reading, auto_patterns
from ivadomed_labelfusion.fusion.registry import METHODS, Limits, method
from ivadomed_labelfusion.fusion.result import Consensus
from ivadomed_labelfusion.fusion.shares import label_votes, posterior_of, tied_for_most
from ivadomed_labelfusion.fusion.source import Masks


def simple(
    masks: Masks,
    *,
    alpha: float = 1.5,
    weights: ArrayLike | None = None,
    max_iter: int = 100,
    **reading: Unpack[Reading],
) -> Consensus:
    """Fuse by a majority of the good raters, weighted by how good they are.

    Start from the majority; score every rater by Dice with the estimate (label maps: mean over the foreground labels);
    drop those below mean - alpha * standard deviation of the scores of the raters still in; let the others vote with
    their score as weight; repeat until the raters kept and the estimate stay the same. Ties are background (label maps:
    the lowest label).

    Args:
        masks (ndarray or sequence): ``(R, *spatial)`` binary masks or integer label maps (see `fusion.fuse`).
        alpha (float): Standard deviations below the mean at which a rater is dropped, > 0. Every drop narrows the
            spread of the others: with 1 or less, often only one or two raters are left in the end.
        weights (sequence of float): ``(R,)`` factors on the scores.
        max_iter (int): Most iterations.
        **reading: ``names``, ``region``, ``margin``, ``keep_codes``, see `Reading`.

    Returns:
        Consensus: ``posterior`` is the weighted share of the raters that were kept. ``kept`` ``(R,)`` bool, raters that
        were not dropped; ``score`` ``(R,)`` float64, Dice of every rater (dropped ones too) with the final consensus;
        ``n_iter``, estimates made after the first vote; ``converged``, whether estimate and raters were stable within
        ``max_iter``.

    Raises:
        InputError: If an argument is not as described.

    References:
        Langerak TR et al. Label fusion in atlas-based segmentation using a selective and iterative method for
        performance level estimation (SIMPLE). IEEE TMI 2010, doi 10.1109/TMI.2010.2057442.

    >>> result = simple([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 1]])
    >>> result.labels().tolist(), result.kept.tolist()
    ([1, 1, 0, 0, 0], [True, True, True, False])
    """
    return METHODS["simple"](auto_patterns(masks, **reading), alpha=alpha, weights=weights, max_iter=max_iter)


@method("simple", title="SIMPLE")
def simple_of_patterns(
    patterns: Patterns,
    *,
    alpha: Annotated[float, "drop raters so many sd below the mean", Limits(above=0)] = 1.5,
    weights: NDArray[np.float64],
    max_iter: Annotated[int, "most iterations", Limits(at_least=1)] = 100,
) -> Consensus:
    """Run SIMPLE on counted vote patterns; see `simple`."""
    n_labels = patterns.labels.size
    kept = weights > 0
    shares = label_votes(patterns.votes, n_labels, weights * kept)
    estimate, voting = tied_for_most(shares).argmax(axis=1), weights
    converged = False
    n_iter = 0
    while n_iter < max_iter and not converged:
        n_iter += 1
        score = dice_with(patterns, estimate)
        threshold = score[kept].mean() - alpha * score[kept].std()
        # rounding must not drop a rater when all scores are equal
        still = kept & (score >= threshold - 1e-12)
        voting = weights * still * score
        if not voting.any():  # nobody overlaps with the estimate at all
            voting = weights * still
        shares = label_votes(patterns.votes, n_labels, voting)
        updated = tied_for_most(shares).argmax(axis=1)
        converged = bool((still == kept).all() and (updated == estimate).all())
        kept, estimate = still, updated
    shares /= voting.sum()
    return Consensus(
        patterns,
        estimate,
        posterior_of(shares),
        per_rater={"kept": kept, "score": dice_with(patterns, estimate)},
        n_iter=n_iter,
        converged=converged,
    )


def dice_with(patterns: Patterns, estimate: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return every rater's Dice with a labelling of the patterns, ``(R,)``: the mean over foreground labels in use.

    Both empty gives 1.

    >>> patterns = auto_patterns([[0, 1, 1], [0, 1, 0]])
    >>> dice_with(patterns, patterns.votes[:, 0]).round(2).tolist()
    [1.0, 0.67]
    """
    counts = patterns.counts.astype(np.float64)
    scores = []
    for label in range(1, patterns.labels.size):
        rater, other = patterns.votes == label, estimate == label
        both = counts @ (rater & other[:, None])
        size = counts @ rater + counts @ other
        scores.append(np.divide(2 * both, size, out=np.full(size.shape, np.nan), where=size > 0))
    if not scores:
        return np.ones(patterns.n_raters)
    scores = np.stack(scores)
    used = ~np.isnan(scores)
    mean = np.where(used, scores, 0).sum(axis=0) / np.maximum(used.sum(axis=0), 1)
    return np.where(used.any(axis=0), mean, 1.0)
