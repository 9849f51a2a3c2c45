"""Writing a dataset for nnU-Net; needs nothing of nnU-Net."""

import json

import nibabel
import numpy as np
import pytest

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.cli import main
from ivadomed_labelfusion.config import load_template
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.nnunet.folds import draw_parts, read_parts
from ivadomed_labelfusion.hosts.nnunet.from_config import migrate
from ivadomed_labelfusion.hosts.nnunet.names import short_run, trainer_name, trainer_names, trainers_folder
from tests.builders.tiny import make_config, make_dataset, suffix, write_config


@pytest.fixture
def bids(tmp_path):
    return make_dataset(tmp_path / "bids", n_subjects=5, contrasts=("FLAIR", "T1w"))


def export(tmp_path, *arguments, status=0):
    assert main(["nnunet", "export", *map(str, arguments), "-o", str(tmp_path / "raw")]) == status
    return tmp_path / "raw"


def values(path):
    return np.asanyarray(nibabel.load(path).dataobj)


def test_images_majority_and_raters_are_the_datasets(bids, tmp_path, capsys):
    folder = export(tmp_path, bids, "--dataset", 501, "--name", "A", "--test", "sub-02") / "Dataset501_A"
    description = json.loads((folder / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, "lesion": 1}
    assert description["channel_names"] == {"0": "FLAIR"}
    assert description["numTraining"] == 4 == len(list((folder / "imagesTr").iterdir()))
    assert [path.name for path in (folder / "imagesTs").iterdir()] == ["sub-02_FLAIR_0000.nii.gz"]
    assert description["raters"]["names"] == ["rater1", "rater2", "rater3"]
    raw = bids / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz"
    assert (folder / "imagesTr" / "sub-01_FLAIR_0000.nii.gz").read_bytes() == raw.read_bytes()
    labels = bids / "derivatives" / "labels" / "sub-01" / "anat"
    masks = [values(labels / f"sub-01_FLAIR{suffix(rater, 'lesion')}.nii.gz") for rater in (1, 2, 3)]
    for rater, mask in enumerate(masks, start=1):
        np.testing.assert_array_equal(values(folder / "ratersTr" / "sub-01_FLAIR" / f"rater{rater}.nii.gz"), mask)
    found = values(folder / "labelsTr" / "sub-01_FLAIR.nii.gz")
    np.testing.assert_array_equal(found, fusion.fuse(masks, "majority"))
    assert "4 images to train in 4 folds, 1 to test" in capsys.readouterr().out
    assert not [path for path in (tmp_path / "raw").iterdir() if path.name.startswith(".")]


def test_channels_and_a_choice_of_raters(bids, tmp_path):
    arguments = ["--contrasts", "T1w", "FLAIR", "--raters", suffix(1, "lesion"), suffix(3, "lesion"), "--seed", 7]
    folder = export(tmp_path, bids, "--dataset", 2, "--name", "B", *arguments) / "Dataset002_B"
    description = json.loads((folder / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "T1w", "1": "FLAIR"}
    assert description["raters"]["names"] == ["rater1", "rater3"]
    assert description["raters"]["seed"] == 7
    case = sorted((folder / "ratersTr").iterdir())[0].name
    stored = values(folder / "imagesTr" / f"{case}_0000.nii.gz")
    subject = case.split("_")[0]
    np.testing.assert_array_equal(stored, values(bids / subject / "anat" / f"{subject}_T1w.nii.gz"))


def test_a_missing_rater_is_an_error_or_a_note(bids, tmp_path, capsys):
    next(bids.rglob(f"sub-01_FLAIR{suffix(2, 'lesion')}.nii.gz")).unlink()
    raw = export(tmp_path, bids, "--dataset", 1, "--name", "C", status=2)
    assert "--allow-missing" in capsys.readouterr().err
    assert not list(raw.glob("Dataset*")) if raw.exists() else True
    arguments = ["--dataset", 1, "--name", "C", "--allow-missing", "--test", "sub-05"]
    folder = export(tmp_path, bids, *arguments) / "Dataset001_C"
    found = json.loads((folder / "ratersTr" / "sub-01_FLAIR" / "raters.json").read_text())
    assert found["present"] == ["rater1", "rater3"]
    assert len(found["staple"]["confusion"]) == 2
    assert "sub-01_FLAIR: rater2 has no mask of lesion" in capsys.readouterr().err


def test_folds_go_to_where_nnunet_looks_for_them_and_keep_subjects_together(bids, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    folder = export(tmp_path, bids, "--dataset", 3, "--name", "D", "--folds", 2) / "Dataset003_D"
    folds = json.loads((folder / "splits_final.json").read_text())
    assert folds == json.loads((tmp_path / "preprocessed" / "Dataset003_D" / "splits_final.json").read_text())
    assert len(folds) == 2
    for fold in folds:
        assert not set(fold["train"]) & set(fold["val"])
        assert len(fold["train"]) + len(fold["val"]) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", 0, "--name", "A"], "--dataset must be a number from 1 to 999"),
        (["--dataset", 1, "--name", "A/B"], "--name must hold letters"),
        (["--dataset", 1, "--name", "A", "--test-fraction", 1.5], "share of test subjects"),
        (["--dataset", 1, "--name", "A", "--folds", 1], "folds must be at least 2"),
        (["--dataset", 1, "--name", "A", "--test", "sub-77"], "sub-77"),
        (["--dataset", 1, "--name", "A", "--contrasts", "PDw"], "PDw"),
        (["--dataset", 1, "--name", "A", "--contrasts", "FLAIR", "PDw"], "lacks PDw"),
        (["--dataset", 1, "--name", "A", "--seed", -1], "--seed must be"),
        (["--dataset", 1, "--name", "A", "--raters", "_desc-*_label-none_seg"], "label-none"),
    ],
)
def test_bad_arguments_end_in_one_line_and_leave_nothing(bids, tmp_path, capsys, arguments, message):
    raw = export(tmp_path, bids, *arguments, status=2)
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not raw.exists() or not list(raw.iterdir())


def test_what_exists_is_kept_unless_it_is_an_export(bids, tmp_path, capsys):
    arguments = [bids, "--dataset", 9, "--name", "E"]
    raw = export(tmp_path, *arguments)
    export(tmp_path, *arguments, status=2)
    assert "--overwrite" in capsys.readouterr().err
    export(tmp_path, *arguments, "--overwrite")
    export(tmp_path, bids, "--dataset", 9, "--name", "Other", status=2)
    assert "must be given once" in capsys.readouterr().err
    (raw / "Dataset009_E" / "dataset.json").write_text("{}")
    export(tmp_path, *arguments, "--overwrite", status=2)
    assert "earlier export" in capsys.readouterr().err


def test_soft_masks_are_refused(bids, tmp_path, capsys):
    path = next(bids.rglob(f"sub-01_FLAIR{suffix(2, 'lesion')}.nii.gz"))
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(values(path).astype(np.float32) * 0.7, image.affine), path)
    export(tmp_path, bids, "--dataset", 1, "--name", "A", "--test", "sub-05", status=2)
    assert "rater2" in capsys.readouterr().err


def test_parts_are_drawn_by_the_seed_alone():
    subjects = [f"sub-{number:02d}" for number in range(10)]
    parts = draw_parts(subjects, test=0.2, seed=4)
    assert parts == draw_parts(reversed(subjects), test=0.2, seed=4) != draw_parts(subjects, test=0.2, seed=5)
    assert len(parts.test) == 2
    held_out = [name for _, names in parts.folds for name in names]
    assert sorted([*held_out, *parts.test]) == subjects


def test_splits_of_a_study_are_folds_of_one_test_set(tmp_path):
    paths = []
    for index, parts in enumerate([("ab", "c", "d"), ("bc", "a", "d"), ("ab", "d", "c")]):
        names = [[f"sub-{letter}" for letter in part] for part in parts]
        content = dict(zip(("train", "valid", "test"), names, strict=True))
        paths.append(tmp_path / f"split-{index}.json")
        paths[-1].write_text(json.dumps({"subjects": content}))
    parts = read_parts(paths[:2])
    assert parts.test == ("sub-d",)
    assert parts.folds == ((("sub-a", "sub-b"), ("sub-c",)), (("sub-b", "sub-c"), ("sub-a",)))
    with pytest.raises(InputError, match="same test subjects"):
        read_parts(paths)
    paths[0].write_text("[]")
    with pytest.raises(InputError, match="no list 'train'"):
        read_parts(paths[:1])


def test_names_of_trainers(capsys):
    assert len(trainer_names()) == 12
    assert short_run("nnUNetTrainerRatersRandomConv_2epochs_7iterations") == ("nnUNetTrainerRatersRandomConv", 2, 7)
    for other in ("nnUNetTrainerRatersRandomConv", "nnUNetTrainerRatersRandomConv_0epochs", "nnUNetTrainer_5epochs"):
        assert short_run(other) is None
    assert main(["nnunet", "trainers", "--path"]) == 0
    assert capsys.readouterr().out.strip() == str(trainers_folder())
    assert main(["nnunet", "trainers"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in trainer_names())


@pytest.mark.parametrize("fusion_name", ["Average", "Staple", "Random"])
@pytest.mark.parametrize("framework", ["Conv", "SoftSeg"])
@pytest.mark.parametrize("data", ["ms", "scgm"])
def test_templates_become_their_trainers(data, framework, fusion_name):
    config = load_template(f"{data}_{framework.lower()}_{fusion_name.lower()}")
    found = migrate(config)
    assert found.trainer == trainer_name(fusion_name, framework)
    assert found.options["target_suffix"] == config["loader_parameters"]["target_suffix"]
    assert "transformation.Resample" in found.left_out


def test_a_configuration_says_data_raters_and_test_subjects(bids, tmp_path, capsys):
    config = make_config("ms_softseg_average", bids, tmp_path / "out")
    config["split_dataset"]["data_testing"] = {"data_type": "institution_id", "data_value": ["site0"]}
    path = write_config(tmp_path / "config.json", config)
    folder = export(tmp_path, "--from-config", path, "--dataset", 4, "--name", "F") / "Dataset004_F"
    said = capsys.readouterr().out
    assert "nnUNetTrainerRatersAverageSoftSeg" in said
    assert "transformation.CenterCrop" in said
    assert {path.name[:6] for path in (folder / "imagesTs").iterdir()} == {"sub-02", "sub-04"}
    assert json.loads((folder / "dataset.json").read_text())["raters"]["seed"] == 1


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"institution_id\nsite0\n", b"participant_id\nsub-01\n", None])
def test_a_table_of_subjects_that_cannot_choose_ends_in_one_line(bids, tmp_path, capsys, content):
    config = make_config("ms_softseg_average", bids, tmp_path / "out")
    config["split_dataset"]["data_testing"] = {"data_type": "institution_id", "data_value": ["site0"]}
    path = write_config(tmp_path / "config.json", config)
    (bids / "participants.tsv").unlink()
    if content is not None:
        (bids / "participants.tsv").write_bytes(content)
    export(tmp_path, "--from-config", path, "--dataset", 4, "--name", "F", status=2)
    assert "participants.tsv" in capsys.readouterr().err


def test_what_nnunet_cannot_do_is_said(tmp_path, bids, capsys):
    config = make_config("ms_conv_staple", bids, tmp_path / "out")
    config["transformation"]["FuseRaters"]["method"] = "union"
    with pytest.raises(InputError, match=r"FuseRaters\.method"):
        migrate(config)
    config["transformation"]["FuseRaters"] = {"method": "staple", "typo": 1}
    path = write_config(tmp_path / "config.json", config)
    export(tmp_path, "--from-config", path, "--dataset", 4, "--name", "F", status=2)
    assert "config.json" in capsys.readouterr().err
