"""Distances between two sets of segmentations: several outputs of a model against several raters.

Both rest on the intersection over union (IoU) of pairs of binary masks, averaged over classes; the IoU of two empty
masks is 1.
"""

import math

import numpy as np

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics.checks import Blocks, check_dtype, check_values


def generalized_energy_distance(samples, raters):
    """Return the squared generalised energy distance between a model's outputs and the raters' masks.

    D^2 = 2 E[d(S, Y)] - E[d(S, S')] - E[d(Y, Y')] with d = 1 - IoU, averaged over classes. The expectations run over
    all pairs, a mask paired with itself included, so D^2 >= 0 and equal sets give 0.

    Args:
        samples (ndarray): ``(N, C, *spatial)``, binary masks or values in [0, 1] (set where >= 0.5). N = 1 for a model
            with one output.
        raters (ndarray): ``(R, C, *spatial)``, likewise.

    Returns:
        float: In [0, 2]; 0.0 if all masks are empty.

    Raises:
        InputError: On NaN, values outside [0, 1], an empty set or shapes that do not fit.

    References:
        Szekely and Rizzo 2013, doi 10.1016/j.jspi.2013.03.018; Kohl et al. 2018, arXiv 1806.05034, Equation 3.
    """
    counts, n_samples = pair_counts(samples, raters)
    return energy_distance_of_iou(iou_of_counts(counts).mean(axis=0), n_samples)


def hungarian_iou(samples, raters):
    """Return the mean IoU of the best one-to-one matching between a model's outputs and the raters' masks.

    Sets of different size are both repeated up to their least common multiple before matching.

    Args:
        samples (ndarray): ``(N, C, *spatial)``, binary masks or values in [0, 1] (set where >= 0.5).
        raters (ndarray): ``(R, C, *spatial)``, likewise.

    Returns:
        float: In [0, 1]; 1.0 for equal sets, also if all masks are empty.

    Raises:
        InputError: As ``generalized_energy_distance``.

    References:
        Kohl et al. 2019, arXiv 1905.13077, Section 4 (Hungarian-matched IoU).
    """
    counts, n_samples = pair_counts(samples, raters)
    return hungarian_of_iou(iou_of_counts(counts).mean(axis=0), n_samples)


def pair_counts(samples, raters):
    """Return ``((C, N + R, N + R) voxels shared by each pair of masks, N)``; the diagonal holds the masks' volumes."""
    samples, raters = check_dtype("samples", samples), check_dtype("raters", raters)
    if samples.ndim < 3 or samples.ndim != raters.ndim or samples.shape[1:] != raters.shape[1:]:
        raise InputError(
            "samples and raters must have the shapes (N, C, *spatial) and (R, C, *spatial), "
            f"got {samples.shape} and {raters.shape}."
        )
    if not samples.shape[0] or not raters.shape[0]:
        raise InputError("samples and raters must hold at least one mask each, got none.")
    members = samples.shape[0] + raters.shape[0]
    counts = np.zeros((samples.shape[1], members, members))
    for ours, theirs in Blocks(samples, samples.ndim - 2).pieces(samples, raters):
        if ours.size:
            check_values("samples", ours.min(), ours.max())
            check_values("raters", theirs.min(), theirs.max())
        counts += shared_voxels(np.concatenate([ours >= 0.5, theirs >= 0.5]))
    return counts, samples.shape[0]


def shared_voxels(masks):
    """Return ``(C, M, M)`` voxels shared by each pair of M masks, given as bool ``(M, C, n)``."""
    used = masks.any(axis=(0, 1))
    masks = np.moveaxis(masks[..., used], 1, 0).astype(np.float32)  # exact: a block holds far fewer than 2**24 voxels
    return (masks @ masks.swapaxes(1, 2)).astype(np.float64)


def iou_of_counts(counts):
    """Return ``(C, M, M)`` IoU of each pair from ``pair_counts``; two empty masks have 1."""
    volume = np.diagonal(counts, axis1=-2, axis2=-1)
    union = volume[..., :, None] + volume[..., None, :] - counts
    return np.divide(counts, union, out=np.ones_like(counts), where=union > 0)


def energy_distance_of_iou(iou, n_samples):
    """Return the squared energy distance from ``(M, M)`` IoU values of which the first ``n_samples`` are outputs."""
    distance = 1 - iou
    across = distance[:n_samples, n_samples:].mean()
    value = 2 * across - distance[:n_samples, :n_samples].mean() - distance[n_samples:, n_samples:].mean()
    # the distance is of negative type, so anything below 0 is rounding
    return float(max(value, 0.0))


def hungarian_of_iou(iou, n_samples):
    """Return the Hungarian-matched IoU from ``(M, M)`` IoU values of which the first ``n_samples`` are outputs."""
    from scipy.optimize import linear_sum_assignment

    across = iou[:n_samples, n_samples:]
    size = math.lcm(*across.shape)
    repeated = np.tile(across, (size // across.shape[0], size // across.shape[1]))
    rows, columns = linear_sum_assignment(repeated, maximize=True)
    return float(repeated[rows, columns].mean())
