"""Average, majority, intersection, union and SIMPLE against direct computation."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion import METHODS, average, fuse, intersection, majority, simple, union
from tests.builders.oracle import ball_masks, random_label_maps, random_masks

MASKS = st.integers(1, 6).flatmap(
    lambda n: arrays.arrays(
        np.uint8, st.tuples(st.just(n), st.integers(0, 5), st.integers(1, 6)), elements=st.integers(0, 1)
    )
)


@settings(deadline=None, max_examples=50)
@given(masks=MASKS)
def test_against_numpy(masks):
    np.testing.assert_array_equal(average(masks), masks.mean(axis=0, dtype=np.float64).astype(np.float32))
    np.testing.assert_array_equal(majority(masks), masks.sum(axis=0) * 2 > len(masks))
    np.testing.assert_array_equal(majority(masks, ties="foreground"), masks.sum(axis=0) * 2 >= len(masks))
    np.testing.assert_array_equal(intersection(masks), masks.all(axis=0))
    np.testing.assert_array_equal(union(masks), masks.any(axis=0))


@settings(deadline=None, max_examples=50)
@given(masks=MASKS, data=st.data())
def test_permuting_raters_changes_nothing(masks, data):
    order = data.draw(st.permutations(range(len(masks))))
    for method in ("average", "majority", "intersection", "union", "simple"):
        np.testing.assert_array_equal(fuse(masks[order], method), fuse(masks, method))


def test_dtypes_of_the_results():
    masks = random_masks(1, 3, (5, 6))
    for method in METHODS:
        assert fuse(masks.astype(float), method).dtype == (np.float32 if METHODS[method].soft else np.uint8)
        assert fuse(masks, method, soft=True).dtype == np.float32


def test_majority_of_label_maps_equals_simpleitk():
    maps = random_label_maps(2, 5, (12, 11, 4), 4, right=0.5)
    sitk = pytest.importorskip("SimpleITK")
    expected = sitk.GetArrayFromImage(sitk.LabelVoting([sitk.GetImageFromArray(labels) for labels in maps], 255))
    tied = expected == 255
    assert tied.any()
    np.testing.assert_array_equal(majority(maps)[~tied], expected[~tied])


def test_ties_of_label_maps():
    #               no tie  0/1  1/2  0/2  0/1/2 (4 raters: 2 and 2, or 2, 1, 1)
    maps = np.array([[1, 0, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 2, 2, 2], [0, 1, 2, 2, 2]], np.uint8)
    assert majority(maps, ties="lowest").tolist() == [1, 0, 1, 0, 2]
    assert majority(maps, ties="background").tolist() == [1, 0, 0, 0, 2]
    assert majority(maps, ties="foreground").tolist() == [1, 1, 1, 2, 2]
    with pytest.raises(InputError, match="3 voxels have equally many votes"):
        majority(maps, ties="error")
    assert majority(maps[:3, :1], ties="error").tolist() == [1]
    with pytest.raises(InputError, match="ties must be one of"):
        majority(maps, ties="random")


def test_weighted_votes():
    masks = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], np.uint8)
    np.testing.assert_allclose(average(masks, weights=[2, 1, 1]), [0.5, 0.75, 0.25])
    assert majority(masks, weights=[3, 1, 1]).tolist() == [1, 1, 0]
    # 0.1 + 0.2 and 0.3 are equal votes although not equal floats
    assert majority(masks[:, :1], weights=[0.3, 0.1, 0.2]).tolist() == [0]
    assert majority(masks[:, :1], weights=[0.3, 0.1, 0.2], ties="foreground").tolist() == [1]
    assert intersection(masks, weights=[1, 1, 0]).tolist() == [0, 1, 0]
    assert union(masks, weights=[0, 1, 0]).tolist() == [0, 1, 0]


def test_label_maps_without_a_common_label():
    maps = np.array([[1, 1, 0, 2], [1, 2, 0, 2], [1, 0, 1, 2]], np.uint8)
    assert intersection(maps).tolist() == [1, 0, 0, 2]
    with pytest.raises(InputError, match=r"1 voxels.*fuse_classes"):
        union(maps)
    assert union(maps[:, [0, 2, 3]]).tolist() == [1, 1, 2]
    with pytest.raises(InputError, match="multilabel_staple"):
        average(maps)
    np.testing.assert_allclose(fuse(maps, "average")[:, 1], [1 / 3, 1 / 3, 1 / 3])


class TestSoftMasks:
    soft = np.random.default_rng(3).random((4, 5, 6))

    def test_average(self):
        expected = self.soft.mean(axis=0)
        np.testing.assert_allclose(average(self.soft), expected, atol=1e-7)
        np.testing.assert_allclose(average(self.soft.astype(np.float32)), expected, atol=1e-6)
        np.testing.assert_allclose(
            fuse([np.asfortranarray(mask) for mask in self.soft], "average"), expected, atol=1e-7
        )

    def test_weights_and_region(self):
        expected = np.average(self.soft, axis=0, weights=[1, 2, 3, 4])
        region = np.zeros((5, 6), bool)
        region[1:3] = True
        result = average(self.soft, weights=[1, 2, 3, 4], region=region)
        np.testing.assert_allclose(result, np.where(region, expected, 0), atol=1e-7)
        with pytest.raises(InputError, match="soft masks"):
            average(self.soft, region="box")

    @pytest.mark.parametrize(("value", "message"), [(1.5, "spans"), (-0.1, "spans"), (np.nan, "holds NaN")])
    def test_other_values_are_refused(self, value, message):
        soft = self.soft.copy()
        soft[2, 1, 1] = value
        with pytest.raises(InputError, match=rf"rater 3 {message}"):
            average(soft)

    @pytest.mark.parametrize("method", sorted(name for name in METHODS if METHODS[name].of_soft is None))
    def test_other_methods_refuse_them(self, method):
        with pytest.raises(InputError, match="average"):
            fuse(self.soft, method)


def test_unknown_methods_and_options_are_refused():
    masks = random_masks(1, 3, (5, 6))
    with pytest.raises(InputError, match="method must be one of staple, average"):
        fuse(masks, "stapel")
    for method, option in itertools.product(METHODS, ("ties", "alpha", "confidence_weight", "nonsense")):
        if option not in METHODS[method].options:
            with pytest.raises(InputError, match=f"takes no option '{option}'"):
                fuse(masks, method, **{option: 1})


class TestSimple:
    def by_hand(self, masks, alpha):
        """SIMPLE, written on voxels."""
        kept = np.ones(len(masks), bool)
        votes = masks.reshape(len(masks), -1).astype(bool)
        estimate = votes.sum(axis=0) * 2 > len(masks)
        while True:
            score = np.array([2 * (mask & estimate).sum() / (mask.sum() + estimate.sum()) for mask in votes])
            still = kept & (score >= score[kept].mean() - alpha * score[kept].std() - 1e-12)
            updated = (score * still) @ votes > (score * still).sum() / 2
            if (still == kept).all() and (updated == estimate).all():
                return estimate.reshape(masks.shape[1:]), kept, score
            kept, estimate = still, updated

    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize("alpha", [0.8, 1.0, 1.7])
    def test_equals_the_definition(self, seed, alpha):
        masks = random_masks(seed, 4 + seed, (14, 15))
        estimate, kept, score = self.by_hand(masks, alpha)
        result = simple(masks, alpha=alpha)
        np.testing.assert_array_equal(result.labels(), estimate)
        np.testing.assert_array_equal(result.kept, kept)
        np.testing.assert_allclose(result.score, score, atol=1e-12)
        assert result.converged

    def test_drops_a_rater_who_marks_something_else(self):
        masks = ball_masks(1, 6, (14, 15, 12))
        masks[4] = np.roll(masks[4], 6, axis=0)
        result = simple(masks)
        assert not result.kept[4]
        assert result.kept.sum() >= 1
        assert result.score[4] < result.score[result.kept].min()

    def test_equal_raters_are_all_kept(self):
        masks = np.repeat(ball_masks(1, 1, (9, 9)), 3, axis=0)
        result = simple(masks)
        assert result.kept.all()
        np.testing.assert_array_equal(result.labels(), masks[0])
        np.testing.assert_array_equal(result.score, 1)

    @pytest.mark.parametrize("value", [0, 1])
    def test_all_empty_and_all_full(self, value):
        masks = np.full((3, 4, 5), value)
        result = simple(masks)
        np.testing.assert_array_equal(result.labels(), masks[0])
        assert result.kept.all()
        np.testing.assert_array_equal(result.score, 1)

    def test_disjoint_raters(self):
        masks = np.eye(3, dtype=np.uint8)[:, None]
        assert not simple(masks).labels().any()

    def test_label_maps(self):
        maps = random_label_maps(4, 5, (14, 15), 3, right=0.9)
        maps[2] = random_label_maps(5, 1, (14, 15), 3)[0]
        result = simple(maps)
        assert not result.kept[2]
        assert set(np.unique(result.labels())) == {0, 1, 2}

    def test_bad_alpha(self):
        with pytest.raises(InputError, match="alpha"):
            simple(random_masks(1, 3, (5, 6)), alpha=0)
