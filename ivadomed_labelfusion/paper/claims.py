"""Does the paper's qualitative finding hold on the results at hand? A verdict per finding, with its numbers.

A comparison is supported when the 95 % interval of its mean (`stats.clustered_mean` over subjects and splits; for a
model's metric, over splits) lies wholly on the finding's side of zero. It is contradicted when it lies wholly on the
other side, at a p-value that is adjusted (Holm) for all comparisons of the finding: of 30 comparisons under the null,
one or two would contradict by chance. A finding holds when every comparison is supported (for all of them to be so by
chance is rarer than for one, so nothing is adjusted there), does not hold when one is contradicted, and is undecided
otherwise, as well as with missing candidates, fewer than five subjects (for a model's metric, splits) or three splits.

That a difference is NOT significant says something only where it would have been found: such a comparison is supported,
and one that expects a difference is contradicted by its absence, only with as many models as the paper had.

The check reads the results and never changes them.
"""

from dataclasses import dataclass

import numpy as np

from ivadomed_labelfusion.experiment.columns import (
    ENTROPY_PREDICTION,
    ENTROPY_RATERS,
    METRICS,
    classes_of,
    column,
    display_name,
)
from ivadomed_labelfusion.paper.findings import (
    CLAIMS,
    DIFFERS,
    ENTROPY_BIAS,
    MODEL_COLUMNS,
    OVERCONFIDENCE,
    OVERCONFIDENCE_EXACT,
    SAME,
    Claim,
    Comparison,
)
from ivadomed_labelfusion.stats import (
    clustered_mean,
    holm_adjust,
    mean_over_models,
    model_weights,
    wilcoxon_signed_rank,
)

__all__ = [
    "CLAIMS",
    "FAILS",
    "HOLDS",
    "OVERCONFIDENCE",
    "OVERCONFIDENCE_EXACT",
    "UNDECIDED",
    "Claim",
    "Comparison",
    "Verdict",
    "check_claims",
    "claims_to_markdown",
    "claims_to_records",
]

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
MIN_SUBJECTS = 5
MIN_SPLITS = 3
LEVEL = 0.05
# Section 2.3.1
PAPER_MODELS = {"scgm": 40, "ms": 20}


@dataclass(frozen=True)
class Verdict:
    """Outcome for one claim.

    Attributes:
        claim (Claim): The claim.
        verdict (str): ``holds``, ``does not hold`` or ``undecided``.
        evidence (tuple of str): One line per comparison and class with its numbers.
    """

    claim: Claim
    verdict: str
    evidence: tuple


@dataclass(frozen=True)
class Outcome:
    """What one comparison shows.

    Attributes:
        line (str): Its numbers.
        sign (int or str): What was expected, see `Comparison`.
        side (int): The sign of what was found.
        p_value (float): Of no difference; NaN where nothing can be decided.
        enough (bool): Whether there are as many models as the paper had.
    """

    line: str
    sign: int | str = 0
    side: int = 0
    p_value: float = float("nan")
    enough: bool = False

    def support(self, adjusted):
        """Return 1 (supported), -1 (contradicted) or 0, given the p-value adjusted for the finding's comparisons."""
        if np.isnan(self.p_value):
            return 0
        if self.sign == SAME:
            return -1 if adjusted < LEVEL else int(self.enough and self.p_value >= LEVEL)
        if self.sign == DIFFERS:
            return 1 if self.p_value < LEVEL else -int(self.enough)
        if self.side == self.sign:
            return int(self.p_value < LEVEL)
        return -int(adjusted < LEVEL)


def check_claims(results, models, class_names, *, dataset=None):
    """Check the paper's findings on a study's results.

    Args:
        results (DataFrame): One row per candidate, split and image, with the composite score.
        models (DataFrame): One row per candidate and split.
        class_names (sequence of str): Classes in the configuration's order.
        dataset (str): ``scgm`` or ``ms`` checks only findings about it; None checks all.

    Returns:
        list of Verdict
    """
    if {ENTROPY_PREDICTION, ENTROPY_RATERS} <= set(results):
        results = results.assign(**{ENTROPY_BIAS: results[ENTROPY_PREDICTION] - results[ENTROPY_RATERS]})
    chosen = [claim for claim in CLAIMS if dataset not in ("scgm", "ms") or dataset in claim.datasets]
    return [_check(claim, results, models, class_names) for claim in chosen]


def _check(claim, results, models, class_names):
    enough = max(PAPER_MODELS[name] for name in claim.datasets)
    outcomes = [
        _compare(comparison, results, models, name, enough)
        for comparison in claim.comparisons
        for name in _classes(comparison.metric, class_names)
    ]
    adjusted = holm_adjust([outcome.p_value for outcome in outcomes])
    supports = [outcome.support(p) for outcome, p in zip(outcomes, adjusted, strict=True)]
    verdict = FAILS if -1 in supports else HOLDS if all(support == 1 for support in supports) else UNDECIDED
    return Verdict(claim, verdict, tuple(_with_p(*pair) for pair in zip(outcomes, adjusted, strict=True)))


def _with_p(outcome, adjusted):
    if np.isnan(outcome.p_value):
        return outcome.line
    return f"{outcome.line}, p = {outcome.p_value:.2g}, adjusted {adjusted:.2g}"


def _classes(metric, class_names):
    return classes_of(metric, class_names) if metric in METRICS else ("",)


def _compare(comparison, results, models, class_name, enough):
    known = METRICS.get(comparison.metric)
    name = column(comparison.metric, class_name) if known else comparison.metric
    per_model = comparison.metric in MODEL_COLUMNS or (known is not None and known.per_model)
    source, key = (models, ["split"]) if per_model else (results, ["split", "image_id"])
    sides = [side for side in (comparison.left, comparison.right) if side]
    from_zero = known is not None and known.best == "zero" and len(sides) == 2
    shown = [f"|{display_name(side)}|" if from_zero else display_name(side) for side in sides]
    label = f"{known.name if known else comparison.metric} {class_name}".strip()
    title = f"{label}: " + " - ".join(shown)
    if name not in source:
        return Outcome(f"{title}: not measured")
    frames = [source[source["candidate"] == side].set_index(key) for side in sides]
    absent = [display_name(side) for side, frame in zip(sides, frames, strict=True) if frame.empty]
    if absent:
        return Outcome(f"{title}: {' and '.join(absent)} without results here")
    values = frames[0][name] if len(frames) == 1 else frames[0][name] - frames[1][name]
    values = values.dropna()
    if not len(values):
        return Outcome(f"{title}: not defined for any pair")
    people = None if per_model else frames[0].loc[values.index, "subject"]
    estimate = _estimate(values, people)
    mean, p_value = estimate.mean, estimate.p_value
    low, high = estimate.interval()
    line = f"{title} = {mean:.3g} [{low:.3g}, {high:.3g}]"
    if from_zero:
        total = _estimate((frames[0][name] + frames[1][name]).loc[values.index], people)
        line = _distances_line(title, frames, name, values.index, estimate, total)
        # |left| < |right| where difference and sum have opposite signs; both must be sure
        mean, p_value = mean * total.mean, max(p_value, total.p_value)
    line += f", expected {_expectation(comparison.sign)}, n = {len(values)}, {_counts(estimate, per_model)}"
    if comparison.sign in (SAME, DIFFERS):
        line += f", Wilcoxon p = {wilcoxon_signed_rank(values, np.zeros(len(values))).p_value:.2g}"
    few = _too_few(estimate, per_model)
    if few:
        return Outcome(f"{line} (fewer than {few}: undecided)")
    n_splits = estimate.n_clusters[-1]
    return Outcome(line, comparison.sign, int(np.sign(mean)), p_value, n_splits >= enough)


def _estimate(values, people):
    splits = values.index.get_level_values("split")
    kinds = (splits,) if people is None else (people, splits)
    return clustered_mean(values, *kinds, weights=model_weights(values, splits))


def _distances_line(title, frames, name, index, difference, total):
    splits = index.get_level_values("split")
    means = [mean_over_models(frame.loc[index, name], splits)[0] for frame in frames]
    parts = ("difference", difference), ("sum", total)
    intervals = ", ".join(
        f"{what} {part.mean:.3g} [{part.interval()[0]:.3g}, {part.interval()[1]:.3g}]" for what, part in parts
    )
    return f"{title} = {abs(means[0]) - abs(means[1]):.3g} ({intervals})"


def _expectation(sign):
    return {1: "> 0", -1: "< 0", SAME: "no difference", DIFFERS: "a difference"}[sign]


def _counts(estimate, per_model):
    kinds = ("splits",) if per_model else ("subjects", "splits")
    return ", ".join(f"{count} {kind}" for count, kind in zip(estimate.n_clusters, kinds, strict=True))


def _too_few(estimate, per_model):
    """Return the number of clusters that would be needed, or None where there are enough."""
    if estimate.n_clusters[0] < MIN_SUBJECTS:
        return MIN_SUBJECTS
    return MIN_SPLITS if not per_model and estimate.n_clusters[1] < MIN_SPLITS else None


def claims_to_markdown(verdicts, *, notes=()):
    """Return the verdicts as Markdown: a table, the numbers of each, and notes."""
    lines = ["# The paper's findings on these results", "", "| finding | source | verdict |", "| --- | --- | --- |"]
    lines += [f"| {item.claim.statement} | {item.claim.source} | **{item.verdict}** |" for item in verdicts]
    lines += ["", "Rule and intervals: see `ivadomed_labelfusion study claims --help`."]
    lines += [f"- {note}" for note in notes]
    for item in verdicts:
        lines += ["", f"## {item.claim.name}: {item.verdict}", "", item.claim.statement, ""]
        lines += [f"- {line}" for line in item.evidence]
    return "\n".join(lines) + "\n"


def claims_to_records(verdicts):
    """Return the verdicts as a list of dicts, ready for JSON."""
    return [
        {
            "name": item.claim.name,
            "statement": item.claim.statement,
            "source": item.claim.source,
            "verdict": item.verdict,
            "evidence": list(item.evidence),
        }
        for item in verdicts
    ]
