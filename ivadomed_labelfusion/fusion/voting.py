"""Fusion by counting votes: average, majority, intersection, union."""

import numpy as np

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.consensus import Consensus
from ivadomed_labelfusion.fusion.patterns import auto_patterns, binary_patterns
from ivadomed_labelfusion.fusion.source import check_weights

TIES = ("lowest", "background", "foreground", "error")


def label_votes(votes, n_labels, weights):
    """Return ``(P, K)``: the weight of the raters who gave each label, per pattern."""
    return np.stack([(votes == label) @ weights for label in range(n_labels)], axis=1)


def tied_for_most(shares):
    """Return ``(P, K)`` bool: the labels with the most votes, those within rounding of the most included."""
    most = shares.max(axis=1, keepdims=True)
    return shares >= most * (1 - 1e-12)


def average(masks, *, weights=None, region="image", margin=10, names=None, keep_codes=True):
    """Return the raters' mean.

    Args:
        masks (ndarray or sequence): ``(R, *spatial)`` binary masks (see `fusion.staple`) or soft ones in [0, 1].
        weights, region, margin, names, keep_codes: See `fusion.staple`; the mean is weighted, and 0 outside the region.

    Returns:
        ndarray: ``(*spatial)`` float32 in [0, 1].

    Raises:
        InputError: If masks hold values outside [0, 1] or NaN, or weights or region are not as described.
    """
    from ivadomed_labelfusion.fusion.soft import SoftAverage, is_soft

    if is_soft(masks, names):
        return SoftAverage(masks, weights=weights, region=region, margin=margin, names=names).posterior
    patterns = binary_patterns(masks, names=names, region=region, margin=margin, keep=keep_codes)
    return average_of_patterns(patterns, weights=weights).posterior


def average_of_patterns(patterns, *, weights=None):
    """Average counted vote patterns; the hard labels are those above 0.5 (binary) or of the majority (label maps)."""
    weights = check_weights(weights, patterns.n_raters)
    shares = label_votes(patterns.votes, patterns.labels.size, weights) / weights.sum()
    multilabel = patterns.labels.size > 2
    return Consensus(
        method="average",
        parameters={"weights": weights.tolist()},
        patterns=patterns,
        pattern_labels=tied_for_most(shares).argmax(axis=1).astype(np.uint8),
        pattern_posterior=shares if multilabel else shares[:, 1],
    )


def majority(masks, *, ties="lowest", weights=None, region="image", margin=10, names=None, keep_codes=True):
    """Return the label that most raters gave.

    Args:
        masks (ndarray or sequence): ``(R, *spatial)`` binary masks or integer label maps (see `fusion.fuse`).
        ties (str): What equally many votes give. ``lowest``: the lowest tied label, so background in binary masks.
            ``background``: 0. ``foreground``: the lowest tied label that is not 0. ``error``: an InputError that says
            how many voxels are undecided.
        weights, region, margin, names, keep_codes: See `fusion.staple`; votes are weighted.

    Returns:
        ndarray: ``(*spatial)`` uint8 (wider if label values need it).

    Raises:
        InputError: If masks, ties, weights or region are not as described, or on a tie with ``error``.
    """
    patterns = auto_patterns(masks, names=names, region=region, margin=margin, keep=keep_codes)
    return majority_of_patterns(patterns, ties=ties, weights=weights).labels()


def majority_of_patterns(patterns, *, ties="lowest", weights=None):
    """Take the majority in counted vote patterns; see `majority`."""
    if ties not in TIES:
        raise InputError(f"ties must be one of {', '.join(TIES)}, got {ties!r}.")
    weights = check_weights(weights, patterns.n_raters)
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
    return Consensus(
        method="majority",
        parameters={"ties": ties, "weights": weights.tolist()},
        patterns=patterns,
        pattern_labels=labels.astype(np.uint8),
        pattern_posterior=shares if patterns.labels.size > 2 else shares[:, 1],
    )


def intersection(masks, *, weights=None, region="image", margin=10, names=None, keep_codes=True):
    """Return where all raters agree on foreground: 1, or the common label of label maps; 0 elsewhere.

    Arguments as for `fusion.majority`; a rater of weight 0 is left out, other weights do not matter.

    Returns:
        ndarray: ``(*spatial)`` uint8 (wider if label values need it).
    """
    patterns = auto_patterns(masks, names=names, region=region, margin=margin, keep=keep_codes)
    return intersection_of_patterns(patterns, weights=weights).labels()


def intersection_of_patterns(patterns, *, weights=None):
    """Intersect counted vote patterns; see `intersection`."""
    weights = check_weights(weights, patterns.n_raters)
    votes = patterns.votes[:, weights > 0]
    labels = np.where((votes == votes[:, :1]).all(axis=1), votes[:, 0], 0)
    return _unweighted("intersection", patterns, weights, labels)


def union(masks, *, weights=None, region="image", margin=10, names=None, keep_codes=True):
    """Return where any rater marked foreground.

    Arguments as for `fusion.majority`; a rater of weight 0 is left out, other weights do not matter.

    Returns:
        ndarray: ``(*spatial)`` uint8.

    Raises:
        InputError: For label maps in which raters gave one voxel different foreground labels: their union is undefined.
    """
    patterns = auto_patterns(masks, names=names, region=region, margin=margin, keep=keep_codes)
    return union_of_patterns(patterns, weights=weights).labels()


def union_of_patterns(patterns, *, weights=None):
    """Unite counted vote patterns; see `union`."""
    weights = check_weights(weights, patterns.n_raters)
    votes = patterns.votes[:, weights > 0]
    labels = votes.max(axis=1)
    conflict = ((votes != 0) & (votes != labels[:, None])).any(axis=1)
    if conflict.any():
        raise InputError(
            "The union of label maps is undefined where raters gave different labels: "
            f"{patterns.counts[conflict].sum()} voxels. Take the union of "
            "each class by itself (fuse_classes), or majority."
        )
    return _unweighted("union", patterns, weights, labels)


def _unweighted(method, patterns, weights, labels):
    labels = labels.astype(np.uint8)
    multilabel = patterns.labels.size > 2
    return Consensus(
        method=method,
        parameters={"weights": weights.tolist()},
        patterns=patterns,
        pattern_labels=labels,
        pattern_posterior=np.eye(patterns.labels.size)[labels] if multilabel else labels.astype(np.float64),
    )
