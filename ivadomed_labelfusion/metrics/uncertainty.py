"""How much uncertainty a map holds, and how close it is to the raters' own: entropy and the Brier score."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics.checks import (
    VoxelBlocks,
    check_probabilities,
    check_same_shape,
    per_class,
    with_classes,
)

ENTROPY_FORMS = ("paper", "shannon")
# ivadomed sets probabilities up to this to zero in its ``_pred.nii.gz``
HAZE = 0.01
STORED_STEPS = 255


def entropy(prob: ArrayLike, *, form: str = "paper", class_axis: int | None = None) -> float:
    """Return the total entropy of a probability map, summed over voxels, in nats.

    ``paper``: H = -sum_v sum_c p log p over the foreground classes (Equation 1 of the paper, natural logarithm).
    ``shannon``: the background's term, with p_0 = max(0, 1 - sum_c p_c), is added, which makes each voxel's term the
    Shannon entropy of its class distribution.

    Args:
        prob (ndarray): ``(*spatial)``, foreground classes in [0, 1]. 0 log 0 is 0. Where the classes sum to more
            than 1 they are taken as they are and the background is 0.
        form (str): ``paper`` or ``shannon``.
        class_axis (int): Axis of the classes, which are summed; None for one class, up to three dimensions.

    Returns:
        float: Entropy in nats, >= 0; 0.0 for an empty or a binary map.

    Raises:
        InputError: On NaN, values outside [0, 1], a missing class axis or an unknown form.

    References:
        Lemay et al. 2022, Label fusion and training methods for reliable representation of inter-rater uncertainty,
        MELBA 2022:031, Equation 1. Shannon 1948, doi 10.1002/j.1538-7305.1948.tb01338.x.

    Example:
        >>> round(entropy([0.5, 0.5, 1.0], form="shannon"), 4)  # two voxels of log 2
        1.3863
    """
    if form not in ENTROPY_FORMS:
        raise InputError(f"form must be one of {', '.join(ENTROPY_FORMS)}, got {form!r}.")
    _, prob = with_classes(class_axis, prob=prob)
    prob = check_probabilities("prob", prob)
    total = 0.0
    for (block,) in VoxelBlocks(prob, prob.ndim - 1).pieces(prob):
        block = np.clip(block.astype(np.float64), 0, 1)
        total += entr(block).sum()
        if form == "shannon":
            total += entr(np.maximum(0, 1 - block.sum(axis=0))).sum()
    return float(total)


def haze_share(prediction: ArrayLike, *, class_axis: int | None = None) -> float:
    """Return the share of the entropy (form ``paper``) that voxels of probability p <= 0.01 hold.

    Such a haze, a hundredth here and there over a whole volume, can be much of the entropy and is seen by nobody.

    Args:
        prediction (ndarray): ``(*spatial)`` in [0, 1].
        class_axis (int): Axis of the classes, each of which counts by itself; None for one class.

    Returns:
        float: In [0, 1]; NaN for a prediction without entropy.

    Raises:
        InputError: On NaN, values outside [0, 1] or a missing class axis.

    Example:
        >>> round(haze_share([0.01, 0.5]), 3)
        0.117
    """
    _, prediction = with_classes(class_axis, prediction=prediction)
    prediction = check_probabilities("prediction", prediction)
    haze = 0.0
    for (block,) in VoxelBlocks(prediction, prediction.ndim - 1).pieces(prediction):
        haze += entropy_of_haze(np.clip(block.astype(np.float64), 0, 1))
    total = entropy(prediction, class_axis=0)
    return haze / total if total > 0 else float("nan")


def entropy_of_haze(prob: NDArray) -> float:
    """Return the entropy of the values up to 0.01 of an array in [0, 1], in nats."""
    return float(entr(prob[prob <= HAZE]).sum())


def as_stored(prob: NDArray, top: float) -> NDArray:
    """Return what ivadomed's ``_pred.nii.gz`` keeps of a prediction whose labels are 8-bit files.

    Values up to 0.01 become 0, the rest is rounded to 255 steps of the largest value (NIfTI scaling). Labels in other
    integer types have finer steps, float labels none; the haze is lost in all of them.

    Args:
        prob (ndarray): Part of a prediction, in [0, 1].
        top (float): Largest value of the whole prediction.

    Returns:
        ndarray: float64, same shape.
    """
    kept = np.where(prob <= HAZE, 0.0, prob)
    return np.rint(kept * (STORED_STEPS / top)) * (top / STORED_STEPS) if top > HAZE else np.zeros_like(kept)


def entropy_error(
    prediction: ArrayLike, average: ArrayLike, *, form: str = "paper", class_axis: int | None = None
) -> float:
    """Return ``|H(prediction) - H(average)|`` of one subject in nats; its mean over subjects is the uncertainty MAE.

    Args:
        prediction (ndarray): ``(*spatial)`` in [0, 1].
        average (ndarray): Mean of the raters' masks, same shape.
        form (str): As in ``entropy``, like ``class_axis``.

    Returns:
        float: Absolute difference in nats; 0.0 when both are empty.

    Raises:
        InputError: As ``entropy``, and on different shapes.

    References:
        Lemay et al. 2022, MELBA 2022:031, Section 2.3.2.

    Example:
        >>> entropy_error([0.0, 1.0], [0.0, 1.0])
        0.0
    """
    _, prediction, average = with_classes(class_axis, prediction=prediction, average=average)
    check_same_shape("prediction", prediction, "average", average)
    return abs(entropy(prediction, form=form, class_axis=0) - entropy(average, form=form, class_axis=0))


def brier_score(prediction: ArrayLike, average: ArrayLike, *, class_axis: int | None = None) -> float | NDArray:
    """Return the Brier score: the mean over all voxels of ``(average - prediction)**2``.

    Args:
        prediction (ndarray): ``(*spatial)`` in [0, 1].
        average (ndarray): Mean of the raters' masks, same shape, in [0, 1]. A binary reference gives the classical
            score.
        class_axis (int): Axis of the classes; None for a single mask of up to three dimensions.

    Returns:
        float: In [0, 1]. Two empty maps give 0.0; a volume without voxels gives NaN. With ``class_axis`` ``(C,)``
        float64.

    Raises:
        InputError: On NaN, values outside [0, 1], different shapes or a missing class axis.

    References:
        Brier 1950, doi 10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2; Lemay et al. 2022,
        MELBA 2022:031, Equation 2.

    Example:
        >>> brier_score([0.5, 1.0], [1.0, 1.0])
        0.125
    """
    plain, prediction, average = with_classes(class_axis, prediction=prediction, average=average)
    prediction = check_probabilities("prediction", prediction)
    average = check_probabilities("average", average)
    check_same_shape("prediction", prediction, "average", average)
    total = np.zeros(prediction.shape[0])
    for ours, theirs in VoxelBlocks(prediction, prediction.ndim - 1).pieces(prediction, average):
        total += np.square(ours.astype(np.float64) - theirs).sum(axis=1)
    voxels = prediction[0].size
    return per_class(total / voxels if voxels else np.full(prediction.shape[0], np.nan), plain)
