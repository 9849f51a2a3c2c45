"""SIMPLE: leave out raters who agree badly with the consensus (Langerak et al. 2010, doi 10.1109/TMI.2010.2057442)."""

from dataclasses import dataclass

import numpy as np

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.consensus import Consensus
from ivadomed_labelfusion.fusion.patterns import auto_patterns
from ivadomed_labelfusion.fusion.source import check_weights
from ivadomed_labelfusion.fusion.staple import check_em
from ivadomed_labelfusion.fusion.voting import label_votes, tied_for_most


@dataclass(eq=False)
class SimpleResult(Consensus):
    """The outcome of SIMPLE; ``posterior`` is the weighted share of the raters that were kept.

    Attributes:
        kept (ndarray): ``(R,)`` bool, raters that were not dropped.
        score (ndarray): ``(R,)`` float64, Dice of every rater (dropped ones too) with the final consensus.
        n_iter (int): Estimates made after the first vote.
        converged (bool): Whether estimate and raters were stable within ``max_iter``.
    """

    kept: np.ndarray
    score: np.ndarray
    n_iter: int
    converged: bool


def simple(masks, *, alpha=1.5, weights=None, region="image", margin=10, max_iter=100, names=None, keep_codes=True):
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
        region, margin, names, keep_codes: See `fusion.staple`.

    Returns:
        SimpleResult

    Raises:
        InputError: If an argument is not as described.

    References:
        Langerak TR et al. Label fusion in atlas-based segmentation using a selective and iterative method for
        performance level estimation (SIMPLE). IEEE TMI 2010, doi 10.1109/TMI.2010.2057442.
    """
    patterns = auto_patterns(masks, names=names, region=region, margin=margin, keep=keep_codes)
    return simple_of_patterns(patterns, alpha=alpha, weights=weights, max_iter=max_iter)


def simple_of_patterns(patterns, *, alpha=1.5, weights=None, max_iter=100):
    """Run SIMPLE on counted vote patterns; see `simple`."""
    weights = check_weights(weights, patterns.n_raters)
    check_em(0, max_iter)
    if not alpha > 0:
        raise InputError(f"alpha must be a number > 0, got {alpha!r}.")
    n_labels = patterns.labels.size
    kept = weights > 0
    shares = label_votes(patterns.votes, n_labels, weights * kept)
    estimate = tied_for_most(shares).argmax(axis=1)
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
    return SimpleResult(
        method="simple",
        parameters={"alpha": alpha, "weights": weights.tolist(), "max_iter": max_iter},
        patterns=patterns,
        pattern_labels=estimate.astype(np.uint8),
        pattern_posterior=shares if n_labels > 2 else shares[:, 1],
        kept=kept,
        score=dice_with(patterns, estimate),
        n_iter=n_iter,
        converged=converged,
    )


def dice_with(patterns, estimate):
    """Return every rater's Dice with a labelling of the patterns, ``(R,)``: the mean over foreground labels in use.

    Both empty gives 1.
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
