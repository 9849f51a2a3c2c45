"""Whole datasets through files: layouts of predictions, grids, tables, pictures, the command."""

import csv
import json
import re

import numpy as np
import pytest

from ivadomed_labelfusion import cli, metrics
from ivadomed_labelfusion.data.predictions import find_predictions
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.evaluation import (
    Settings,
    evaluate_dataset,
    evaluate_subject,
    settings_from_config,
    write_results,
)
from ivadomed_labelfusion.metrics import registry
from tests.builders.synthetic import AFFINE, SHAPE, make_bids, save

FEW = settings_from_config({"metrics": ["dice", "brier"], "disagreement_slices": 0})


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def one_class(tmp_path):
    return make_bids(tmp_path / "bids")


@pytest.fixture
def two_classes(tmp_path):
    return make_bids(tmp_path / "bids", classes=("GM", "WM"), n_raters=3, contrast="T2starw")


def soft(masks):
    """A prediction between the raters' average and certainty."""
    return (0.9 * masks.mean(axis=0)).astype(np.float32)


def evaluate(bids, predictions, output, settings=FEW, **options):
    root, suffixes, _ = bids
    return evaluate_dataset(
        bids_dir=root,
        target_suffix=suffixes,
        predictions_dir=predictions,
        output_dir=output,
        settings=settings,
        **options,
    )


def brier(evaluation, stem, name):
    return evaluation.rows[stem][f"ir_brier_{name}"]


@pytest.mark.parametrize("layout", ["4-D", "4-D with background", "5-D", "label-", "name", "class-", "nnunet"])
def test_layouts_of_several_classes(two_classes, tmp_path, layout):
    folder = tmp_path / "predictions"
    for stem, masks in two_classes[2].items():
        p = soft(masks)
        full = np.concatenate([1 - p.sum(axis=0, keepdims=True), p])
        if layout == "4-D":
            save(folder / f"{stem}_pred.nii.gz", np.moveaxis(p, 0, -1))
        elif layout == "4-D with background":
            save(folder / stem / f"{stem}_trans.nii.gz", np.moveaxis(full, 0, -1))
        elif layout == "5-D":
            save(folder / f"{stem}_probseg.nii", np.moveaxis(p, 0, -1)[:, :, :, None])
        elif layout == "label-":
            for index, name in enumerate(("GM", "WM")):
                save(folder / f"{stem}_label-{name}_softseg.nii.gz", p[index])
        elif layout == "name":
            for index, name in enumerate(("GM", "WM")):
                save(folder / f"{stem}_{name}.nii.gz", p[index])
        elif layout == "class-":
            for index in range(2):
                save(folder / f"{stem}_class-{index}_pred.nii.gz", p[index])
        else:
            save(folder / f"{stem}.nii.gz", full.argmax(axis=0).astype(np.uint8))
            np.savez(folder / f"{stem}.npz", probabilities=np.moveaxis(full, 0, -1).T)
    evaluation = evaluate(two_classes, folder, tmp_path / "out")
    for stem, masks in two_classes[2].items():
        expected = metrics.brier_score(soft(masks), masks.mean(axis=0), class_axis=0)
        for index, name in enumerate(("GM", "WM")):
            assert brier(evaluation, stem, name) == pytest.approx(expected[index], abs=1e-9)


def test_label_maps(two_classes, tmp_path):
    for stem, masks in two_classes[2].items():
        save(tmp_path / "predictions" / f"{stem}.nii.gz", (masks[0, 0] + 2 * masks[0, 1]).astype(np.int16))
    evaluation = evaluate(two_classes, tmp_path / "predictions", tmp_path / "out")
    for stem, masks in two_classes[2].items():
        expected = metrics.brier_score(masks[0], masks.mean(axis=0), class_axis=0)
        assert brier(evaluation, stem, "WM") == pytest.approx(expected[1], abs=1e-9)


@pytest.mark.parametrize("suffix", ["_pred", "", "_seg", "_softseg", "_trans"])
def test_layouts_of_one_class(one_class, tmp_path, suffix):
    stem = "sub-01_FLAIR"
    save(tmp_path / "predictions" / f"{stem}{suffix}.nii.gz", soft(one_class[2][stem])[0])
    evaluation = evaluate(one_class, tmp_path / "predictions", tmp_path / "out")
    assert list(evaluation.rows) == [stem]  # images without a prediction are left out
    expected = metrics.brier_score(soft(one_class[2][stem]), one_class[2][stem].mean(axis=0), class_axis=0)[0]
    assert brier(evaluation, stem, "lesion") == pytest.approx(expected, abs=1e-9)


def test_predictions_stored_in_another_orientation(one_class, tmp_path):
    """Voxels stored flipped and with permuted axes, and the affine that says so, are the same prediction."""
    stem = "sub-01_FLAIR"
    masks = one_class[2][stem]
    moved = AFFINE @ np.array([[0, -1, 0, SHAPE[0] - 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    save(tmp_path / "predictions" / f"{stem}_pred.nii.gz", soft(masks)[0][::-1].transpose(1, 0, 2), moved)
    evaluation = evaluate(one_class, tmp_path / "predictions", tmp_path / "out")
    expected = metrics.brier_score(soft(masks), masks.mean(axis=0), class_axis=0)[0]
    assert brier(evaluation, stem, "lesion") == pytest.approx(expected, abs=1e-9)
    # the same voxels without that affine are another place
    save(tmp_path / "predictions" / f"{stem}_pred.nii.gz", soft(masks)[0][::-1].transpose(1, 0, 2), AFFINE)
    with pytest.raises(InputError, match="affine"):
        evaluate(one_class, tmp_path / "predictions", tmp_path / "again")


def test_another_grid_is_refused_with_both_affines(one_class, tmp_path):
    stem, shifted = "sub-01_FLAIR", AFFINE.copy()
    shifted[0, 3] = 12.25
    save(tmp_path / "predictions" / f"{stem}_pred.nii.gz", soft(one_class[2][stem])[0], shifted)
    with pytest.raises(InputError) as caught:
        evaluate(one_class, tmp_path / "predictions", tmp_path / "out")
    for part in ("must lie on the grid", "12.25", "10.", "Resample", f"{stem}_pred.nii.gz"):
        assert part in str(caught.value)


def test_rounding_of_an_affine_is_accepted(one_class, tmp_path):
    stem = "sub-01_FLAIR"
    save(tmp_path / "predictions" / f"{stem}_pred.nii.gz", soft(one_class[2][stem])[0], AFFINE + 1e-6)
    assert evaluate(one_class, tmp_path / "predictions", tmp_path / "out").rows


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.full(SHAPE, 0.5, np.float32), "label map"),
        (np.full(SHAPE, 3, np.uint8), "labels up to 3"),
        (np.zeros((*SHAPE, 5), np.float32), "5 channels"),
        (np.zeros((*SHAPE, 3), np.float32), "do not sum to 1"),
        (np.zeros(SHAPE[:2], np.float32), "three axes"),
        (np.full((*SHAPE, 2), np.nan, np.float32), "sub-01_T2starw: prediction must be finite"),
    ],
)
def test_impossible_predictions_are_refused(two_classes, tmp_path, data, message):
    save(tmp_path / "predictions" / "sub-01_T2starw_pred.nii.gz", data)
    with pytest.raises(InputError, match=message):
        evaluate(two_classes, tmp_path / "predictions", tmp_path / "out")


def test_finding_predictions(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        find_predictions(tmp_path / "none", ["sub-01_FLAIR"], ["lesion"])
    save(tmp_path / "other.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(InputError, match=r"sub-01_FLAIR_pred\.nii\.gz"):
        find_predictions(tmp_path, ["sub-01_FLAIR"], ["lesion"])
    save(tmp_path / "sub-01_FLAIR_pred.nii.gz", np.zeros(SHAPE, np.uint8))
    save(tmp_path / "sub-01_FLAIR_model-b.nii.gz", np.zeros(SHAPE, np.uint8))
    (found,) = find_predictions(tmp_path, ["sub-01_FLAIR"], ["lesion"]).values()
    assert found.files[0].name == "sub-01_FLAIR_pred.nii.gz"
    (found,) = find_predictions(tmp_path, ["sub-01_FLAIR"], ["lesion"], suffix="_model-b").values()
    assert found.files[0].name == "sub-01_FLAIR_model-b.nii.gz"
    save(tmp_path / "again" / "sub-01_FLAIR_pred.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(InputError, match="one file"):
        find_predictions(tmp_path, ["sub-01_FLAIR"], ["lesion"])
    save(tmp_path / "sub-02_T2w_GM_pred.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(InputError, match="sub-02_T2w_WM_pred is missing"):
        find_predictions(tmp_path, ["sub-02_T2w"], ["GM", "WM"])


def test_a_pickled_npz_is_not_opened(two_classes, tmp_path):
    stem = "sub-01_T2starw"
    save(tmp_path / "predictions" / f"{stem}.nii.gz", np.zeros(SHAPE, np.uint8))
    np.savez(tmp_path / "predictions" / f"{stem}.npz", probabilities=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="nnU-Net archive whose probabilities are numbers"):
        evaluate(two_classes, tmp_path / "predictions", tmp_path / "out")


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_a_damaged_file_is_named(one_class, tmp_path, extension):
    path = tmp_path / "predictions" / f"sub-01_FLAIR_pred{extension}"
    save(path, np.random.default_rng(0).random(SHAPE).astype(np.float32))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"sub-01_FLAIR_pred.*(the file has 3000|seems to be damaged)"):
        evaluate(one_class, tmp_path / "predictions", tmp_path / "out")
    colour = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    path.unlink()
    save(path, colour)
    with pytest.raises(InputError, match="must hold numbers"):
        evaluate(one_class, tmp_path / "predictions", tmp_path / "out")


def test_missing_rater_mask_is_named(one_class, tmp_path):
    root, _, masks = one_class
    for stem in masks:
        save(tmp_path / "predictions" / f"{stem}_pred.nii.gz", soft(masks[stem])[0])
    next(root.rglob("sub-02_FLAIR_desc-rater3_label-lesion_seg.nii.gz")).unlink()
    with pytest.raises(InputError, match="sub-02_FLAIR_desc-rater3_label-lesion_seg"):
        evaluate(one_class, tmp_path / "predictions", tmp_path / "out")


def test_a_missing_rater_may_be_left_out(two_classes, tmp_path):
    root, _, masks = two_classes
    stem = "sub-02_T2starw"
    for name, raters in masks.items():
        save(tmp_path / "predictions" / f"{name}_pred.nii.gz", np.moveaxis(soft(raters), 0, -1))
    # one class is enough: the classes of a rater belong together
    next(root.rglob(f"{stem}_desc-rater2_label-WM_seg.nii.gz")).unlink()
    evaluation = evaluate(two_classes, tmp_path / "predictions", tmp_path / "out", allow_missing_raters=True)
    for name, raters in masks.items():
        kept = raters[[0, 2]] if name == stem else raters
        expected = ((soft(raters)[0] - kept[:, 0].mean(axis=0)) ** 2).mean()
        assert brier(evaluation, name, "GM") == pytest.approx(expected, rel=1e-5)
    humans = evaluate(
        two_classes, None, tmp_path / "humans", allow_missing_raters=True, raters_as_predictions=True, table=None
    )
    assert [rater for name, rater in humans.rater_rows if name == stem] == ["rater1", "rater3"]


def test_everything_is_written_once_and_equals_the_subject(one_class, tmp_path):
    masks = one_class[2]
    for stem in masks:
        save(tmp_path / "predictions" / f"{stem}_pred.nii.gz", soft(masks[stem])[0])
    out = tmp_path / "out"
    evaluation = evaluate(one_class, tmp_path / "predictions", out, settings=None, raters_as_predictions=True)
    table = {row["image_id"]: row for row in rows(out / "evaluation.csv")}
    content = json.loads((out / "subjects" / "sub-01_FLAIR.json").read_text())
    result = evaluate_subject(
        soft(masks["sub-01_FLAIR"]), masks["sub-01_FLAIR"], class_names=["lesion"], voxel_size_mm=(0.5, 0.5, 3)
    )
    for name, value in result.columns.items():
        assert float(table["sub-01_FLAIR"][name] or "nan") == pytest.approx(value, abs=1e-9, nan_ok=True), name
        assert content["metrics"][name] == (None if np.isnan(value) else pytest.approx(value, abs=1e-9))
    assert settings_from_config(content["settings"]).built_in == Settings().built_in
    assert content["raters"] == ["rater1", "rater2", "rater3", "rater4"]
    assert content["reliability"][0]["bin_count"] == result.reliability["exact", "image"].bin_count.tolist()

    curve = [row for row in rows(out / "reliability.csv") if row["image_id"] == "all" and row["region"] == "roi"]
    assert sum(int(row["count"]) for row in curve if row["form"] == "exact") == sum(
        evaluation.pooled["exact", "roi"].bin_count
    )
    ceiling = rows(out / "evaluation_raters.csv")
    assert [(row["image_id"], row["rater"]) for row in ceiling[:2]] == [
        ("sub-01_FLAIR", "rater1"),
        ("sub-01_FLAIR", "rater2"),
    ]
    summary = {row["metric"]: row for row in rows(out / "summary.csv")}
    dice = [float(row["ir_dice_lesion"]) for row in ceiling]
    assert float(summary["ir_dice_lesion"]["raters_mean"]) == pytest.approx(np.mean(dice))
    assert float(summary["ir_dice_lesion"]["rater2"]) == pytest.approx(np.mean(dice[1::4]))
    assert int(summary["ir_dice_lesion"]["n"]) == 2
    pooled = float(summary["ir_ece_exact_roi_pooled"]["mean"])
    assert pooled == pytest.approx(evaluation.pooled["exact", "roi"].ece)
    for name in ("reliability.png", "entropy.png", "sub-01_FLAIR_disagreement.png", "sub-02_FLAIR_disagreement.png"):
        assert (out / "figures" / name).stat().st_size > 5000
    assert not list(out.rglob(".tmp-*"))
    with pytest.raises(InputError, match="--overwrite"):
        evaluate(one_class, tmp_path / "predictions", out)
    again = evaluate(one_class, tmp_path / "predictions", out, settings=None, overwrite=True)
    assert again.rows == evaluation.rows


def test_writing_results_of_a_host(tmp_path, one_class):
    """A host evaluates by itself, takes the columns for its own table and wants everything else written."""
    masks = one_class[2]
    results = (
        evaluate_subject(soft(m), m, class_names=["lesion"], voxel_size_mm=(1, 1, 3), subject=stem)
        for stem, m in masks.items()
    )
    evaluation = write_results(results, tmp_path / "results_eval", table=None)
    assert not (tmp_path / "results_eval" / "evaluation.csv").exists()
    assert (tmp_path / "results_eval" / "reliability.csv").exists()
    assert set(evaluation.rows) == set(masks)
    with pytest.raises(InputError, match="nothing to write"):
        write_results([], tmp_path / "none")


def test_contrasts(tmp_path):
    root, suffixes, masks = make_bids(tmp_path / "bids", n_subjects=1)
    make_bids(tmp_path / "bids", n_subjects=1, contrast="T1w")
    for stem in ("sub-01_FLAIR", "sub-01_T1w"):
        save(tmp_path / "predictions" / f"{stem}_pred.nii.gz", soft(masks["sub-01_FLAIR"])[0])
    bids = root, suffixes, masks
    assert len(evaluate(bids, tmp_path / "predictions", tmp_path / "a").rows) == 2
    some = evaluate(bids, tmp_path / "predictions", tmp_path / "b", image_contrasts=["T1w"])
    assert list(some.rows) == ["sub-01_T1w"]
    with pytest.raises(InputError, match="belong to FLAIR, T1w"):
        evaluate(bids, tmp_path / "predictions", tmp_path / "c", image_contrasts=["T2w"])


def test_command(one_class, tmp_path, capsys):
    root, suffixes, masks = one_class
    for stem in masks:
        save(tmp_path / "predictions" / f"{stem}_pred.nii.gz", soft(masks[stem])[0])
    out = tmp_path / "out"
    base = ["evaluate", "--predictions", str(tmp_path / "predictions"), "--bids", str(root), "-o", str(out)]
    suffix = ["--target-suffix", *suffixes[0]]
    assert cli.main([*base, *suffix, "--raters-as-predictions"]) == 0
    shown = capsys.readouterr().out
    for word in ("dice_lesion", "prediction", "raters", "evaluation.csv"):
        assert word in shown
    assert cli.main([*base, *suffix]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main(base) == 2
    assert "--target-suffix" in capsys.readouterr().err

    config = tmp_path / "config.json"
    config.write_text(
        json.dumps(
            {
                "loader_parameters": {"target_suffix": suffixes},
                "evaluation_parameters": {"inter_rater": {"metrics": ["dice"], "disagreement_slices": 0}},
            }
        )
    )
    assert cli.main([*base, "--config", str(config), "--overwrite"]) == 0
    assert list(rows(out / "evaluation.csv")[0]) == ["image_id", "ir_dice_lesion"]
    config.write_text(json.dumps({"inter_rater": {"metrix": []}}))
    assert cli.main([*base, "--config", str(config), "--overwrite"]) == 2
    assert "Did you mean 'metrics'" in capsys.readouterr().err


def test_command_reports_a_failing_metric(one_class, tmp_path, capsys, monkeypatch):
    root, suffixes, masks = one_class
    (tmp_path / "bad_metrics.py").write_text(
        "from ivadomed_labelfusion import register_metric\n"
        "@register_metric('crash')\ndef crash(prediction):\n    raise RuntimeError('no luck')\n"
    )
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"inter_rater": {"metrics": ["dice", "bad_metrics:crash"]}}))
    save(tmp_path / "predictions" / "sub-01_FLAIR_pred.nii.gz", soft(masks["sub-01_FLAIR"])[0])
    arguments = ["evaluate", "--predictions", str(tmp_path / "predictions"), "--bids", str(root), "-o"]
    arguments += [str(tmp_path / "out"), "--config", str(config), "--target-suffix", *suffixes[0]]
    assert cli.main(arguments) == 1
    assert "'crash' failed for sub-01_FLAIR: RuntimeError: no luck" in capsys.readouterr().err
    row = rows(tmp_path / "out" / "evaluation.csv")[0]
    assert row["ir_crash"] == ""
    assert float(row["ir_dice_lesion"]) > 0


def test_metrics_are_chosen_and_listed_on_the_command_line(one_class, tmp_path, capsys):
    root, suffixes, masks = one_class
    save(tmp_path / "predictions" / "sub-01_FLAIR_pred.nii.gz", soft(masks["sub-01_FLAIR"])[0])
    arguments = ["evaluate", "--predictions", str(tmp_path / "predictions"), "--bids", str(root), "-o"]
    arguments += [str(tmp_path / "out"), "--target-suffix", *suffixes[0], "--metrics"]
    assert cli.main([*arguments, "softdice"]) == 2
    assert "Did you mean 'soft_dice'" in capsys.readouterr().err
    assert cli.main([*arguments, "soft_dice", "lesions"]) == 0
    shown = capsys.readouterr().out
    columns = list(rows(tmp_path / "out" / "evaluation.csv")[0])[1:]
    assert columns[0] == "ir_soft_dice_lesion"
    assert len(columns) == 5
    assert all(column.removeprefix("ir_") in shown for column in columns)
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--help"])
    described = capsys.readouterr().out
    for name, metric in registry.built_in_metrics().items():
        assert re.search(rf"^  {name} +{re.escape(metric.columns[0].label)}", described, re.MULTILINE)


def test_neither_torch_nor_ivadomed_is_imported():
    import subprocess
    import sys

    code = (
        "import sys; import ivadomed_labelfusion.cli.evaluate as c; c.get_parser(); "
        "import ivadomed_labelfusion.evaluation; "
        "print([m for m in ('torch', 'ivadomed', 'matplotlib', 'pandas', 'SimpleITK', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
