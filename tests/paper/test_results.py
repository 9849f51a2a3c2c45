"""From predictions to tables and figures, with known predictions in the place of trained models."""

import dataclasses
import json

import nibabel
import numpy as np
import pandas as pd
import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.evaluation.results import TABLE
from ivadomed_labelfusion.experiment.candidates import resolve_candidates
from ivadomed_labelfusion.experiment.collect import collect_reliability, pooled_curves
from ivadomed_labelfusion.experiment.jobs import run_job
from ivadomed_labelfusion.experiment.prepare import prepare_study
from ivadomed_labelfusion.metrics import brier_score, expected_calibration_error
from ivadomed_labelfusion.paper.results import _name_or_count, study_notes, write_claims, write_study_results
from tests.builders.study_files import SUBJECTS, make_dataset, make_study

# one worker makes the study that the tests share
pytestmark = pytest.mark.xdist_group("study results")

SHAPE = (14, 12, 5)
AFFINE = np.diag([0.5, 0.5, 5, 1])


def write_volume(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, AFFINE), path)


def soft_maps(subject):
    """Probabilities of GM and WM, different for each subject."""
    rng = np.random.default_rng(int(subject[-2:]))
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij"))
    radius = np.sqrt(grid[0] ** 2 + grid[1] ** 2) + rng.normal(0, 0.05, SHAPE)
    gray = 1 / (1 + np.exp(20 * (radius - 0.35)))
    white = 1 / (1 + np.exp(20 * (radius - 0.75))) - gray
    return np.stack([gray, np.clip(white, 0, 1 - gray)])


def make_known_dataset(root):
    """Images, and raters who draw from `soft_maps`."""
    dataset = make_dataset(root)
    for subject in SUBJECTS:
        rng = np.random.default_rng(int(subject[-2:]) + 100)
        write_volume(
            dataset / subject / "anat" / f"{subject}_T2starw.nii.gz", rng.normal(size=SHAPE).astype(np.float32)
        )
        gray, white = soft_maps(subject)
        for rater in range(1, 5):
            level = rng.uniform(size=SHAPE)
            masks = {"GM": level < gray, "WM": (level >= gray) & (level < gray + white)}
            for name, mask in masks.items():
                file = f"{subject}_T2starw_desc-rater{rater}_label-{name}_seg.nii.gz"
                write_volume(dataset / "derivatives" / "labels" / subject / "anat" / file, mask.astype(np.uint8))
    return dataset


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two candidates and a two-member ensemble on two splits, every one of them evaluated."""
    root = tmp_path_factory.mktemp("known")
    return evaluated_study(make_known_dataset(root), root, "conv_staple,softseg_random,conv_ensemble", n_splits=2)


def evaluated_study(dataset, root, candidates, **options):
    """Put known predictions where trained models would leave theirs, and evaluate them."""
    study = prepare_study(make_study(dataset, root, candidates=tuple(resolve_candidates(candidates)), **options))
    for split in study.split_names:
        tested = json.loads((study.folder / "splits" / f"{split}.json").read_text())["subjects"]["test"]
        for candidate in study.candidates:
            for model in study.members(candidate, split):
                folder = study.model_folder(model)
                for subject in tested:
                    prediction = known_prediction(candidate.name, subject)
                    write_volume(folder / "pred_soft" / f"{subject}_T2starw_pred.nii.gz", prediction)
                done = {"threshold": None, "epochs": 3, "best_validation_loss": 0.5}
                done |= {"seconds": 10.0, "resumed": False}
                (folder / "train.done.json").write_text(json.dumps(done))
                (folder / "test.done.json").write_text(json.dumps({"seconds": 1.0}))
                (folder / "log").write_text(
                    "".join(f"Epoch {epoch} validation loss: {1 / epoch:.4f}.\n" for epoch in (1, 2, 3))
                )
            assert run_job(study, "evaluate", f"{candidate.name}/{split}", study.folder / "logs" / "x.log") == 0
    return study


def known_prediction(candidate, subject):
    """The true probabilities for SoftSeg; sharpened, so overconfident, for the conventional ones."""
    soft = soft_maps(subject)
    if candidate.startswith("conv"):
        soft = soft**4 / (soft**4 + (1 - soft) ** 4)
        soft /= np.maximum(soft.sum(axis=0), 1)
    return np.moveaxis(soft, 0, -1).astype(np.float32)


@pytest.fixture(scope="module")
def written(study):
    return write_study_results(study, compare_paper=True)


def masks_of(study, subject, raters=range(1, 5)):
    folder = f"{study.bids}/derivatives/labels/{subject}/anat"
    return np.stack(
        [
            [
                np.asanyarray(nibabel.load(f"{folder}/{subject}_T2starw_desc-rater{r}_label-{c}_seg.nii.gz").dataobj)
                for c in ("GM", "WM")
            ]
            for r in raters
        ]
    )


def test_results_are_the_metrics_of_the_predictions(study, written):
    results = pd.read_csv(study.folder / "results" / "results.csv")
    assert list(results.columns[:4]) == ["candidate", "split", "subject", "image_id"]
    for _, row in results.iterrows():
        prediction = np.moveaxis(known_prediction(row["candidate"], row["subject"]), -1, 0)
        expected = brier_score(prediction, masks_of(study, row["subject"]).mean(axis=0), class_axis=0)
        assert [row["ir_brier_GM"], row["ir_brier_WM"]] == pytest.approx(expected.tolist(), rel=1e-5)


def test_the_ece_of_a_model_is_over_all_its_voxels(study, written):
    models = pd.read_csv(study.folder / "results" / "models.csv")
    for _, row in models.iterrows():
        tested = json.loads((study.folder / "splits" / f"{row['split']}.json").read_text())["subjects"]["test"]
        together = [np.moveaxis(known_prediction(row["candidate"], subject), -1, 0) for subject in tested]
        average = [masks_of(study, subject).mean(axis=0) for subject in tested]
        expected = expected_calibration_error(np.stack(together, 1), np.stack(average, 1), form="raters", class_axis=0)
        assert row["ece_raters_image"] == pytest.approx(expected, rel=1e-4)
    over = models.groupby("candidate")["overconfidence_raters_roi"].mean()
    assert over["conv_staple"] > 0.02
    assert abs(over["softseg_random"]) < over["conv_staple"] / 2


def test_an_image_is_evaluated_on_the_raters_it_has(tmp_path):
    dataset = make_known_dataset(tmp_path)
    for subject in SUBJECTS:
        # whoever lacks one class is left out for both
        lacking = f"{subject}_T2starw_desc-rater2_label-WM_seg.nii.gz"
        (dataset / "derivatives" / "labels" / subject / "anat" / lacking).unlink()
    allowed = {"loader_parameters": {"allow_missing_raters": True}}
    study = evaluated_study(dataset, tmp_path, "conv_staple", n_splits=1, overrides=allowed)
    write_study_results(study)
    results = pd.read_csv(study.folder / "results" / "results.csv")
    assert len(results)
    for _, row in results.iterrows():
        prediction = np.moveaxis(known_prediction("conv_staple", row["subject"]), -1, 0)
        expected = brier_score(prediction, masks_of(study, row["subject"], raters=(1, 3, 4)).mean(axis=0), class_axis=0)
        assert [row["ir_brier_GM"], row["ir_brier_WM"]] == pytest.approx(expected.tolist(), rel=1e-5)


def test_pooled_curves_hold_every_voxel(study, written):
    reliability = collect_reliability(study)
    curves = pooled_curves(reliability, "exact", "image")
    tested = sum(
        len(json.loads((study.folder / "splits" / f"{split}.json").read_text())["subjects"]["test"])
        for split in study.split_names
    )
    assert {name: curve.n_voxels for name, curve in curves.items()} == dict.fromkeys(
        ("conv_staple", "conv_ensemble", "softseg_random"), tested * np.prod(SHAPE)
    )


def test_every_table_and_figure_is_written(study, written):
    folder = study.folder / "results"
    names = {path.stem for path in (folder / "tables").glob("*.md")}
    assert names == {
        "table2",
        "table3",
        "table4",
        "ece",
        "entropy",
        "proper_scores",
        "variability",
        "table2_vs_paper",
        "table3_vs_paper",
        "ece_vs_paper",
    }
    for suffix in ("csv", "tex"):
        assert {path.stem for path in (folder / "tables").glob(f"*.{suffix}")} == names
    drawn = {path.name for path in (folder / "figures").iterdir()}
    for name in ("entropy", "composite", "radar", "validation_loss", "comparison", "reliability_paper_image"):
        assert {f"{name}.png", f"{name}.svg"} <= drawn
    readme = (folder / "README.md").read_text()
    assert "num_epochs = 2 (template: 200)" in readme
    for path in (folder / "figures").glob("*.png"):
        assert f"figures/{path.name}" in readme
    assert set(written.files) == {path for path in folder.rglob("*") if path.is_file()}


def test_means_over_different_splits_are_named(study, tmp_path):
    models = pd.DataFrame({"candidate": ["conv_staple", "softseg_staple"], "split": ["split-01", "split-02"]})
    assert any("finished splits differ" in note for note in study_notes(study, models))
    same = models.assign(split="split-01")
    assert not any("finished splits differ" in note for note in study_notes(study, same))


def test_few_models_that_learned_nothing_are_named_and_many_are_counted():
    models = pd.DataFrame({"candidate": ["conv_staple"] * 8, "split": [f"split-{n:02d}" for n in range(1, 9)]})
    chosen = list(models.itertuples(index=False, name=None))
    assert _name_or_count(chosen[:2], models) == "Conv-STAPLE split-01, Conv-STAPLE split-02"
    assert _name_or_count(chosen[:7], models) == "Conv-STAPLE 7 of 8 models"


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b'image_id,x\n"sub-01,1\n', b"a,b\n1,2\n", b"image_id,ir_dice_GM\n"]
)
def test_a_damaged_evaluation_says_how_to_mend_it(study, written, content):
    path = next(study.folder.glob(f"models/*/*/evaluation/{TABLE}"))
    kept = path.read_bytes()
    path.write_bytes(content)
    try:
        with pytest.raises(InputError, match=r"is damaged\. Delete .*evaluate\.done\.json"):
            write_study_results(study)
    finally:
        path.write_bytes(kept)


def test_nothing_of_an_earlier_collection_stays(study, written):
    folder = study.folder / "results"
    stale = folder / "tables" / "table9_vs_paper.md"
    stale.touch()
    write_study_results(study, compare_paper=True)
    assert not stale.exists()
    assert all(path.exists() for path in written.files)


def test_results_can_be_made_without_the_dataset(study, written):
    moved = dataclasses.replace(study, bids=str(study.folder / "elsewhere"))
    results = write_study_results(moved, compare_paper=True)
    assert any("compares the predictions by eye" in note for note in results.notes)
    assert not (study.folder / "results" / "figures" / "comparison.png").exists()
    write_study_results(study, compare_paper=True)
    assert (study.folder / "results" / "figures" / "comparison.png").exists()


def test_results_are_the_same_each_time(study, written):
    files = [path for path in written.files if path.suffix in (".csv", ".md", ".tex", ".svg")]
    before = {path: path.read_bytes() for path in files}
    write_study_results(study, compare_paper=True)
    assert {path: path.read_bytes() for path in files} == before


def test_claims_are_written_beside_untouched_results(study, written):
    before = {path: path.read_bytes() for path in written.files}
    verdicts, notes, files = write_claims(study)
    assert [path.name for path in files] == ["claims.md", "claims.json"]
    assert {item.verdict for item in verdicts} == {"undecided"}
    assert any("optimistic" in note for note in notes)
    assert {path: path.read_bytes() for path in written.files} == before
