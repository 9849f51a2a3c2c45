"""Transformations, postprocessing and losses of ivadomed that the plugin repairs."""

import json

import nibabel
import numpy as np
import pandas
import pytest
import torch
from ivadomed import losses as imed_losses
from ivadomed import postprocessing as imed_postprocessing
from ivadomed import transforms as imed_transforms
from ivadomed.loader.sample_meta_data import SampleMetadata
from ivadomed.loader.utils import update_metadata
from skimage.exposure import equalize_adapthist

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2.augmentation import equalize_adapthist as equalized
from ivadomed_labelfusion.hosts.ivadomed2.boxes import box_of
from tests.builders.tiny import make_config, make_dataset, suffix, write_config

ELASTIC = {"alpha_range": [28.0, 30.0], "sigma_range": [3.5, 4.5], "p": 1.0}


def picture(shape=(20, 18), seed=0):
    """Return a float32 image of any range."""
    return np.random.default_rng(seed).normal(100, 40, shape).astype(np.float32)


def metadata(n):
    """Return the metadata of n channels or labels."""
    return [SampleMetadata({"data_type": "im"}) for _ in range(n)]


@pytest.mark.parametrize("shape", [(20, 18), (12, 10, 8)])
def test_elastic_deformation_moves_channels_and_labels_alike(plugin, shape):
    image = picture(shape)
    steps = imed_transforms.Compose({"ElasticTransform": ELASTIC})
    np.random.seed(3)  # noqa: NPY002
    moved, of_images = steps([image, image], metadata(2), data_type="im")
    labels, _ = steps([image, image], update_metadata(of_images, metadata(2)), data_type="gt")
    assert not np.allclose(moved[0], image, atol=1)
    for other in (moved[1], labels[0], labels[1]):
        torch.testing.assert_close(other, moved[0], rtol=0, atol=0)
    again, _ = steps([image, image], metadata(2), data_type="im")
    assert not torch.equal(again[0], moved[0])
    np.random.seed(3)  # noqa: NPY002
    repeated, _ = steps([image, image], metadata(2), data_type="im")
    torch.testing.assert_close(repeated[0], moved[0], rtol=0, atol=0)


def test_elastic_deformation_of_probability_0_changes_nothing(plugin):
    image = picture()
    moved, drawn = imed_transforms.ElasticTransform([1, 2], [3, 4], p=0.0)(image, metadata(1)[0])
    np.testing.assert_array_equal(moved, image)
    # the label of an image that stays does not draw again
    label, _ = imed_transforms.ElasticTransform([1, 2], [3, 4], p=1.0)(image, drawn)
    np.testing.assert_array_equal(label, image)


def test_clahe_takes_images_of_any_range(plugin):
    image = picture()
    expected = equalize_adapthist((image - image.min()) / np.ptp(image), kernel_size=(8, 8), clip_limit=0.3)
    result, _ = imed_transforms.Clahe(0.3, [8, 8])(image, metadata(1)[0])
    np.testing.assert_allclose(result, expected, atol=1e-3)
    np.testing.assert_allclose(equalized(1000 * image + 7, kernel_size=(8, 8), clip_limit=0.3), expected, atol=1e-3)
    np.testing.assert_array_equal(equalized(np.full((9, 8), 5.0), kernel_size=(4, 4), clip_limit=0.3), 0)


def test_steps_on_intensities_stay_in_tests_and_others_are_left_out_both_ways(plugin):
    steps = {
        "HistogramClipping": {},
        "Clahe": {},
        "RandomGamma": {"log_gamma_range": [-1, 1]},
        "ElasticTransform": ELASTIC,
    }
    for step in steps.values():
        step["applied_to"] = ["im", "gt"]
    (_, forwards), backwards = imed_transforms.prepare_transforms(steps, requires_undo=True)
    kept = ["HistogramClipping", "Clahe"]
    for part in ("im", "gt"):
        assert [type(step).__name__ for step in forwards.transform[part].transforms] == kept
        assert [type(step).__name__ for step in backwards.transforms.transform[part].transforms] == kept
    data = torch.rand(1, 8, 8)
    (undone,), _ = backwards(data, metadata(1))
    np.testing.assert_array_equal(undone, data[0])
    (_, trained), _ = imed_transforms.prepare_transforms(steps, requires_undo=False)
    assert len(trained.transform["im"].transforms) == 4


def processed(data, steps):
    """Return a prediction after ivadomed's postprocessing."""
    return imed_postprocessing.Postprocessing(steps, data, np.float32([0.5, 1, 2]), None).apply()


def test_the_largest_object_of_each_class_is_kept(plugin):
    data = np.zeros((12, 6, 1, 2))
    data[0:5, 0], data[6, 0] = np.array([[1, 0]]), np.array([1, 0])
    data[8:10, 4], data[11, 4] = np.array([[0, 1]]), np.array([0, 1])
    expected = data.copy()
    expected[6, 0], expected[11, 4] = 0, 0
    np.testing.assert_array_equal(processed(data.copy(), {"keep_largest": {}}), expected)
    # soft values stay
    np.testing.assert_allclose(processed(0.6 * data, {"keep_largest": {}}), 0.6 * expected)
    np.testing.assert_array_equal(processed(np.zeros((4, 4, 1, 2)), {"keep_largest": {}}), 0)


@pytest.mark.parametrize(("unit", "size", "left"), [("vox", 2.5, 3), ("vox", 2, 5), ("mm3", 2.6, 3), ("mm3", [2], 5)])
def test_small_objects_are_removed_by_sizes_with_fractions(plugin, unit, size, left):
    data = np.zeros((12, 1, 1, 1))
    data[0:3], data[6:8] = 1, 1
    # voxels of 1 mm3
    assert processed(data, {"remove_small": {"unit": unit, "thr": size}}).sum() == left


def test_losses_are_combined(plugin):
    loss = imed_losses.LossCombination(["L2loss", "BinaryCrossEntropyLoss"], [None, {}])
    prediction, target = torch.full((2, 1, 4, 4), 0.25), torch.ones(2, 1, 4, 4)
    assert loss(prediction, target).item() == pytest.approx(16 * 0.75**2 - np.log(0.25), rel=1e-4)


def test_every_repaired_step_in_one_run(ivadomed, tmp_path, capfd):
    """Settings that ``check`` takes end well: training, threshold search, random passes, test and segmentation."""
    data = make_dataset(tmp_path / "data", n_subjects=5)
    config = make_config("ms_softseg_average", data, tmp_path / "out", epochs=1)
    steps = config["transformation"]
    for name, options in {
        "ElasticTransform": {**ELASTIC, "applied_to": ["im", "gt"]},
        "RandomGamma": {"log_gamma_range": [-1, 1], "applied_to": ["im"]},
        "HistogramClipping": {"applied_to": ["im"]},
        "Clahe": {"kernel_size": [8, 8], "applied_to": ["im"]},
        "NormalizeInstance": steps.pop("NormalizeInstance"),
    }.items():
        steps[name] = options
    config["training_parameters"]["loss"] = {"name": "LossCombination", "losses_list": ["L2loss", "FocalLoss"]}
    config["uncertainty"] = {"epistemic": True, "aleatoric": False, "n_it": 2}
    config["postprocessing"] = {
        "uncertainty": {"thr": 0.5, "suffix": "_unc-vox.nii.gz"},
        "binarize_prediction": {"thr": -1},
        "remove_small": {"unit": "mm3", "thr": 2.5},
        "keep_largest": {},
    }
    config["evaluation_parameters"] |= {
        "object_detection_metrics": True,
        "target_size": {"unit": "vox", "thr": [5, 20]},
        "overlap": {"unit": "ratio", "thr": 0.5},
    }
    path, out = write_config(tmp_path / "config.json", config), tmp_path / "out"
    assert not isinstance(ivadomed("--train", "-c", path), int)
    assert not isinstance(ivadomed("--test", "-c", path), int)
    results = pandas.read_csv(out / "results_eval/evaluation_3Dmetrics.csv")
    assert np.isfinite(results["dice_class0"]).all()
    assert not isinstance(ivadomed("--segment", "-c", path), int)
    assert len(list((out / "pred_masks").glob("*_class-0_pred.nii.gz"))) == 5
    printed = capfd.readouterr()
    assert "postprocessing.uncertainty is left out" in printed.out
    assert "Traceback" not in printed.out + printed.err


def test_a_modified_unet_with_film_and_nothing_but_sizes(ivadomed, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=4, shape=(20, 18, 16))
    config = make_config("ms_conv_random", data, tmp_path / "out", crop=(32, 16, 16), epochs=1)
    config["default_model"].update(depth=4, length_3D=[32, 16, 16], stride_3D=[32, 16, 16])
    for key in ("translate", "scale"):
        config["transformation"]["RandomAffine"][key].append(0.1)
    config["Modified3DUNet"] = {"applied": True, "n_filters": 4}
    config["FiLMedUnet"] = {"applied": True, "metadata": "institution_id", "film_layers": [1, 0] * 5}
    path, out = write_config(tmp_path / "config.json", config), tmp_path / "out"
    assert not isinstance(ivadomed("--train", "-c", path), int)
    assert not isinstance(ivadomed("--test", "-c", path), int)
    assert np.load(out / "gamma_layer_1.npy").shape == (1, 4)
    assert np.load(out / "gamma_layer_2.npy").size == 0
    assert not isinstance(ivadomed("--segment", "-c", path), int)
    segmented = sorted((out / "pred_masks").glob("*_class-0_pred.nii.gz"))
    assert len(segmented) == 4
    assert nibabel.load(segmented[0]).shape[:3] == (20, 18, 16)


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        (
            {"object_detection_params": {"object_detection_path": "/no", "safety_factor": [1, 1, 1]}},
            (),
            "object_detection_params.object_detection_path must be a model",
        ),
        (
            {"slice_filter_params": {"filter_classification": True, "classifier_path": "/no"}},
            (),
            "loader_parameters.slice_filter_params.classifier_path must be a model",
        ),
        ({"is_2d": False}, ("-g", "1"), "--gif (-g) shows slices of 2D models"),
        ({}, ("-po", "run.nii.gz/out"), "path_output (-po) must not hold '.nii.gz'"),
        (
            {"transformation": {"Resample": {"hspace": 100, "wspace": 100}}},
            (),
            "transformation.Resample (hspace, wspace, dspace) leaves nothing of an image of 24x20 voxels",
        ),
    ],
)
def test_what_would_fail_later_is_refused_at_once(ivadomed, tmp_path, capfd, monkeypatch, changes, arguments, message):
    monkeypatch.chdir(tmp_path)
    data = make_dataset(tmp_path / "data", n_subjects=4)
    config = make_config("ms_conv_random", data, tmp_path / "out", crop=(16, 16, 16))
    config["loader_parameters"]["slice_filter_params"] |= changes.pop("slice_filter_params", {})
    config["transformation"] |= changes.pop("transformation", {})
    if "is_2d" in changes:
        config["default_model"].update(changes, length_3D=[16] * 3, stride_3D=[16] * 3)
    else:
        config |= changes
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    assert ivadomed("--train", "-c", path, *arguments) == 2
    assert message in capfd.readouterr().err


def test_a_path_that_holds_the_suffix_of_the_label_is_refused(ivadomed, tmp_path, capfd):
    """ivadomed would cut it there, and write all predictions over each other into the folder above."""
    data = make_dataset(tmp_path / "data", n_subjects=4)
    config = make_config("ms_conv_staple", data, tmp_path / f"run{suffix(1, 'lesion')}/out")
    config["loader_parameters"]["target_suffix"] = [suffix(1, "lesion")]
    del config["transformation"]["FuseRaters"], config["evaluation_parameters"]["inter_rater"]
    assert ivadomed("--train", "-c", write_config(tmp_path / "config.json", config)) == 2
    assert "path_output (-po) must not hold '_desc-rater1_label-lesion_seg'" in capfd.readouterr().err


def test_boxes_of_a_model_with_several_raters(ivadomed, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=4)
    first = make_config("ms_conv_average", data, tmp_path / "first", epochs=1)
    assert not isinstance(ivadomed("--train", "-c", write_config(tmp_path / "first.json", first)), int)
    config = make_config("ms_conv_average", data, tmp_path / "out", epochs=1)
    config["object_detection_params"] = {
        "object_detection_path": str(tmp_path / "first/model"),
        "safety_factor": [1.5, 1.5, 1.0],
    }
    path, out = write_config(tmp_path / "config.json", config), tmp_path / "out"
    assert not isinstance(ivadomed("--train", "-c", path), int)
    boxes = json.loads((out / "bounding_boxes.json").read_text())
    assert len(boxes) == 4
    assert not isinstance(ivadomed("--test", "-c", path), int)
    assert len(pandas.read_csv(out / "results_eval/evaluation_3Dmetrics.csv")) == 1


@pytest.mark.parametrize(("boxes", "message"), [({}, "Remove that file"), ({"a.nii.gz": []}, "finds nothing in a")])
def test_images_without_a_box(plugin, boxes, message):
    assert box_of({"a.nii.gz": [[1, 2, 3, 4, 5, 6], [0] * 6]}, "a.nii.gz") == [1, 2, 3, 4, 5, 6]
    with pytest.raises(InputError, match=message):
        box_of(boxes, "a.nii.gz")
