"""When ivadomed's own training loop stops, on validation losses that are known beforehand."""

import copy

import pytest
import torch
from ivadomed.loader.sample_meta_data import SampleMetadata
from loguru import logger
from torch.utils.data import Dataset

from ivadomed_labelfusion.config import check_config, load_template

# the loss falls every other epoch down to the tenth, and no more
SCRIPT = [10, 6, 7, 5, 6, 4, 5, 3, 4, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]


class Scripted(Dataset):
    """One sample whose label is further from any prediction the larger the script's value of the epoch."""

    def __init__(self, script, first_epoch=0):
        self.script = script
        self.epoch = first_epoch

    def start_epoch(self):
        self.epoch += 1

    def __len__(self):
        return 1

    def __getitem__(self, index):
        label = torch.full((1, 16, 16), float(self.script[self.epoch - 1]))
        metadata = {"input_metadata": [SampleMetadata({})], "gt_metadata": [SampleMetadata({})]}
        return {"input": torch.zeros(1, 16, 16), "gt": label, **metadata}


def run(folder, *, patience=3, epochs=20, script=SCRIPT, first_epoch=0, resume=False, epsilon=0.001, **mode):
    """Train with ivadomed on the script; return the number of epochs that ran."""
    from ivadomed import training

    folder.mkdir(exist_ok=True)
    parameters = {
        "batch_size": 1,
        "loss": {"name": "L2loss"},
        "training_time": {
            "num_epochs": epochs,
            "early_stopping_patience": patience,
            "early_stopping_epsilon": epsilon,
            **mode,
        },
        # so slow that predictions, and with them the order of the losses, stay as they are
        "scheduler": {"initial_lr": 1e-12, "lr_scheduler": {"name": "CosineAnnealingLR"}},
        "balance_samples": {"applied": False, "type": "gt"},
        "mixup_alpha": None,
        "transfer_learning": {"retrain_model": None, "retrain_fraction": 1.0, "reset": True},
    }
    before = copy.deepcopy(parameters)
    model = {"name": "Unet", "in_channel": 1, "out_channel": 1, "depth": 1, "n_filters": 2, "folder_name": "model"}
    model |= {"is_2d": True, "dropout_rate": 0.0, "bn_momentum": 0.1, "final_activation": "sigmoid"}
    (folder / "model").mkdir(exist_ok=True)
    validation = Scripted(script, first_epoch)
    training.train(
        model,
        Scripted([0] * 50),
        validation,
        parameters,
        str(folder),
        torch.device("cpu"),
        cuda_available=False,
        metric_fns=[],
        resume_training=resume,
    )
    assert parameters == before
    return validation.epoch - first_epoch


def test_the_hosts_rule_counts_every_epoch_that_is_worse_than_the_one_before(plugin, tmp_path):
    assert run(tmp_path / "absent") == 7
    assert run(tmp_path / "host", early_stopping_mode="host") == 7


def test_best_counts_the_epochs_since_the_best_loss(plugin, tmp_path):
    messages = []
    sink = logger.add(messages.append, format="{message}")
    try:
        assert run(tmp_path / "best", early_stopping_mode="best") == 13
    finally:
        logger.remove(sink)
    assert any("no better validation loss than that of epoch 10 for 3 epochs" in text for text in messages)
    assert run(tmp_path / "patient", patience=9, early_stopping_mode="best") == 19
    assert run(tmp_path / "all", patience=50, early_stopping_mode="best") == 20


def test_best_asks_for_an_improvement_of_epsilon_per_cent(plugin, tmp_path):
    slowly = [2 + 1 / (10 + epoch) for epoch in range(20)]
    assert run(tmp_path / "any", script=slowly, epsilon=0.0, early_stopping_mode="best") == 20
    assert run(tmp_path / "much", script=slowly, epsilon=20, early_stopping_mode="best") < 8


def test_a_resumed_training_stops_where_an_uninterrupted_one_does(plugin, tmp_path):
    assert run(tmp_path / "out", epochs=11, early_stopping_mode="best") == 11
    # the last checkpoint is that of epoch 10
    assert run(tmp_path / "out", resume=True, first_epoch=10, early_stopping_mode="best") == 3


@pytest.mark.parametrize(("mode", "found"), [("host", 0), ("best", 0), ("bset", 1)])
def test_the_mode_is_checked(mode, found):
    config = load_template("ms_conv_staple")
    config["training_parameters"]["training_time"]["early_stopping_mode"] = mode
    problems = [problem for problem in check_config(config) if "early_stopping_mode" in problem.key]
    assert len(problems) == found
    if found:
        assert problems[0].message == "must be one of host, best, got 'bset'."
