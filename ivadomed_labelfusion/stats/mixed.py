"""A linear mixed model: score ~ candidate + (1 | subject) + (1 | split)."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ivadomed_labelfusion.errors import InputError


@dataclass(frozen=True)
class MixedEffect:
    """What the model says about one candidate against the reference.

    Attributes:
        candidate (str): Name.
        difference (float): Fixed effect candidate - reference.
        interval (tuple of float): Its 95 % interval (normal approximation).
        p_value (float): Two-sided (Wald), in [0, 1].
        converged (bool): Whether the likelihood reached its maximum; if not, read nothing into the numbers.
    """

    candidate: str
    difference: float
    interval: tuple[float, float]
    p_value: float
    converged: bool


def mixed_model(
    values: ArrayLike, *, candidates: ArrayLike, splits: ArrayLike, subjects: ArrayLike, reference: str
) -> list[MixedEffect]:
    """Fit score ~ candidate + (1 | subject) + (1 | split) by restricted maximum likelihood.

    Unlike the paired Wilcoxon test it knows that subjects come back in several splits. Unlike `clustered_mean` it
    assumes normal effects, is a large-sample method, and does not know that the test images of one trained model share
    the luck of its training: with few splits it is too sure.

    Args:
        values (array-like): ``(n,)``; NaN rows are left out.
        candidates, splits, subjects (array-like): ``(n,)`` labels of each row.
        reference (str): Candidate that the others are compared with.

    Returns:
        list of MixedEffect: One per other candidate, in order of first appearance; empty where the reference has no
        values or there is nobody else.

    Raises:
        InputError: If lengths differ, there are fewer than 2 subjects or splits, the values do not vary, or statsmodels
            is not installed.

    References:
        Baayen, Davidson, Bates, J. Mem. Lang. 2008, doi 10.1016/j.jml.2007.12.005 (crossed random effects).
    """
    try:
        from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec
    except ImportError:
        raise InputError(
            "The mixed model needs statsmodels. Install it: pip install 'ivadomed_labelfusion[stats]'."
        ) from None
    values = np.asarray(values, dtype=np.float64)
    labels = [np.asarray(part).astype(str) for part in (candidates, splits, subjects)]
    if values.ndim != 1 or any(part.shape != values.shape for part in labels):
        raise InputError("values, candidates, splits and subjects must be vectors of one length.")
    keep = np.isfinite(values)
    values, (candidates, splits, subjects) = values[keep], [part[keep] for part in labels]
    others = [name for name in dict.fromkeys(candidates.tolist()) if name != reference]
    if not others or reference not in candidates:
        return []
    if min(len(set(splits)), len(set(subjects))) < 2:
        raise InputError(
            "A mixed model must have 2 or more subjects and splits, "
            f"got {len(set(subjects))} subjects and {len(set(splits))} splits."
        )
    # scores of very different units meet the optimiser's tolerances alike
    unit = values.std()
    if unit == 0:
        raise InputError("A mixed model must have values that differ, got equal ones.")
    design = np.column_stack([np.ones(values.size), *(candidates == name for name in others)]).astype(np.float64)
    effects = [(part[:, None] == np.unique(part)).astype(np.float64) for part in (subjects, splits)]
    # all rows are one group, within which subjects and splits cross
    spec = VCSpec(
        ["subject", "split"], [[[f"c{i}" for i in range(part.shape[1])]] for part in effects], [[p] for p in effects]
    )
    with warnings.catch_warnings():
        # a variance of zero lies on the boundary, which is no fault; convergence is returned
        warnings.simplefilter("ignore")
        model = MixedLM(values / unit, design, groups=np.zeros(values.size), exog_vc=spec)
        fit = model.fit(reml=True, method=["lbfgs", "powell"])
    bounds = fit.conf_int(alpha=0.05)
    return [
        MixedEffect(
            name,
            float(fit.fe_params[index] * unit),
            (float(bounds[index][0] * unit), float(bounds[index][1] * unit)),
            float(fit.pvalues[index]),
            bool(fit.converged),
        )
        for index, name in enumerate(others, start=1)
    ]
