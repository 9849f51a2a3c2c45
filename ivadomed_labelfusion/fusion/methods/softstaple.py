"""Soft STAPLE: STAPLE of soft masks, or of masks widened by voxels of less confidence (Kats et al. 2019)."""

from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.methods.multilabel import MAX_ITER
from ivadomed_labelfusion.fusion.methods.staple import TOL
from ivadomed_labelfusion.fusion.patterns import Patterns
from ivadomed_labelfusion.fusion.registry import Limits, method
from ivadomed_labelfusion.fusion.result import Consensus
from ivadomed_labelfusion.fusion.soft import SoftConsensus, SoftMasks
from ivadomed_labelfusion.fusion.staple_em import em

# steps are coded in one byte
MOST_STEPS = 250


def steps_from(mask: NDArray[np.uint8], reach: int) -> NDArray[np.uint8]:
    """Return 1 in the mask, 1 + d at d steps from it for d <= ``reach``, else 0; a step goes to a face's neighbour.

    >>> steps_from(np.array([0, 0, 0, 1, 0], np.uint8), 2).tolist()
    [0, 3, 2, 1, 2]
    """
    steps = (mask != 0).astype(np.uint8)
    if not steps.any():
        return steps
    # only the mask's box and its reach can change
    marks = [np.flatnonzero(steps.any(axis=tuple(np.delete(range(steps.ndim), axis)))) for axis in range(steps.ndim)]
    part = steps[tuple(slice(max(0, found[0] - reach), found[-1] + 1 + reach) for found in marks)]
    for step in range(2, reach + 2):
        reached = part != 0
        for axis in range(part.ndim):
            there, here = np.moveaxis(part, axis, 0), np.moveaxis(reached, axis, 0)
            for target, source in ((there[1:], here[:-1]), (there[:-1], here[1:])):
                target[(target == 0) & source] = step
        if reached.all():
            break
    return steps


def _of_soft(
    masks: SoftMasks, *, weights: NDArray[np.float64], reach: int, halving: float, tol: float, max_iter: int
) -> Consensus:
    """Fuse soft masks as they are; every iteration reads them once."""
    rates, findings = em(masks.rows, weights, 1.0, tol, max_iter)
    return SoftConsensus(masks, rates, **findings)


@method("softstaple", title="soft STAPLE", binary_only=True, of_soft=_of_soft)
def softstaple_of_patterns(
    patterns: Patterns,
    *,
    weights: NDArray[np.float64],
    reach: Annotated[int, "steps by which masks are widened; 0 is STAPLE", Limits(at_least=0)] = 1,
    halving: Annotated[float, "steps over which confidence halves", Limits(above=0)] = 0.5,
    tol: Annotated[float, "change that ends the iteration", Limits(at_least=0)] = TOL,
    max_iter: Annotated[int, "most iterations", Limits(at_least=1)] = MAX_ITER,
) -> Consensus:
    """Run STAPLE on soft labels.

    Masks become soft labels: 1 inside, ``2 ** (-d / halving)`` at d <= ``reach`` steps (from face to face) outside, 0
    beyond. (Kats et al. add the surroundings of a lesion with one smaller confidence; so does a reach of 1. That it
    falls off with the distance is ours, and so is the default, a quarter of a vote at one step: with half a vote, the
    consensus of equal masks would outgrow them.) Soft masks are taken as they are. A soft value splits the rater's
    vote, see `fusion.staple_em`.

    Masks take ``reach + 2`` values, hence have vote patterns: exact, as all methods on these. The masks, one byte per
    voxel and rater, are in memory meanwhile. Soft masks are read again in every iteration, block by block.

    Args:
        patterns: Votes of masks; votes outside a region given as mask or box are left out before widening, and the
            region ``union`` is that of the widened masks.
        weights: ``(R,)``; a rater of weight 2 counts as two raters with equal masks.
        reach, halving: As above; not used for soft masks.
        tol, max_iter: See `fusion.staple`.

    Returns:
        Consensus: As of `fusion.staple`; ``sensitivity`` is the share of a vote that a rater gives to true foreground.

    References:
        Kats E, Goldberger J, Greenspan H. A soft STAPLE algorithm combined with anatomical knowledge. MICCAI 2019,
        doi 10.1007/978-3-030-32248-9_57.
    """
    if reach > MOST_STEPS:
        raise InputError(f"reach must be at most {MOST_STEPS} voxels, got {reach}.")
    soft = patterns.recoded([steps_from(patterns.expand(votes, np.uint8), reach) for votes in patterns.votes.T])
    steps = soft.labels[soft.votes]
    values = np.where(steps > 0, 2.0 ** (-(np.maximum(steps, 1) - 1) / halving), 0.0).T
    counts = soft.counts.astype(np.float64)
    rates, findings = em(lambda: [(values, counts)], weights, 1.0, tol, max_iter)
    truth = rates(values)
    # rows of equal votes may repeat: they are one pattern to whoever counts
    seen = replace(
        soft,
        votes=(steps == 1).astype(np.uint8),
        labels=patterns.labels,
        n_outside=patterns.n_outside,
        notes=patterns.notes,
    )
    return Consensus(seen, truth > 0.5, truth, **findings)
