"""Transfer learning gives the model that was asked for, with the old weights, or refuses."""

import json

import pytest
import torch
from ivadomed import models as imed_models

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2 import loading, transfer
from ivadomed_labelfusion.hosts.ivadomed2.models import SoftSegUnet
from tests.builders.tiny import make_config, make_dataset, write_config

SIZE = {"depth": 2, "n_filters": 4, "in_channel": 1, "out_channel": 1}


def stored(folder, model):
    """Save a model; return its file."""
    loading.save(model, folder / "old.pt")
    return str(folder / "old.pt")


def retrained(path, name, fraction, *, reset, **params):
    """Return the model that a training would start from."""
    with transfer.asking_for({"name": name, **SIZE, **params}):
        return imed_models.set_model_for_retrain(path, fraction, "cpu", reset=reset)


@pytest.mark.parametrize("normalization", ["batch", "running"])
@pytest.mark.parametrize("old_class", [imed_models.Unet, SoftSegUnet])
def test_the_asked_for_model_has_the_old_weights(plugin, tmp_path, old_class, normalization):
    old = old_class(**SIZE)
    model = retrained(stored(tmp_path, old), "SoftSegUnet", 1.0, reset=False, normalization=normalization)
    assert type(model) is SoftSegUnet
    assert model.decoder.softmax.normalization == normalization
    for name, value in old.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("reset", [True, False])
def test_the_same_layers_as_in_ivadomed_are_frozen_and_drawn_anew(stock, tmp_path, fraction, reset):
    path = stored(tmp_path, imed_models.Unet(**SIZE))

    def kinds(model):
        old = loading.load(path).state_dict()
        return {
            name: (parameter.requires_grad, torch.equal(parameter, old[name]))
            for name, parameter in model.named_parameters()
            # normalisation layers are drawn to the constants that they start from
            if parameter.dim() > 1
        }

    original = imed_models.set_model_for_retrain
    with torch.serialization.safe_globals(loading.allowed_classes()):
        expected = kinds(original(path, fraction, "cpu", reset=reset))
    with transfer.asking_for({"name": "Unet", **SIZE}):
        found = kinds(transfer.set_model_for_retrain(original)(path, fraction, "cpu", reset=reset))
    assert found == expected
    assert any(not is_free for is_free, _ in found.values()) == (fraction < 1)


def test_another_number_of_classes_needs_a_drawn_last_layer(plugin, tmp_path):
    path = stored(tmp_path, imed_models.Unet(**SIZE))
    model = retrained(path, "SoftSegUnet", 0.1, reset=True, out_channel=3)
    assert model(torch.zeros(1, 1, 16, 16)).shape[1] == 2
    with pytest.raises(InputError, match=r"The Unet of .*old.pt .* the SoftSegUnet of .*decoder.last_conv.weight"):
        retrained(path, "SoftSegUnet", 0.1, reset=False, out_channel=3)


@pytest.mark.parametrize(
    ("old", "asked"),
    [
        (lambda: imed_models.Unet(**{**SIZE, "depth": 3}), {"name": "SoftSegUnet"}),
        (lambda: imed_models.Unet(**{**SIZE, "n_filters": 8}), {"name": "SoftSegUnet"}),
        (lambda: imed_models.Unet(**{**SIZE, "in_channel": 2}), {"name": "Unet"}),
        (lambda: imed_models.Modified3DUNet(1, 1, n_filters=4), {"name": "SoftSegUnet"}),
        (lambda: imed_models.Unet(**SIZE), {"name": "SoftSegModified3DUNet"}),
    ],
)
def test_a_model_that_does_not_fit_is_refused_naming_both(plugin, tmp_path, old, asked):
    model = old()
    with pytest.raises(InputError, match=f"{type(model).__name__} of .*old.pt.*{asked['name']} of this"):
        retrained(stored(tmp_path, model), asked["name"], 0.5, reset=False)


def test_a_checkpoint_is_no_model(plugin, tmp_path):
    loading.save({"state_dict": {}}, tmp_path / "old.pt")
    with pytest.raises(InputError, match="retrain_model must be a model"):
        retrained(str(tmp_path / "old.pt"), "Unet", 1.0, reset=True)


def test_a_softseg_model_is_trained_from_a_conventional_one(ivadomed, tmp_path, capfd):
    data = make_dataset(tmp_path / "data")
    conventional = write_config(tmp_path / "a.json", make_config("ms_conv_staple", data, tmp_path / "a"))
    ivadomed("--train", "-c", conventional)
    config = make_config("ms_softseg_average", data, tmp_path / "b")
    settings = {"retrain_model": str(tmp_path / "a/best_model.pt"), "retrain_fraction": 0.5, "reset": True}
    config["training_parameters"]["transfer_learning"] = settings
    path = write_config(tmp_path / "b.json", config)
    assert not ivadomed("--train", "-c", path)
    assert "SoftSegUnet starts from the Unet of" in capfd.readouterr().out
    old, new = (loading.load(tmp_path / name / "best_model.pt") for name in "ab")
    assert type(new) is SoftSegUnet
    # frozen
    first = "encoder.down_path.0.conv1.weight"
    torch.testing.assert_close(new.state_dict()[first], old.state_dict()[first], rtol=0, atol=0)
    config["training_parameters"]["transfer_learning"]["retrain_model"] = str(tmp_path / "no.pt")
    path.write_text(json.dumps(config))
    capfd.readouterr()
    assert ivadomed("--train", "-c", path) == 2
    assert "no.pt" in capfd.readouterr().err
