"""Tables and text files of a dataset inside ivadomed: they work, or end in one line that is true."""

import json

import nibabel
import numpy as np
import pandas
import pytest
import torch

from ivadomed_labelfusion.hosts.ivadomed2 import loading
from tests.builders.tiny import make_config, make_dataset, suffix, write_config


def prepared(folder, change=None, several=True, **settings):
    """Write a dataset and a configuration; return the configuration's path."""
    data = make_dataset(folder / "data")
    config = make_config("ms_conv_staple", data, folder / "out", epochs=1, **settings)
    if not several:
        config["loader_parameters"]["target_suffix"] = [suffix(1, "lesion")]
        del config["transformation"]["FuseRaters"]
        del config["evaluation_parameters"]["inter_rater"]
    if change is not None:
        change(config)
    return write_config(folder / "config.json", config)


def mark(path):
    """Put a byte-order mark before a file's content; make it a JSON object if there is none."""
    path.write_bytes(b"\xef\xbb\xbf" + (path.read_bytes() if path.exists() else b'{"EchoTime": 1}'))


def weights(folder):
    """Return the trained weights."""
    return loading.load(folder / "out/best_model.pt").state_dict()


def test_byte_order_marks_change_nothing(ivadomed, tmp_path):
    for name in ("plain", "marked"):
        folder = tmp_path / name
        folder.mkdir()
        config = prepared(folder)
        if name == "marked":
            mark(config)
            for path in ("dataset_description.json", "derivatives/dataset_description.json", "participants.tsv"):
                mark(folder / "data" / path)
            mark(folder / "data/sub-01/anat/sub-01_FLAIR.json")
            mark(folder / "data/participants.json")
        assert not ivadomed("--train", "-c", config)
    for name, value in weights(tmp_path / "plain").items():
        torch.testing.assert_close(weights(tmp_path / "marked")[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("several", [True, False])
def test_a_table_of_subjects_alone(ivadomed, tmp_path, several):
    config = prepared(tmp_path, several=several)
    table = tmp_path / "data/participants.tsv"
    # one subject is not listed, as a user may have it who leaves him out
    table.write_text(
        "".join(line.split("\t")[0] + "\n" for line in table.read_text().splitlines() if "sub-02" not in line)
    )
    assert not ivadomed("--train", "-c", config)
    frame = pandas.read_csv(tmp_path / "out/bids_dataframe.csv")
    images = frame[frame["participant_id"].notna()]
    assert sorted(images["participant_id"].unique()) == ["sub-01", "sub-03", "sub-04", "sub-05", "sub-06"]


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("participants.tsv", "participant_id site\nsub-01 a\n", "must have columns separated by tabs, got spaces"),
        ("dataset_description.json", "{", "dataset_description.json is not valid JSON"),
        ("dataset_description.json", "{}", "not valid BIDS: Mandatory 'Name' field missing"),
        ("sub-01/anat/sub-01_FLAIR.json", "[1]", "sub-01_FLAIR.json must be a JSON object"),
        ("sub-01/sub-01_sessions.tsv", "x\n", "must have the column 'session'"),
        ("sub-01/sub-01_scans.tsv", "x\n", "must have the column 'filename'"),
    ],
)
def test_damaged_text_files_are_one_line(ivadomed, tmp_path, capfd, path, content, message):
    config = prepared(tmp_path)
    (tmp_path / "data" / path).write_text(content)
    assert ivadomed("--train", "-c", config) == 2
    assert message in capfd.readouterr().err


def split(**changes):
    """Return a change of ``split_dataset``."""
    return lambda config: config["split_dataset"].update(changes)


SITES = {"split_method": "institution_id"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (split(**SITES, data_testing={"data_type": "institution_id", "data_value": ["site1"]}), "there are 2 (site0, "),
        (split(**SITES, data_testing={"data_type": None, "data_value": []}), "there are 2 (site0, site1)"),
        (split(train_fraction=0.0, test_fraction=0.5), "there are 6 (sub-01"),
        (split(train_fraction=0.9, test_fraction=0.1), "there are 6 (sub-01"),
        (split(data_testing={"data_type": "hospital", "data_value": []}), "data_testing.data_type must be a column"),
        (
            split(data_testing={"data_type": "institution_id", "data_value": ["site7"]}),
            "data_testing.data_value must hold values of 'institution_id' (site0, site1), got site7",
        ),
        (split(split_method="hospital"), "split_method must be a column of participants.tsv, got 'hospital'"),
    ],
)
def test_a_split_that_leaves_nothing_is_one_line(ivadomed, tmp_path, capfd, change, message):
    assert ivadomed("--train", "-c", prepared(tmp_path, change)) == 2
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def choose(n, metadata, value):
    """Return a change that selects subjects."""
    selection = {"n": [n], "metadata": [metadata], "value": [value]}
    return lambda config: config["loader_parameters"].update(subject_selection=selection)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            choose(2, "hospital", "a"),
            "subject_selection.metadata must hold columns of partic",
        ),
        (choose(50, "institution_id", "site1"), "subject_selection.n must be at most 3, the subjects with 'site1'"),
    ],
)
def test_a_selection_that_cannot_be_met_is_one_line(ivadomed, tmp_path, capfd, change, message):
    assert ivadomed("--train", "-c", prepared(tmp_path, change)) == 2
    assert message in capfd.readouterr().err


def test_filters_that_leave_nothing_are_one_line(ivadomed, tmp_path, capfd):
    config = prepared(tmp_path)
    for path in (tmp_path / "data/derivatives").rglob("*.nii.gz"):
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), path)
    content = json.loads(config.read_text())
    content["loader_parameters"]["slice_filter_params"]["filter_empty_mask"] = True
    config.write_text(json.dumps(content))
    assert ivadomed("--train", "-c", config) == 2
    assert "set must have samples" in capfd.readouterr().err


def test_a_split_by_sites_works(ivadomed, tmp_path):
    change = split(data_testing={"data_type": "institution_id", "data_value": ["site1"]}, train_fraction=0.3)
    assert not ivadomed("--train", "-c", prepared(tmp_path, change))


@pytest.mark.parametrize("several", [True, False])
def test_images_stored_with_a_fourth_axis_of_one_volume(ivadomed, tmp_path, several):
    config = prepared(tmp_path, several=several)
    assert not ivadomed("--train", "-c", config)
    found = []
    for _ in range(2):
        ivadomed("--test", "-c", config)
        ivadomed("--segment", "-c", config)
        predictions = sorted((tmp_path / "out/pred_masks").glob("*.nii.gz"))
        found.append({path.name: nibabel.load(path).get_fdata() for path in predictions})
        for path in (tmp_path / "data").glob("sub-*/anat/*.nii.gz"):
            image = nibabel.load(path)
            values = image.get_fdata(dtype=np.float32)[..., None, None]
            nibabel.save(nibabel.Nifti1Image(values, image.affine), path)
    assert len(found[0]) == len(found[1]) == 7
    for name, image in found[0].items():
        np.testing.assert_array_equal(found[1][name], image)
    assert not ivadomed("--train", "-c", config, "-t", "0.2")


def test_several_volumes_in_one_file_are_one_line(ivadomed, tmp_path, capfd):
    config = prepared(tmp_path, several=False)
    for path in (tmp_path / "data").glob("sub-*/anat/*.nii.gz"):
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.stack([image.get_fdata()] * 2, -1), image.affine), path)
    assert ivadomed("--train", "-c", config) == 2
    assert "FLAIR.nii.gz must be one volume with 3 dimensions, got 24x20x4x2" in capfd.readouterr().err
