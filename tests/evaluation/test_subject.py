"""One subject: known probabilities give known numbers, own metrics, memory."""

import math
import tracemalloc

import numpy as np
import pytest

from ivadomed_labelfusion import metrics
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.evaluation import Settings, evaluate_raters, evaluate_subject, settings_from_config
from ivadomed_labelfusion.evaluation.validation import validation_functions
from ivadomed_labelfusion.metrics import registry
from tests.builders.synthetic import raters_of

OPTIONS = {"class_names": ["lesion"], "voxel_size_mm": (1.0, 1.0, 3.0), "subject": "sub-01"}
TWO = {**OPTIONS, "class_names": ["GM", "WM"]}


def test_known_probabilities_give_known_numbers():
    """8 of 64 voxels: 4 all raters agree on (p = 0.9), 4 half of them marked (p = 0.5 - 0.1); the rest is 0."""
    raters = np.zeros((4, 1, 4, 4, 4), np.uint8)
    raters[:, 0, 0, 0] = 1
    raters[:2, 0, 1, 0] = 1
    prediction = np.zeros((1, 4, 4, 4))
    prediction[0, 0, 0], prediction[0, 1, 0] = 0.9, 0.4
    settings = settings_from_config({"reference": "majority"})  # ties are background
    columns = evaluate_subject(prediction, raters, settings=settings, **OPTIONS).columns

    def h(p):
        return -p * math.log(p)

    known = {
        "ir_brier_lesion": (4 * 0.1**2 + 4 * 0.1**2) / 64,
        "ir_entropy_paper_prediction": 4 * h(0.9) + 4 * h(0.4),
        "ir_entropy_paper_raters": 4 * h(0.5),
        "ir_entropy_shannon_raters": 8 * h(0.5),
        "ir_entropy_shannon_prediction": 4 * (h(0.9) + h(0.1)) + 4 * (h(0.4) + h(0.6)),
        "ir_entropy_paper_error": abs(4 * h(0.9) + 4 * h(0.4) - 4 * h(0.5)),
        # confidence 0.9 right (4), 0.6 right (4), 1.0 right (56); 0.9 and 1.0 share the last closed bin
        "ir_ece_exact_image": (4 * 0.1 + 4 * 0.4) / 64,
        "ir_ece_exact_roi": (4 * 0.1 + 4 * 0.4) / 8,
        "ir_mce_exact_roi": 0.4,
        "ir_ece_paper_image": (4 * 0.1 + 4 * 0.4) / 8,
        # half of the raters agree with the background predicted at 0.6
        "ir_ece_raters_roi": (4 * 0.1 + 4 * 0.1) / 8,
        "ir_dice_lesion": 1,
        "ir_soft_dice_lesion": 2 * (4 * 0.9 + 4 * 0.4 * 0.5) / (4 * 0.9 + 4 * 0.4 + 6),
        # at 0.5 the average still holds the 4 split voxels, which the prediction has lost
        "ir_qubiq_dice_lesion": (8 + 2 * 4 / (4 + 8)) / 9,
        "ir_ged": 2 * (0 + 0 + 0.5 + 0.5) / 4 - 0 - (8 * 0.5) / 16,
        "ir_lesion_tpr_lesion": 1,
        "ir_hd95_mm_lesion": 0,
    }
    for name, value in known.items():
        assert columns[name] == pytest.approx(value, abs=1e-9), name


def test_columns_equal_the_plain_functions_for_two_classes():
    raters = raters_of(3, n_classes=2)
    rng = np.random.default_rng(0)
    prediction = (0.8 * raters.mean(axis=0) + 0.1 * rng.random(raters.shape[1:])).astype(np.float32)
    result = evaluate_subject(prediction, raters, **TWO)
    reference = _reference(raters)
    masks = metrics.binarize(prediction, class_axis=0)
    for index, name in enumerate(("GM", "WM")):
        pair = masks[index : index + 1], reference[index : index + 1]
        assert result.columns[f"ir_dice_{name}"] == metrics.dice(*pair, class_axis=0)[0]
        assert result.columns[f"ir_recall_{name}"] == metrics.recall(*pair, class_axis=0)[0]
        (found,) = metrics.lesion_detection(*pair, class_axis=0)
        assert result.columns[f"ir_lesion_n_reference_{name}"] == found.n_reference
        (surface,) = metrics.surface_distances(*pair, voxel_size_mm=(1, 1, 3), class_axis=0)
        assert result.columns[f"ir_assd_mm_{name}"] == pytest.approx(surface.average_mm)
    assert result.columns["ir_ece_exact_image"] == pytest.approx(
        metrics.expected_calibration_error(prediction, reference, class_axis=0), abs=1e-12
    )
    assert set(result.reliability) == {(form, region) for form in metrics.ECE_FORMS for region in ("image", "roi")}
    assert result.details["reference"]["multiclass"] == "joint"


def _reference(raters):
    from ivadomed_labelfusion import fusion

    return fusion.fuse_classes(raters, "staple", multiclass="joint").astype(bool)


def test_staple_details_name_every_rater():
    raters = raters_of(1)
    result = evaluate_subject(raters.mean(axis=0), raters, rater_names=["a", "b", "c", "d"], **OPTIONS)
    details = result.details["reference"]
    assert details["method"] == "staple"
    assert details["converged"] is True
    assert len(details["sensitivity"]) == len(details["specificity"]) == 4
    assert result.details["raters"] == ["a", "b", "c", "d"]


def test_only_the_metrics_asked_for():
    raters = raters_of(1)
    settings = settings_from_config({"metrics": ["brier", "ece"], "ece_forms": ["raters"], "regions": ["roi"]})
    result = evaluate_subject(raters.mean(axis=0), raters, settings=settings, **OPTIONS)
    assert list(result.columns) == ["ir_brier_lesion", "ir_ece_raters_roi", "ir_mce_raters_roi"]
    assert list(result.reliability) == [("raters", "roi")]


@pytest.mark.parametrize("who", ["prediction", "raters", "both"])
def test_empty_masks_give_stated_values(who):
    raters = raters_of(1)
    prediction = raters.mean(axis=0)
    if who in ("prediction", "both"):
        prediction = prediction * 0
    if who in ("raters", "both"):
        raters = raters * 0
    columns = evaluate_subject(prediction, raters, **OPTIONS).columns
    overlap = 1 if who == "both" else 0
    for name in ("dice", "precision", "recall", "soft_dice", "surface_dice", "lesion_tpr"):
        assert columns[f"ir_{name}_lesion"] == overlap
    volume = {"both": 0, "prediction": 1}.get(who)
    assert columns["ir_rvd_lesion"] == volume if volume is not None else math.isnan(columns["ir_rvd_lesion"])
    assert (columns["ir_hd95_mm_lesion"] == 0) if who == "both" else math.isnan(columns["ir_hd95_mm_lesion"])
    if who == "both":
        assert columns["ir_brier_lesion"] == columns["ir_ece_exact_image"] == columns["ir_ged"] == 0
        assert math.isnan(columns["ir_ece_exact_roi"])


def test_single_rater_is_its_own_reference():
    raters = raters_of(1)[:1]
    result = evaluate_subject(raters[0], raters, **OPTIONS)
    assert result.columns["ir_dice_lesion"] == 1
    assert result.details["reference"]["method"] == "single rater"


def test_images_of_two_dimensions():
    raters = raters_of(1, shape=(40, 30))
    result = evaluate_subject(raters.mean(axis=0), raters, **{**OPTIONS, "voxel_size_mm": (1, 1)})
    assert result.columns["ir_brier_lesion"] == 0
    assert result.slices[0].axis == -1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": np.full((1, 24, 20, 6), np.nan)}, "sub-01: prediction must be finite"),
        ({"prediction": np.full((1, 24, 20, 6), 3.0)}, r"sub-01: prediction must lie in \[0, 1\]"),
        ({"prediction": np.zeros((1, 24, 20, 5))}, "sub-01: raters must have the shape"),
        ({"prediction": np.zeros((24, 20, 6))}, "prediction must have the shape"),
        ({"raters": raters_of(1) * 255}, "sub-01: raters must lie in"),
        ({"class_names": ["a", "b"]}, r"classes \['a', 'b'\]"),
        ({"class_names": ["?"]}, "class_names"),
        ({"voxel_size_mm": (1, 1)}, "sub-01: voxel_size_mm"),
        ({"voxel_size_mm": (1, 1, 0)}, "sub-01: voxel_size_mm"),
    ],
)
def test_bad_input_is_refused_with_the_subject(change, message):
    arguments = {"prediction": np.zeros((1, 24, 20, 6)), "raters": raters_of(1), **OPTIONS, **change}
    with pytest.raises(InputError, match=message):
        evaluate_subject(arguments.pop("prediction"), arguments.pop("raters"), **arguments)


def test_own_metrics_become_columns_and_failures_spoil_nothing(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})

    @registry.register_metric("volume_ml")
    def volume_ml(*, binarized, voxel_size_mm):
        return binarized.sum(axis=(1, 2, 3)) * np.prod(voxel_size_mm) / 1000

    @registry.register_metric("spread")
    def spread(*, raters, class_names):
        return {"min": raters.sum(axis=(1, 2, 3, 4)).min(), "classes": len(class_names)}

    @registry.register_metric("crash")
    def crash(*, average):
        raise RuntimeError("no luck")

    @registry.register_metric("vandal")
    def vandal(*, prediction):
        prediction[...] = 0

    @registry.register_metric("wrong_shape")
    def wrong_shape(*, reference):
        return np.zeros(5)

    raters = raters_of(2, n_classes=2)
    prediction = raters.mean(axis=0)
    result = evaluate_subject(prediction, raters, **TWO)
    masks = metrics.binarize(prediction, class_axis=0)
    assert result.columns["ir_volume_ml_WM"] == pytest.approx(masks[1].sum() * 3 / 1000)
    assert result.columns["ir_spread_classes"] == 2
    assert result.errors["crash"] == "RuntimeError: no luck"
    assert "read-only" in result.errors["vandal"]
    assert "shape (5,)" in result.errors["wrong_shape"]
    assert math.isnan(result.columns["ir_crash"])
    plain = evaluate_subject(prediction, raters, settings=Settings(metrics=list(registry.built_in_metrics())), **TWO)
    for name, value in plain.columns.items():
        assert result.columns[name] == pytest.approx(value, nan_ok=True)


def test_every_rater_against_the_others():
    raters = raters_of(5)
    names = ["a", "b", "c", "d"]
    results = dict(evaluate_raters(raters, rater_names=names, **OPTIONS))
    assert list(results) == names
    others = raters[[0, 2, 3]]
    expected = metrics.brier_score(raters[1], others.mean(axis=0), class_axis=0)[0]
    assert results["b"].columns["ir_brier_lesion"] == pytest.approx(expected)
    assert results["b"].details["raters"] == ["a", "c", "d"]
    assert results["b"].slices == ()


def test_memory_beyond_the_inputs_stays_below_two_float32_volumes():
    shape = (128, 128, 80)
    grid = np.ogrid[tuple(slice(-1, 1, complex(0, size)) for size in shape)]
    distance = np.sqrt(sum(axis**2 for axis in grid)).astype(np.float32)
    # lesions over the whole head, so that the masks' bounding box is most of the volume
    pattern = np.random.default_rng(0).random(shape, dtype=np.float32)
    raters = np.stack([(distance < 0.9) & (pattern < 0.02 + 0.002 * rater) for rater in range(7)])[:, None]
    raters = raters.astype(np.uint8)
    prediction = np.clip(1.2 - distance, 0.001, 0.999).astype(np.float32)[None]
    evaluate_subject(prediction[..., :4], raters[..., :4], **OPTIONS)  # imports
    tracemalloc.start()
    evaluate_subject(prediction, raters, **OPTIONS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * prediction.nbytes


def test_validation_functions_follow_ivadomeds_metric_manager(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})

    @registry.register_metric("mean_gap")
    def mean_gap(*, prediction, average):
        return np.abs(prediction - average).mean()

    @registry.register_metric("crash")
    def crash(*, raters):
        raise RuntimeError("no luck")

    functions = {function.__name__: function for function in validation_functions()}
    prediction, target = np.random.default_rng(0).random((2, 2, 16, 16)).astype(np.float32) / 2
    assert functions["ir_mean_gap"](prediction, target) == pytest.approx(np.abs(prediction - target).mean(), rel=1e-5)
    assert functions["ir_brier"](prediction, target) == pytest.approx(np.square(prediction - target).mean(), rel=1e-5)
    assert math.isnan(functions["ir_crash"](prediction, target))
    assert {"ir_entropy", "ir_ece", "ir_soft_dice"} <= set(functions)
    assert all(isinstance(function(prediction, target), float) for function in functions.values())
    # interpolation may leave [0, 1]; a validation must not fail for it
    assert functions["ir_brier"](prediction + 2, target) >= 0
