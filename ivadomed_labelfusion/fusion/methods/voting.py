"""Fusion by counting votes: average, majority, intersection, union."""

from typing import Annotated, Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.patterns import Patterns, Reading, auto_patterns, binary_patterns
from ivadomed_labelfusion.fusion.registry import METHODS, method
from ivadomed_labelfusion.fusion.result import Consensus
from ivadomed_labelfusion.fusion.shares import label_votes, posterior_of, tied_for_most
from ivadomed_labelfusion.fusion.soft import SoftConsensus, SoftMasks, is_soft
from ivadomed_labelfusion.fusion.source import Masks
from ivadomed_labelfusion.fusion.ties import Ties


def average(masks: Masks, *, weights: ArrayLike | None = None, **reading: Unpack[Reading]) -> NDArray[np.float32]:
    """Return the raters' mean.

    Args:
        masks (ndarray or sequence): ``(R, *spatial)`` binary masks (see `fusion.staple`) or soft ones in [0, 1].
        weights: ``(R,)``, see `fusion.staple`; the mean is weighted.
        **reading: ``names``, ``region``, ``margin``, ``keep_codes``, see `Reading`; the mean is 0 outside the region.

    Returns:
        ndarray: ``(*spatial)`` float32 in [0, 1].

    Raises:
        InputError: If masks hold values outside [0, 1] or NaN, or weights or region are not as described.

    >>> average([[0, 1, 1, 0], [0, 1, 0, 0]]).tolist()
    [0.0, 1.0, 0.5, 0.0]
    >>> average([[0.25, 1.0], [0.75, 1.0]], weights=[3, 1]).tolist()
    [0.375, 1.0]
    """
    if is_soft(masks, reading.get("names")):
        reading.pop("keep_codes", None)  # nothing of the volume's size is kept
        return METHODS["average"].of_soft_masks(masks, weights=weights, **reading).posterior
    return METHODS["average"](binary_patterns(masks, **reading), weights=weights).posterior


def _average_of_soft(masks: SoftMasks, *, weights: NDArray[np.float64]) -> Consensus:
    """Average soft masks, in the raters' order, so that the sums do not depend on how the volume is read."""
    return SoftConsensus(
        masks, lambda values: sum(weight * mask for weight, mask in zip(weights, values, strict=True)) / weights.sum()
    )


@method("average", soft=True, classes="apart", of_soft=_average_of_soft)
def average_of_patterns(patterns: Patterns, *, weights: NDArray[np.float64]) -> Consensus:
    """Average counted vote patterns; the hard labels are those above 0.5 (binary) or of the majority (label maps)."""
    shares = label_votes(patterns.votes, patterns.labels.size, weights) / weights.sum()
    return Consensus(patterns, tied_for_most(shares).argmax(axis=1), posterior_of(shares))


def majority(
    masks: Masks, *, ties: Ties = "lowest", weights: ArrayLike | None = None, **reading: Unpack[Reading]
) -> NDArray[Any]:
    """Return the label that most raters gave.

    Args:
        masks (ndarray or sequence): ``(R, *spatial)`` binary masks or integer label maps (see `fusion.fuse`).
        ties (str): What equally many votes give. ``lowest``: the lowest tied label, so background in binary masks.
            ``background``: 0. ``foreground``: the lowest tied label that is not 0. ``error``: an InputError that says
            how many voxels are undecided.
        weights: ``(R,)``, see `fusion.staple`; votes are weighted.
        **reading: ``names``, ``region``, ``margin``, ``keep_codes``, see `Reading`.

    Returns:
        ndarray: ``(*spatial)`` uint8 (wider if label values need it).

    Raises:
        InputError: If masks, ties, weights or region are not as described, or on a tie with ``error``.

    >>> majority([[0, 1, 1, 2], [0, 1, 0, 2], [0, 0, 1, 1]]).tolist()
    [0, 1, 1, 2]
    >>> majority([[0, 1], [1, 1]], ties="foreground").tolist()
    [1, 1]
    """
    return METHODS["majority"](auto_patterns(masks, **reading), ties=ties, weights=weights).labels()


@method("majority", reference=True)
def majority_of_patterns(
    patterns: Patterns, *, ties: Annotated[Ties, "what tied votes give"] = "lowest", weights: NDArray[np.float64]
) -> Consensus:
    """Take the majority in counted vote patterns; see `majority`."""
    shares = label_votes(patterns.votes, patterns.labels.size, weights) / weights.sum()
    tied = tied_for_most(shares)
    undecided = tied.sum(axis=1) > 1
    if ties == "error" and undecided.any():
        raise InputError(
            f"{patterns.counts[undecided].sum()} voxels have equally many votes for several labels. "
            "Choose ties: lowest, background or foreground."
        )
    labels = tied.argmax(axis=1)
    if ties == "background":
        labels[undecided] = 0
    elif ties == "foreground":
        # the lowest tied label without column 0
        labels[undecided] = tied[undecided, 1:].argmax(axis=1) + 1
    return Consensus(patterns, labels, posterior_of(shares))


def intersection(masks: Masks, *, weights: ArrayLike | None = None, **reading: Unpack[Reading]) -> NDArray[Any]:
    """Return where all raters agree on foreground: 1, or the common label of label maps; 0 elsewhere.

    Arguments as for `fusion.majority`; a rater of weight 0 is left out, other weights do not matter.

    Returns:
        ndarray: ``(*spatial)`` uint8 (wider if label values need it).

    >>> intersection([[0, 1, 1], [0, 1, 0], [0, 1, 1]]).tolist()
    [0, 1, 0]
    """
    return METHODS["intersection"](auto_patterns(masks, **reading), weights=weights).labels()


@method("intersection", graded=False)
def intersection_of_patterns(patterns: Patterns, *, weights: NDArray[np.float64]) -> Consensus:
    """Intersect counted vote patterns; see `intersection`."""
    votes = patterns.votes[:, weights > 0]
    labels = np.where((votes == votes[:, :1]).all(axis=1), votes[:, 0], 0)
    return _certain(patterns, labels)


def union(masks: Masks, *, weights: ArrayLike | None = None, **reading: Unpack[Reading]) -> NDArray[Any]:
    """Return where any rater marked foreground.

    Arguments as for `fusion.majority`; a rater of weight 0 is left out, other weights do not matter.

    Returns:
        ndarray: ``(*spatial)`` uint8.

    Raises:
        InputError: For label maps in which raters gave one voxel different foreground labels: their union is undefined.

    >>> union([[0, 1, 1], [0, 1, 0]]).tolist()
    [0, 1, 1]
    """
    return METHODS["union"](auto_patterns(masks, **reading), weights=weights).labels()


@method("union", classes="apart", graded=False)
def union_of_patterns(patterns: Patterns, *, weights: NDArray[np.float64]) -> Consensus:
    """Unite counted vote patterns; see `union`."""
    votes = patterns.votes[:, weights > 0]
    labels = votes.max(axis=1)
    conflict = ((votes != 0) & (votes != labels[:, None])).any(axis=1)
    if conflict.any():
        raise InputError(
            "The union of label maps is undefined where raters gave different labels: "
            f"{patterns.counts[conflict].sum()} voxels. Take the union of "
            "each class by itself (fuse_classes), or majority."
        )
    return _certain(patterns, labels)


def _certain(patterns: Patterns, labels: NDArray[Any]) -> Consensus:
    """Return labels as a consensus without any doubt."""
    return Consensus(patterns, labels, posterior_of(np.eye(patterns.labels.size)[labels]))
