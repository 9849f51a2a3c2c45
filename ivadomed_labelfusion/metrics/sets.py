"""Distances between two sets of segmentations: several outputs of a model against several raters.

Both rest on the intersection over union (IoU) of pairs of binary masks, averaged over classes; the IoU of two empty
masks is 1.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics.checks import VoxelBlocks, check_values, with_classes


def generalized_energy_distance(samples: ArrayLike, raters: ArrayLike, *, class_axis: int | None = None) -> float:
    """Return the squared generalised energy distance between a model's outputs and the raters' masks.

    D^2 = 2 E[d(S, Y)] - E[d(S, S')] - E[d(Y, Y')] with d = 1 - IoU, averaged over classes. The expectations run over
    all pairs, a mask paired with itself included, so D^2 >= 0 and equal sets give 0.

    Args:
        samples (ndarray): ``(N, *spatial)``, binary masks or values in [0, 1] (set where >= 0.5). N = 1 for a model
            with one output.
        raters (ndarray): ``(R, *spatial)``, likewise.
        class_axis (int): Axis of the classes, which are averaged: 1 for ``(N, C, *spatial)``; None for one class.

    Returns:
        float: In [0, 2]; 0.0 if all masks are empty.

    Raises:
        InputError: On NaN, values outside [0, 1], an empty set or shapes that do not fit.

    References:
        Szekely and Rizzo 2013, doi 10.1016/j.jspi.2013.03.018; Kohl et al. 2018, arXiv 1806.05034, Equation 3.

    Example:
        >>> generalized_energy_distance([[1, 1, 0]], [[1, 1, 0], [1, 0, 0]])
        0.25
    """
    counts, n_samples = pair_counts(samples, raters, class_axis)
    return energy_distance_of_iou(iou_of_counts(counts).mean(axis=0), n_samples)


def hungarian_iou(samples: ArrayLike, raters: ArrayLike, *, class_axis: int | None = None) -> float:
    """Return the mean IoU of the best one-to-one matching between a model's outputs and the raters' masks.

    Sets of different size are both repeated up to their least common multiple before matching.

    Args:
        samples (ndarray): ``(N, *spatial)``, binary masks or values in [0, 1] (set where >= 0.5).
        raters (ndarray): ``(R, *spatial)``, likewise.
        class_axis (int): Axis of the classes, which are averaged: 1 for ``(N, C, *spatial)``; None for one class.

    Returns:
        float: In [0, 1]; 1.0 for equal sets, also if all masks are empty.

    Raises:
        InputError: As ``generalized_energy_distance``.

    References:
        Kohl et al. 2019, arXiv 1905.13077, Section 4 (Hungarian-matched IoU).

    Example:
        >>> hungarian_iou([[1, 1, 0]], [[1, 1, 0], [1, 0, 0]])
        0.75
    """
    counts, n_samples = pair_counts(samples, raters, class_axis)
    return hungarian_of_iou(iou_of_counts(counts).mean(axis=0), n_samples)


def pair_counts(samples: ArrayLike, raters: ArrayLike, class_axis: int | None) -> tuple[NDArray, int]:
    """Return ``((C, N + R, N + R) voxels shared by each pair of masks, N)``; the diagonal holds the masks' volumes."""
    _, samples, raters = with_classes(class_axis, before=1, samples=samples, raters=raters)
    if samples.ndim < 3 or samples.ndim != raters.ndim or samples.shape[1:] != raters.shape[1:]:
        raise InputError(
            "samples and raters must have the shapes (N, *spatial) and (R, *spatial), classes after the first axis, "
            f"got {samples.shape} and {raters.shape}."
        )
    if not samples.shape[0] or not raters.shape[0]:
        raise InputError("samples and raters must hold at least one mask each, got none.")
    members = samples.shape[0] + raters.shape[0]
    counts = np.zeros((samples.shape[1], members, members))
    for ours, theirs in VoxelBlocks(samples, samples.ndim - 2).pieces(samples, raters):
        if ours.size:
            check_values("samples", ours.min(), ours.max())
            check_values("raters", theirs.min(), theirs.max())
        counts += shared_voxels(np.concatenate([ours >= 0.5, theirs >= 0.5]))
    return counts, samples.shape[0]


def shared_voxels(masks: NDArray) -> NDArray:
    """Return ``(C, M, M)`` voxels shared by each pair of M masks, given as bool ``(M, C, n)``."""
    used = masks.any(axis=(0, 1))
    masks = np.moveaxis(masks[..., used], 1, 0).astype(np.float32)  # exact: a block holds far fewer than 2**24 voxels
    return (masks @ masks.swapaxes(1, 2)).astype(np.float64)


def iou_of_counts(counts: NDArray) -> NDArray:
    """Return ``(C, M, M)`` IoU of each pair from ``pair_counts``; two empty masks have 1."""
    volume = np.diagonal(counts, axis1=-2, axis2=-1)
    union = volume[..., :, None] + volume[..., None, :] - counts
    return np.divide(counts, union, out=np.ones_like(counts), where=union > 0)


def energy_distance_of_iou(iou: NDArray, n_samples: int) -> float:
    """Return the squared energy distance from ``(M, M)`` IoU values of which the first ``n_samples`` are outputs."""
    distance = 1 - iou
    across = distance[:n_samples, n_samples:].mean()
    value = 2 * across - distance[:n_samples, :n_samples].mean() - distance[n_samples:, n_samples:].mean()
    # the distance is of negative type, so anything below 0 is rounding
    return float(max(value, 0.0))


def hungarian_of_iou(iou: NDArray, n_samples: int) -> float:
    """Return the Hungarian-matched IoU from ``(M, M)`` IoU values of which the first ``n_samples`` are outputs."""
    from scipy.optimize import linear_sum_assignment

    across = iou[:n_samples, n_samples:]
    size = math.lcm(*across.shape)
    repeated = np.tile(across, (size // across.shape[0], size // across.shape[1]))
    rows, columns = linear_sum_assignment(repeated, maximize=True)
    return float(repeated[rows, columns].mean())


def agreement_of_counts(shared: NDArray) -> tuple[NDArray, NDArray]:
    """Return the mean Dice of the first mask with the others, and of the others with each other.

    Args:
        shared (ndarray): ``(C, 1 + R, 1 + R)`` voxels shared by each pair.

    Returns:
        tuple: Two ``(C,)`` float64 in [0, 1]; two empty masks agree. NaN among the others where R is 1.
    """
    model, panel = np.full((2, len(shared)), np.nan)
    for index, table in enumerate(shared):
        volumes = np.diag(table)
        total = volumes[:, None] + volumes
        dice = np.divide(2 * table, total, out=np.ones_like(total), where=total > 0)
        among = dice[1:, 1:][np.triu_indices(volumes.size - 1, 1)]
        model[index] = dice[0, 1:].mean()
        panel[index] = among.mean() if among.size else np.nan
    return model, panel
