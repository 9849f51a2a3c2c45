"""Whole trainings, short ones."""

import json
import re

import numpy as np
import pytest
import torch
from ivadomed import models as imed_models

from ivadomed_labelfusion.hosts.ivadomed2 import loading
from ivadomed_labelfusion.hosts.ivadomed2.speed.network import LossScale
from tests.builders.tiny import make_config, make_dataset, write_config


def small(folder, template="ms_softseg_average", **changes):
    """Write a dataset and a configuration; return the path of the configuration."""
    data = folder / "data"
    if not data.exists():
        make_dataset(data, n_subjects=5)
    return write_config(folder / "config.json", make_config(template, data, folder / "out", **changes))


def test_the_onnx_file_is_left_out_when_asked_for(ivadomed, tmp_path):
    left_over = tmp_path / "out/model/model.onnx"
    left_over.parent.mkdir(parents=True)
    left_over.write_text("of an earlier training")
    config = small(tmp_path, training_parameters__export_onnx=False)
    ivadomed("--train", "-c", config)
    assert not left_over.exists()
    assert "training_parameters.export_onnx is false" in (tmp_path / "out/log").read_text()
    assert json.loads((tmp_path / "out/config_file.json").read_text())["training_parameters"]["export_onnx"] is False
    # it would take the ONNX file where there is no GPU
    ivadomed("--segment", "-c", config)
    assert len(list((tmp_path / "out/pred_masks").glob("*_pred.nii.gz"))) == 5


def trained(ivadomed, folder, name, template="ms_softseg_random", **changes):
    """Train; return ``(validation losses, the state of the best model, the log)``."""
    changes |= {"path_output": str(folder / name), "training_parameters__export_onnx": False}
    config = small(folder, template, **changes)
    assert ivadomed("--train", "-c", config) is None
    log = (folder / name / "log").read_text()
    losses = [float(value) for value in re.findall(r"Epoch \d+ validation loss: (-?[\d.]+)\.\s", log)]
    return np.array(losses), loading.load(folder / name / "best_model.pt").state_dict(), log


@pytest.mark.parametrize("option", [{"channels_last": True}, {"amp": "bf16"}, {"amp": "fp16"}], ids=str)
def test_options_of_the_network_change_rounding_only(ivadomed, tmp_path, option):
    # a loss that is summed over all voxels takes float16 many steps to find its scale
    template = "ms_conv_average" if option.get("amp") == "fp16" else "ms_softseg_random"
    plain, expected, _ = trained(ivadomed, tmp_path, "plain", template)
    changes = {f"training_parameters__{name}": value for name, value in option.items()}
    losses, state, log = trained(ivadomed, tmp_path, "other", template, **changes)
    np.testing.assert_allclose(losses, plain, rtol=1e-3 if "channels_last" in option else 0.1)
    assert "The network computes with" in log
    assert state.keys() == expected.keys()
    assert all(value.dtype == expected[name].dtype for name, value in state.items())
    # and nothing of it stays behind
    assert "forward" not in vars(imed_models.SoftSegUnet)
    assert imed_models.Unet.forward.__module__ == "ivadomed.models"
    ivadomed("--test", "-c", tmp_path / "config.json")
    assert (tmp_path / "other/results_eval/evaluation_3Dmetrics.csv").exists()


def test_gradients_beyond_float16_leave_a_step_out_and_halve_the_scale():
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser, scale = torch.optim.Adam([weight], lr=0.1), LossScale(factor=1024.0, patience=2)
    optimiser.register_step_pre_hook(scale.before_step)
    scale.scaled(weight * 2).sum().backward()
    assert weight.grad.tolist() == [2048.0] * 3
    optimiser.step()
    assert weight.grad.tolist() == [2.0] * 3
    before = weight.detach().clone()
    weight.grad = torch.tensor([1.0, float("inf"), 0.0])
    optimiser.step()
    assert torch.equal(weight.detach(), before)
    assert scale.factor == 512
    for _ in range(2):
        weight.grad = torch.ones(3)
        optimiser.step()
    assert scale.factor == 1024
