"""Findings: hold where they were built in, fail where the opposite was, and are undecided without evidence."""

import pytest
from simulated_study import CANDIDATES, CLASSES, simulate

from ivadomed_labelfusion.study.claims import (
    CLAIMS,
    FAILS,
    HOLDS,
    OVERCONFIDENCE,
    OVERCONFIDENCE_EXACT,
    UNDECIDED,
    check_claims,
    claims_to_markdown,
    claims_to_records,
)
from ivadomed_labelfusion.study.summary import add_composite


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
