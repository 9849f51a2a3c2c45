"""Dice of each output of a model with each rater, and what two sets share at best."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.metrics.overlap import dice_of_counts
from ivadomed_labelfusion.metrics.sets import hungarian_of_iou, pair_counts


@dataclass(frozen=True)
class SetDice:
    """Dice of N outputs and R raters, averaged over classes; no unit.

    Attributes:
        pairs (ndarray): ``(N, R)`` float64 in [0, 1]; two empty masks have 1, one empty mask 0.
        maximum (float): Mean over raters of the Dice of the output nearest to each (Dice max), in [0, 1].
        matched (float): Mean Dice of the best one-to-one matching (Dice match), in [0, 1], <= ``maximum`` where N = R.
    """

    pairs: NDArray
    maximum: float
    matched: float


def set_dice(samples: ArrayLike, raters: ArrayLike, *, class_axis: int | None = None) -> SetDice:
    """Return the Dice of a model's outputs with each rater, Dice max and Dice match.

    Sets of different size are both repeated up to their least common multiple before matching.

    Args:
        samples (ndarray): ``(N, *spatial)``, binary masks or values in [0, 1] (set where >= 0.5).
        raters (ndarray): ``(R, *spatial)``, likewise.
        class_axis (int): Axis of the classes, which are averaged: 1 for ``(N, C, *spatial)``; None for one class.

    Returns:
        SetDice: Per pair, maximum and matched; all 1 if all masks are empty.

    Raises:
        InputError: On NaN, values outside [0, 1], an empty set or shapes that do not fit.

    References:
        Wu et al. 2024, arXiv 2403.13417 (Dice max and Dice match).

    Example:
        >>> found = set_dice([[1, 1, 0], [0, 1, 0]], [[1, 1, 0], [1, 1, 0]])
        >>> found.maximum, round(found.matched, 3)
        (1.0, 0.833)
    """
    counts, n_samples = pair_counts(samples, raters, class_axis)
    volume = np.diagonal(counts, axis1=-2, axis2=-1)
    dice = dice_of_counts(counts, volume[..., :, None], volume[..., None, :]).mean(axis=0)
    pairs = dice[:n_samples, n_samples:]
    return SetDice(pairs, float(pairs.max(axis=0).mean()), hungarian_of_iou(dice, n_samples))
