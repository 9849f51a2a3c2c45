"""Settings of the network that ivadomed fails with after everything is loaded, found before."""

import pytest

from ivadomed_labelfusion.config import check_config, load_template, template_names

VOLUMES = {"is_2d": False, "length_3D": [32, 32, 16], "stride_3D": [32, 32, 16], "depth": 3}
SMALL = {**VOLUMES, "length_3D": [16, 16, 16], "stride_3D": [16, 16, 16]}
PATCHES = {"length_2D": [16, 16], "stride_2D": [8, 8], "depth": 3}


def findings(model=None, crop=None, template="ms_softseg_average", **sections):
    """Return ``{key: message}`` of the errors of a changed template."""
    config = load_template(template)
    config["default_model"].update(model or {})
    config["transformation"]["CenterCrop"] = {"size": crop or [128, 128]}
    for name, section in sections.items():
        config[name] = {**config.get(name, {}), **section}
    return {problem.key: problem.message for problem in check_config(config) if problem.level == "error"}


@pytest.mark.parametrize("name", template_names())
def test_the_templates_are_fine(name):
    assert check_config(load_template(name)) == []


@pytest.mark.parametrize(
    ("model", "crop"),
    [
        (VOLUMES, [32, 32, 16]),
        (VOLUMES, [64, 32, 32]),
        ({**VOLUMES, "stride_3D": [16, 16, 16]}, [64, 48, 32]),
        ({**VOLUMES, "name": "SoftSegModified3DUNet"}, [32, 32, 16]),
        (PATCHES, [128, 128]),
        ({**PATCHES, "stride_2D": [16, 16]}, [16, 16]),
        ({"length_2D": [], "stride_2D": []}, [128, 128]),
    ],
)
def test_networks_that_fit(model, crop):
    assert findings(model, crop) == {}


@pytest.mark.parametrize(
    ("model", "crop", "key", "message"),
    [
        ({**SMALL, "depth": 4}, [32, 32, 16], "default_model.depth", "less than 2 voxels"),
        ({**SMALL, "depth": 5}, [32, 32, 16], "default_model.depth", "less than 2 voxels"),
        (
            {**VOLUMES, "length_3D": [16, 16, 16], "stride_3D": [16, 16, 16], "name": "SoftSegModified3DUNet"},
            [16, 16, 16],
            "default_model.length_3D",
            "halves length_3D [16, 16, 16] 4 times",
        ),
        (
            {**VOLUMES, "length_3D": [20, 32, 16], "stride_3D": [20, 32, 16]},
            [40, 32, 16],
            "default_model.length_3D",
            "multiples of 16",
        ),
        ({**VOLUMES, "length_3D": [32, 32]}, [32, 32, 16], "default_model.length_3D", "list of 3 whole numbers"),
        ({**VOLUMES, "stride_3D": [0, 32, 16]}, [32, 32, 16], "default_model.stride_3D", "list of 3 whole numbers"),
        ({**VOLUMES, "stride_3D": [48, 32, 16]}, [32, 32, 16], "default_model.stride_3D", "at most length_3D"),
        (
            {**VOLUMES, "stride_3D": [24, 32, 16]},
            [64, 32, 16],
            "default_model.stride_3D",
            "does not lead from the first",
        ),
        (VOLUMES, [16, 32, 16], "default_model.length_3D", "at most transformation.CenterCrop.size"),
        (VOLUMES, [32, 32], "transformation.CenterCrop.size", "list of 3 whole numbers for a 3D model"),
        ({"is_2d": False}, [32, 32, 16], "default_model.length_3D", "list of 3 whole numbers"),
        (
            {**PATCHES, "length_2D": [16, 200]},
            [128, 128],
            "default_model.length_2D",
            "at most transformation.CenterCrop",
        ),
        ({**PATCHES, "stride_2D": [32, 8]}, [128, 128], "default_model.stride_2D", "at most length_2D"),
        ({"length_2D": [16, 16]}, [128, 128], "default_model.stride_2D", "list of 2 whole numbers"),
        ({**PATCHES, "length_2D": [16, 16, 16]}, [128, 128], "default_model.length_2D", "list of 2 whole numbers"),
        ({**PATCHES, "depth": 5}, [128, 128], "default_model.depth", "Use at most 4"),
    ],
)
def test_networks_that_do_not_fit_name_the_key(model, crop, key, message):
    found = findings(model, crop)
    assert message in found[key]


def test_the_block_that_counts_is_named():
    block = {"applied": True, "length_3D": [16, 16, 16], "stride_3D": [16, 16, 16]}
    found = findings({"name": "Unet"}, [16, 16, 16], "ms_conv_average", Modified3DUNet=block)
    assert list(found) == ["Modified3DUNet.length_3D"]


@pytest.mark.parametrize("name", ["HeMISUnet", "resnet18", "densenet121"])
def test_models_that_ivadomed_cannot_train(name):
    found = findings(template="ms_conv_average", **{name: {"applied": True}})
    assert f"{name} cannot be trained" in found[f"{name}.applied"]
    found = findings({"name": name}, template="ms_conv_average")
    assert f"{name} cannot be trained" in found["default_model.name"]


def test_two_models_exclude_each_other():
    block = {"applied": True}
    assert "would be trained in the place of SoftSegUnet" in findings(FiLMedUnet=block)["FiLMedUnet.applied"]
    found = findings(template="ms_conv_average", FiLMedUnet=block, HeMISUnet=block)
    assert "FiLMedUnet and HeMISUnet exclude each other" in found["HeMISUnet.applied"]


@pytest.mark.parametrize(
    ("film", "key", "message"),
    [
        ({"metadata": "mri_params"}, "FiLMedUnet.metadata", "fails in ivadomed"),
        (
            {"metadata": "contrasts", "film_layers": [1, 0]},
            "FiLMedUnet.film_layers",
            "2 x depth + 2 = 8 entries, got 2",
        ),
    ],
)
def test_film_settings(film, key, message):
    found = findings({"depth": 3}, template="ms_conv_average", FiLMedUnet={"applied": True, **film})
    assert message in found[key]


def test_passes_and_layers_that_do_nothing():
    found = findings(uncertainty={"epistemic": True, "aleatoric": False, "n_it": 1})
    assert "no spread" in found["uncertainty.n_it"]
    assert findings(uncertainty={"epistemic": True, "aleatoric": False, "n_it": 2}) == {}
    transfer = {"retrain_model": "a.pt", "retrain_fraction": 0, "reset": True}
    found = findings(
        training_parameters={
            **load_template("ms_softseg_average")["training_parameters"],
            "transfer_learning": transfer,
        }
    )
    assert "nothing is trained" in found["training_parameters.transfer_learning.retrain_fraction"]
