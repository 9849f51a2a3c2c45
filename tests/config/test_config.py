"""Configuration checks and the shipped templates."""

import contextlib
import copy
import inspect
import json
from importlib import resources
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivadomed_labelfusion.config import (
    TEMPLATES_DIR,
    check_config,
    keys,
    load_template,
    raise_on_errors,
    template_names,
)
from ivadomed_labelfusion.config.templates import template_text, write_templates
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.evaluation import settings_from_config

CANDIDATES = [
    f"{framework}_{fusion}" for framework in ("conv", "softseg") for fusion in ("staple", "average", "random")
]
NAMES = {("path_output",), ("model_name",)}


def flat(config, prefix=()):
    """Return {path: value} of all leaves."""
    leaves = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            leaves.update(flat(value, (*prefix, key)))
        else:
            leaves[(*prefix, key)] = value
    return leaves


def difference(first, second):
    """Return the paths at which two templates differ, but for their names."""
    ours, theirs = flat(load_template(first)), flat(load_template(second))
    return {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)} - NAMES


def test_there_are_the_six_candidates_on_both_datasets():
    assert template_names() == sorted(f"{dataset}_{name}" for dataset in ("ms", "scgm") for name in CANDIDATES)


@pytest.mark.parametrize("name", template_names())
def test_the_files_are_the_candidates_written_out(name):
    assert (TEMPLATES_DIR / f"{name}.json").read_text(encoding="utf-8") == template_text(load_template(name))


def test_no_other_templates_lie_about(tmp_path):
    write_templates(tmp_path)
    assert sorted(path.name for path in TEMPLATES_DIR.iterdir()) == sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("name", template_names())
def test_templates_pass_the_checks(name):
    config = load_template(name)
    assert check_config(config) == []
    assert settings_from_config(config).reference == "staple"
    assert config["model_name"] == name


@pytest.mark.parametrize("dataset", ["ms", "scgm"])
@pytest.mark.parametrize("framework", ["conv", "softseg"])
def test_fusions_differ_in_the_transform_only(dataset, framework):
    base = f"{dataset}_{framework}"
    assert difference(f"{base}_staple", f"{base}_average") == {("transformation", "FuseRaters", "method")}
    assert {path[:2] for path in difference(f"{base}_staple", f"{base}_random")} == {
        ("transformation", "FuseRaters"),
        ("transformation", "SampleRater"),
    }


@pytest.mark.parametrize("dataset", ["ms", "scgm"])
@pytest.mark.parametrize("fusion", ["staple", "average", "random"])
def test_frameworks_differ_in_labels_activation_and_loss_only(dataset, fusion):
    changed = difference(f"{dataset}_conv_{fusion}", f"{dataset}_softseg_{fusion}")
    assert {path[:2] for path in changed} == {
        ("loader_parameters", "soft_gt"),
        ("default_model", "name"),
        ("default_model", "final_activation"),
        ("default_model", "normalization"),
        ("training_parameters", "loss"),
    }


@pytest.mark.parametrize(
    ("dataset", "resample", "crop", "depth", "learning_rate"),
    [("scgm", (0.25, 0.25, 2), [128, 128], 3, 0.001), ("ms", (1, 1, 1), [160, 124], 4, 0.00005)],
)
@pytest.mark.parametrize("candidate", CANDIDATES)
def test_templates_hold_the_papers_table_5(dataset, resample, crop, depth, learning_rate, candidate):
    config = load_template(f"{dataset}_{candidate}")
    transformation, training = config["transformation"], config["training_parameters"]
    assert tuple(transformation["Resample"].values()) == resample
    assert transformation["CenterCrop"]["size"] == crop
    affine = transformation["RandomAffine"]
    assert (affine["degrees"], affine["translate"], affine["scale"]) == (20, [0.03, 0.03], [0.1, 0.1])
    assert affine["dataset_type"] == ["training"]
    assert training["batch_size"] == 24
    assert (config["default_model"]["depth"], config["default_model"]["dropout_rate"]) == (depth, 0.3)
    assert training["scheduler"] == {"initial_lr": learning_rate, "lr_scheduler": {"name": "CosineAnnealingLR"}}
    assert training["training_time"] == {
        "num_epochs": 200,
        "early_stopping_patience": 50,
        "early_stopping_epsilon": 0.001,
    }
    if candidate.startswith("softseg"):
        assert training["loss"] == {"name": "AdapWingLoss", "theta": 0.5, "alpha": 2.1, "omega": 8, "epsilon": 1}


def test_known_keys_are_those_of_the_installed_ivadomed():
    pytest.importorskip("ivadomed")
    default = json.loads((resources.files("ivadomed") / "config" / "config_default.json").read_text())
    problems = check_config(default)
    assert problems == []


def test_known_transforms_are_those_of_the_installed_ivadomed():
    transforms = pytest.importorskip("ivadomed.transforms")

    base = {"Crop", "RaterTransform", *keys.PLUGIN_TRANSFORMS}
    found = {
        name: tuple(inspect.signature(value.__init__).parameters)[1:]
        for name, value in vars(transforms).items()
        if inspect.isclass(value)
        and issubclass(value, transforms.ImedTransform)
        and value is not transforms.ImedTransform
    }
    for name, parameters in found.items():
        if name in base:
            continue
        own = () if parameters in ((), ("args", "kwargs")) else parameters
        assert keys.TRANSFORMS[name] == own, name
    assert set(keys.TRANSFORMS) <= set(found)


def test_known_losses_and_models_exist():
    losses, models = (pytest.importorskip(f"ivadomed.{name}") for name in ("losses", "models"))

    for name, parameters in keys.LOSS_PARAMETERS.items():
        assert tuple(inspect.signature(getattr(losses, name)).parameters) == parameters
    for name in keys.MODELS:
        assert hasattr(models, name)


def broken(template="ms_softseg_average", **changes):
    """Return the messages for a template with dotted keys (``__``) changed; None removes a key."""
    config = copy.deepcopy(load_template(template))
    for dotted, value in changes.items():
        *path, last = dotted.split("__")
        section = config
        for name in path:
            section = section.setdefault(name, {})
        if value is None:
            section.pop(last, None)
        else:
            section[last] = value
    return [str(problem) for problem in check_config(config)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"loader_parameters__target_sufix": []},
            "target_sufix: unknown key, nothing reads it. Did you mean 'target_s",
        ),
        ({"transformation__FuseRater": {}}, "FuseRater: unknown key, nothing reads it. Did you mean 'FuseRaters'?"),
        (
            {"transformation__FuseRaters__methode": "x"},
            "methode: unknown key, nothing reads it. Did you mean 'method'?",
        ),
        ({"transformation__Resample__hspce": 1}, "hspce: unknown key, nothing reads it. Did you mean 'hspace'?"),
        ({"training_parameters__loss__name": "AdapWing"}, "unknown loss 'AdapWing'. Did you mean 'AdapWingLoss'?"),
        ({"default_model__name": "SoftSegUNet"}, "unknown model 'SoftSegUNet'. Did you mean 'SoftSegUnet'?"),
        ({"transformation__FuseRaters__method": "stapel"}, "unknown method 'stapel'. Did you mean 'staple'?"),
        ({"transformation__FuseRaters": {"method": "average", "ties": "lowest"}}, "takes no option 'ties'"),
        ({"transformation__SampleRater": {}}, "FuseRaters and SampleRater exclude each other"),
        ({"training_parameters__loss": {"name": "DiceLoss"}}, "DiceLoss on soft labels"),
        ({"default_model__name": "Unet", "default_model__final_activation": "softmax"}, "softmax with soft labels"),
        ({"loader_parameters__soft_gt": False}, "AdapWingLoss is a regression on soft labels"),
        ({"loader_parameters__target_suffix": [["_desc-rater1_label-lesion_seg"]]}, "one rater only"),
        ({"loader_parameters__target_suffix": ["_desc-rater1_label-lesion_seg"]}, "needs a list of raters per class"),
        ({"loader_parameters__target_suffix": [["_a", "_b"], ["_c"]]}, "the same raters in the same order"),
        ({"loader_parameters__target_suffix": [["_a", "_a"]]}, "'_a' is listed twice"),
        ({"loader_parameters__target_suffix": [["_a", "_b"], "_c"]}, "some classes list raters and others do not"),
        ({"default_model__normalization": "layer"}, "must be one of batch, sample, running, got 'layer'"),
        ({"default_model__name": "Unet"}, "normalization: has no effect on Unet"),
        ({"default_model__final_activation": "sigmoid"}, "always ends in the normalised ReLU"),
        ({"default_model__name": "SoftSegModified3DUNet"}, "SoftSegModified3DUNet needs false"),
        (
            {"loader_parameters__target_suffix": [["_desc-a_x", "_desc-b_x"], ["_desc-b_y", "_desc-a_y"]]},
            "class 0 has a, b, class 1 has b, a",
        ),
        ({"loader_parameters__target_suffix": [[]]}, "a class lists no rater"),
        ({"loader_parameters__slice_axis": "axiall"}, "must be one of axial, sagittal, coronal, got 'axiall'"),
        ({"training_parameters__batch_size": 0}, "must be a whole number of at least 1, got 0"),
        (
            {"default_model__depth": 7},
            "7 halves the 124 pixels of transformation.CenterCrop.size to nothing. Use at most 6",
        ),
        ({"training_parameters__training_time__num_epochs": "two"}, "must be a whole number of at least 1, got 'two'"),
        ({"training_parameters__scheduler__lr_scheduler__name": "Cosine"}, "must be one of CosineAnnealingLR"),
        ({"split_dataset__train_fraction": 0.9, "split_dataset__test_fraction": 0.4}, "add up to 1 at most"),
        ({"transformation__CenterCrop": {}}, "CenterCrop: needs 'size'"),
        ({"loader_parameters": 3}, "loader_parameters: must be a JSON object, got 3"),
        # Python takes every text for true
        ({"loader_parameters__multichannel": "False"}, "multichannel: must be true or false, got 'False'"),
        ({"loader_parameters__allow_missing_raters": "no"}, "must be true or false, got 'no'"),
        ({"debugging": "maybe"}, "debugging: must be true or false, got 'maybe'"),
        ({"loader_parameters__contrast_params__testing": "FLAIR"}, "testing: must be a list of names, got 'FLAIR'"),
        ({"training_parameters__scheduler__initial_lr": "fast"}, "must be a number above 0, got 'fast'"),
        ({"training_parameters__scheduler__initial_lr": float("nan")}, "must be a number above 0, got nan"),
        ({"training_parameters__scheduler__initial_lr": -1}, "must be a number above 0, got -1"),
        ({"default_model__n_filters": 0}, "must be a whole number of at least 1, got 0"),
        ({"default_model__depth": True}, "must be a whole number of at least 1, got True"),
        ({"default_model__dropout_rate": 7}, "must be a number from 0 to 1, got 7"),
        ({"transformation__Resample__hspace": -1}, "must be a number above 0, got -1"),
        ({"transformation__CenterCrop__size": [10]}, "must be a list of 2 or 3 whole numbers of at least 1, got [10]"),
        ({"postprocessing__binarize_prediction": {"thr": "foo"}}, "must be a number, got 'foo'"),
        ({"training_parameters__loss": "FocalLoss"}, "loss: must be a JSON object, got 'FocalLoss'"),
        ({"training_parameters__scheduler__lr_scheduler": "CyclicLR"}, "lr_scheduler: must be a JSON object"),
        ({"transformation__FuseRaters__margin": "x"}, "margin: must be a whole number of at least 0, got 'x'"),
        ({"transformation__FuseRaters__weights": [1, 2]}, "must be 7 numbers, one per rater, got 2"),
        ({"transformation__FuseRaters__weights": [0] * 7}, "numbers of at least 0, not all of them 0"),
        ({"transformation__FuseRaters__weights": [1, 1, 1, 1, 1, 1, "x"]}, "numbers of at least 0, not all of them 0"),
        ({"split_dataset__random_seed": 1.5}, "must be a whole number of at least 0, got 1.5"),
    ],
)
def test_mistakes_are_explained(changes, message):
    assert any(message in line for line in broken(**changes)), broken(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transformation__SampleRater__policy": "equal"}, "must be one of uniform, balanced, weighted, got 'equal'"),
        ({"transformation__SampleRater__unit": "voxel"}, "must be one of slice, volume, got 'voxel'"),
        ({"transformation__SampleRater__validation": "x"}, "must be one of sampled, average"),
        ({"transformation__SampleRater__seed": -1}, "must be a whole number >= 0, got -1"),
        ({"transformation__SampleRater__policy": "weighted"}, "needs weights"),
        ({"transformation__SampleRater__weights": [1, 2]}, "act with policy"),
        (
            {"transformation__SampleRater__policy": "weighted", "transformation__SampleRater__weights": [1, 2]},
            "must be 7 numbers, one per rater, got 2",
        ),
    ],
)
def test_mistakes_of_sampling_are_explained(changes, message):
    assert any(message in line for line in broken("ms_conv_random", **changes))


@pytest.mark.parametrize("path", [("evaluation_parameters",), ("training_parameters", "scheduler")])
def test_a_section_is_never_null(path):
    config = load_template("ms_softseg_average")
    section = config
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = None
    (problem,) = check_config(config)
    assert str(problem) == f"error: {'.'.join(path)}: must be a JSON object, got None. Fill it or leave it out."


def test_plain_ivadomed_configurations_only_get_warnings():
    problems = check_config({"my_note": "keep", "loader_parameters": {"target_suffix": ["_seg"]}})
    assert [problem.level for problem in problems] == ["warning"]
    raise_on_errors({"my_note": "keep"}, source="x.json")


def test_all_errors_are_raised_at_once():
    config = load_template("ms_softseg_average")
    config["model_nam"] = 1
    config["training_parameters"]["loss"]["name"] = "DiceLoss"
    with pytest.raises(InputError, match=r"(?s)my\.json cannot be used.*model_nam.*DiceLoss"):
        raise_on_errors(config, source="my.json")


def test_an_unknown_template_lists_the_known_ones():
    with pytest.raises(InputError, match="ms_conv_average"):
        load_template("ms")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_content_ends_in_an_error_of_python(data):
    """Whatever stands in the place of any value, the check lists problems or none."""
    config = load_template(data.draw(st.sampled_from(template_names())))
    for _ in range(data.draw(st.integers(1, 3))):
        section = config
        while True:
            key = data.draw(st.sampled_from(sorted(section)))
            if not (isinstance(section[key], dict) and section[key] and data.draw(st.booleans())):
                break
            section = section[key]
        section[key] = data.draw(JSON)
    problems = check_config(config)
    assert all(problem.level in ("error", "warning") and problem.message for problem in problems)
    with contextlib.suppress(InputError):
        settings_from_config(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training_parameters__loss": {"name": "LossCombination", "losses_list": ["eval('1')"]}}, "names of losses"),
        (
            {"training_parameters__loss": {"name": "LossCombination", "losses_list": ["LossCombination"]}},
            "names of los",
        ),
        ({"training_parameters__loss": {"name": "LossCombination", "losses_list": 3}}, "must be a list of 1 to 20"),
        (
            {
                "training_parameters__loss": {
                    "name": "LossCombination",
                    "losses_list": ["L2loss"],
                    "params_list": [1, 2],
                }
            },
            "must be a list of 1 objects or nulls",
        ),
        ({"training_parameters__loss": {"name": "FocalLoss", "gamma": -1}}, "must be a number of at least 0, got -1"),
        ({"training_parameters__loss": {"name": "FocalLoss", "gama": 1}}, "FocalLoss has no such parameter"),
        ({"loader_parameters__contrast_params__training_validation": []}, "must name at least one contrast"),
        pytest.param(
            *({"loader_parameters__contrast_params__training_validation": ["FLUO"]}, "no contrast that BIDS knows"),
            marks=pytest.mark.skipif(find_spec("bids_validator") is None, reason="pybids is not installed"),
        ),
        ({"default_model__depth": 10**6}, "must be at most 20, got 1000000"),
        ({"default_model__n_filters": 10**9}, "must be at most 4096"),
        ({"split_dataset__random_seed": 2**32}, "must be at most"),
        ({"gpu_ids": []}, "must be a list of at least one whole number, got []"),
        ({"path_output": "a\0b"}, "path_output: must be a text"),
        ({"training_parameters__scheduler__lr_scheduler": {"name": "CyclicLR", "x": 1}}, "CyclicLR has no such"),
        ({"training_parameters__scheduler__lr_scheduler": {"name": "CosineAnnealingWarmRestarts"}}, "needs T_0"),
    ],
)
def test_what_ended_in_errors_of_ivadomed_is_explained(changes, message):
    assert any(message in line for line in broken(**changes)), broken(**changes)
