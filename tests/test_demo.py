"""The demo, at a size for tests: all steps with the real ivadomed, going on where it stopped, and its outputs."""

import csv
import dataclasses
import shutil

import nibabel
import numpy as np
import pytest
from matplotlib.image import imread

from ivadomed_labelfusion.config.candidates import PAPER_CANDIDATES
from ivadomed_labelfusion.demo import run, run_demo, settings
from ivadomed_labelfusion.demo.figure import composite
from ivadomed_labelfusion.demo.table import table_rows
from ivadomed_labelfusion.errors import InputError

CANDIDATES = list(PAPER_CANDIDATES)


@pytest.fixture(scope="module")
def small():
    """Sizes for a test."""
    return {
        (dataset, True): dataclasses.replace(settings.DEMO_SIZES[dataset, True], subjects=6, epochs=2)
        for dataset in ("ms", "scgm")
    }


@pytest.fixture
def sizes(small, monkeypatch):
    monkeypatch.setattr(run, "DEMO_SIZES", small)


@pytest.mark.slow
def test_the_demo_runs_is_kept_and_goes_on(sizes, tmp_path):
    output, said = tmp_path / "demo", []
    run_demo("ms", output=output, quick=True, say=said.append)
    with open(output / "results.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["candidate"] for row in rows] == CANDIDATES
    for name in (
        "ir_dice_lesion",
        "ir_brier_lesion",
        "ir_entropy_paper_error",
        "ir_ece_exact_image",
        "ir_ece_paper_image",
    ):
        assert all(np.isfinite(float(row[name])) for row in rows)
    assert "conv_staple" in (output / "results.md").read_text()
    assert imread(output / "comparison.png").std() > 0.05
    # the raw layout and the converted dataset are there to be looked at
    assert list((output / "raw").rglob("ManualSegmentation_7.nii.gz"))
    before = {path: path.stat().st_mtime_ns for path in (output / "models").rglob("*.pt")}
    # as if interrupted: one candidate during its training, one before its test
    shutil.rmtree(output / "models" / "softseg_random" / "results_eval")
    (output / "models" / "softseg_random" / "trained.json").unlink()
    shutil.rmtree(output / "models" / "conv_random" / "results_eval")
    said.clear()
    run_demo("ms", output=output, quick=True, say=said.append)
    assert sum("(kept)" in line for line in said) == 5
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {path.parts[-2] for path in before if after[path] != before[path]} <= {"softseg_random", "model"}
    assert after[output / "models/conv_random/best_model.pt"] == before[output / "models/conv_random/best_model.pt"]
    log = (output / "models/softseg_random/ivadomed_output.txt").read_text()
    assert "Resuming training from epoch" in log
    with pytest.raises(InputError, match=r'another demo.*"ms".*Choose another --output'):
        run_demo("ms", output=output, quick=True, seed=5)


@pytest.mark.slow
def test_the_two_class_demo(sizes, tmp_path):
    output = tmp_path / "demo"
    run_demo("scgm", output=output, quick=True, say=lambda line: None)
    with open(output / "results.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {"ir_dice_GM", "ir_dice_WM", "ir_brier_GM", "ir_brier_WM"} <= set(rows[0])
    for path in (output / "models").glob("*/pred_soft/*_pred.nii.gz"):
        soft = nibabel.load(path).get_fdata()
        assert soft.shape[3] == 2
        assert soft.sum(-1).max() <= 1 + 1e-5


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "my_file").write_text("precious")
    with pytest.raises(InputError, match="must be empty or hold an interrupted demo"):
        run_demo("ms", output=tmp_path, quick=True)


def test_table_rows_and_composite():
    header, rows = table_rows([{"candidate": "a", "images": 1, "ir_dice_GM": 0.5, "ir_dice_WM": float("nan")}])
    assert header == ["Candidate", "Dice GM [%]", "Dice WM [%]"]
    assert rows == [["a", "50.0", "undefined"]]
    np.testing.assert_allclose(composite(np.array([[[0.25]]])), np.full((1, 1, 3), 0.25))
