"""Proper scores: oracles, closed forms, and that the truth is what scores best."""

import importlib.util
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ivadomed_labelfusion import metrics
from ivadomed_labelfusion.errors import InputError

skm = pytest.importorskip("sklearn.metrics")

SHAPE = (12, 11, 5)


def panel(seed=0, n_classes=1, n_raters=5):
    """Probabilities of the classes and raters who draw from them."""
    rng = np.random.default_rng(seed)
    full = rng.dirichlet(np.full(n_classes + 1, 0.5), size=SHAPE)
    labels = (rng.random((n_raters, *SHAPE, 1)) > np.cumsum(full, axis=-1)).sum(axis=-1)
    masks = np.stack([labels == index + 1 for index in range(n_classes)], axis=1)
    return np.moveaxis(full[..., 1:], -1, 0), masks.astype(np.uint8)


def test_log_score_equals_scikit_learn():
    prob, masks = panel(n_classes=2)
    prob = np.clip(prob, 0.01, 0.45)
    full = np.concatenate([1 - prob.sum(axis=0)[None], prob])
    labels = np.where(masks.any(axis=1), masks.argmax(axis=1) + 1, 0)
    expected = np.mean([skm.log_loss(rater.ravel(), full.reshape(3, -1).T, labels=[0, 1, 2]) for rater in labels])
    assert metrics.log_score(prob, masks.mean(axis=0), class_axis=0) == pytest.approx(expected)


def test_log_score_is_clipped_and_takes_a_mask():
    prediction, average = np.array([[0.0, 1.0, 0.5]]), np.array([[1.0, 1.0, 0.0]])
    assert metrics.LOG_CLIP == 1e-3
    assert metrics.log_score(prediction, average, class_axis=0) == pytest.approx((np.log(1000) + np.log(2)) / 3)
    mask = np.array([False, True, True])
    assert metrics.log_score(prediction, average, mask=mask, class_axis=0) == pytest.approx(np.log(2) / 2)
    assert np.isnan(metrics.log_score(prediction, average, mask=~mask & mask, class_axis=0))
    with pytest.raises(InputError, match="mask must be bool"):
        metrics.log_score(prediction, average, mask=mask[:2], class_axis=0)
    with pytest.raises(InputError, match="same shape"):
        metrics.log_score(prediction, average[:, :2], class_axis=0)


def test_brier_of_votes_equals_scikit_learn_and_splits_exactly():
    prob, masks = panel(1)
    (split,) = metrics.brier_split(prob, masks.mean(axis=0), class_axis=0)
    votes = masks[:, 0].reshape(5, -1)
    assert split.score == pytest.approx(np.mean([skm.brier_score_loss(rater, prob[0].ravel()) for rater in votes]))
    # the distance from the average, and the raters' own disagreement
    average = masks.mean(axis=0)
    assert split.score == pytest.approx(
        metrics.brier_score(prob, average, class_axis=0)[0] + (average * (1 - average)).mean()
    )
    assert split.calibration + split.refinement == pytest.approx(split.score)


def test_predictions_equal_within_bins_give_the_textbook_split():
    rng = np.random.default_rng(2)
    values = np.array([0.05, 0.35, 0.62, 0.95])
    prediction = rng.choice(values, size=(1, 5000))
    average = rng.integers(0, 5, size=(1, 5000)) / 4
    (split,) = metrics.brier_split(prediction, average, class_axis=0)
    calibration = refinement = 0.0
    for value in values:
        chosen = prediction == value
        share = average[chosen].mean()
        calibration += chosen.mean() * (value - share) ** 2
        refinement += chosen.mean() * share * (1 - share)
    assert (split.calibration, split.refinement) == pytest.approx((calibration, refinement))


def test_brier_split_corner_cases():
    empty = np.zeros((2, 4))
    assert [(s.score, s.calibration, s.refinement) for s in metrics.brier_split(empty, empty, class_axis=0)] == [
        (0, 0, 0)
    ] * 2
    assert np.isnan(metrics.brier_split(np.zeros((1, 0)), np.zeros((1, 0)), class_axis=0)[0].score)
    certain = np.ones((1, 3))
    assert metrics.brier_split(certain, certain, class_axis=0)[0].score == 0
    assert metrics.brier_split(certain, 0 * certain, class_axis=0)[0].calibration == 1


def test_the_truth_has_the_best_proper_scores_but_not_the_best_entropy_error():
    truth, masks = panel(3, n_raters=7)
    average = masks.mean(axis=0)
    rivals = {"truth": truth}
    rivals["too sure"] = truth**2 / (truth**2 + (1 - truth) ** 2)
    rivals["too vague"] = 0.8 * truth + 0.1
    # the raters' entropy to the last digit, in other voxels
    rivals["shuffled"] = np.random.default_rng(0).permutation(average.ravel()).reshape(average.shape)
    for score in (
        lambda p: metrics.log_score(p, average, class_axis=0),
        lambda p: metrics.brier_score(p, average, class_axis=0)[0],
        lambda p: metrics.brier_split(p, average, class_axis=0)[0].score,
    ):
        scores = {name: score(rival) for name, rival in rivals.items()}
        assert min(scores, key=scores.get) == "truth"
    errors = {name: metrics.entropy_error(rival, average, class_axis=0) for name, rival in rivals.items()}
    assert min(errors, key=errors.get) == "shuffled"
    assert errors["truth"] > 0.1 * metrics.entropy(average, class_axis=0)
    counts = metrics.vote_counts(masks, class_axis=1)[1]
    assert metrics.calibrated_entropy(counts) == pytest.approx(metrics.entropy(truth, class_axis=0), rel=0.05)


def test_haze_share():
    prediction = np.array([[0.01, 0.0101, 0.5, 0.0, 1.0]], np.float64)
    expected = -0.01 * np.log(0.01) / metrics.entropy(prediction, class_axis=0)
    assert metrics.haze_share(prediction, class_axis=0) == pytest.approx(expected)
    assert np.isnan(metrics.haze_share(np.zeros((1, 3)), class_axis=0))


def test_stored_entropy_is_that_of_ivadomeds_file(tmp_path):
    from ivadomed_labelfusion.metrics.uncertainty import as_stored

    prediction = np.random.default_rng(4).beta(0.2, 2, SHAPE).astype(np.float32)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    kept = np.where(prediction <= 1e-2, 0, prediction)
    nibabel.save(nibabel.Nifti1Image(kept, np.eye(4), header=header), tmp_path / "pred.nii.gz")
    stored = np.asarray(nibabel.load(tmp_path / "pred.nii.gz").dataobj)
    ours = as_stored(prediction.astype(np.float64), float(prediction.max()))
    np.testing.assert_allclose(ours, stored, atol=1e-6)
    assert metrics.entropy(ours[None], class_axis=0) == pytest.approx(
        metrics.entropy(stored[None], class_axis=0), rel=1e-4
    )
    assert not as_stored(np.array([0.004, 0.01]), 0.01).any()


def test_what_losses_elicit():
    """docs/evaluation.md prints these; the loss is ivadomed's."""
    path = Path(__file__).parents[2] / "docs" / "images" / "evaluation_elicited.py"
    spec = importlib.util.spec_from_file_location("evaluation_elicited", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for share, binary, averaged in ((0.1, 0.05, 0.115), (0.3, 0.17, 0.319), (0.5, 0.42, 0.532), (0.6, 0.999, 0.623)):
        assert script.elicited(script.adaptive_wing, share) == pytest.approx(binary, abs=0.006)
        assert script.elicited(script.adaptive_wing, share, n_raters=7) == pytest.approx(averaged, abs=0.001)
        assert script.elicited(script.squared_error, share) == pytest.approx(share)
    import torch
    from ivadomed.losses import AdapWingLoss

    loss = AdapWingLoss(theta=script.THETA, alpha=script.ALPHA, omega=script.OMEGA, epsilon=script.EPSILON)
    for answer, label in ((0.2, 0.0), (0.9, 0.0), (0.3, 1.0), (0.55, 4 / 7), (0.0, 0.9)):
        # ivadomed weighs every voxel with 1: its dilated mask is below 51 everywhere
        found = loss(torch.full((1, 1, 1, 1), answer), torch.full((1, 1, 1, 1), label))
        assert float(found) == pytest.approx(float(script.adaptive_wing(answer, label)), rel=1e-4)
