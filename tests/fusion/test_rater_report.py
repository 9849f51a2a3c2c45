"""Comparing raters, leaving them out, drawing them with replacement."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion import leave_one_rater_out, majority, rater_bootstrap, rater_report, simple, staple
from tests.builders.oracle import ball_masks, random_label_maps, random_masks

MASKS = random_masks(1, 5, (12, 13, 4))


def itk_dice(left, right):
    sitk = pytest.importorskip("SimpleITK")
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(sitk.GetImageFromArray(left.astype(np.uint8)), sitk.GetImageFromArray(right.astype(np.uint8)))
    return overlap.GetDiceCoefficient(1)


def test_volumes_performance_and_dice():
    report = rater_report(MASKS, names=list("abcde"))
    result = staple(MASKS)
    consensus = result.labels()
    np.testing.assert_array_equal(report.volume, MASKS.sum(axis=(1, 2, 3)))
    assert report.consensus_volume == consensus.sum()
    np.testing.assert_array_equal(report.sensitivity, result.sensitivity)
    np.testing.assert_array_equal(report.specificity, result.specificity)
    np.testing.assert_allclose(report.dice_consensus, [itk_dice(mask, consensus) for mask in MASKS])
    np.testing.assert_allclose(report.dice_pairwise, [[itk_dice(a, b) for b in MASKS] for a in MASKS])
    assert report.n_voxels == MASKS[0].size


def test_entropy_of_the_average():
    average = MASKS.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        paper = -np.nansum(average * np.log(average))
        background = -np.nansum((1 - average) * np.log(1 - average))
    report = rater_report(MASKS)
    assert report.entropy_paper == pytest.approx(paper)
    assert report.entropy_shannon == pytest.approx(paper + background)
    sure = rater_report(np.repeat(MASKS[:1], 3, axis=0))
    assert (sure.entropy_paper, sure.entropy_shannon) == (0, 0)


class TestFleissKappa:
    def test_worked_example(self):
        """Two categories of Fleiss' subjects by hand: 4 subjects, 3 raters."""
        masks = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 1]])
        # agreement per subject 1, 1/3, 1, 1/3; share of foreground 6/12
        agreement, chance = (1 + 1 / 3 + 1 + 1 / 3) / 4, 0.5
        assert rater_report(masks).fleiss_kappa == pytest.approx((agreement - chance) / (1 - chance))

    @settings(deadline=None, max_examples=50)
    @given(arrays.arrays(np.uint8, st.tuples(st.integers(2, 5), st.integers(1, 20)), elements=st.integers(0, 1)))
    def test_definition(self, masks):
        yes = masks.sum(axis=0)
        n = len(masks)
        agreement = ((yes * (yes - 1) + (n - yes) * (n - yes - 1)) / (n * (n - 1))).mean()
        share = masks.mean()
        chance = share**2 + (1 - share) ** 2
        expected = 1.0 if agreement == 1 else (agreement - chance) / (1 - chance)
        assert rater_report(masks).fleiss_kappa == pytest.approx(expected)

    @pytest.mark.parametrize("masks", [np.zeros((3, 5)), np.ones((3, 5)), np.ones((1, 5)), np.zeros((3, 0))])
    def test_perfect_agreement(self, masks):
        assert rater_report(masks).fleiss_kappa == 1


def test_empty_masks_have_dice_one_with_each_other():
    masks = ball_masks(1, 3, (9, 9))
    masks[1:] = 0
    report = rater_report(masks)
    np.testing.assert_array_equal(report.dice_pairwise, [[1, 0, 0], [0, 1, 1], [0, 1, 1]])
    assert np.isfinite(report.dice_consensus).all()


def test_label_maps_one_label_at_a_time():
    maps = random_label_maps(2, 4, (9, 10), 3)
    report = rater_report(maps, label=2)
    binary = rater_report(maps == 2)
    assert report.label == 2
    np.testing.assert_array_equal(report.dice_pairwise, binary.dice_pairwise)
    np.testing.assert_allclose(report.sensitivity, binary.sensitivity, atol=1e-9)
    with pytest.raises(InputError, match=r"label must be one of \[1, 2\]"):
        rater_report(maps)
    with pytest.raises(InputError, match="got 7"):
        rater_report(maps, label=7)


def test_to_dict_is_json():
    content = json.loads(
        json.dumps(rater_report(MASKS, names=list("abcde")).to_dict(voxel_volume_mm3=0.5), allow_nan=False)
    )
    assert content["raters"][1]["name"] == "b"
    assert content["raters"][1]["volume_mm3"] == MASKS[1].sum() * 0.5
    assert content["consensus"]["volume_mm3"] == staple(MASKS).volume() * 0.5


class TestLeaveOneRaterOut:
    @pytest.mark.parametrize(
        ("method", "fuse"),
        [("staple", lambda m: staple(m).labels()), ("majority", majority), ("simple", lambda m: simple(m).labels())],
    )
    def test_is_the_fusion_of_the_others(self, method, fuse):
        left_out = leave_one_rater_out(MASKS, method)
        everyone = fuse(MASKS)
        for rater in range(5):
            others = fuse(np.delete(MASKS, rater, axis=0))
            np.testing.assert_array_equal(left_out.consensus[rater].labels(), others)
            assert left_out.volume[rater] == others.sum()
            assert left_out.dice_left_out[rater] == pytest.approx(itk_dice(others, MASKS[rater]))
            assert left_out.dice_full[rater] == pytest.approx(itk_dice(others, everyone))

    def test_weights_follow_their_raters(self):
        left_out = leave_one_rater_out(MASKS, weights=[1, 2, 3, 4, 5])
        np.testing.assert_array_equal(
            left_out.consensus[1].labels(), staple(np.delete(MASKS, 1, axis=0), weights=[1, 3, 4, 5]).labels()
        )

    def test_needs_two(self):
        with pytest.raises(InputError, match="at least two"):
            leave_one_rater_out(MASKS[:1])


class TestRaterBootstrap:
    def test_is_the_fusion_of_the_raters_drawn(self):
        result = rater_bootstrap(MASKS, n_draws=20, seed=3)
        assert (result.draws.sum(axis=1) == 5).all()
        posteriors = []
        for draw, volume in zip(result.draws, result.volume, strict=True):
            drawn = staple(np.repeat(MASKS, draw, axis=0))
            assert volume == drawn.volume()
            posteriors.append(drawn.posterior.astype(float))
        np.testing.assert_allclose(result.mean, np.mean(posteriors, axis=0), atol=1e-6)
        np.testing.assert_allclose(result.std, np.std(posteriors, axis=0), atol=1e-6)

    def test_same_seed_same_result(self):
        first, second, other = (rater_bootstrap(MASKS, "majority", n_draws=50, seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first.draws, second.draws)
        np.testing.assert_array_equal(first.mean, second.mean)
        assert (first.draws != other.draws).any()

    def test_certain_raters_have_no_spread(self):
        masks = np.repeat(ball_masks(1, 1, (9, 9)), 4, axis=0)
        result = rater_bootstrap(masks, n_draws=10, seed=0)
        assert not result.std.any()
        np.testing.assert_array_equal(result.mean, masks[0])

    def test_bad_arguments(self):
        with pytest.raises(InputError, match="weights"):
            rater_bootstrap(MASKS, seed=0, weights=[1] * 5)
        with pytest.raises(InputError, match="n_draws"):
            rater_bootstrap(MASKS, seed=0, n_draws=0)
