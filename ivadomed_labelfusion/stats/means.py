"""Means over models, as the paper prints them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def model_weights(values: ArrayLike, models: ArrayLike) -> NDArray:
    """Return weights of rows with which their mean is `mean_over_models`: one over the rows of the row's model.

    Args:
        values (array-like): ``(n,)`` values; NaN rows do not count.
        models (array-like): ``(n,)`` model (split) of each.

    Returns:
        ndarray: ``(n,)`` float64, 0 where the value is NaN.

    Example:
        >>> model_weights([0.5, 0.7, 0.9], ["m1", "m1", "m2"]).tolist()
        [0.5, 0.5, 1.0]
    """
    valid = ~np.isnan(np.asarray(values, dtype=np.float64))
    _, model = np.unique(np.asarray(models), return_inverse=True)
    counts = np.bincount(model, weights=valid)
    return np.where(valid, 1 / np.maximum(counts, 1)[model], 0.0)


def mean_over_models(values: ArrayLike, models: ArrayLike) -> tuple[float, float]:
    """Return the mean over models of each model's mean, the paper's figure; NaN values are left out.

    Args:
        values (array-like): ``(n,)`` values.
        models (array-like): ``(n,)`` model (split) of each.

    Returns:
        tuple of float: Mean, and sample standard deviation of the models' means (NaN for one model).

    Example:
        >>> round(mean_over_models([0.5, 0.7, 0.9], ["m1", "m1", "m2"])[0], 2)
        0.75
    """
    values, models = np.asarray(values, dtype=np.float64), np.asarray(models)
    means = [mean_and_deviation(values[models == model])[0] for model in dict.fromkeys(models.tolist())]
    return mean_and_deviation(means)[:2]


def mean_and_deviation(values: ArrayLike) -> tuple[float, float, int]:
    """Return mean, sample standard deviation (n - 1) and the number of values that are not NaN.

    One value has deviation NaN; no value has mean NaN as well.

    Example:
        >>> mean_and_deviation([1.0, 3.0, float("nan")])[::2]
        (2.0, 2)
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    mean = float(values.mean()) if values.size else float("nan")
    deviation = float(values.std(ddof=1)) if values.size > 1 else float("nan")
    return mean, deviation, int(values.size)
