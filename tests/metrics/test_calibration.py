"""Calibration against outside oracles, literal definitions and worked examples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics import ReliabilityCurve, expected_calibration_error, reliability_curve


def random_case(seed, n_classes, shape=(12, 11, 9)):
    """Soft predictions with sums below 1, a random reference, and the full class distribution.

    No confidence is so near 1 that float32 rounds it to 1.0, for which torchmetrics has a bin of its own.
    """
    rng = np.random.default_rng(seed)
    full = 0.999 * rng.dirichlet(np.full(n_classes + 1, 0.4), size=shape) + 0.001 / (n_classes + 1)
    labels = rng.integers(0, n_classes + 1, shape)
    prediction = np.moveaxis(full[..., 1:], -1, 0)
    reference = np.stack([labels == index + 1 for index in range(n_classes)])
    return prediction, reference, full.reshape(-1, n_classes + 1), labels.ravel()


def literal_ece(full, labels, n_bins, *, closed):
    """The definition, voxel by voxel: bins [k/K, (k+1)/K), inner edges less 1e-6; ``closed``: the last holds 1."""
    confidence, accuracy, counted = full.max(axis=1), full.argmax(axis=1) == labels, 0
    gaps = 0.0
    for k in range(n_bins):
        low, high = k / n_bins - 1e-6 * (k > 0), (k + 1) / n_bins - 1e-6 * (k < n_bins - 1)
        inside = (confidence >= low) & (confidence < high)
        if closed and k == n_bins - 1:
            inside |= confidence == 1.0
        if inside.any():
            counted += inside.sum()
            gaps += inside.sum() * abs(accuracy[inside].mean() - confidence[inside].mean())
    return gaps / counted if counted else float("nan")


@pytest.mark.parametrize("n_classes", [1, 2, 3])
@pytest.mark.parametrize("n_bins", [5, 10, 15])
def test_exact_ece_agrees_with_torchmetrics(n_classes, n_bins):
    torch = pytest.importorskip("torch")
    classification = pytest.importorskip("torchmetrics.classification")
    prediction, reference, full, labels = random_case(n_classes, n_classes)
    for norm, name in (("l1", "ece"), ("max", "mce")):
        metric = classification.MulticlassCalibrationError(n_classes + 1, n_bins=n_bins, norm=norm)
        # torchmetrics bins in float32
        expected = float(metric(torch.tensor(full), torch.tensor(labels)))
        curve = reliability_curve(prediction, reference, form="exact", n_bins=n_bins, class_axis=0)
        assert getattr(curve, name) == pytest.approx(expected, abs=2e-6)


def test_exact_ece_agrees_with_netcal():
    metrics = pytest.importorskip("netcal.metrics")
    prediction, reference, full, labels = random_case(3, 2)
    expected = metrics.ECE(bins=10).measure(full, labels)
    assert expected_calibration_error(prediction, reference, n_bins=10, class_axis=0) == pytest.approx(
        expected, abs=1e-9
    )


def test_curve_agrees_with_scikit_learn():
    calibration = pytest.importorskip("sklearn.calibration")
    prediction, reference, full, labels = random_case(4, 1)
    confidence, correct = full.max(axis=1), full.argmax(axis=1) == labels
    accuracy, mean_confidence = calibration.calibration_curve(correct, confidence, n_bins=10)
    curve = reliability_curve(prediction, reference, n_bins=10, class_axis=0)
    filled = curve.bin_count > 0
    np.testing.assert_allclose(curve.bin_accuracy[filled], accuracy, atol=1e-12)
    np.testing.assert_allclose(curve.bin_confidence[filled], mean_confidence, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(
        st.one_of(st.sampled_from([0.0, 1.0, 0.5, 0.1, 0.9, 0.25]), st.floats(0, 1, width=32)), min_size=1, max_size=40
    ),
    truth=st.integers(0, 2**40 - 1),
    n_bins=st.integers(1, 20),
)
def test_forms_agree_with_the_literal_definition(values, truth, n_bins):
    prediction = np.array(values, np.float64)[None]
    labels = np.array([(truth >> index) & 1 for index in range(len(values))])
    full = np.stack([1 - prediction[0], prediction[0]], axis=1)
    for form, closed in (("exact", True), ("paper", False)):
        expected = literal_ece(full, labels, n_bins, closed=closed)
        ours = expected_calibration_error(prediction, labels[None], form=form, n_bins=n_bins, class_axis=0)
        assert ours == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_exact_zeros_and_ones_are_counted():
    """90 voxels at 0 of which half are lesion, 10 at 0.95 of which 9 are: 0.9 * 0.5 + 0.1 * 0.05 = 0.455.

    MetricsReloaded, whose bins (l, u] leave out voxels at 0 and their number, returns |0.95 - 0.9| = 0.05 here.
    """
    prediction = np.r_[np.zeros(90), np.full(10, 0.95)][None]
    truth = np.r_[np.arange(90) < 45, np.arange(10) < 9][None]
    assert expected_calibration_error(prediction, truth, class_axis=0) == pytest.approx(0.455, abs=1e-12)
    mirrored = expected_calibration_error(1 - prediction, ~truth, class_axis=0)
    assert mirrored == pytest.approx(0.455, abs=1e-12)


def test_paper_form_drops_certain_voxels_from_the_denominator():
    prediction = np.array([[0.0] * 6 + [1.0] * 2 + [0.75, 0.75]])
    truth = np.array([[0] * 6 + [1, 0] + [1, 0]])
    curve = reliability_curve(prediction, truth, form="paper", class_axis=0)
    assert (curve.n_dropped, curve.n_voxels) == (8, 2)
    assert curve.ece == pytest.approx(0.25)
    exact = reliability_curve(prediction, truth, form="exact", class_axis=0)
    assert (exact.n_dropped, exact.n_voxels) == (0, 10)
    assert exact.ece == pytest.approx((8 / 10) * (1 - 7 / 8) + (2 / 10) * 0.25)


def test_paper_form_of_a_binary_map_is_not_defined():
    masks = np.array([[0, 1, 1, 0]])
    assert np.isnan(expected_calibration_error(masks, masks, form="paper", class_axis=0))
    assert expected_calibration_error(masks, masks, form="exact", class_axis=0) == 0


def test_raters_form_uses_the_share_of_raters():
    average = np.array([[0.0, 0.25, 0.75, 1.0]])
    assert expected_calibration_error(average, average, form="raters", class_axis=0) == pytest.approx(0, abs=1e-12)
    overconfident = (average >= 0.5).astype(float)
    # two of four voxels are predicted with confidence 1 where the raters' share is 0.75
    assert expected_calibration_error(overconfident, average, form="raters", class_axis=0) == pytest.approx(0.5 * 0.25)


def test_a_perfectly_calibrated_predictor_and_its_sharpened_and_softened_versions():
    rng = np.random.default_rng(0)
    p = rng.random((1, 100, 100, 40))
    truth = rng.random(p.shape) < p
    curve = reliability_curve(p, truth, class_axis=0)
    # standard error of a bin's accuracy is below 0.0025 with 80,000 voxels in a bin
    assert curve.ece < 0.005

    def warped(power):
        return p**power / (p**power + (1 - p) ** power)

    sharp, soft = (
        reliability_curve(warped(2.5), truth, class_axis=0),
        reliability_curve(warped(0.4), truth, class_axis=0),
    )
    assert sharp.ece > 10 * curve.ece
    assert soft.ece > 10 * curve.ece
    filled = sharp.bin_count > 0
    assert (sharp.bin_accuracy < sharp.bin_confidence)[filled].all()
    filled = soft.bin_count > 0
    assert (soft.bin_accuracy > soft.bin_confidence)[filled].all()


def test_known_probabilities_give_the_known_error_to_rounding():
    """Each bin holds one confidence with a chosen accuracy, so that the ECE is a sum worked out by hand."""
    prediction = np.repeat([0.55, 0.65, 0.85], [100, 100, 200])[None]
    correct = np.r_[np.arange(100) < 50, np.arange(100) < 65, np.arange(200) < 190][None]
    expected = (100 * 0.05 + 0 + 200 * 0.10) / 400
    curve = reliability_curve(prediction, correct, class_axis=0)
    assert curve.ece == pytest.approx(expected, abs=1e-9)
    assert curve.mce == pytest.approx(0.10, abs=1e-9)


def test_ties_go_to_the_background_then_to_the_first_class():
    assert reliability_curve(np.array([[0.5]]), np.array([[0]]), class_axis=0).bin_accuracy[5] == 1
    both = np.array([[0.4], [0.4]])
    assert reliability_curve(both, np.array([[1], [0]]), class_axis=0).bin_accuracy[4] == 1


def test_class_sums_above_one_leave_the_background_at_zero():
    prediction = np.array([[0.9], [0.8]])
    curve = reliability_curve(prediction, np.array([[1], [0]]), class_axis=0)
    assert curve.confidence_sum.sum() == pytest.approx(0.9)


def test_mask_and_memory_order():
    prediction, reference, _, _ = random_case(5, 2, shape=(40, 50, 60))
    mask = np.random.default_rng(1).random(prediction.shape[1:]) < 0.3
    expected = expected_calibration_error(prediction[:, mask], reference[:, mask], class_axis=0)
    assert expected_calibration_error(prediction, reference, mask=mask, class_axis=0) == pytest.approx(
        expected, abs=1e-12
    )
    fortran = np.asfortranarray(prediction)[..., ::-1]
    again = expected_calibration_error(fortran, reference[..., ::-1], mask=mask[..., ::-1], class_axis=0)
    assert again == pytest.approx(expected, abs=1e-12)
    assert np.isnan(expected_calibration_error(prediction, reference, mask=np.zeros_like(mask), class_axis=0))


def test_pooled_curves_equal_the_curve_of_all_voxels():
    first, second = random_case(6, 2), random_case(7, 2)
    for form in ("exact", "paper", "raters"):
        curves = [reliability_curve(case[0], case[1], form=form, class_axis=0) for case in (first, second)]
        joined = [np.concatenate([first[index], second[index]], axis=1) for index in (0, 1)]
        whole = reliability_curve(joined[0], joined[1], form=form, class_axis=0)
        assert ReliabilityCurve.pool(curves).ece == pytest.approx(whole.ece, abs=1e-12)
    with pytest.raises(InputError, match="share form"):
        ReliabilityCurve.pool([curves[0], reliability_curve(*first[:2], n_bins=5, class_axis=0)])
    with pytest.raises(InputError, match="at least one"):
        ReliabilityCurve.pool([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": np.array([[0.2, np.nan]])}, "finite"),
        ({"prediction": np.array([[0.2, 1.5]])}, r"\[0, 1\]"),
        ({"prediction": np.array([[-0.2, 0.5]])}, r"\[0, 1\]"),
        ({"prediction": np.array([[0.2, 0.5, 0.1]])}, "same shape"),
        ({"prediction": np.array([0.2, 0.5])}, "class"),
        ({"reference": np.array([[0.2, 0.5]])}, "binary"),
        ({"form": "exakt"}, "form must be one of"),
        ({"n_bins": 0}, "n_bins"),
        ({"n_bins": 2.5}, "n_bins"),
        ({"mask": np.array([1, 0])}, "mask must be bool"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"prediction": np.array([[0.2, 0.8]]), "reference": np.array([[0, 1]]), **change}
    prediction, reference = arguments.pop("prediction"), arguments.pop("reference")
    with pytest.raises(InputError, match=message):
        reliability_curve(prediction, reference, **arguments, class_axis=0)


@pytest.mark.parametrize("form", ["exact", "paper", "raters"])
@pytest.mark.parametrize("n_bins", [5, 10, 20])
def test_edges_do_not_depend_on_the_files_dtype(form, n_bins):
    # every tenth, as foreground or as background: 0.7 in 32 bits is 0.69999999
    values = np.repeat(np.arange(11) / 10, 3)[None]
    reference = (np.arange(33) % 2)[None].astype(bool)
    curves = [
        reliability_curve(values.astype(dtype), reference, form=form, n_bins=n_bins, class_axis=0)
        for dtype in (np.float64, np.float32)
    ]
    np.testing.assert_array_equal(curves[0].bin_count, curves[1].bin_count)
    assert curves[0].ece == pytest.approx(curves[1].ece, abs=1e-7)
    # the bin of a confidence of k/K is the one that begins there
    if n_bins == 10:
        expected = [0, 0, 0, 0, 0, 3, 6, 6, 6, 6] if form == "paper" else [0, 0, 0, 0, 0, 3, 6, 6, 6, 12]
        assert curves[0].bin_count.tolist() == expected


def test_a_confidence_just_below_one_is_not_one():
    almost = np.full((1, 4), 1 - 2.0**-24, np.float64).astype(np.float32)
    curve = reliability_curve(almost, np.ones((1, 4), bool), form="paper", class_axis=0)
    assert (curve.n_voxels, curve.n_dropped) == (4, 0)
