"""The paper's findings, each broken into comparisons of one metric."""

from dataclasses import dataclass

from ivadomed_labelfusion.config.candidates import FUSION_SETTINGS, PAPER_CANDIDATES
from ivadomed_labelfusion.experiment.columns import REFERENCE

# what a comparison may expect beside a difference above (1) or below (-1) zero
SAME, DIFFERS = "same", "differs"
# columns that belong to no table: signed differences whose sign is the finding
ENTROPY_BIAS = "entropy_bias"
# the paper's diagrams leave out confidence 1.0, nearly all background with normalised ReLU; `exact` counts every voxel
OVERCONFIDENCE = "overconfidence_paper_image"
OVERCONFIDENCE_EXACT = "overconfidence_exact_image"
MODEL_COLUMNS = (OVERCONFIDENCE, OVERCONFIDENCE_EXACT)


@dataclass(frozen=True)
class Comparison:
    """``left`` minus ``right`` (or ``left`` alone) in a metric is expected below or above zero.

    Attributes:
        metric (str): A name of `columns.METRICS`, `ENTROPY_BIAS`, `OVERCONFIDENCE` or `OVERCONFIDENCE_EXACT`.
        left (str): Candidate.
        right (str or None): Candidate paired by split and image; None compares ``left`` with zero.
        sign (int or str): -1 if the difference should be below zero, 1 if above; `DIFFERS` if it should be significant
            on either side, `SAME` if it should not be significant. For a metric whose best value is zero (RVD) the
            distances of the two means from zero are compared.
    """

    metric: str
    left: str
    right: str | None
    sign: int | str


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


def _frameworks(metric, sign):
    return tuple(Comparison(metric, f"softseg_{fusion}", f"conv_{fusion}", sign) for fusion in FUSION_SETTINGS)


def _best(metric, winner, sign):
    return tuple(Comparison(metric, winner, other, sign) for other in PAPER_CANDIDATES if other != winner)


def _top_two(metric, sign):
    """SoftSeg-STAPLE and SoftSeg-RandomSampling against the other four."""
    winners = ("softseg_staple", "softseg_random")
    return tuple(
        Comparison(metric, winner, other, sign)
        for winner in winners
        for other in PAPER_CANDIDATES
        if other not in winners
    )


def _against_reference(metric, expected):
    """Every candidate but Conv-STAPLE against it, each with what is expected of it."""
    return tuple(Comparison(metric, name, REFERENCE, expected[name]) for name in PAPER_CANDIDATES if name != REFERENCE)


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
        tuple(Comparison(OVERCONFIDENCE, f"conv_{fusion}", None, 1) for fusion in FUSION_SETTINGS),
    ),
    Claim(
        "conventional_overconfident_exact",
        "Conventional models are overconfident over every voxel, for each fusion.",
        "Section 3.3, with the exact ECE",
        tuple(Comparison(OVERCONFIDENCE_EXACT, f"conv_{fusion}", None, 1) for fusion in FUSION_SETTINGS),
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
        tuple(Comparison(ENTROPY_BIAS, f"conv_{fusion}", None, -1) for fusion in FUSION_SETTINGS),
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
        "SoftSeg-STAPLE has the best Dice, recall, AVD and RVD of the six, for each class.",
        "Section 3.4, Table 3a",
        (
            *_best("dice", "softseg_staple", 1),
            *_best("recall", "softseg_staple", 1),
            *_best("absolute_volume_difference", "softseg_staple", -1),
            *_best("relative_volume_difference", "softseg_staple", -1),
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
        "softseg_staple_outperforms_conv_staple",
        "SoftSeg-STAPLE has better Dice, recall, AVD and RVD than Conv-STAPLE, for each class (p < 0.05).",
        "Section 3.4, Table 3a",
        (
            Comparison("dice", "softseg_staple", "conv_staple", 1),
            Comparison("recall", "softseg_staple", "conv_staple", 1),
            Comparison("absolute_volume_difference", "softseg_staple", "conv_staple", -1),
            Comparison("relative_volume_difference", "softseg_staple", "conv_staple", -1),
        ),
        datasets=("scgm",),
    ),
    Claim(
        "composite_scores_differ",
        "The composite score of each of the other five differs from Conv-STAPLE's (p < 0.05).",
        "Section 3.4, Figure 5a",
        _against_reference("composite_score", dict.fromkeys(PAPER_CANDIDATES, DIFFERS)),
        datasets=("scgm",),
    ),
    Claim(
        "only_conv_random_has_lower_dice",
        "Conv-RandomSampling has a lower Dice than Conv-STAPLE (p < 0.05); the other four do not differ from it.",
        "Section 3.4, Table 3b",
        _against_reference("dice", {**dict.fromkeys(PAPER_CANDIDATES, SAME), "conv_random": -1}),
        datasets=("ms",),
    ),
    Claim(
        "random_sampling_has_lower_composite",
        "Conv-RandomSampling and SoftSeg-RandomSampling have a lower composite score than Conv-STAPLE (p < 0.05); the "
        "other three do not differ from it.",
        "Section 3.4, Figure 5b",
        _against_reference(
            "composite_score", {**dict.fromkeys(PAPER_CANDIDATES, SAME), "conv_random": -1, "softseg_random": -1}
        ),
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
