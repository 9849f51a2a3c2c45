"""Soft STAPLE: plain STAPLE on votes, a direct computation on voxels, known raters, distances from scipy."""

import numpy as np
import pytest
from scipy import ndimage

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.methods.softstaple import steps_from
from tests.builders.oracle import ball_masks, random_masks

MASKS = ball_masks(2, 4, (12, 13, 9))


def by_hand(soft, n_iter):
    """Soft STAPLE, written on voxels with plain products of powers."""
    soft = soft.reshape(len(soft), -1).astype(float)
    prior, truth = soft.mean(), soft.mean(axis=0)
    for _ in range(n_iter):
        hit = soft @ truth / truth.sum()
        false_alarm = soft @ (1 - truth) / (1 - truth).sum()
        yes, no = prior, 1 - prior
        for value, p, q in zip(soft, hit, false_alarm, strict=True):
            yes = yes * p**value * (1 - p) ** (1 - value)
            no = no * q**value * (1 - q) ** (1 - value)
        truth = yes / (yes + no)
    return truth, hit, 1 - false_alarm


def soft_labels(masks, reach, halving):
    away = [ndimage.distance_transform_cdt(mask == 0, metric="taxicab") for mask in masks]
    return np.stack([np.where(steps <= reach, 2.0 ** (-steps / halving), 0) for steps in away])


@pytest.mark.parametrize("seed", range(3))
def test_without_reach_it_is_staple(seed):
    for masks in (random_masks(seed, 5, (9, 8, 7)), ball_masks(seed, 4, (12, 13, 9))):
        plain, soft = fusion.staple(masks), fusion.consensus(masks, "softstaple", reach=0)
        np.testing.assert_allclose(soft.posterior, plain.posterior, atol=1e-7)
        np.testing.assert_array_equal(soft.labels(), plain.labels())
        np.testing.assert_allclose(soft.sensitivity, plain.sensitivity, rtol=1e-9)
        np.testing.assert_allclose(soft.specificity, plain.specificity, rtol=1e-9)
        assert (soft.n_iter, soft.converged) == (plain.n_iter, plain.converged)
        # and the way of soft masks, voxel by voxel, gives the same
        voxels = fusion.METHODS["softstaple"].of_soft_masks(masks.astype(np.float32))
        np.testing.assert_allclose(voxels.posterior, plain.posterior, atol=1e-6)
        np.testing.assert_allclose(voxels.sensitivity, plain.sensitivity, rtol=1e-6)


@pytest.mark.parametrize("shape", [(30,), (14, 15), (9, 8, 10)])
@pytest.mark.parametrize("reach", [0, 1, 3, 40])
def test_steps_are_taxicab_distances(shape, reach):
    mask = (np.random.default_rng(4).random(shape) < 0.02).astype(np.uint8)
    mask[(2,) * mask.ndim] = 1
    away = ndimage.distance_transform_cdt(mask == 0, metric="taxicab")
    for order in "CF":
        found = steps_from(np.asarray(mask, order=order), reach)
        np.testing.assert_array_equal(found, np.where(away <= reach, away + 1, 0))
    assert not steps_from(np.zeros(shape, np.uint8), reach).any()


@pytest.mark.parametrize(("reach", "halving"), [(1, 1.0), (3, 1.5)])
def test_masks_are_widened_and_fused_as_written_on_voxels(reach, halving):
    result = fusion.consensus(MASKS, "softstaple", reach=reach, halving=halving)
    soft = soft_labels(MASKS, reach, halving)
    truth, hit, rejection = by_hand(soft, result.n_iter)
    np.testing.assert_allclose(result.posterior.ravel(), truth, atol=1e-6)
    np.testing.assert_allclose(result.sensitivity, hit, rtol=1e-6)
    np.testing.assert_allclose(result.specificity, rejection, rtol=1e-6)
    assert result.prior == pytest.approx(soft.mean())
    # the soft labels given as such lead to the same
    given = fusion.consensus(soft, "softstaple")
    assert not given.has_votes
    np.testing.assert_allclose(given.posterior, result.posterior, atol=1e-5)
    np.testing.assert_allclose(given.sensitivity, result.sensitivity, rtol=1e-5)


def test_known_raters_are_recovered_from_split_votes():
    """Raters who halve their vote in a part of the volume tell as much of their rates as the other voxels do."""
    rng = np.random.default_rng(0)
    truth = rng.random((40, 40, 20)) < 0.3
    rates = [(0.95, 0.98), (0.8, 0.9), (0.7, 0.97), (0.9, 0.85), (0.6, 0.95)]
    soft = np.stack([rng.random(truth.shape) < np.where(truth, p, 1 - q) for p, q in rates]).astype(np.float32)
    soft[:, :2] = 0.5
    unsure = fusion.consensus(soft, "softstaple", region=np.arange(40)[:, None, None] >= np.full((40, 40, 20), 2))
    np.testing.assert_allclose(unsure.sensitivity, [p for p, _ in rates], atol=0.02)
    np.testing.assert_allclose(unsure.specificity, [q for _, q in rates], atol=0.02)
    inside = fusion.staple(soft[:, 2:].astype(np.uint8))
    np.testing.assert_allclose(unsure.posterior[2:], inside.posterior, atol=1e-5)
    assert not unsure.posterior[:2].any()


def test_the_report_counts_votes_not_soft_labels():
    result = fusion.consensus(MASKS, "softstaple", reach=2)
    volumes = result.patterns.counts @ result.patterns.votes
    np.testing.assert_array_equal(volumes, MASKS.reshape(len(MASKS), -1).sum(axis=1))
    assert result.label_values.tolist() == [0, 1]


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_streaming_and_regions(order):
    masks = [np.asarray(mask, order=order) for mask in MASKS]
    expected = fusion.consensus(MASKS, "softstaple", reach=2)
    result = fusion.consensus(masks, "softstaple", reach=2, keep_codes=False)
    np.testing.assert_array_equal(result.posterior, expected.posterior)
    slabs = np.concatenate([slab for _, slab in result.label_slabs()], axis=result.axis)
    np.testing.assert_array_equal(slabs, expected.labels())
    part = np.zeros(MASKS[0].shape, bool)
    part[2:-2, 2:-2] = True
    inside = fusion.consensus(masks, "softstaple", region=part)
    cut = fusion.consensus(MASKS[:, 2:-2, 2:-2], "softstaple")
    np.testing.assert_allclose(inside.posterior[2:-2, 2:-2], cut.posterior, atol=1e-6)
    assert not inside.posterior[:2].any()
    for region in ("union", "box"):
        assert fusion.consensus(masks, "softstaple", region=region).labels().any()


def test_weights_repeat_raters():
    doubled = fusion.consensus(MASKS, "softstaple", weights=[1, 2, 1, 1])
    repeated = fusion.consensus(MASKS[[0, 1, 1, 2, 3]], "softstaple")
    np.testing.assert_allclose(doubled.posterior, repeated.posterior, atol=1e-6)


def test_bad_reach():
    for reach, message in ((-1, "whole number >= 0"), (1.5, "whole number"), (251, "at most 250")):
        with pytest.raises(InputError, match=message):
            fusion.consensus(MASKS, "softstaple", reach=reach)


def test_equal_masks_keep_their_outline():
    result = fusion.consensus(np.repeat(MASKS[:1], 3, axis=0), "softstaple")
    np.testing.assert_array_equal(result.labels(), MASKS[0])
    assert not fusion.consensus(np.zeros((3, 4, 5)), "softstaple").labels().any()
    assert fusion.consensus(np.ones((3, 4, 5)), "softstaple").labels().all()
