"""Findings: hold where they were built in, fail where the opposite was, and are undecided without evidence."""

import re

import numpy as np
import pandas as pd
import pytest

from ivadomed_labelfusion.experiment.columns import column
from ivadomed_labelfusion.experiment.summary import add_composite
from ivadomed_labelfusion.paper.claims import (
    CLAIMS,
    FAILS,
    HOLDS,
    OVERCONFIDENCE,
    OVERCONFIDENCE_EXACT,
    UNDECIDED,
    _check,
    check_claims,
    claims_to_markdown,
    claims_to_records,
)
from tests.builders.simulated_study import CANDIDATES, CLASSES, simulate


def verdicts(candidates, **options):
    results, models = simulate(candidates, **options)
    checked = check_claims(add_composite(results, CLASSES), models, CLASSES)
    return {item.claim.name: item for item in checked}


def test_built_in_findings_hold():
    found = verdicts({**CANDIDATES, "conv_ensemble": (0.84, 2.8e-4, 0.8, 0.06)})
    for name in (
        "calibration_paper",
        "calibration_exact",
        "calibration_paper_roi",
        "calibration_exact_roi",
        "calibration_raters",
        "conventional_underestimates_entropy",
        "average_overestimates_entropy",
        "softseg_lower_entropy_mae",
        "softseg_lower_brier",
        "random_lowest_brier",
        "staple_best_fusion_for_segmentation",
        "staple_lowest_entropy_mae",
        "staple_and_random_best_calibrated",
        "softseg_better_composite",
        "softseg_staple_best_segmentation",
        "softseg_staple_beats_ensemble",
    ):
        assert found[name].verdict == HOLDS, (name, found.get(name))


def test_the_best_composite_holds_for_the_candidate_that_has_it():
    exchanged = {"softseg_average": CANDIDATES["softseg_staple"], "softseg_staple": CANDIDATES["softseg_average"]}
    assert verdicts({**CANDIDATES, **exchanged})["softseg_average_best_composite"].verdict == HOLDS


def test_opposite_findings_do_not_hold():
    swapped = {
        "conv_staple": CANDIDATES["softseg_staple"],
        "softseg_staple": CANDIDATES["conv_staple"],
        "conv_average": CANDIDATES["softseg_average"],
        "softseg_average": CANDIDATES["conv_average"],
        "conv_random": CANDIDATES["softseg_random"],
        "softseg_random": CANDIDATES["conv_random"],
    }
    found = verdicts(swapped)
    for name in ("calibration_paper", "average_overestimates_entropy", "softseg_lower_brier", "random_lowest_brier"):
        assert found[name].verdict == FAILS, found[name]
    # one candidate against the finding is enough
    assert found["conventional_underestimates_entropy"].verdict == FAILS


def test_equal_candidates_and_missing_ones_are_undecided():
    equal = dict.fromkeys(CANDIDATES, CANDIDATES["conv_staple"])
    assert verdicts(equal)["calibration_paper"].verdict == UNDECIDED
    two = {name: CANDIDATES[name] for name in ("conv_staple", "softseg_staple")}
    found = verdicts(two)["calibration_paper"]
    assert found.verdict == UNDECIDED
    assert "SoftSeg-Average and Conv-Average without results here" in found.evidence[1]


def test_few_splits_are_undecided():
    found = verdicts(CANDIDATES, n_splits=4)["calibration_paper"]
    assert found.verdict == UNDECIDED
    assert "4 splits (fewer than 5: undecided)" in found.evidence[0]


def test_a_metric_that_is_nowhere_defined_decides_nothing():
    results, models = simulate(CANDIDATES)
    models = models.assign(ece_paper_image=float("nan"))
    found = {item.claim.name: item for item in check_claims(results, models, CLASSES)}["calibration_paper"]
    assert found.verdict == UNDECIDED
    assert found.evidence[0].endswith("not defined for any pair")


def test_evidence_gives_the_numbers():
    results, models = simulate(CANDIDATES)
    item = next(v for v in check_claims(results, models, CLASSES) if v.claim.name == "softseg_lower_brier")
    assert len(item.evidence) == 3 * 2
    mean = results.groupby("candidate")["ir_brier_GM"].mean()
    difference = mean["softseg_staple"] - mean["conv_staple"]
    assert f"= {difference:.3g} [" in item.evidence[0]
    assert "expected < 0, n = 32" in item.evidence[0]


def test_overconfidence_is_compared_with_zero():
    results, models = simulate(CANDIDATES)
    models[OVERCONFIDENCE] = [0.1 if name.startswith("conv") else -0.02 for name in models["candidate"]]
    # over every voxel, missed lesions at confidence 1.0 can turn underconfidence into its opposite
    models[OVERCONFIDENCE_EXACT] = 0.01
    found = {item.claim.name: item.verdict for item in check_claims(results, models, CLASSES)}
    assert found["conventional_overconfident"] == found["conventional_overconfident_exact"] == HOLDS
    assert found["softseg_average_underconfident"] == HOLDS
    assert found["softseg_average_underconfident_exact"] == FAILS


@pytest.mark.parametrize(("dataset", "present"), [("scgm", False), ("ms", True), (None, True)])
def test_findings_about_another_dataset_are_left_out(dataset, present):
    results, models = simulate(CANDIDATES)
    names = [item.claim.name for item in check_claims(results, models, CLASSES, dataset=dataset)]
    assert ("softseg_average_best_composite" in names) is present


def test_checking_changes_nothing():
    results, models = simulate(CANDIDATES)
    before = results.copy(), models.copy()
    check_claims(results, models, CLASSES)
    assert results.equals(before[0])
    assert models.equals(before[1])


def test_written_verdicts():
    results, models = simulate(CANDIDATES)
    checked = check_claims(results, models, CLASSES)
    assert len(claims_to_records(checked)) == len(CLAIMS)
    text = claims_to_markdown(checked, notes=["Reduced settings: epochs 5."])
    assert "| **holds** |" in text
    assert "Reduced settings: epochs 5." in text


def test_fewer_than_three_splits_give_no_verdict():
    both = simulate(CANDIDATES, n_splits=2, n_subjects=8)
    for kept in (["split-01"], ["split-01", "split-02"]):
        results, models = (frame[frame["split"].isin(kept)] for frame in both)
        for item in check_claims(add_composite(results, CLASSES), models, CLASSES):
            assert item.verdict == UNDECIDED, item
        lower = {item.claim.name: item for item in check_claims(results, models, CLASSES)}["softseg_lower_brier"]
        assert "(fewer than 3: undecided)" in lower.evidence[0]


def null_study(rng, n_splits=12):
    """Results in which every candidate has the same distribution."""
    results, models = simulate(dict.fromkeys(CANDIDATES, CANDIDATES["conv_staple"]), n_splits=n_splits)
    metrics = [name for name in results if name.startswith("ir_")]
    noise = pd.DataFrame(rng.normal(size=(len(results), len(metrics))), columns=metrics)
    ece = [name for name in models if name.startswith("ece_")]
    return results.assign(**noise), models.assign(**{name: rng.normal(size=len(models)) for name in ece})


def test_a_finding_of_many_comparisons_is_not_contradicted_by_chance():
    """SoftSeg-STAPLE best in four metrics, two classes, five rivals: 40 comparisons under the null."""
    rng, contradicted, single = np.random.default_rng(4), 0, 0
    (claim,) = (claim for claim in CLAIMS if claim.name == "softseg_staple_best_segmentation")
    for _ in range(40):
        item = _check(claim, *null_study(rng), CLASSES)
        assert len(item.evidence) == 40
        contradicted += item.verdict == FAILS
        raw = [float(re.search(r", p = ([^,]+)", line).group(1)) for line in item.evidence]
        single += min(raw) < 0.05
    assert contradicted <= 6  # 7 % of 40, and the chance of the simulation
    assert single > 10  # without the adjustment


def test_rvd_is_compared_by_its_distance_from_zero():
    results, models = simulate(CANDIDATES)
    rng = np.random.default_rng(0)
    column_name = column("relative_volume_difference", "GM")
    mean = {"conv_staple": -0.3, "softseg_staple": 0.1}
    results[column_name] = [mean.get(name, 0.5) + rng.normal(0, 0.02) for name in results["candidate"]]

    def line():
        found = {item.claim.name: item for item in check_claims(results, models, CLASSES)}
        item = found["softseg_staple_outperforms_conv_staple"]
        return item, next(text for text in item.evidence if text.startswith("relative_volume_difference GM"))

    item, text = line()
    # the means lie 0.4 apart on both sides of zero; the distances differ by -0.2
    assert "|SoftSeg-STAPLE| - |Conv-STAPLE| = -0.20" in text
    assert item.verdict == HOLDS
    results.loc[results["candidate"] == "softseg_staple", column_name] += 0.4
    item, text = line()
    assert "|SoftSeg-STAPLE| - |Conv-STAPLE| = 0.197 (difference 0.795 [" in text
    assert item.verdict == FAILS
    # equally far on both sides: the difference is sure, the distance is not
    results.loc[results["candidate"] == "softseg_staple", column_name] -= 0.2
    assert line()[0].verdict == UNDECIDED


def test_no_significant_difference_counts_only_with_as_many_models_as_the_paper():
    same = {**dict.fromkeys(CANDIDATES, CANDIDATES["conv_staple"]), "conv_random": CANDIDATES["conv_average"]}
    name = "only_conv_random_has_lower_dice"
    assert verdicts(same, n_splits=12)[name].verdict == UNDECIDED
    many = verdicts(same, n_splits=24, seed=1)[name]
    assert many.verdict == HOLDS
    assert "expected no difference" in many.evidence[0]
    assert "Wilcoxon p = " in many.evidence[0]
    different = {**same, "softseg_staple": CANDIDATES["softseg_staple"]}
    assert verdicts(different, n_splits=12)[name].verdict == FAILS


def test_composite_scores_that_differ():
    apart = {**CANDIDATES, "softseg_average": CANDIDATES["conv_random"]}
    assert verdicts(apart, n_splits=12)["composite_scores_differ"].verdict == HOLDS
    one_equal = {**CANDIDATES, "softseg_average": CANDIDATES["conv_staple"]}
    assert verdicts(one_equal, n_splits=12)["composite_scores_differ"].verdict == UNDECIDED
    # with the paper's 40 models a difference would have been found
    assert verdicts(one_equal, n_splits=40, seed=3)["composite_scores_differ"].verdict == FAILS


def test_an_ensemble_does_not_change_the_six():
    six, _ = simulate(CANDIDATES)
    extra = six[six["candidate"] == "conv_staple"].assign(candidate="conv_ensemble")
    extra[column("dice", "GM")] = 0.1
    seven = pd.concat([six, extra], ignore_index=True)
    alone = add_composite(six, CLASSES)["composite_score"].to_numpy()
    beside = add_composite(seven, CLASSES)["composite_score"].to_numpy()
    assert np.array_equal(beside[: len(six)], alone)
    over_all = add_composite(seven, CLASSES, over_all=True)["composite_score"]
    assert not np.allclose(over_all.to_numpy()[: len(six)], alone)
    assert over_all.mean() == pytest.approx(0, abs=1e-9)
    # nothing else to go by
    assert add_composite(extra, CLASSES)["composite_score"].mean() == pytest.approx(0, abs=1e-9)
