"""nnU-Net's own commands, from a dataset with all raters to an evaluation; the model works without this package."""

import csv
import json
import subprocess
import sys

import nibabel
import numpy as np
import pytest

pytest.importorskip("nnunetv2")

from ivadomed_labelfusion.cli import main
from tests.builders.tiny import suffix

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("nnunet")]
TRAINER = "nnUNetTrainerRatersAverageSoft_1epochs_2iterations"

# a machine on which this package is not installed
WITHOUT_US = """
import sys
sys.modules["ivadomed_labelfusion"] = None
from nnunetv2.inference.predict_from_raw_data import predict_entry_point
predict_entry_point()
"""


@pytest.fixture(scope="module")
def predictions(workspace):
    workspace.run("nnUNetv2_train", "501", "2d", "0", "-tr", TRAINER, "-device", "cpu")
    folder = workspace.folder / "predictions"
    arguments = ["-d", "501", "-c", "2d", "-f", "0", "-tr", TRAINER, "--save_probabilities", "-device", "cpu"]
    arguments += ["-i", str(workspace.raw / "imagesTs"), "-o", str(folder), "-npp", "1", "-nps", "1"]
    environment = {name: value for name, value in workspace.environment.items() if name != "nnUNet_extTrainer"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_US, *arguments], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return folder


def test_commands_train_and_predict_and_evaluate_reads_the_probabilities(workspace, predictions, capsys):
    output = workspace.folder / "evaluation"
    suffixes = [
        part
        for label in ("core", "rim")
        for part in ("--target-suffix", *(suffix(rater, label) for rater in (1, 2, 3)))
    ]
    arguments = ["--predictions", str(predictions), "--bids", str(workspace.bids), "-o", str(output), *suffixes]
    assert main(["evaluate", *arguments]) == 0
    with open(output / "evaluation.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 1
    probabilities = np.load(predictions / "sub-05_FLAIR.npz")["probabilities"]
    assert probabilities.shape[0] == 3
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-3)
    image = nibabel.load(predictions / "sub-05_FLAIR.nii.gz")
    assert image.shape == probabilities.shape[:0:-1]


def test_checkpoint_and_folds_are_those_of_the_export(workspace, predictions):
    model = workspace.folder / "results" / "Dataset501_Tiny" / f"{TRAINER}__nnUNetPlans__2d"
    assert (model / "fold_0" / "checkpoint_final.pth").exists()
    assert "raters" in json.loads((model / "dataset.json").read_text())
    log = next((model / "fold_0").glob("training_log_*.txt")).read_text()
    assert "Using splits from existing split file" in log
