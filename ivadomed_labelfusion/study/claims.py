"""Does the paper's qualitative finding hold on the results at hand? A verdict per finding, with its numbers.

Each finding is broken into comparisons of one metric. A comparison is supported when the 95 % bootstrap interval of its
mean lies wholly on the finding's side of zero (subjects resampled; for a model's metric, splits), contradicted when it
lies wholly on the other side. A finding holds when every comparison is supported, does not hold when one is
contradicted, and is undecided otherwise, as well as with missing candidates or fewer than five subjects (or splits).
The check reads the results and never changes them.
"""

from dataclasses import dataclass

import numpy as np

from ivadomed_labelfusion.stats import bootstrap_mean_interval, mean_over_models, model_weights
from ivadomed_labelfusion.study.columns import (
    ENTROPY_PREDICTION,
    ENTROPY_RATERS,
    METRICS,
    classes_of,
    column,
    display_name,
)

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
MIN_CLUSTERS = 5
_FUSIONS = ("staple", "average", "random")
_SIX = tuple(f"{framework}_{fusion}" for framework in ("conv", "softseg") for fusion in _FUSIONS)
# columns that belong to no table: signed differences whose sign is the finding
ENTROPY_BIAS = "entropy_bias"
# the paper's diagrams leave out confidence 1.0, nearly all background with normalised ReLU; `exact` counts every voxel
OVERCONFIDENCE = "overconfidence_paper_image"
OVERCONFIDENCE_EXACT = "overconfidence_exact_image"
_MODEL_COLUMNS = (OVERCONFIDENCE, OVERCONFIDENCE_EXACT)


@dataclass(frozen=True)
class Comparison:
    """``left`` minus ``right`` (or ``left`` alone) in a metric is expected below or above zero.

    Attributes:
        metric (str): A name of `columns.METRICS`, `ENTROPY_BIAS`, `OVERCONFIDENCE` or `OVERCONFIDENCE_EXACT`.
        left (str): Candidate.
        right (str or None): Candidate paired by split and image; None compares ``left`` with zero.
        sign (int): -1 if the difference should be below zero, 1 if above.
    """

    metric: str
    left: str
    right: str | None
    sign: int


@dataclass(frozen=True)
class Claim:
    """A finding of the paper.

    Attributes:
        name (str): Short identifier.
        statement (str): The finding in one sentence.
        source (str): Where the paper says so.
        comparisons (tuple of Comparison): All must be supported.
        datasets (tuple of str): The paper's datasets it is about.
    """

    name: str
    statement: str
    source: str
    comparisons: tuple
    datasets: tuple = ("scgm", "ms")


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


def _frameworks(metric, sign):
    return tuple(Comparison(metric, f"softseg_{fusion}", f"conv_{fusion}", sign) for fusion in _FUSIONS)


def _best(metric, winner, sign):
    return tuple(Comparison(metric, winner, other, sign) for other in _SIX if other != winner)


def _top_two(metric, sign):
    """SoftSeg-STAPLE and SoftSeg-RandomSampling against the other four."""
    winners = ("softseg_staple", "softseg_random")
    return tuple(
        Comparison(metric, winner, other, sign) for winner in winners for other in _SIX if other not in winners
    )


CLAIMS = (
    Claim(
        "calibration_paper",
        "SoftSeg is better calibrated than conventional training for each fusion (ECE as the paper's code counts it).",
        "Section 3.3",
        _frameworks("ece_paper_image", -1),
    ),
    Claim(
        "calibration_exact",
        "SoftSeg is better calibrated than conventional training for each fusion (ECE over every voxel).",
        "Section 3.3, with the exact ECE",
        _frameworks("ece_exact_image", -1),
    ),
    Claim(
        "calibration_paper_roi",
        "SoftSeg is better calibrated than conventional training for each fusion in the union of raters and prediction "
        "(ECE as the paper's code counts it).",
        "Section 3.3, without the background",
        _frameworks("ece_paper_roi", -1),
    ),
    Claim(
        "calibration_exact_roi",
        "SoftSeg is better calibrated than conventional training for each fusion in the union of raters and prediction "
        "(ECE over every voxel).",
        "Section 3.3, with the exact ECE, without the background",
        _frameworks("ece_exact_roi", -1),
    ),
    Claim(
        "calibration_raters",
        "SoftSeg is better calibrated than conventional training for each fusion against the raters' share (ECE over "
        "every voxel).",
        "Section 3.3, against the raters instead of STAPLE",
        _frameworks("ece_raters_image", -1),
    ),
    Claim(
        "conventional_overconfident",
        "Conventional models are overconfident where confidence is below 1, for each fusion: it exceeds accuracy.",
        "Section 3.3, Figure 4",
        tuple(Comparison(OVERCONFIDENCE, f"conv_{fusion}", None, 1) for fusion in _FUSIONS),
    ),
    Claim(
        "conventional_overconfident_exact",
        "Conventional models are overconfident over every voxel, for each fusion.",
        "Section 3.3, with the exact ECE",
        tuple(Comparison(OVERCONFIDENCE_EXACT, f"conv_{fusion}", None, 1) for fusion in _FUSIONS),
    ),
    Claim(
        "softseg_average_underconfident",
        "SoftSeg-Average is underconfident where confidence is below 1.",
        "Section 3.3, Figure 4",
        (Comparison(OVERCONFIDENCE, "softseg_average", None, -1),),
    ),
    Claim(
        "softseg_average_underconfident_exact",
        "SoftSeg-Average is underconfident over every voxel.",
        "Section 3.3, with the exact ECE",
        (Comparison(OVERCONFIDENCE_EXACT, "softseg_average", None, -1),),
    ),
    Claim(
        "staple_and_random_best_calibrated",
        "SoftSeg-STAPLE and SoftSeg-RandomSampling are better calibrated than the other four (ECE as the paper's code "
        "counts it).",
        "Section 3.3",
        _top_two("ece_paper_image", -1),
    ),
    Claim(
        "conventional_underestimates_entropy",
        "Conventional models give less entropy than the raters for each fusion.",
        "Section 3.1, Figure 1",
        tuple(Comparison(ENTROPY_BIAS, f"conv_{fusion}", None, -1) for fusion in _FUSIONS),
    ),
    Claim(
        "average_overestimates_entropy",
        "SoftSeg-Average gives more entropy than the raters.",
        "Section 3.1, Figure 1",
        (Comparison(ENTROPY_BIAS, "softseg_average", None, 1),),
    ),
    Claim(
        "softseg_lower_entropy_mae",
        "SoftSeg has the lower entropy MAE for each fusion.",
        "Section 3.1, Table 2",
        _frameworks("entropy_mae", -1),
    ),
    Claim(
        "softseg_lower_brier",
        "SoftSeg has the lower Brier score for each fusion and class.",
        "Section 3.1, Table 2",
        _frameworks("brier_score", -1),
    ),
    Claim(
        "random_lowest_brier",
        "SoftSeg-RandomSampling has the lowest Brier score of the six, for each class.",
        "Section 3.1, Table 2",
        _best("brier_score", "softseg_random", -1),
    ),
    Claim(
        "staple_lowest_entropy_mae",
        "SoftSeg-STAPLE has the lowest entropy MAE of the six.",
        "Section 3.1, Table 2",
        _best("entropy_mae", "softseg_staple", -1),
    ),
    Claim(
        "staple_and_random_top_two",
        "SoftSeg-STAPLE and SoftSeg-RandomSampling have lower Brier score and entropy MAE than the other four. (In the "
        "paper's own Table 2, Conv-RandomSampling comes between them for the white matter's Brier score.)",
        "Section 3.1, Table 2",
        (*_top_two("brier_score", -1), *_top_two("entropy_mae", -1)),
    ),
    Claim(
        "softseg_staple_best_segmentation",
        "SoftSeg-STAPLE has the best Dice, recall and AVD of the six, for each class.",
        "Section 3.4, Table 3a",
        (
            *_best("dice", "softseg_staple", 1),
            *_best("recall", "softseg_staple", 1),
            *_best("absolute_volume_difference", "softseg_staple", -1),
        ),
        datasets=("scgm",),
    ),
    Claim(
        "softseg_better_composite",
        "SoftSeg has the higher composite score for each fusion.",
        "Section 3.4, Figure 5a",
        _frameworks("composite_score", 1),
        datasets=("scgm",),
    ),
    Claim(
        "staple_best_fusion_for_segmentation",
        "STAPLE has the best composite score of the fusions in both frameworks.",
        "Section 3.4, Figure 5a",
        tuple(
            Comparison("composite_score", f"{framework}_staple", f"{framework}_{fusion}", 1)
            for framework in ("conv", "softseg")
            for fusion in ("average", "random")
        ),
        datasets=("scgm",),
    ),
    Claim(
        "softseg_average_best_composite",
        "SoftSeg-Average has the best composite score of the six.",
        "Section 3.4, Figure 5b",
        _best("composite_score", "softseg_average", 1),
        datasets=("ms",),
    ),
    Claim(
        "softseg_staple_beats_ensemble",
        "SoftSeg-STAPLE has lower Brier score, entropy MAE and ECE than one conventional model per rater, averaged.",
        "Section 4, Table 4 and Figure 6",
        tuple(
            Comparison(metric, "softseg_staple", "conv_ensemble", -1)
            for metric in ("brier_score", "entropy_mae", "ece_paper_image")
        ),
        datasets=("ms",),
    ),
)


def check_claims(results, models, class_names, *, dataset=None, seed=0):
    """Check the paper's findings on a study's results.

    Args:
        results (DataFrame): One row per candidate, split and image, with the composite score.
        models (DataFrame): One row per candidate and split.
        class_names (sequence of str): Classes in the configuration's order.
        dataset (str): ``scgm`` or ``ms`` checks only findings about it; None checks all.
        seed (int): Seed of the bootstrap.

    Returns:
        list of Verdict
    """
    if {ENTROPY_PREDICTION, ENTROPY_RATERS} <= set(results):
        results = results.assign(**{ENTROPY_BIAS: results[ENTROPY_PREDICTION] - results[ENTROPY_RATERS]})
    chosen = [claim for claim in CLAIMS if dataset not in ("scgm", "ms") or dataset in claim.datasets]
    return [_check(claim, results, models, class_names, seed) for claim in chosen]


def _check(claim, results, models, class_names, seed):
    outcomes = [
        _compare(comparison, results, models, name, seed)
        for comparison in claim.comparisons
        for name in _classes(comparison.metric, class_names)
    ]
    supports = [support for support, _ in outcomes]
    verdict = FAILS if -1 in supports else HOLDS if all(support == 1 for support in supports) else UNDECIDED
    return Verdict(claim, verdict, tuple(line for _, line in outcomes))


def _classes(metric, class_names):
    return classes_of(metric, class_names) if metric in METRICS else ("",)


def _compare(comparison, results, models, class_name, seed):
    """Return 1 (supported), -1 (contradicted) or 0, and the line of evidence."""
    known = METRICS.get(comparison.metric)
    name = column(comparison.metric, class_name) if known else comparison.metric
    per_model = comparison.metric in _MODEL_COLUMNS or (known is not None and known.per_model)
    source, key, person = (models, ["split"], "split") if per_model else (results, ["split", "image_id"], "subject")
    label = f"{known.name if known else comparison.metric} {class_name}".strip()
    sides = [side for side in (comparison.left, comparison.right) if side]
    title = f"{label}: " + " - ".join(display_name(side) for side in sides)
    if name not in source:
        return 0, f"{title}: not measured"
    frames = [source[source["candidate"] == side].set_index(key) for side in sides]
    absent = [display_name(side) for side, frame in zip(sides, frames, strict=True) if frame.empty]
    if absent:
        return 0, f"{title}: {' and '.join(absent)} without results here"
    values = frames[0][name] if len(frames) == 1 else frames[0][name] - frames[1][name]
    values = values.dropna()
    splits = values.index.get_level_values("split")
    people = splits if per_model else frames[0].loc[values.index, person]
    n_clusters = len(set(people))
    mean, _ = mean_over_models(values, splits)
    low, high = bootstrap_mean_interval(values, people, weights=model_weights(values, splits), seed=seed)
    unit = "splits" if per_model else "subjects"
    if not len(values):
        return 0, f"{title}: not defined for any pair"
    line = f"{title} = {mean:.3g} [{low:.3g}, {high:.3g}], expected {'<' if comparison.sign < 0 else '>'} 0"
    line += f", n = {len(values)}, {n_clusters} {unit}"
    if n_clusters < MIN_CLUSTERS:
        return 0, f"{line} (fewer than {MIN_CLUSTERS}: undecided)"
    if low > 0 or high < 0:
        return (1 if np.sign(low) == comparison.sign else -1), line
    return 0, line


def claims_to_markdown(verdicts, *, notes=()):
    """Return the verdicts as Markdown: a table, the numbers of each, and notes."""
    lines = ["# The paper's findings on these results", "", "| finding | source | verdict |", "| --- | --- | --- |"]
    lines += [f"| {item.claim.statement} | {item.claim.source} | **{item.verdict}** |" for item in verdicts]
    lines += ["", "Rule: see `ivadomed_labelfusion study claims --help`. Intervals are 95 % bootstrap intervals."]
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
