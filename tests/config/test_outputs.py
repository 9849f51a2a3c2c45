"""Postprocessing, evaluation of objects, transformations and losses that would fail after the work, found before."""

import inspect
from importlib.util import find_spec

import pytest

from ivadomed_labelfusion.config import check_config, keys, load_template
from ivadomed_labelfusion.config.transformations import REQUIRED

PASSES = {"epistemic": True, "aleatoric": False, "n_it": 2}


def findings(template="ms_softseg_average", **changes):
    """Return ``{key: message}`` of the errors of a template with dotted keys (``__`` for the dot) changed."""
    config = load_template(template)
    for dotted, value in changes.items():
        *path, last = dotted.split("__")
        section = config
        for name in path:
            section = section.setdefault(name, {})
        section[last] = value
    found = {}
    for problem in check_config(config):
        if problem.level == "error":
            found[problem.key] = f"{found.get(problem.key, '')}{problem.message}"
    return found


@pytest.mark.parametrize(
    "steps",
    [
        {"binarize_prediction": {"thr": 0.5}, "keep_largest": {}, "fill_holes": {}, "binarize_maxpooling": {}},
        {"binarize_prediction": {"thr": -1}, "remove_noise": {"thr": 0.1}},
        {"remove_small": {"unit": "vox", "thr": 3.5}},
        {"remove_small": {"unit": "mm3", "thr": [3]}},
        {"uncertainty": {"thr": 0.5, "suffix": "_unc-vox.nii.gz"}},
    ],
)
def test_postprocessing_that_works(steps):
    assert findings(postprocessing=steps, uncertainty=PASSES) == {}


@pytest.mark.parametrize(
    ("step", "options", "key", "message"),
    [
        ("binarize_prediction", {}, "", "needs 'thr'"),
        ("binarize_prediction", {"thr": 0}, ".thr", "must be above 0"),
        ("binarize_prediction", {"thr": 1.5}, ".thr", "at most 1"),
        ("binarize_maxpooling", {"thr": 1}, ".thr", "no parameters"),
        ("keep_largest", {"n": 1}, ".n", "no parameters"),
        ("fill_holes", {"size": 3}, ".size", "no parameters"),
        ("remove_noise", {}, "", "needs 'thr'"),
        ("remove_small", {"thr": 3}, "", "needs 'unit'"),
        ("remove_small", {"unit": "vox"}, "", "needs 'thr'"),
        ("remove_small", {"unit": "vox", "thr": [3, 4]}, ".thr", "a list of 1, one per class"),
        ("remove_small", {"unit": "vox", "thr": []}, ".thr", "one per class"),
        ("uncertainty", {"thr": 0.5}, "", "needs 'suffix'"),
        ("uncertainty", {"thr": 0.5, "suffix": "_unc.nii.gz"}, ".suffix", "_unc-vox.nii.gz"),
    ],
)
def test_postprocessing_that_fails_names_the_key(step, options, key, message):
    found = findings(postprocessing={step: options}, uncertainty=PASSES)
    assert list(found) == [f"postprocessing.{step}{key}"]
    assert message in found[f"postprocessing.{step}{key}"]


@pytest.mark.parametrize(
    "passes", [{"epistemic": False, "aleatoric": False, "n_it": 20}, {"epistemic": True, "aleatoric": True, "n_it": 0}]
)
def test_postprocessing_by_uncertainty_needs_random_passes(passes):
    step = {"uncertainty": {"thr": 0.5, "suffix": "_unc-vox.nii.gz"}}
    assert "needs random passes" in findings(postprocessing=step, uncertainty=passes)["postprocessing.uncertainty"]


@pytest.mark.parametrize(
    ("name", "options", "key", "message"),
    [
        ("target_size", {"unit": "vox", "thr": 5}, ".thr", "list of at least one number"),
        ("target_size", {"unit": "vox", "thr": []}, ".thr", "list of at least one number"),
        ("target_size", {"thr": [5]}, "", "needs 'unit'"),
        ("target_size", {}, "", "needs 'thr'"),
        ("overlap", {"unit": "vox"}, "", "needs 'thr'"),
        ("overlap", {"thr": 3}, "", "needs 'unit'"),
        ("overlap", {"unit": "vox", "thr": [1, 2]}, ".thr", "one number"),
        ("overlap", {"unit": "ratio", "thr": 3}, ".thr", "share from 0 to 1"),
    ],
)
def test_evaluation_of_objects_that_fails_names_the_key(name, options, key, message):
    found = findings(**{f"evaluation_parameters__{name}": options})
    assert message in found[f"evaluation_parameters.{name}{key}"]


def test_evaluation_of_objects_that_works():
    assert findings(evaluation_parameters__target_size={"unit": "mm3", "thr": [5, 20]}) == {}
    assert findings(evaluation_parameters__overlap={"unit": "ratio", "thr": 0.5}) == {}


@pytest.mark.parametrize(
    ("name", "options", "key", "message"),
    [
        *((name, {}, "", f"needs {needed[0]!r}") for name, needed in REQUIRED.items()),
        ("Resample", {"hspace": 1, "wspace": 1, "applied_to": ["gt"]}, ".applied_to", "moved together"),
        ("CenterCrop", {"size": [128, 128], "applied_to": ["im"]}, ".applied_to", "moved together"),
        ("RandomAffine", {"degrees": [1, 2, 3]}, ".degrees", "list of 2 numbers"),
        ("BoundingBoxCrop", {"size": [64, 64]}, "", "object_detection_path"),
        ("Clahe", {"kernel_size": [8, 8, 8]}, ".kernel_size", "list of 2 whole numbers for a 2D model"),
        ("HistogramClipping", {"min_percentile": 95}, ".min_percentile", "below max_percentile"),
        ("RandomBiasField", {"coefficients": [0.1, 0.2, 0.3], "order": 3}, ".coefficients", "list of 2 numbers"),
        ("RandomBiasField", {"coefficients": [0.5, 0.1], "order": 3}, ".coefficients", "smaller to the larger"),
        ("RandomBiasField", {"coefficients": -0.5, "order": 3}, ".coefficients", "at least 0"),
    ],
)
def test_transformations_that_fail_name_the_key(name, options, key, message):
    found = findings(**{f"transformation__{name}": options})
    assert message in found[f"transformation.{name}{key}"]


def test_clahe_in_three_dimensions_needs_a_kernel_of_three():
    sizes = {"length_3D": [16, 16, 16], "stride_3D": [16, 16, 16]}
    found = findings(
        default_model={"name": "SoftSegUnet", "depth": 3, "is_2d": False, **sizes},
        transformation__CenterCrop={"size": [16, 16, 16]},
        transformation__Clahe={"applied_to": ["im"]},
    )
    assert "3 whole numbers for a 3D model" in found["transformation.Clahe.kernel_size"]


@pytest.mark.skipif(find_spec("ivadomed") is None, reason="compares with ivadomed")
def test_what_transformations_need_is_what_ivadomed_has_no_default_for():
    from ivadomed import transforms

    needed = {}
    for name in keys.TRANSFORMS:
        parameters = inspect.signature(getattr(transforms, name).__init__).parameters.values()
        empty = tuple(p.name for p in parameters if p.name != "self" and p.default is p.empty and p.kind == 1)
        needed |= {name: empty} if empty else {}
    assert needed == REQUIRED


@pytest.mark.parametrize(
    ("loss", "n", "key"),
    [
        ({"name": "MultiClassDiceLoss", "classes_of_interest": [2]}, 2, "classes_of_interest"),
        ({"name": "MultiClassDiceLoss", "classes_of_interest": [1]}, 2, None),
        (
            {
                "name": "LossCombination",
                "losses_list": ["MultiClassDiceLoss"],
                "params_list": [{"classes_of_interest": [5]}],
            },
            2,
            "params_list.classes_of_interest",
        ),
    ],
)
def test_classes_of_a_loss_exist(loss, n, key):
    found = findings("scgm_conv_average", training_parameters__loss=loss)
    assert list(found) == ([] if key is None else [f"training_parameters.loss.{key}"])
    assert all(f"0 to {n - 1}" in message for message in found.values())


@pytest.mark.parametrize(
    ("schedule", "key"),
    [
        ({"name": "CosineAnnealingWarmRestarts", "T_0": 1, "T_mult": 0}, "T_mult"),
        ({"name": "CosineAnnealingWarmRestarts", "T_0": 1, "T_mult": 1.5}, "T_mult"),
        ({"name": "CyclicLR", "step_size_up": 0}, "step_size_up"),
    ],
)
def test_counts_of_a_schedule_are_whole_numbers(schedule, key):
    found = findings(training_parameters__scheduler={"initial_lr": 0.01, "lr_scheduler": schedule})
    assert list(found) == [f"training_parameters.scheduler.lr_scheduler.{key}"]


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ({"default_model__final_activation": "tanh"}, "default_model.final_activation", "sigmoid, relu, softmax"),
        ({"default_model__final_activation": "softmax"}, "default_model.final_activation", "1 everywhere"),
        ({"default_model__name": "UNet3D"}, "default_model.name", "Modified3DUNet"),
        ({"default_model__name": "Modified3DUNet"}, "default_model.is_2d", "needs false"),
        ({"default_model__film_layers": [1] * 10}, "default_model.film_layers", "FiLMedUnet only"),
        ({"FiLMedUnet": {"applied": True, "film_layers": [1] * 10}}, "FiLMedUnet.metadata", "participants.tsv"),
        ({"FiLMedUnet": {"applied": True, "metadata": "contrasts"}}, "FiLMedUnet.film_layers", "at least one"),
        ({"Modified3DUNet": {"applied": True}}, "Modified3DUNet.length_3D", "list of 3 whole numbers"),
        (
            {"loader_parameters__slice_filter_params": {"filter_classification": True}},
            "loader_parameters.slice_filter_params.classifier_path",
            "needs a model",
        ),
    ],
)
def test_models_that_fail_name_the_key(changes, key, message):
    found = findings("ms_conv_staple", **changes)
    assert message in found[key]
