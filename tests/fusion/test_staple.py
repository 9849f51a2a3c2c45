"""Binary STAPLE against SimpleITK, closed forms, corner cases and invariances."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion import average, fuse, staple
from tests.builders.oracle import ball_masks, itk_staple, random_masks

# raters who agree no better than chance take thousands of iterations, which these properties do not need
brief = functools.partial(staple, max_iter=50)
QUICK = settings(deadline=None, max_examples=50)


def masks_of(max_raters=5, min_raters=1):
    return st.integers(min_raters, max_raters).flatmap(
        lambda n: arrays.arrays(
            np.uint8, st.tuples(st.just(n), st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 1)
        )
    )


@pytest.mark.parametrize("n_raters", range(2, 13))
@pytest.mark.parametrize(
    "make", [lambda s, n: random_masks(s, n, (19, 23)), lambda s, n: ball_masks(s, n, (15, 18, 11))], ids=["2D", "3D"]
)
def test_equals_simpleitk(n_raters, make):
    masks = make(n_raters, n_raters)
    posterior, sensitivity, specificity = itk_staple(masks)
    result = staple(masks)
    np.testing.assert_allclose(result.posterior, posterior, atol=1e-6)
    np.testing.assert_allclose(result.sensitivity, sensitivity, atol=1e-6)
    np.testing.assert_allclose(result.specificity, specificity, atol=1e-6)
    tied = np.abs(posterior - 0.5) < 1e-12  # see test_nested_masks
    np.testing.assert_array_equal(result.labels()[~tied], (posterior > 0.5)[~tied])
    assert n_raters == 2 or not tied.any()
    assert result.converged


def test_nested_masks():
    """Where two nested masks differ, 0.5 is a fixed point; in ITK rounding errors decide such voxels."""
    outer = ball_masks(2, 1, (15, 18, 11))[0]
    inner = outer & np.roll(outer, 3, axis=1)
    posterior, _, _ = itk_staple([inner, outer])
    for masks in ([inner, outer], [outer, inner]):
        result = staple(masks)
        np.testing.assert_allclose(result.posterior, posterior, atol=1e-12)
        assert (result.posterior[inner != outer] == 0.5).all()
        np.testing.assert_array_equal(result.labels(), inner)


@pytest.mark.parametrize("max_iter", [1, 2, 5])
def test_equals_simpleitk_when_stopped_early(max_iter):
    masks = random_masks(3, 4, (12, 13, 5))
    posterior, sensitivity, _ = itk_staple(masks, MaximumIterations=max_iter)
    result = staple(masks, max_iter=max_iter)
    np.testing.assert_allclose(result.posterior, posterior, atol=1e-6)
    np.testing.assert_allclose(result.sensitivity, sensitivity, atol=1e-9)
    assert (result.n_iter, result.converged) == (max_iter, False)


@pytest.mark.parametrize("weight", [0.5, 1.5])
def test_confidence_weight_is_simpleitks(weight):
    masks = random_masks(4, 5, (12, 13, 5))
    posterior, _, _ = itk_staple(masks, ConfidenceWeight=weight)
    np.testing.assert_allclose(staple(masks, confidence_weight=weight).posterior, posterior, atol=1e-6)


def test_recovers_known_raters():
    hit, rejection = np.array([0.95, 0.8, 0.7, 0.9]), np.array([0.99, 0.95, 0.9, 0.85])
    generator = np.random.default_rng(0)
    truth = generator.random((400, 500)) < 0.3
    masks = np.stack(
        [
            np.where(truth, generator.random(truth.shape) < p, generator.random(truth.shape) > q)
            for p, q in zip(hit, rejection, strict=True)
        ]
    )
    result = staple(masks)
    np.testing.assert_allclose(result.sensitivity, hit, atol=0.01)
    np.testing.assert_allclose(result.specificity, rejection, atol=0.01)


def test_posterior_is_bayes_rule():
    """The fixed point, computed voxel by voxel: posterior = prior p / (prior p + (1 - prior) q)."""
    masks = random_masks(5, 3, (9, 10))
    result = staple(masks)
    yes = masks.astype(bool)
    p, q = result.sensitivity[:, None, None], result.specificity[:, None, None]
    foreground = result.prior * np.where(yes, p, 1 - p).prod(axis=0)
    background = (1 - result.prior) * np.where(yes, 1 - q, q).prod(axis=0)
    np.testing.assert_allclose(result.posterior, foreground / (foreground + background), atol=1e-6)
    assert result.prior == pytest.approx(masks.mean())


@pytest.mark.parametrize("value", [0, 1])
def test_all_empty_and_all_full(value):
    """SimpleITK gives NaN here."""
    masks = np.full((3, 4, 5), value, np.uint8)
    assert np.isnan(itk_staple(masks)[0]).all()
    result = staple(masks)
    np.testing.assert_array_equal(result.posterior, masks[0])
    np.testing.assert_array_equal(result.labels(), masks[0])
    np.testing.assert_array_equal(result.sensitivity, 1)
    np.testing.assert_array_equal(result.specificity, 1)
    assert result.converged
    assert result.prior == value


def test_one_empty_rater():
    masks = ball_masks(1, 4, (12, 12, 12))
    masks[2] = 0
    result = staple(masks)
    np.testing.assert_allclose(result.posterior, itk_staple(masks)[0], atol=1e-6)
    assert result.sensitivity[2] == 0
    assert result.specificity[2] == 1
    assert result.labels().any()


def test_two_of_three_empty():
    masks = ball_masks(1, 3, (12, 12, 12))
    masks[1:] = 0
    result = staple(masks)
    np.testing.assert_allclose(result.posterior, itk_staple(masks)[0], atol=1e-6)
    np.testing.assert_array_equal(result.sensitivity[1:], 0)
    assert np.isfinite(result.posterior).all()


def test_perfect_agreement():
    masks = np.repeat(ball_masks(2, 1, (10, 11, 12)), 4, axis=0)
    result = staple(masks)
    np.testing.assert_array_equal(result.labels(), masks[0])
    np.testing.assert_array_equal(result.posterior, masks[0])
    np.testing.assert_array_equal(result.sensitivity, 1)
    np.testing.assert_array_equal(result.specificity, 1)


def test_one_rater_is_the_consensus():
    masks = ball_masks(2, 1, (10, 11, 12))
    np.testing.assert_array_equal(staple(masks).labels(), masks[0])


def test_two_raters():
    masks = ball_masks(3, 2, (12, 12))
    posterior, sensitivity, _ = itk_staple(masks)
    result = staple(masks)
    np.testing.assert_allclose(result.posterior, posterior, atol=1e-6)
    np.testing.assert_allclose(result.sensitivity, sensitivity, atol=1e-6)


@pytest.mark.parametrize("n_raters", [16, 17, 40, 70, 130])
def test_many_raters(n_raters):
    """Beyond 16 raters patterns go through a dictionary, beyond 64 through several words."""
    masks = random_masks(6, n_raters, (11, 12, 5), hit=0.7, false_alarm=0.2)
    posterior, sensitivity, _ = itk_staple(masks)
    result = staple(masks)
    np.testing.assert_allclose(result.posterior, posterior, atol=1e-6)
    np.testing.assert_allclose(result.sensitivity, sensitivity, atol=1e-6)
    again = staple(masks, keep_codes=False)
    np.testing.assert_array_equal(again.posterior, result.posterior)


def test_more_than_2_to_24_votes():
    """float32 counters stop at 2^24; the counts here are integers."""
    masks = np.zeros((5, 200, 200, 100), np.uint8)
    masks[:, 50:150, 50:150] = 1
    masks[0, 50] = 0
    assert masks.size > 2**24
    result = staple(masks)
    assert result.patterns.counts.sum() == 4_000_000
    assert result.patterns.counts.tolist() == [3_000_000, 10_000, 990_000]
    np.testing.assert_allclose(result.sensitivity[0], 0.99, atol=1e-12)
    assert result.volume() == 1_000_000


@pytest.mark.parametrize("shape", [(0,), (3, 0, 4)])
def test_zero_size(shape):
    result = staple(np.zeros((3, *shape), np.uint8))
    assert result.posterior.shape == shape
    assert result.labels().shape == shape
    assert result.prior == 0


@pytest.mark.parametrize(
    "dtype", [bool, np.int8, np.uint8, np.int16, np.uint16, np.int64, np.float32, np.float64, ">i2", ">f4"]
)
def test_dtypes(dtype):
    masks = random_masks(7, 4, (8, 9, 5))
    np.testing.assert_array_equal(staple(masks.astype(dtype)).posterior, staple(masks).posterior)


def test_memory_orders_and_mixtures():
    masks = random_masks(8, 3, (8, 9, 5))
    expected = staple(masks).posterior
    fortran = [np.asfortranarray(mask) for mask in masks]
    strided = [np.repeat(mask, 2, axis=1)[:, ::2] for mask in masks]
    result = staple(fortran).posterior
    assert result.flags.f_contiguous
    for other in (result, staple([masks[0], fortran[1], strided[2]]).posterior, staple(strided).posterior):
        np.testing.assert_array_equal(other, expected)


def test_255_is_read_as_1_with_one_note():
    masks = random_masks(9, 3, (8, 9, 5))
    assert np.isnan(itk_staple(masks * 255)[1]).all()
    with pytest.warns(UserWarning, match="0 and 255 are read as 0 and 1: a, c") as caught:
        result = staple([masks[0] * 255, masks[1], masks[2] * 255.0], names="abc")
    assert len(caught) == 1
    assert len(result.notes) == 1
    np.testing.assert_array_equal(result.posterior, staple(masks).posterior)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, "rater 2 holds 0, 0.5, 1.* average"),
        (np.nan, "rater 2 holds NaN"),
        (np.inf, "rater 2 holds NaN or inf"),
        (-1, "rater 2 holds -1.* negative"),
        (2, "rater 2 holds 0, 1, 2.* multilabel_staple"),
    ],
)
def test_other_values_are_refused(value, message):
    masks = random_masks(10, 3, (6, 7)).astype(float)
    masks[1, 3, 3] = value
    with pytest.raises(InputError, match=message):
        staple(masks)


def test_bad_arguments_are_refused():
    masks = random_masks(10, 3, (6, 7))
    with pytest.raises(InputError, match=r"one has \(6, 7\), two has \(6, 6\)"):
        staple([masks[0], masks[1, :, :6]], names=["one", "two"])
    with pytest.raises(InputError, match="at least one mask"):
        staple([])
    with pytest.raises(InputError, match="spatial axis"):
        staple([1, 0, 1])
    with pytest.raises(InputError, match="one per rater"):
        staple(masks, weights=[1, 2])
    with pytest.raises(InputError, match="not all zero"):
        staple(masks, weights=[0, 0, 0])
    with pytest.raises(InputError, match="region must be one of"):
        staple(masks, region="brain")
    with pytest.raises(InputError, match="shape"):
        staple(masks, region=np.ones((3, 3)))
    with pytest.raises(InputError, match="margin"):
        staple(masks, region="box", margin=-1)
    with pytest.raises(InputError, match="max_iter"):
        staple(masks, max_iter=0)
    with pytest.raises(InputError, match="tol"):
        staple(masks, tol=-1)
    with pytest.raises(InputError, match="confidence_weight"):
        staple(masks, confidence_weight=100)


class TestRegion:
    masks = np.pad(ball_masks(11, 4, (14, 15, 12)), [(0, 0), (6, 9), (7, 5), (8, 8)])

    def test_union_is_the_same_as_the_voxels_of_the_union(self):
        union = self.masks.any(axis=0)
        result = staple(self.masks, region="union")
        alone = staple(self.masks[:, union])
        np.testing.assert_array_equal(result.posterior[union], alone.posterior)
        assert not result.posterior[~union].any()
        np.testing.assert_array_equal(result.sensitivity, alone.sensitivity)
        assert result.patterns.n_region == union.sum()

    def test_box_is_the_same_as_cropping(self):
        hits = np.argwhere(self.masks.any(axis=0))
        box = tuple(slice(a - 2, b + 3) for a, b in zip(hits.min(axis=0), hits.max(axis=0), strict=True))
        result = staple(self.masks, region="box", margin=2)
        alone = staple(self.masks[(slice(None), *box)])
        np.testing.assert_array_equal(result.posterior[box], alone.posterior)
        outside = result.posterior.copy()
        outside[box] = 0
        assert not outside.any()
        for order in "CF":
            masks = [np.asarray(mask, order=order) for mask in self.masks]
            lazy = staple(masks, region="box", margin=2, keep_codes=False)
            np.testing.assert_array_equal(lazy.posterior, result.posterior)

    def test_box_stops_at_the_border(self):
        masks = random_masks(1, 3, (8, 9), foreground=0.6)
        np.testing.assert_array_equal(staple(masks, region="box", margin=50).posterior, staple(masks).posterior)

    def test_mask(self):
        region = np.zeros(self.masks.shape[1:], bool)
        region[10:20, 10:18, 5:19] = True
        result = staple(self.masks, region=region)
        np.testing.assert_array_equal(result.posterior[region], staple(self.masks[:, region]).posterior)
        assert not result.posterior[~region].any()
        assert result.patterns.n_outside == self.masks[:, ~region].sum() > 0
        np.testing.assert_array_equal(staple(self.masks, region=region, keep_codes=False).labels(), result.labels())

    def test_more_background_gives_a_larger_consensus(self):
        volumes = [staple(self.masks, region=region).volume() for region in ("union", "image")]
        assert volumes[0] < volumes[1]

    @pytest.mark.parametrize("region", ["union", "box"])
    def test_empty(self, region):
        result = staple(np.zeros((3, 5, 6)), region=region)
        assert not result.posterior.any()
        assert result.patterns.n_region == 0


class TestWeights:
    masks = random_masks(12, 3, (12, 13, 4))

    def test_two_is_the_rater_twice(self):
        weighted = staple(self.masks, weights=[1, 2, 1])
        doubled = staple(self.masks[[0, 1, 1, 2]])
        np.testing.assert_allclose(weighted.posterior, doubled.posterior, atol=1e-9)
        np.testing.assert_allclose(weighted.sensitivity, doubled.sensitivity[[0, 1, 3]], atol=1e-12)

    def test_zero_leaves_the_rater_out_but_rates_them(self):
        weighted = staple(self.masks, weights=[1, 0, 1])
        without = staple(self.masks[[0, 2]])
        np.testing.assert_allclose(weighted.posterior, without.posterior, atol=1e-9)
        expected = (without.posterior.astype(float) * self.masks[1]).sum() / without.posterior.sum(dtype=float)
        assert weighted.sensitivity[1] == pytest.approx(expected, abs=1e-6)


class TestProperties:
    @QUICK
    @given(masks=masks_of(), data=st.data())
    def test_permuting_raters_permutes_their_results(self, masks, data):
        order = data.draw(st.permutations(range(len(masks))))
        result, permuted = brief(masks), brief(masks[order])
        np.testing.assert_allclose(permuted.posterior, result.posterior, atol=1e-6)
        np.testing.assert_allclose(permuted.sensitivity, result.sensitivity[order], atol=1e-6)
        np.testing.assert_allclose(permuted.specificity, result.specificity[order], atol=1e-6)

    @QUICK
    @given(masks=masks_of(), axis=st.integers(1, 2))
    def test_flipping_flips(self, masks, axis):
        np.testing.assert_array_equal(brief(np.flip(masks, axis)).posterior, np.flip(brief(masks).posterior, axis - 1))

    @QUICK
    @given(
        masks=masks_of(), before=st.integers(0, 3), after=st.integers(0, 3), region=st.sampled_from(["union", "box"])
    )
    def test_padding_changes_nothing_with_the_region_fixed(self, masks, before, after, region):
        pad = [(before, after), (after, before)]
        padded = brief(np.pad(masks, [(0, 0), *pad]), region=region, margin=0)
        result = brief(masks, region=region, margin=0)
        np.testing.assert_array_equal(padded.posterior, np.pad(result.posterior, pad))
        np.testing.assert_array_equal(padded.sensitivity, result.sensitivity)

    @QUICK
    @given(masks=masks_of())
    def test_complement_swaps_foreground_and_background(self, masks):
        # a few steps: where the raters contradict each other wholly, the iteration blows up the last bit's rounding
        result, complement = staple(masks, max_iter=5), staple(1 - masks, max_iter=5)
        np.testing.assert_allclose(complement.posterior, 1 - result.posterior, atol=1e-6)
        # a class that nobody marked has no rate of its own: both sides then say 1
        if 0 < masks.mean() < 1:
            np.testing.assert_allclose(complement.sensitivity, result.specificity, atol=1e-6)
            np.testing.assert_allclose(complement.specificity, result.sensitivity, atol=1e-6)

    @QUICK
    @given(masks=masks_of(), chunk=st.integers(8, 40), block=st.integers(1, 40), keep=st.booleans())
    def test_result_is_independent_of_chunking(self, masks, chunk, block, keep):
        from ivadomed_labelfusion.fusion import coders, source

        expected = brief(masks)
        original = source.CHUNK_VOXELS, source.SLAB_VOXELS
        try:
            coders.CHUNK_VOXELS, source.SLAB_VOXELS = chunk, block
            result = brief(masks, keep_codes=keep)
            np.testing.assert_array_equal(result.posterior, expected.posterior)
            np.testing.assert_array_equal(result.sensitivity, expected.sensitivity)
        finally:
            coders.CHUNK_VOXELS, source.SLAB_VOXELS = original

    @QUICK
    @given(masks=masks_of())
    def test_posterior_is_a_probability_and_labels_are_its_threshold(self, masks):
        result = brief(masks)
        assert ((result.posterior >= 0) & (result.posterior <= 1)).all()
        np.testing.assert_array_equal(result.labels(), result.posterior > 0.5)
        assert result.posterior.dtype == np.float32
        assert result.labels().dtype == np.uint8


def test_chunking_of_dictionary_patterns(monkeypatch):
    from ivadomed_labelfusion.fusion import coders, source

    masks = random_masks(13, 30, (9, 10, 4))
    expected = staple(masks)
    monkeypatch.setattr(coders, "CHUNK_VOXELS", 50)
    monkeypatch.setattr(source, "SLAB_VOXELS", 100)
    for keep in (True, False):
        result = staple(masks, keep_codes=keep)
        np.testing.assert_array_equal(result.posterior, expected.posterior)


def test_slabs_are_the_volume():
    masks = random_masks(14, 4, (9, 10, 7))
    for order in "CF":
        result = staple([np.asarray(mask, order=order) for mask in masks], keep_codes=False)
        slabs = [slab for _, slab in result.label_slabs()]
        np.testing.assert_array_equal(np.concatenate(slabs, axis=result.axis), result.labels())
        slabs = [slab for _, slab in result.posterior_slabs()]
        np.testing.assert_array_equal(np.concatenate(slabs, axis=result.axis), staple(masks).posterior)


def test_float32_posterior_never_crosses_the_threshold():
    from ivadomed_labelfusion.fusion.result import as_float32

    values = np.array([0.5, np.nextafter(0.5, 1), np.nextafter(0.5, 0), 0.0, 1.0])
    np.testing.assert_array_equal(as_float32(values) > 0.5, values > 0.5)
    np.testing.assert_allclose(as_float32(values), values, atol=1e-7)


def test_fuse_is_staple():
    masks = random_masks(15, 4, (9, 10, 7))
    np.testing.assert_array_equal(fuse(masks), staple(masks).labels())
    np.testing.assert_array_equal(fuse(masks, soft=True), staple(masks).posterior)
    np.testing.assert_allclose(fuse(masks, "average"), average(masks))
