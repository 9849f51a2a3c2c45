"""How much uncertainty a map holds, and how close it is to the raters' own: entropy and the Brier score."""

import numpy as np
from scipy.special import entr

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics.checks import Blocks, check_probabilities, check_same_shape

ENTROPY_FORMS = ("paper", "shannon")
# ivadomed sets probabilities up to this to zero in its ``_pred.nii.gz``
HAZE = 0.01
STORED_STEPS = 255


def entropy(prob, *, form="paper"):
    """Return the total entropy of a probability map, summed over voxels, in nats.

    ``paper``: H = -sum_v sum_c p log p over the foreground classes (Equation 1 of the paper, natural logarithm).
    ``shannon``: the background's term, with p_0 = max(0, 1 - sum_c p_c), is added, which makes each voxel's term the
    Shannon entropy of its class distribution.

    Args:
        prob (ndarray): ``(C, *spatial)``, foreground classes in [0, 1]. 0 log 0 is 0. Where the classes sum to more
            than 1 they are taken as they are and the background is 0.
        form (str): ``paper`` or ``shannon``.

    Returns:
        float: Entropy in nats, >= 0; 0.0 for an empty or a binary map.

    Raises:
        InputError: On NaN, values outside [0, 1], a missing class axis or an unknown form.

    References:
        Lemay et al. 2022, Label fusion and training methods for reliable representation of inter-rater uncertainty,
        MELBA 2022:031, Equation 1. Shannon 1948, doi 10.1002/j.1538-7305.1948.tb01338.x.
    """
    if form not in ENTROPY_FORMS:
        raise InputError(f"form must be one of {', '.join(ENTROPY_FORMS)}, got {form!r}.")
    prob = check_probabilities("prob", prob)
    total = 0.0
    for (block,) in Blocks(prob, prob.ndim - 1).pieces(prob):
        block = np.clip(block.astype(np.float64), 0, 1)
        total += entr(block).sum()
        if form == "shannon":
            total += entr(np.maximum(0, 1 - block.sum(axis=0))).sum()
    return float(total)


def haze_share(prediction):
    """Return the share of the entropy (form ``paper``) that voxels of probability p <= 0.01 hold.

    Such a haze, a hundredth here and there over a whole volume, can be much of the entropy and is seen by nobody.

    Args:
        prediction (ndarray): ``(C, *spatial)`` in [0, 1]; each class counts by itself.

    Returns:
        float: In [0, 1]; NaN for a prediction without entropy.

    Raises:
        InputError: On NaN, values outside [0, 1] or a missing class axis.
    """
    prediction = check_probabilities("prediction", prediction)
    haze = 0.0
    for (block,) in Blocks(prediction, prediction.ndim - 1).pieces(prediction):
        haze += entropy_of_haze(np.clip(block.astype(np.float64), 0, 1))
    total = entropy(prediction)
    return haze / total if total > 0 else float("nan")


def entropy_of_haze(prob):
    """Return the entropy of the values up to 0.01 of an array in [0, 1], in nats."""
    return float(entr(prob[prob <= HAZE]).sum())


def as_stored(prob, top):
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


def entropy_error(prediction, average, *, form="paper"):
    """Return ``|H(prediction) - H(average)|`` of one subject in nats; its mean over subjects is the uncertainty MAE.

    Args:
        prediction (ndarray): ``(C, *spatial)`` in [0, 1].
        average (ndarray): Mean of the raters' masks, same shape.
        form (str): As in ``entropy``.

    Returns:
        float: Absolute difference in nats; 0.0 when both are empty.

    Raises:
        InputError: As ``entropy``, and on different shapes.

    References:
        Lemay et al. 2022, MELBA 2022:031, Section 2.3.2.
    """
    check_same_shape("prediction", np.asarray(prediction), "average", np.asarray(average))
    return abs(entropy(prediction, form=form) - entropy(average, form=form))


def brier_score(prediction, average):
    """Return the Brier score of each class: the mean over all voxels of ``(average - prediction)**2``.

    Args:
        prediction (ndarray): ``(C, *spatial)`` in [0, 1].
        average (ndarray): Mean of the raters' masks, same shape, in [0, 1]. A binary reference gives the classical
            score.

    Returns:
        ndarray: ``(C,)`` float64 in [0, 1]. Two empty maps give 0.0; a volume without voxels gives NaN.

    Raises:
        InputError: On NaN, values outside [0, 1], different shapes or a missing class axis.

    References:
        Brier 1950, doi 10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2; Lemay et al. 2022,
        MELBA 2022:031, Equation 2.
    """
    prediction = check_probabilities("prediction", prediction)
    average = check_probabilities("average", average)
    check_same_shape("prediction", prediction, "average", average)
    total = np.zeros(prediction.shape[0])
    for ours, theirs in Blocks(prediction, prediction.ndim - 1).pieces(prediction, average):
        total += np.square(ours.astype(np.float64) - theirs).sum(axis=1)
    voxels = prediction[0].size
    return total / voxels if voxels else np.full(prediction.shape[0], np.nan)
