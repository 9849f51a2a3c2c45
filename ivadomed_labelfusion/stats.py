"""Paired statistics over splits and subjects: arrays in, small results out.

Conventions of the whole module
    * A row is one result: one candidate, one split, one subject. Rows of two candidates pair when split and subject
        agree.
    * NaN marks a result that is not defined (for example a volume difference with an empty reference). A pair with a
      NaN is left out and counted.
    * Random splits share subjects, so rows are not independent and every p-value here is optimistic;
      ``OPTIMISM_NOTE`` says so and is printed wherever p-values are.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

from ivadomed_labelfusion.errors import InputError

OPTIMISM_NOTE = (
    "p-values treat every (split, subject) pair as independent. Splits test the same subjects again and again with "
    "models trained on overlapping data, so the p-values are optimistic: read them as a ranking of evidence, not as "
    "error rates. The bootstrap intervals resample subjects and do not have this defect with respect to subjects; "
    "those of the ECE, one value per model, resample splits and do."
)
EXACT_LIMIT = 50


@dataclass(frozen=True)
class WilcoxonResult:
    """Outcome of a two-sided Wilcoxon signed-rank test.

    Attributes:
        n (int): Pairs compared (pairs with NaN are left out before).
        n_zero (int): Pairs with equal values; they are dropped from the ranking (Wilcoxon's own rule).
        rank_sum_positive (float): Sum of ranks of the pairs where the first value is larger.
        rank_sum_negative (float): Sum of ranks of the pairs where the first value is smaller.
        p_value (float): In [0, 1]; 1 when no pair differs, NaN without any pair.
        effect_size (float): Matched-pairs rank-biserial correlation in [-1, 1], positive when the first value tends to
            be larger; 0 when no pair differs, NaN without any pair.
    """

    n: int
    n_zero: int
    rank_sum_positive: float
    rank_sum_negative: float
    p_value: float
    effect_size: float


def wilcoxon_signed_rank(first, second):
    """Test whether paired values differ: two-sided Wilcoxon signed-rank test.

    Zero differences are dropped (Wilcoxon 1945); tied absolute differences share their mean rank. Up to 50 remaining
    pairs the p-value is exact, ties included: the distribution of the rank sum over all sign flips is counted. Above,
    it is the normal approximation with tie correction and without continuity correction, as in
    ``scipy.stats.wilcoxon``. The effect size is the matched-pairs rank-biserial correlation (W+ - W-) / (W+ + W-).

    Args:
        first (array-like): ``(n,)`` values, any unit.
        second (array-like): ``(n,)`` values paired with ``first``.

    Returns:
        WilcoxonResult

    Raises:
        InputError: If the shapes differ or are not one-dimensional.

    References:
        Wilcoxon, Biometrics Bulletin 1945, doi 10.2307/3001968; Kerby, Comprehensive Psychology 2014,
        doi 10.2466/11.IT.3.1.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise InputError(
            f"Paired values must be two vectors of one length, got shapes {first.shape} and {second.shape}."
        )
    # equal infinities are a zero difference, although inf - inf is NaN
    difference = np.subtract(first, second, out=np.zeros_like(first), where=first != second)
    difference = difference[~np.isnan(difference)]
    n = difference.size
    difference = difference[difference != 0]
    n_zero = n - difference.size
    if n == 0:
        return WilcoxonResult(0, 0, 0.0, 0.0, float("nan"), float("nan"))
    if difference.size == 0:
        return WilcoxonResult(n, n_zero, 0.0, 0.0, 1.0, 0.0)
    ranks = rankdata(np.abs(difference))
    positive = float(ranks[difference > 0].sum())
    total = float(ranks.sum())
    negative = total - positive
    p_value = (_exact_p_value if difference.size <= EXACT_LIMIT else _normal_p_value)(ranks, positive)
    return WilcoxonResult(n, n_zero, positive, negative, p_value, (positive - negative) / total)


def _exact_p_value(ranks, positive):
    # mean ranks are multiples of one half, so doubled they index a table of counts
    doubled = np.rint(2 * ranks).astype(np.int64)
    ways = np.zeros(doubled.sum() + 1)
    ways[0] = 1.0
    for rank in doubled:
        ways[rank:] = ways[rank:] + ways[: ways.size - rank]
    observed = round(2 * positive)
    tail = min(ways[: observed + 1].sum(), ways[observed:].sum()) / 2.0**ranks.size
    return float(min(1.0, 2 * tail))


def _normal_p_value(ranks, positive):
    # the variance of a sum of ranks with random signs; with mid ranks this is the usual tie correction
    deviation = np.sqrt((ranks**2).sum() / 4)
    return float(min(1.0, 2 * ndtr(-abs(positive - ranks.sum() / 2) / deviation)))


def holm_adjust(p_values):
    """Adjust p-values for the number of tests with Holm's step-down method.

    Args:
        p_values (array-like): ``(m,)`` in [0, 1]; NaN entries are no tests and stay NaN.

    Returns:
        ndarray: ``(m,)`` float64 adjusted p-values in [0, 1], in the order given.

    Raises:
        InputError: If a value lies outside [0, 1].

    References:
        Holm, Scandinavian Journal of Statistics 1979, https://www.jstor.org/stable/4615733.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    valid = ~np.isnan(p_values)
    if np.any((p_values[valid] < 0) | (p_values[valid] > 1)):
        raise InputError(f"p-values must lie in [0, 1], got {p_values[valid].min():g} to {p_values[valid].max():g}.")
    adjusted = np.full(p_values.shape, np.nan)
    tested = p_values[valid]
    order = np.argsort(tested, kind="stable")
    stepped = np.maximum.accumulate(tested[order] * np.arange(tested.size, 0, -1))
    result = np.empty_like(tested)
    result[order] = np.minimum(stepped, 1.0)
    adjusted[valid] = result
    return adjusted


def bootstrap_mean_interval(values, subjects, *, weights=None, seed, confidence=0.95, n_resamples=2000):
    """Percentile bootstrap interval of a mean that resamples subjects, not rows.

    All rows of a subject (every split in which it was tested) are drawn together, because they depend on each other.

    Args:
        values (array-like): ``(n,)`` values; NaN rows are left out.
        subjects (array-like): ``(n,)`` subject of each row.
        weights (array-like): ``(n,)`` weights of the rows in the mean, such as `model_weights`; None weighs all alike.
        seed (int): Seed of the generator; equal seeds and rows give equal intervals; the order of rows changes only
            rounding.
        confidence (float): In (0, 1).
        n_resamples (int): Number of bootstrap samples.

    Returns:
        tuple of float: Lower and upper bound. Both NaN with fewer than two subjects, which say nothing about others.

    References:
        Efron, Tibshirani, An Introduction to the Bootstrap, 1993; resampling whole clusters: Davison, Hinkley 1997,
        3.8.
    """
    values, subjects = np.asarray(values, dtype=np.float64), np.asarray(subjects)
    weights = np.ones(values.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if not values.shape == subjects.shape == weights.shape or values.ndim != 1:
        raise InputError(
            "values, subjects and weights must be vectors of one length, "
            f"got {values.shape}, {subjects.shape} and {weights.shape}."
        )
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie between 0 and 1, got {confidence}.")
    keep = ~np.isnan(values)
    names, subject = np.unique(subjects[keep], return_inverse=True)
    if names.size < 2:
        return float("nan"), float("nan")
    total = np.bincount(subject, weights=weights[keep])
    sums = np.bincount(subject, weights=weights[keep] * values[keep])
    draws = np.random.default_rng(seed).integers(names.size, size=(n_resamples, names.size))
    means = sums[draws].sum(axis=1) / total[draws].sum(axis=1)
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(means, [tail, 1 - tail])
    return float(lower), float(upper)


def model_weights(values, models):
    """Return weights of rows with which their mean is `mean_over_models`: one over the rows of the row's model.

    Args:
        values (array-like): ``(n,)`` values; NaN rows do not count.
        models (array-like): ``(n,)`` model (split) of each.

    Returns:
        ndarray: ``(n,)`` float64, 0 where the value is NaN.
    """
    valid = ~np.isnan(np.asarray(values, dtype=np.float64))
    _, model = np.unique(np.asarray(models), return_inverse=True)
    counts = np.bincount(model, weights=valid)
    return np.where(valid, 1 / np.maximum(counts, 1)[model], 0.0)


def mean_over_models(values, models):
    """Return the mean over models of each model's mean, the paper's figure; NaN values are left out.

    Args:
        values (array-like): ``(n,)`` values.
        models (array-like): ``(n,)`` model (split) of each.

    Returns:
        tuple of float: Mean, and sample standard deviation of the models' means (NaN for one model).
    """
    values, models = np.asarray(values, dtype=np.float64), np.asarray(models)
    means = [mean_and_deviation(values[models == model])[0] for model in dict.fromkeys(models.tolist())]
    return mean_and_deviation(means)[:2]


def mean_and_deviation(values):
    """Return mean, sample standard deviation (n - 1) and the number of values that are not NaN.

    One value has deviation NaN; no value has mean NaN as well.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    mean = float(values.mean()) if values.size else float("nan")
    deviation = float(values.std(ddof=1)) if values.size > 1 else float("nan")
    return mean, deviation, int(values.size)


def z_scores(values):
    """Standardise to zero mean and unit (population) deviation; NaN stays NaN, constant values give 0."""
    values = np.asarray(values, dtype=np.float64)
    valid = values[~np.isnan(values)]
    if valid.size == 0:
        return values.copy()
    centred = values - valid.mean()
    deviation = valid.std()
    # rounding leaves a tiny deviation for constant values, which would be blown up to unit size
    if deviation <= 1e-12 * max(1.0, float(np.abs(valid).max())):
        return np.where(np.isnan(values), np.nan, 0.0)
    return centred / deviation


def composite_score(*, dice, precision, recall, absolute_volume_difference):
    """Combine four metrics into one score: z(Dice) + z(precision) + z(recall) - z(AVD).

    z-scores are taken over all rows given, that is over the results of all candidates together (Lemay et al. 2022,
    Section 2.3.4). Higher is better; without NaN the mean over all rows is 0.

    Args:
        dice, precision, recall, absolute_volume_difference (array-like): ``(n,)`` or ``(n, classes)``. With classes,
            each class is standardised and scored by itself and the row's score is the mean over classes.

    Returns:
        ndarray: ``(n,)`` float64, NaN where one of the metrics is NaN.
    """
    parts = [np.asarray(part, dtype=np.float64) for part in (dice, precision, recall, absolute_volume_difference)]
    if len({part.shape for part in parts}) != 1 or parts[0].ndim not in (1, 2):
        raise InputError(f"The four metrics must have one shape, (n,) or (n, classes), got {[p.shape for p in parts]}.")
    columns = [part.reshape(part.shape[0], -1) for part in parts]
    signs = (1, 1, 1, -1)
    score = np.zeros(columns[0].shape)
    for sign, column in zip(signs, columns, strict=True):
        for index in range(column.shape[1]):
            score[:, index] += sign * z_scores(column[:, index])
    return score.mean(axis=1)


@dataclass(frozen=True)
class CandidateSummary:
    """One metric of one candidate, and how it compares with the reference candidate.

    Attributes:
        candidate (str): Name.
        n (int): Rows with a value.
        n_missing (int): Rows without (NaN).
        n_models (int): Models (splits) with a value.
        mean (float): Mean over the models (splits) of each model's mean over its test subjects, the paper's figure.
        std_models (float): Sample deviation of the models' means, the paper's figure; NaN for one model.
        std_subjects (float): Sample deviation over all rows.
        interval (tuple of float): 95 % bootstrap interval of ``mean``, subjects resampled.
        test (WilcoxonResult or None): Candidate against reference over rows paired by split and subject; None for the
            reference itself.
        n_unpaired (int): Rows without a partner or with a NaN on either side, of candidate and reference together.
        difference (float): Mean over models of the mean paired difference candidate - reference; NaN for the reference.
        difference_interval (tuple of float): Its 95 % bootstrap interval, subjects resampled.
        p_holm (float): ``test.p_value`` adjusted over the candidates compared here; NaN for the reference.
    """

    candidate: str
    n: int
    n_missing: int
    n_models: int
    mean: float
    std_models: float
    std_subjects: float
    interval: tuple
    test: WilcoxonResult | None
    n_unpaired: int
    difference: float
    difference_interval: tuple
    p_holm: float


def compare_candidates(values, *, candidates, splits, subjects, clusters=None, reference, seed=0, n_resamples=2000):
    """Summarise a metric per candidate and test each against a reference, paired by split and subject.

    Args:
        values (array-like): ``(n,)`` metric values, NaN where undefined.
        candidates, splits, subjects (array-like): ``(n,)`` labels of each row.
        clusters (array-like): ``(n,)`` unit that the bootstrap resamples; None takes ``subjects``. Give the person here
            when ``subjects`` tells several images of a person apart.
        reference (str): Candidate to compare with.
        seed (int): Seed of the bootstrap.
        n_resamples (int): Bootstrap samples.

    Returns:
        list of CandidateSummary: In order of first appearance. Without rows of ``reference`` the tests are None.

    Raises:
        InputError: If a (candidate, split, subject) occurs twice or lengths differ.
    """
    values = np.asarray(values, dtype=np.float64)
    labels = [np.asarray(part).astype(str) for part in (candidates, splits, subjects)]
    clusters = labels[2] if clusters is None else np.asarray(clusters).astype(str)
    if any(part.shape != values.shape for part in (*labels, clusters)) or values.ndim != 1:
        raise InputError("values, candidates, splits, subjects and clusters must be vectors of one length.")
    names, rows = list(dict.fromkeys(labels[0].tolist())), {}
    for position, (name, *key) in enumerate(zip(*(part.tolist() for part in labels), strict=True)):
        table = rows.setdefault(name, {})
        if tuple(key) in table:
            raise InputError(f"Candidate {name} has two results for split {key[0]}, subject {key[1]}. Keep one.")
        table[tuple(key)] = position
    drafts = [
        _summarise(name, rows[name], rows.get(reference), values, clusters, reference, seed, n_resamples)
        for name in names
    ]
    adjusted = holm_adjust([draft["test"].p_value if draft["test"] else np.nan for draft in drafts])
    return [CandidateSummary(**draft, p_holm=float(p)) for draft, p in zip(drafts, adjusted, strict=True)]


def _summarise(name, own, partner, values, clusters, reference, seed, n_resamples):
    positions = np.array(list(own.values()))
    mine = values[positions]
    splits = np.array([split for split, _ in own])
    mean, std_models = mean_over_models(mine, splits)
    _, std_subjects, n = mean_and_deviation(mine)
    draft = {
        "candidate": name,
        "n": n,
        "n_missing": mine.size - n,
        "n_models": len(set(splits[~np.isnan(mine)].tolist())),
        "mean": mean,
        "std_models": std_models,
        "std_subjects": std_subjects,
        "interval": bootstrap_mean_interval(
            mine, clusters[positions], weights=model_weights(mine, splits), seed=seed, n_resamples=n_resamples
        ),
        "test": None,
        "n_unpaired": 0,
        "difference": float("nan"),
        "difference_interval": (float("nan"), float("nan")),
    }
    if partner is None or name == reference:
        return draft
    shared = [key for key in own if key in partner]
    left = np.array([own[key] for key in shared], dtype=np.int64)
    right = np.array([partner[key] for key in shared], dtype=np.int64)
    complete = ~np.isnan(values[left]) & ~np.isnan(values[right])
    left, right = left[complete], right[complete]
    splits = np.array([split for split, _ in shared])[complete]
    difference = values[left] - values[right]
    draft["test"] = wilcoxon_signed_rank(values[left], values[right])
    draft["n_unpaired"] = len(own) + len(partner) - 2 * left.size
    draft["difference"], _ = mean_over_models(difference, splits)
    draft["difference_interval"] = bootstrap_mean_interval(
        difference, clusters[left], weights=model_weights(difference, splits), seed=seed, n_resamples=n_resamples
    )
    return draft
