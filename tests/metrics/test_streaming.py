"""The one pass over a subject must give what the plain functions give."""

import tracemalloc

import numpy as np
import pytest

from ivadomed_labelfusion import metrics
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics import checks
from ivadomed_labelfusion.metrics.overlap import dice_of_counts, qubiq_dice_of_table
from ivadomed_labelfusion.metrics.sets import energy_distance_of_iou, hungarian_of_iou, iou_of_counts
from ivadomed_labelfusion.metrics.streaming import collect
from ivadomed_labelfusion.metrics.uncertainty import as_stored

SHAPE = (31, 17, 12)


def sparse_case(seed, n_classes, dtype):
    """Mostly exact zeros, as normalised ReLU gives, with some exact ones."""
    rng = np.random.default_rng(seed)
    active = rng.random(SHAPE) < 0.2
    prediction = rng.dirichlet(np.ones(n_classes + 1), size=SHAPE)[..., 1:] * active[..., None]
    prediction[rng.random(SHAPE) < 0.02] = np.eye(n_classes)[0]
    raters = np.zeros((5, n_classes, *SHAPE), np.uint8)
    for rater in range(5):
        labels = rng.integers(0, n_classes + 1, SHAPE) * (rng.random(SHAPE) < 0.15)
        for index in range(n_classes):
            raters[rater, index] = labels == index + 1
    reference = raters.sum(axis=0) >= 2
    reference[1:] &= ~reference[:1]
    return np.moveaxis(prediction, -1, 0).astype(dtype), raters, reference


def dense_case(seed, n_classes, dtype):
    """No zero anywhere, as a sigmoid gives."""
    _, raters, reference = sparse_case(seed, n_classes, dtype)
    full = np.random.default_rng(seed).dirichlet(np.ones(n_classes + 1), size=SHAPE)
    return np.moveaxis(full[..., 1:], -1, 0).astype(dtype), raters, reference


def _check_scores(sums, prediction, raters, average):
    labels = metrics.argmax_labels(prediction, class_axis=0)
    roi = raters.any(axis=(0, 1)) | (labels > 0)
    for region, mask in (("image", None), ("roi", roi)):
        voxels = {"image": sums.n_voxels, "roi": sums.n_roi}[region]
        expected = metrics.log_score(prediction, average, mask=mask, class_axis=0)
        assert sums.log_loss[region] / voxels == pytest.approx(expected, rel=1e-12)
    for form in metrics.ENTROPY_FORMS:
        assert sums.entropy_roi[form] == pytest.approx(
            metrics.entropy(prediction[:, roi], form=form, class_axis=0), rel=1e-12
        )
    assert sums.entropy_haze == pytest.approx(
        metrics.haze_share(prediction, class_axis=0) * metrics.entropy(prediction, class_axis=0)
    )
    stored = as_stored(prediction.astype(np.float64), float(prediction.max()))
    assert sums.entropy_stored == pytest.approx(metrics.entropy(stored, class_axis=0))
    for ours, theirs in zip(sums.brier.splits(), metrics.brier_split(prediction, average, class_axis=0), strict=True):
        assert (ours.score, ours.calibration) == pytest.approx((theirs.score, theirs.calibration), rel=1e-9)
    np.testing.assert_array_equal(sums.votes, metrics.vote_counts(raters, class_axis=1))
    assert not sums.soft_raters


@pytest.mark.parametrize("case", [sparse_case, dense_case])
@pytest.mark.parametrize(("n_classes", "threshold"), [(1, None), (1, 0.3), (2, None), (3, None)])
@pytest.mark.parametrize("layout", ["C", "F", "flipped"])
def test_pass_equals_the_plain_functions(monkeypatch, case, n_classes, threshold, layout):
    monkeypatch.setattr(checks, "BLOCK_VOXELS", 1000)  # several blocks, some of them without any active voxel
    prediction, raters, reference = case(7, n_classes, np.float32)
    if layout == "F":
        prediction, raters, reference = (np.asfortranarray(array) for array in (prediction, raters, reference))
    elif layout == "flipped":
        prediction, raters, reference = (array[..., ::-1, :] for array in (prediction, raters, reference))
    average = raters.mean(axis=0)
    sums = collect(prediction, raters, reference, threshold=threshold)
    for form in metrics.ENTROPY_FORMS:
        assert sums.entropy_prediction[form] == pytest.approx(
            metrics.entropy(prediction, form=form, class_axis=0), rel=1e-12
        )
        assert sums.entropy_average[form] == pytest.approx(metrics.entropy(average, form=form, class_axis=0), rel=1e-12)
    _check_scores(sums, prediction, raters, average)
    brier = sums.squared_error / sums.n_voxels
    np.testing.assert_allclose(brier, metrics.brier_score(prediction, average, class_axis=0), rtol=1e-12)
    masks = metrics.binarize(prediction, threshold=threshold, class_axis=0)
    for index in range(n_classes):
        np.testing.assert_array_equal(sums.labels == index + 1, masks[index])
    np.testing.assert_array_equal(dice_of_counts(*sums.overlap), metrics.dice(masks, reference, class_axis=0))
    np.testing.assert_allclose(
        dice_of_counts(*sums.soft), metrics.soft_dice(prediction, average, class_axis=0), rtol=1e-12
    )
    np.testing.assert_array_equal(
        qubiq_dice_of_table(sums.level_table), metrics.qubiq_dice(prediction, average, class_axis=0)
    )
    roi = raters.any(axis=(0, 1)) | (metrics.argmax_labels(prediction, class_axis=0) > 0)
    for region, mask in (("image", None), ("roi", roi)):
        for form in metrics.ECE_FORMS:
            truth = average if form == "raters" else reference
            expected = metrics.reliability_curve(prediction, truth, form=form, mask=mask, class_axis=0)
            ours = sums.bins[region].curve(form)
            np.testing.assert_array_equal(ours.bin_count, expected.bin_count)
            assert ours.n_dropped == expected.n_dropped
            assert ours.ece == pytest.approx(expected.ece, abs=1e-12, nan_ok=True)
            np.testing.assert_allclose(ours.bin_accuracy, expected.bin_accuracy, atol=1e-12)
    iou = iou_of_counts(sums.shared).mean(axis=0)
    assert energy_distance_of_iou(iou, 1) == pytest.approx(
        metrics.generalized_energy_distance(masks[None], raters, class_axis=1)
    )
    assert hungarian_of_iou(iou, 1) == pytest.approx(metrics.hungarian_iou(masks[None], raters, class_axis=1))


def test_soft_raters_are_averaged_as_they_are():
    rng = np.random.default_rng(0)
    prediction, raters = rng.random((1, *SHAPE)), rng.random((3, 1, *SHAPE))
    sums = collect(prediction, raters, raters.mean(axis=0) >= 0.5)
    expected = metrics.brier_score(prediction, raters.mean(axis=0), class_axis=0)
    np.testing.assert_allclose(sums.squared_error / sums.n_voxels, expected, rtol=1e-12)


def test_class_sums_above_one_are_counted():
    prediction = np.array([[0.9, 0.5, 0.0], [0.9, 0.5, 0.0]])[..., None]
    sums = collect(prediction, np.zeros((2, 2, 3, 1), np.uint8), np.zeros((2, 3, 1), bool))
    assert sums.n_above_one == 1


def test_memory_stays_below_one_float32_volume():
    shape = (128, 128, 64)
    rng = np.random.default_rng(0)
    prediction = rng.random((1, *shape), dtype=np.float32)
    raters = (rng.random((7, 1, *shape), dtype=np.float32) < 0.1).astype(np.uint8)
    reference = raters[3] > 0
    tracemalloc.start()
    collect(prediction, raters, reference)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # the label map is a quarter of a float32 volume; the blocks are of constant size
    assert peak < prediction.nbytes / 4 + 16e6


@pytest.mark.parametrize(
    ("prediction", "raters", "reference", "options", "message"),
    [
        (np.full((1, 4), np.nan), np.zeros((2, 1, 4)), np.zeros((1, 4)), {}, "prediction must be finite"),
        (np.full((1, 4), 2.0), np.zeros((2, 1, 4)), np.zeros((1, 4)), {}, r"prediction must lie in \[0, 1\]"),
        (np.zeros((1, 4)), np.full((2, 1, 4), 255, np.uint8), np.zeros((1, 4)), {}, r"raters must lie in \[0, 1\]"),
        (np.zeros((1, 4)), np.zeros((2, 4)), np.zeros((1, 4)), {}, r"raters must have the shape \(R, C"),
        (np.zeros((1, 4)), np.zeros((0, 1, 4)), np.zeros((1, 4)), {}, "raters must have the shape"),
        (np.zeros((1, 4)), np.zeros((2, 1, 4)), np.zeros((1, 5)), {}, "same shape"),
        (np.zeros((1, 4)), np.zeros((2, 1, 4)), np.full((1, 4), 0.5), {}, "reference must be binary"),
        (np.zeros((2, 4)), np.zeros((2, 2, 4)), np.zeros((2, 4)), {"threshold": 0.5}, "several classes"),
    ],
)
def test_bad_input_is_refused(prediction, raters, reference, options, message):
    with pytest.raises(InputError, match=message):
        collect(prediction, raters, reference, **options)
