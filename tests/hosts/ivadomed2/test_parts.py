"""Networks from files whose parts were exchanged, and states of training that are none."""

import pytest
import torch
from ivadomed import models as imed_models

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2 import loading, parts
from tests.hosts.ivadomed2.test_loading import MODELS, trained


def conv(model):
    return next(part for part in model.modules() if isinstance(part, torch.nn.Conv2d))


def exchange(name):
    """Return a function that changes one part of a network."""

    def stretch(model):
        weight = conv(model).weight
        weight.data = torch.zeros(1).expand(*weight.shape[:2], 30000, 30000)

    def retype(dtype):
        def change(model):
            for parameter in model.parameters():
                parameter.data = parameter.data.to(dtype)

        return change

    changes = {
        "forward": lambda model: model.__dict__.update(forward=torch.nn.Conv2d),
        "eval": lambda model: model.__dict__.update(eval=dict),
        "hook": lambda model: model._forward_hooks.update({0: torch.nn.Linear}),
        "class": lambda model: model.__dict__.update(anything=torch.nn.Linear),
        "padding": lambda model: setattr(conv(model), "padding", (6000, 6000)),
        "stretched": stretch,
        "double": retype(torch.float64),
        "half": retype(torch.float16),
        "decoder": lambda model: setattr(model, "decoder", torch.nn.Identity()),
        "encoder": lambda model: setattr(model, "encoder", torch.nn.Linear(2, 2)),
    }
    return changes[name]


@pytest.mark.parametrize(
    "name", ["forward", "eval", "hook", "class", "padding", "stretched", "double", "half", "decoder", "encoder"]
)
def test_an_exchanged_part_is_refused(tmp_path, name):
    path = tmp_path / "best_model.pt"
    model = imed_models.Unet(depth=2, n_filters=4)
    exchange(name)(model)
    torch.save(model, path)
    with pytest.raises(InputError, match=r"best_model\.pt must be a model of ivadomed"):
        loading.load_model(path)


@pytest.mark.parametrize(("model_class", "arguments"), MODELS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_model_of_ivadomed_passes(tmp_path, model_class, arguments):
    loading.save(model_class(**arguments), tmp_path / "model.pt")
    assert type(loading.load_model(tmp_path / "model.pt")) is model_class


class Constructs:
    """Calls something when it is unpickled."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


def test_a_file_constructs_no_layer(tmp_path):
    path = tmp_path / "best_model.pt"
    torch.save(Constructs(torch.nn.Linear, 3, 3), path)
    with pytest.raises(InputError, match="constructs Linear"):
        loading.load(path)
    # afterwards layers are made as ever
    assert torch.nn.Linear(2, 2).weight.shape == (2, 2)


def test_a_failure_within_a_loaded_network_names_its_file(tmp_path):
    path = tmp_path / "best_model.pt"
    model = imed_models.Unet(depth=2, n_filters=4)
    model.encoder.depth = "x"
    torch.save(model, path)
    loaded = loading.load_model(path)
    with pytest.raises(TypeError) as caught:
        loaded(torch.zeros(1, 1, 16, 16))
    assert str(path) in parts.failure_of_loaded(caught.value)
    # of a network that was trained here, and of anything else, the traceback stays
    with pytest.raises(TypeError) as caught:
        model(torch.zeros(1, 1, 16, 16))
    assert parts.failure_of_loaded(caught.value) is None
    assert parts.failure_of_loaded(KeyError("x")) is None


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("optimizer", {"lr": "x"}),
        ("optimizer", {"lr": float("nan")}),
        ("optimizer", {"betas": 3}),
        ("optimizer", {"params": 3}),
        ("scheduler", {"T_max": 0}),
        ("scheduler", {"base_lrs": ["x"]}),
        ("scheduler", {"step": "x"}),
        ("scheduler", {"optimizer": 3}),
        ("state_dict", float("nan")),
    ],
)
def test_an_odd_state_of_training_is_refused(tmp_path, part, change):
    path = tmp_path / "checkpoint.pth.tar"
    _, state = trained(path)
    loading.TrainingTorch().save(state, path)
    content = torch.load(path, weights_only=True)
    if part == "optimizer":
        content[part]["param_groups"][0].update(change)
    elif part == "scheduler":
        content[part].update(change)
    else:
        content[part] = {
            name: torch.full_like(value, change) if value.is_floating_point() else value
            for name, value in content[part].items()
        }
    torch.save(content, path)
    fresh = loading.SoftSegUnet(depth=2, n_filters=4)
    optimizer = torch.optim.Adam(fresh.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7)
    with pytest.raises(InputError, match="does not fit the model"):
        loading.load_checkpoint(fresh, optimizer, {}, scheduler, str(path))
