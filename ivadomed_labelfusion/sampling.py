"""Which rater's mask a training sample gets.

A draw is a pure function of the seed, the case and the epoch. It therefore does not depend on the order of accesses or
on the number of loader workers, and the same seed always gives the same raters. Uniform sampling of one rater per
access is the "random sampling" of Jungo et al. 2018 and of Lemay et al. 2022 (MELBA 2022:031), Section 2.1.1.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.errors import InputError

POLICIES = ("uniform", "balanced", "weighted")


def draw_rater(
    n_raters: int,
    *,
    policy: str = "uniform",
    seed: int,
    case: int | tuple[int, ...],
    epoch: int,
    weights: ArrayLike | None = None,
) -> int:
    """Draw the rater whose masks a case is trained on in an epoch.

    Args:
        n_raters (int): Number of raters present, >= 1.
        policy (str): ``uniform``: every rater with equal probability, independently in every epoch. ``balanced``: every
            rater once in random order before any repeats, per case. ``weighted``: with probabilities ``weights``.
        seed (int): Seed, >= 0.
        case (int or tuple of int): What shares a draw, such as the index of a slice or of a volume, >= 0.
        epoch (int): Number of the epoch, >= 0.
        weights (array_like of float): ``(n_raters,)``, >= 0, not all 0; needed by ``weighted`` only.

    Returns:
        int: Index of the rater, 0 <= index < n_raters.

    Raises:
        InputError: If an argument is out of its range.

    >>> sorted(draw_rater(3, policy="balanced", seed=1, case=0, epoch=epoch) for epoch in range(3))
    [0, 1, 2]
    >>> draw_rater(3, policy="weighted", seed=1, case=(0, 4), epoch=7, weights=[0, 0, 2])
    2
    """
    if n_raters < 1:
        raise InputError("Sampling needs at least one rater, got none.")
    if policy not in POLICIES:
        raise InputError(f"SampleRater policy must be one of {', '.join(POLICIES)}, got {policy!r}.")
    case = case if isinstance(case, tuple) else (case,)
    if policy == "balanced":
        cycle, position = divmod(epoch, n_raters)
        return int(_generator(seed, *case, cycle).permutation(n_raters)[position])
    generator = _generator(seed, *case, epoch)
    if policy == "uniform":
        return int(generator.integers(n_raters))
    return int(generator.choice(n_raters, p=normalised_weights(weights, n_raters)))


def normalised_weights(weights: ArrayLike | None, n_raters: int) -> NDArray[np.float64]:
    """Return ``weights`` as float64 probabilities of shape ``(n_raters,)`` that sum to 1.

    Raises:
        InputError: If the number does not match, one is negative or not finite, or all are zero.

    >>> normalised_weights([1, 3], 2).tolist()
    [0.25, 0.75]
    """
    values = np.asarray(weights, dtype=np.float64) if weights is not None else np.empty(0)
    if values.shape != (n_raters,):
        raise InputError(f"weights must be {n_raters} numbers, one per rater, got {weights!r}.")
    if not np.all(np.isfinite(values)) or (values < 0).any() or values.sum() == 0:
        raise InputError(f"weights must be finite, not negative and not all zero, got {weights!r}.")
    return values / values.sum()


def youden_weights(sensitivity: ArrayLike, specificity: ArrayLike) -> NDArray[np.float64]:
    """Return weights from STAPLE's performance estimates: Youden's index, averaged over classes.

    Args:
        sensitivity (array_like): ``(n_raters,)`` or ``(n_classes, n_raters)``, in [0, 1].
        specificity (array_like): Same shape.

    Returns:
        ndarray: ``(n_raters,)`` float64; sensitivity + specificity - 1 clipped at 0. All raters weigh the same if none
        is better than chance.

    >>> youden_weights([0.75, 0.5], [1.0, 0.5]).tolist()
    [0.75, 0.0]
    """
    youden = np.clip(np.atleast_2d(np.asarray(sensitivity) + np.asarray(specificity) - 1.0), 0.0, 1.0).mean(axis=0)
    return youden if youden.sum() > 0 else np.ones_like(youden)


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
