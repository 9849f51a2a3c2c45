"""Safe loading: what ivadomed needs loads, and nothing else ever runs."""

import contextlib
import os
import pickle

import pytest
import torch
from ivadomed import models as imed_models

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2 import loading
from ivadomed_labelfusion.hosts.ivadomed2.models import SoftSegModified3DUNet, SoftSegUnet


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("wrap", [lambda bomb: bomb, lambda bomb: {"state_dict": {}, "scheduler": bomb}])
@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_payload_is_refused_and_does_not_run(tmp_path, wrap, how):
    target, path = tmp_path / "ran", tmp_path / "best_model.pt"
    if how == "torch":
        torch.save(wrap(Payload(target)), path)
    else:
        path.write_bytes(pickle.dumps(wrap(Payload(target)), protocol=2))
    with pytest.raises(InputError, match=r"best_model\.pt was refused: it holds \w+\.system"):
        loading.load(path)
    assert not target.exists()
    # the file is dangerous indeed
    with contextlib.suppress(RuntimeError):
        torch.load(path, weights_only=False)
    assert target.exists()


def test_a_foreign_class_is_named(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"model": pickle.Pickler}, path)
    with pytest.raises(InputError, match=r"it holds pickle\.Pickler"):
        loading.load(path)


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pth.tar"
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="damaged"):
        loading.load(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        loading.load(path)


MODELS = [
    (imed_models.Unet, {"depth": 2, "n_filters": 4}),
    (imed_models.FiLMedUnet, {"depth": 2, "n_filters": 4, "film_layers": [1] * 6, "n_metadata": 2}),
    (imed_models.HeMISUnet, {"contrasts": ["T1w", "T2w"], "depth": 2, "n_filters": 4}),
    (imed_models.Modified3DUNet, {"in_channel": 1, "out_channel": 1, "n_filters": 4, "attention": True}),
    (imed_models.Countception, {"in_channel": 1, "out_channel": 1}),
    (imed_models.resnet18, {}),
    (imed_models.densenet121, {}),
    (SoftSegUnet, {"depth": 2, "n_filters": 4, "normalization": "running"}),
    (SoftSegModified3DUNet, {"in_channel": 1, "out_channel": 3, "n_filters": 4}),
]


@pytest.mark.parametrize(("model_class", "arguments"), MODELS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_model_loads_with_weights_only(tmp_path, model_class, arguments):
    path = tmp_path / "model.pt"
    model = model_class(**arguments)
    loading.save(model, path)
    loaded = loading.load(path)
    assert type(loaded) is model_class
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)


def trained(path, **extra):
    """Return a model and optimiser after a step, and save ivadomed's kind of checkpoint."""
    model = SoftSegUnet(depth=2, n_filters=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    model(torch.randn(2, 1, 16, 16)).sum().backward()
    optimizer.step()
    scheduler.step()
    state = {
        "epoch": 4,
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "gif_dict": {"image_path": [], "slice_id": [], "gif": []},
        "scheduler": scheduler,
        "patience_count": 2,
        "validation_loss": 0.5,
        **extra,
    }
    return model, state


@pytest.mark.parametrize("saver", [torch, loading.TrainingTorch()], ids=["by stock ivadomed", "by the plugin"])
def test_a_checkpoint_restores_model_optimiser_and_schedule(tmp_path, saver):
    path = tmp_path / "checkpoint.pth.tar"
    model, state = trained(path)
    saver.save(state, path)
    fresh = SoftSegUnet(depth=2, n_filters=4)
    optimizer = torch.optim.Adam(fresh.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7)
    _, _, _, epoch, loss, scheduler, patience = loading.load_checkpoint(fresh, optimizer, {}, scheduler, str(path))
    assert (epoch, loss, patience) == (4, 0.5, 2)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(fresh.state_dict()[name], value)
    # the schedule drives this optimiser, and its length is that of the interrupted training
    assert scheduler.optimizer is optimizer
    assert (scheduler.T_max, scheduler.last_epoch) == (10, 1)


def test_gif_frames_are_left_out_of_a_checkpoint(tmp_path):
    from matplotlib.figure import Figure

    path = tmp_path / "checkpoint.pth.tar"
    _, state = trained(path, gif_dict={"image_path": ["a"], "slice_id": [1], "gif": [Figure()]})
    loading.TrainingTorch().save(state, path)
    assert loading.load(path)["gif_dict"]["gif"] == []


def test_a_worse_epoch_does_not_replace_the_best_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pth.tar"
    saver = loading.TrainingTorch()
    saver.save(trained(path)[1], path)
    saver.best_validation_loss = 0.5
    saver.save(trained(path, validation_loss=0.7, epoch=9)[1], path)
    assert loading.load(path)["epoch"] == 4
    saver.save(trained(path, validation_loss=0.3, epoch=10)[1], path)
    assert loading.load(path)["epoch"] == 10


def test_a_checkpoint_of_another_model_is_refused_with_the_cure(tmp_path):
    path = tmp_path / "checkpoint.pth.tar"
    loading.TrainingTorch().save(trained(path)[1], path)
    other = SoftSegUnet(depth=3, n_filters=4)
    optimizer = torch.optim.Adam(other.parameters())
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7)
    with pytest.raises(InputError, match="does not fit the model"):
        loading.load_checkpoint(other, optimizer, {}, scheduler, str(path))


def test_a_missing_checkpoint_starts_from_scratch(tmp_path):
    model = SoftSegUnet(depth=2, n_filters=4)
    result = loading.load_checkpoint(model, "optimizer", {}, "scheduler", str(tmp_path / "none.pth.tar"))
    assert result[0] is model
    assert result[3] == 1


def test_an_interrupted_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.pt"
    loading.save({"a": 1}, path)

    class Unsaveable:
        def __reduce__(self):
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        loading.save({"a": Unsaveable()}, path)
    assert loading.load(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt"]
