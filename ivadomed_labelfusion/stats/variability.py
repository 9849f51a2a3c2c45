"""Is a model within inter-rater variability? Its agreement with the raters beside the raters' with each other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.stats.intervals import clustered_mean
from ivadomed_labelfusion.stats.means import mean_over_models, model_weights

WITHIN, OUTSIDE, UNDECIDED = "within", "outside", "undecided"


@dataclass(frozen=True)
class VariabilityTest:
    """Outcome of `within_rater_variability`.

    Attributes:
        verdict (str): ``within``, ``outside`` or ``undecided``.
        model (float): Mean agreement of the model with the raters.
        raters (float): Mean agreement of the raters with each other.
        difference (float): ``model - raters``.
        interval (tuple of float): 95 % interval of the difference, see `ClusteredMean.interval`.
        p_value (float): Two-sided, of no difference; NaN with fewer than 3 subjects or splits.
        n_clusters (tuple of int): Subjects and splits.
    """

    verdict: str
    model: float
    raters: float
    difference: float
    interval: tuple[float, float]
    p_value: float
    n_clusters: tuple[int, ...]


def within_rater_variability(
    model: ArrayLike, raters: ArrayLike, *, subjects: ArrayLike, splits: ArrayLike | None = None
) -> VariabilityTest:
    """Test whether a model agrees with the raters as well as they agree with each other.

    ``within``: the 95 % interval of the mean difference lies above zero, that is the model could not be told from a
    rater by disagreeing more. ``outside``: it lies below. Otherwise ``undecided``: no difference was found, which does
    not show that there is none. A model near the raters' consensus agrees with them better than they with each other.
    The ratio of the two agreements is Williams' index.

    Args:
        model (array-like): ``(n,)`` agreement (such as Dice) of the model with the raters, mean over raters; higher is
            better. NaN rows are left out.
        raters (array-like): ``(n,)`` mean agreement over the pairs of raters, same rows.
        subjects (array-like): ``(n,)`` person of each row.
        splits (array-like): ``(n,)`` model (split) of each row; None for one model, whose verdict is then about this
            model and not about its training.

    Returns:
        VariabilityTest

    Raises:
        InputError: If lengths differ.

    References:
        Williams, Biometrics 1976, doi 10.2307/2529750; Bouix et al., NeuroImage 2007,
        doi 10.1016/j.neuroimage.2007.04.031.

    Example:
        >>> test = within_rater_variability([0.9, 0.8, 0.85], [0.7, 0.7, 0.7], subjects=[1, 2, 3])
        >>> round(test.difference, 2), test.n_clusters
        (0.15, (3,))
    """
    model, raters = (np.asarray(part, dtype=np.float64) for part in (model, raters))
    if model.shape != raters.shape or model.ndim != 1:
        raise InputError(f"model and raters must be vectors of one length, got {model.shape} and {raters.shape}.")
    valid = ~np.isnan(model - raters)
    model, raters = model[valid], raters[valid]
    subjects = np.asarray(subjects)[valid]
    one = np.zeros(model.size) if splits is None else np.asarray(splits)[valid]
    kinds = (subjects,) if splits is None else (subjects, one)
    estimate = clustered_mean(model - raters, *kinds, weights=model_weights(model, one))
    low, high = estimate.interval()
    verdict = WITHIN if low > 0 else OUTSIDE if high < 0 else UNDECIDED
    return VariabilityTest(
        verdict,
        mean_over_models(model, one)[0],
        mean_over_models(raters, one)[0],
        estimate.mean,
        (low, high),
        estimate.p_value,
        estimate.n_clusters,
    )
