"""The evaluation against several raters inside ``ivadomed --test``: columns, files, own metrics, thresholds."""

import json
import sys

import nibabel
import numpy as np
import pandas
import pytest

from ivadomed_labelfusion.evaluation import Settings, evaluate_subject
from ivadomed_labelfusion.metrics import THRESHOLDS, registry
from tests.builders.tiny import suffix
from tests.hosts.ivadomed2.test_commands import prepare

STOCK = ["vol_pred_class0", "vol_gt_class0", "rvd_class0", "avd_class0", "dice_class0", "recall_class0"]


def configure(path, **inter_rater):
    """Change the inter_rater block of a configuration; None removes it."""
    content = json.loads(path.read_text())
    if inter_rater.pop("remove", False):
        del content["evaluation_parameters"]["inter_rater"]
    else:
        content["evaluation_parameters"]["inter_rater"].update(inter_rater)
    path.write_text(json.dumps(content))


def results(folder):
    return pandas.read_csv(folder / "out/results_eval/evaluation_3Dmetrics.csv", index_col="image_id")


def read(path):
    """Read a volume in RAS order."""
    return np.asanyarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)


def raters_of(folder, stem, labels, n_raters=3):
    """Read (R, C, *spatial) masks."""
    anat = folder / "data/derivatives/labels" / stem.split("_")[0] / "anat"
    return np.array(
        [[read(anat / f"{stem}{suffix(rater, label)}.nii.gz") for label in labels] for rater in range(1, n_raters + 1)]
    )


@pytest.mark.parametrize(
    ("template", "labels"), [("ms_conv_average", ["lesion"]), ("scgm_softseg_random", ["GM", "WM"])]
)
def test_columns_equal_the_evaluation_of_the_soft_files(ivadomed, tmp_path, template, labels):
    config = prepare(tmp_path, template)
    ivadomed("--train", "-c", config)
    ivadomed("--test", "-c", config)
    table = results(tmp_path)
    stem = table.index[0]
    soft = read(tmp_path / f"out/pred_soft/{stem}_pred.nii.gz")
    assert soft.dtype == np.float32
    expected = evaluate_subject(
        np.moveaxis(soft, -1, 0),
        raters_of(tmp_path, stem, labels),
        class_names=labels,
        voxel_size_mm=(1, 1, 1),
        settings=Settings(),
    )
    for column, value in expected.columns.items():
        np.testing.assert_allclose(table.loc[stem, column], value, rtol=1e-6, atol=1e-12, err_msg=column)
    output = tmp_path / "out/results_eval"
    saved = json.loads((output / "subjects" / f"{stem}.json").read_text())
    assert "ir_brier_" + labels[0] in json.dumps(saved)
    curves = pandas.read_csv(output / "reliability.csv")
    assert set(curves["form"]) == {"exact", "paper", "raters"}
    for name in ("reliability.png", "entropy.png", f"{stem}_disagreement.png"):
        assert (output / "figures" / name).stat().st_size > 5000


def test_stock_columns_stay_as_they_were(ivadomed, tmp_path):
    config = prepare(tmp_path, "ms_conv_staple")
    ivadomed("--train", "-c", config, "-t", "0.05")
    ivadomed("--test", "-c", config)
    with_raters = results(tmp_path)
    configure(config, remove=True)
    ivadomed("--test", "-c", config)
    without = results(tmp_path)
    assert not [column for column in without if column.startswith("ir_")]
    pandas.testing.assert_frame_equal(with_raters[without.columns], without)
    assert set(STOCK) <= set(without)


def test_the_threshold_of_the_search_is_used(ivadomed, tmp_path):
    config = prepare(tmp_path, "ms_conv_random")
    ivadomed("--train", "-c", config, "-t", "0.05")
    threshold = json.loads((tmp_path / "out/config_file.json").read_text())["postprocessing"]["binarize_prediction"][
        "thr"
    ]
    ivadomed("--test", "-c", config)
    stem = results(tmp_path).index[0]
    saved = json.loads((tmp_path / f"out/results_eval/subjects/{stem}.json").read_text())
    assert f">= {threshold:g}" in json.dumps(saved)
    # also where the saved configuration, which binarises, is used: the soft output is evaluated all the same
    ivadomed("--test", "-c", tmp_path / "out/config_file.json")
    values = np.unique(read(tmp_path / f"out/pred_soft/{stem}_pred.nii.gz"))
    assert len(values) > 2
    binary = np.unique(read(tmp_path / f"out/pred_masks/{stem}_pred.nii.gz"))
    assert len(binary) <= 2


def test_the_search_by_the_definition_of_metrics_threshold_search(ivadomed, tmp_path, capsys):
    config = prepare(tmp_path, "ms_softseg_average")
    configure(config, threshold_search="volumes")
    ivadomed("--train", "-c", config, "-t", "0.05")
    saved = json.loads((tmp_path / "out/config_file.json").read_text())
    threshold = saved["postprocessing"]["binarize_prediction"]["thr"]
    # the steps as they are written, not 0.15000000000000002
    assert threshold in THRESHOLDS
    assert f"Optimal threshold (definition volumes): {threshold}" in capsys.readouterr().out
    assert (tmp_path / "out/roc.png").stat().st_size > 5000


def test_own_metrics_and_a_failing_one(ivadomed, tmp_path, monkeypatch):
    (tmp_path / "metrics_of_this_test.py").write_text(
        "from ivadomed_labelfusion import register_metric\n"
        "@register_metric('volume_ml')\n"
        "def volume_ml(prediction, voxel_size_mm):\n"
        "    return prediction.sum() * voxel_size_mm[0] * voxel_size_mm[1] * voxel_size_mm[2] / 1000\n"
        "@register_metric('broken')\n"
        "def broken(prediction):\n"
        "    raise RuntimeError('no such thing')\n"
    )
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.syspath_prepend(str(tmp_path))
    config = prepare(tmp_path, "ms_conv_average")
    configure(config, metrics=["brier", "metrics_of_this_test:volume_ml", "metrics_of_this_test:broken"])
    ivadomed("--train", "-c", config)
    ivadomed("--test", "-c", config)
    table = results(tmp_path)
    stem = table.index[0]
    soft = read(tmp_path / f"out/pred_soft/{stem}_pred.nii.gz")
    np.testing.assert_allclose(table.loc[stem, "ir_volume_ml"], soft.sum(dtype=np.float64) / 1000, rtol=1e-5)
    assert np.isnan(table.loc[stem, "ir_broken"])
    assert np.isfinite(table.loc[stem, "ir_brier_lesion"])
    assert "no such thing" in (tmp_path / f"out/results_eval/subjects/{stem}.json").read_text()
    sys.modules.pop("metrics_of_this_test", None)


def test_metrics_are_shown_in_validation_epochs(ivadomed, tmp_path):
    config = prepare(tmp_path, "ms_softseg_average")
    ivadomed("--train", "-c", config)
    shown = {path.name for path in (tmp_path / "out").glob("Validation_Metrics_ir_*")}
    assert {"Validation_Metrics_ir_brier", "Validation_Metrics_ir_ece", "Validation_Metrics_ir_entropy"} <= shown


def test_a_wrong_key_stops_before_anything_is_loaded(ivadomed, tmp_path, capfd):
    config = prepare(tmp_path, "ms_softseg_average")
    configure(config, referense="staple")
    assert ivadomed("--train", "-c", config) == 2
    assert "no key 'referense'" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_raters_are_left_out_of_the_evaluation(ivadomed, tmp_path):
    config = prepare(tmp_path, "ms_conv_random")
    content = json.loads(config.read_text())
    content["loader_parameters"]["allow_missing_raters"] = True
    config.write_text(json.dumps(content))
    for number in range(1, 7):
        subject = f"sub-{number:02d}"
        (tmp_path / f"data/derivatives/labels/{subject}/anat/{subject}_FLAIR{suffix(2, 'lesion')}.nii.gz").unlink()
    ivadomed("--train", "-c", config, "-t", "0.1")
    ivadomed("--test", "-c", config)
    stem = results(tmp_path).index[0]
    saved = json.loads((tmp_path / f"out/results_eval/subjects/{stem}.json").read_text())
    assert "rater1" in json.dumps(saved)
    assert "rater3" in json.dumps(saved)
    assert "rater2" not in json.dumps(saved)
