"""The human ceiling on real images with simulated raters; skipped where the data are not at hand."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ivadomed_labelfusion.evaluation import Settings, evaluate_raters

DATA = Path(__file__).parents[3] / "shared" / "data" / "open_ms_raters"


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not there")
def test_recall_follows_the_simulated_boundary_bias():
    bias = [entry["bias_mm"] for entry in json.loads((DATA / "simulated_raters.json").read_text())]
    settings = Settings(metrics=["precision", "recall", "avd"])
    names = [f"rater{number}" for number in range(1, 8)]
    recall, precision = np.zeros(7), np.zeros(7)
    for patient in sorted(DATA.glob("MSSEG-Training/Training/*/Patient_*")):
        masks = [nibabel.load(patient / "Masks" / f"ManualSegmentation_{number}.nii.gz") for number in range(1, 8)]
        raters = np.stack([np.asarray(mask.dataobj, np.uint8) for mask in masks])[:, None]
        found = evaluate_raters(
            raters, rater_names=names, settings=settings, class_names=["lesion"], voxel_size_mm=(1, 1, 1)
        )
        for index, (_, result) in enumerate(found):
            recall[index] += result.columns["ir_recall_lesion"] / 3
            precision[index] += result.columns["ir_precision_lesion"] / 3
    np.testing.assert_array_equal(np.argsort(recall), np.argsort(bias))
    assert np.corrcoef(precision, bias)[0, 1] < -0.8
    # docs/evaluation.md prints these
    assert 100 * recall.mean() == pytest.approx(77.2, abs=0.05)
    assert 100 * precision.mean() == pytest.approx(83.3, abs=0.05)
