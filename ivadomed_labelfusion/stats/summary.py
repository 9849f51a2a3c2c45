"""One metric of every candidate, beside a reference candidate."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.stats.intervals import clustered_mean
from ivadomed_labelfusion.stats.means import mean_and_deviation, mean_over_models, model_weights
from ivadomed_labelfusion.stats.paired import WilcoxonResult, holm_adjust, wilcoxon_signed_rank

OPTIMISM_NOTE = (
    "Wilcoxon p-values treat every (split, subject) pair as independent. Splits test the same subjects again and again "
    "with models trained on overlapping data, so these p-values are optimistic: read them as a ranking of evidence, "
    "not as error rates. The intervals take subjects and splits into account and do not have this defect, save that "
    "splits count as independent; those of the ECE, one value per model, know only splits."
)


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
        interval (tuple of float): 95 % interval of ``mean`` over subjects and splits, see `clustered_mean`; NaN with
            fewer than 3 of either.
        test (WilcoxonResult or None): Candidate against reference over rows paired by split and subject; None for the
            reference itself.
        n_unpaired (int): Rows without a partner or with a NaN on either side, of candidate and reference together.
        difference (float): Mean over models of the mean paired difference candidate - reference; NaN for the reference.
        difference_interval (tuple of float): Its 95 % interval, as ``interval``.
        p_holm (float): ``test.p_value`` adjusted over the candidates compared here; NaN for the reference.
    """

    candidate: str
    n: int
    n_missing: int
    n_models: int
    mean: float
    std_models: float
    std_subjects: float
    interval: tuple[float, float]
    test: WilcoxonResult | None
    n_unpaired: int
    difference: float
    difference_interval: tuple[float, float]
    p_holm: float


def compare_candidates(
    values: ArrayLike,
    *,
    candidates: ArrayLike,
    splits: ArrayLike,
    subjects: ArrayLike,
    clusters: ArrayLike | None = None,
    reference: str,
) -> list[CandidateSummary]:
    """Summarise a metric per candidate and test each against a reference, paired by split and subject.

    Args:
        values (array-like): ``(n,)`` metric values, NaN where undefined.
        candidates, splits, subjects (array-like): ``(n,)`` labels of each row.
        clusters (array-like): ``(n,)`` person of each row, for the intervals; None takes ``subjects``. Give it when
            ``subjects`` tells several images of a person apart.
        reference (str): Candidate to compare with.

    Returns:
        list of CandidateSummary: In order of first appearance. Without rows of ``reference`` the tests are None.

    Raises:
        InputError: If a (candidate, split, subject) occurs twice or lengths differ.

    Example:
        >>> labels = {"candidates": ["a", "b"], "splits": [1, 1], "subjects": [1, 1]}
        >>> [round(one.mean, 2) for one in compare_candidates([0.8, 0.9], **labels, reference="a")]
        [0.8, 0.9]
    """
    values = np.asarray(values, dtype=np.float64)
    labels = [np.asarray(part).astype(str) for part in (candidates, splits, subjects)]
    clusters = labels[2] if clusters is None else np.asarray(clusters).astype(str)
    if any(part.shape != values.shape for part in (*labels, clusters)) or values.ndim != 1:
        raise InputError("values, candidates, splits, subjects and clusters must be vectors of one length.")
    names = list(dict.fromkeys(labels[0].tolist()))
    rows: dict[str, dict[tuple[str, str], int]] = {}
    for position, (name, split, subject) in enumerate(zip(*(part.tolist() for part in labels), strict=True)):
        table = rows.setdefault(name, {})
        if (split, subject) in table:
            raise InputError(f"Candidate {name} has two results for split {split}, subject {subject}. Keep one.")
        table[split, subject] = position
    drafts = [_summarise(name, rows[name], rows.get(reference), values, clusters, reference) for name in names]
    adjusted = holm_adjust([draft["test"].p_value if draft["test"] else np.nan for draft in drafts])
    return [CandidateSummary(**draft, p_holm=float(p)) for draft, p in zip(drafts, adjusted, strict=True)]


def _summarise(
    name: str,
    own: dict[tuple[str, str], int],
    partner: dict[tuple[str, str], int] | None,
    values: NDArray,
    clusters: NDArray,
    reference: str,
) -> dict[str, Any]:
    """Return the attributes of a `CandidateSummary` by name, save ``p_holm``.

    Args:
        own, partner: Split and subject to the row, of this candidate and of the reference.
    """
    positions = np.array(list(own.values()))
    mine = values[positions]
    splits = np.array([split for split, _ in own])
    mean, std_models = mean_over_models(mine, splits)
    _, std_subjects, n = mean_and_deviation(mine)
    draft: dict[str, Any] = {
        "candidate": name,
        "n": n,
        "n_missing": mine.size - n,
        "n_models": len(set(splits[~np.isnan(mine)].tolist())),
        "mean": mean,
        "std_models": std_models,
        "std_subjects": std_subjects,
        "interval": clustered_mean(mine, clusters[positions], splits, weights=model_weights(mine, splits)).interval(),
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
    draft["difference_interval"] = clustered_mean(
        difference, clusters[left], splits, weights=model_weights(difference, splits)
    ).interval()
    return draft
