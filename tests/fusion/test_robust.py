"""Robust fusion of continuous maps: known raters are recovered, with closed forms and invariances."""

import numpy as np
import pytest

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.fusion.methods.robust import from_logits, to_logits
from tests.builders.oracle import ball_masks, random_masks

BIAS = np.array([0.0, 0.5, -0.4, 0.2, -0.3])
NOISE = np.array([0.1, 0.2, 0.3, 0.2, 0.4])


def phantom(seed, n_voxels=3000, *, freedom=4.0):
    """Return the truth (n,) in logits and the maps (R, n) of raters with Student's t noise."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(-2, 2, n_voxels)
    noise = rng.standard_t(freedom, (5, n_voxels)) if np.isfinite(freedom) else rng.normal(size=(5, n_voxels))
    return truth, np.clip(truth + BIAS[:, None] + NOISE[:, None] * noise, -4.5, 4.5)


def consensus_logits(result):
    return to_logits(result.posterior.astype(float))


def test_known_raters_are_recovered():
    truth, logits = phantom(0)
    result = fusion.consensus(from_logits(logits), "robust")
    assert result.converged
    np.testing.assert_allclose(result.bias, BIAS, atol=0.03)
    np.testing.assert_allclose(result.noise, NOISE, rtol=0.2)
    assert np.abs(consensus_logits(result) - truth).mean() < np.abs(logits.mean(axis=0) - truth).mean() * 0.7


def test_an_outlying_rater_and_gross_errors_do_not_mislead():
    truth, logits = phantom(1)
    rng = np.random.default_rng(2)
    logits[4] = rng.uniform(-4.5, 4.5, truth.size)  # one rater draws by lot
    gross = rng.random(truth.size) < 0.1
    logits[1, gross] = rng.uniform(-4, 4, gross.sum())  # and a good one errs in one voxel of ten
    result = fusion.consensus(from_logits(logits), "robust")
    np.testing.assert_allclose(result.bias[:4], BIAS[:4], atol=0.05)
    assert result.noise.argmax() == 4
    assert result.noise[4] > 4 * result.noise[:4].max()
    gaussian = fusion.consensus(from_logits(logits), "robust", tails=0)
    assert result.noise[1] < gaussian.noise[1] / 2
    error = np.abs(consensus_logits(result) - truth)
    average = np.abs(to_logits(fusion.fuse(from_logits(logits), "average").astype(float)) - truth)
    assert error.mean() < average.mean() / 4
    assert error[gross].mean() < average[gross].mean() / 4


def test_gaussian_noise_of_three_raters_has_a_closed_form():
    """Three variances follow from those of the three differences, as each is the sum of two (Grubbs 1948)."""
    _, logits = phantom(3, freedom=np.inf)
    logits = logits[:3]
    pairs = {(a, b): np.var(logits[a] - logits[b]) for a, b in ((0, 1), (0, 2), (1, 2))}
    expected = [
        (pairs[0, 1] + pairs[0, 2] - pairs[1, 2]) / 2,
        (pairs[0, 1] + pairs[1, 2] - pairs[0, 2]) / 2,
        (pairs[0, 2] + pairs[1, 2] - pairs[0, 1]) / 2,
    ]
    result = fusion.consensus(from_logits(logits), "robust", tails=0, tol=1e-16, max_iter=2000)
    np.testing.assert_allclose(result.noise**2, expected, atol=2e-4)
    level = logits.mean(axis=1) - logits[0].mean()
    np.testing.assert_allclose(result.bias - result.bias[0], level, atol=1e-6)
    # and the consensus is the mean weighted by precision
    weight = 1 / result.noise**2
    mean = weight @ (logits - result.bias[:, None]) / weight.sum()
    np.testing.assert_allclose(consensus_logits(result), mean, atol=1e-4)


def test_symmetries():
    _, logits = phantom(4, 400)
    maps = from_logits(logits)
    result = fusion.consensus(maps, "robust")
    mirrored = fusion.consensus(1 - maps, "robust")
    np.testing.assert_allclose(mirrored.posterior, 1 - result.posterior, atol=1e-5)
    np.testing.assert_allclose(mirrored.bias, -result.bias, atol=1e-4)
    order = [3, 0, 4, 1, 2]
    turned = fusion.consensus(maps[order], "robust")
    np.testing.assert_allclose(turned.noise, result.noise[order], rtol=1e-6)
    np.testing.assert_allclose(turned.posterior, result.posterior, atol=1e-6)
    doubled = fusion.consensus(maps, "robust", weights=[1, 2, 1, 0, 1])
    repeated = fusion.consensus(maps[[0, 1, 1, 2, 4]], "robust")
    np.testing.assert_allclose(doubled.posterior, repeated.posterior, atol=1e-6)
    np.testing.assert_allclose(doubled.noise[[0, 1, 2, 4]], repeated.noise[[0, 1, 3, 4]], rtol=1e-6)


def test_agreed_background_changes_nothing():
    _, logits = phantom(5, 300)
    maps = from_logits(logits)
    result = fusion.consensus(maps, "robust")
    padded = fusion.consensus(np.pad(maps, ((0, 0), (500, 700))), "robust")
    np.testing.assert_array_equal(padded.posterior, np.pad(result.posterior, (500, 700)))
    np.testing.assert_array_equal(padded.bias, result.bias)
    np.testing.assert_array_equal(padded.noise, result.noise)


@pytest.mark.parametrize("order", ["C", "F"])
def test_streaming_and_a_region(order):
    _, logits = phantom(6, 600)
    maps = [np.asarray(part.reshape(6, 10, 10), order=order) for part in from_logits(logits)]
    region = np.zeros((6, 10, 10), bool)
    region[2:5] = True
    result = fusion.consensus(maps, "robust", region=region)
    inside = fusion.consensus([part[2:5] for part in maps], "robust")
    np.testing.assert_allclose(result.posterior[2:5], inside.posterior, atol=1e-6)
    assert not result.posterior[:2].any()
    slabs = np.concatenate([slab for _, slab in result.posterior_slabs()], axis=result.axis)
    np.testing.assert_array_equal(slabs, result.posterior)


def test_one_rater_is_kept():
    mask = np.linspace(0, 1, 11)
    result = fusion.consensus([mask], "robust")
    np.testing.assert_allclose(result.posterior, mask, atol=1e-6)
    assert result.bias.tolist() == [0]


def test_masks_go_by_patterns_as_their_voxels_would():
    """Masks have no bias; what a voxel gets does not depend on whether votes or soft values were read."""
    masks = ball_masks(3, 7, (12, 13, 9))
    by_pattern = fusion.consensus(masks, "robust")
    by_voxel = fusion.METHODS["robust"].of_soft_masks(masks.astype(np.float32))
    assert by_pattern.has_votes
    assert not by_voxel.has_votes
    np.testing.assert_allclose(by_pattern.posterior, by_voxel.posterior, atol=1e-6)
    np.testing.assert_allclose(by_pattern.noise, by_voxel.noise, rtol=1e-9)
    assert not by_pattern.bias.any()


def test_equal_raters_give_the_majority():
    """Raters who err independently and equally often weigh the same, so that the vote decides."""
    masks = random_masks(5, 5, (40, 40))
    np.testing.assert_array_equal(fusion.consensus(masks, "robust").labels(), fusion.fuse(masks, "majority"))


def test_nested_masks_of_two_raters_are_a_tie():
    result = fusion.consensus([[0, 1, 1, 0], [0, 1, 0, 0]], "robust")
    assert result.posterior.tolist() == [0, 1, 0.5, 0]
    assert result.labels().tolist() == [0, 1, 0, 0]
