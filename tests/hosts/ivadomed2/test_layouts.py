"""Label files are indexed whatever their names are, with every version of pybids."""

import importlib.metadata
import json
import shutil
import subprocess
from pathlib import Path

import bids
import pytest

import ivadomed_labelfusion
from ivadomed_labelfusion.environment import version_numbers
from ivadomed_labelfusion.hosts.ivadomed2.layouts import LenientBids
from tests.builders.loading import context_of, table
from tests.builders.tiny import make_config, make_dataset

DROPS_LABELS = version_numbers(importlib.metadata.version("pybids")) >= (0, 15, 6)


@pytest.fixture
def data(tmp_path):
    return make_dataset(tmp_path / "data", n_subjects=3)


def label_names(layout):
    """Return the names of all NIfTI files below derivatives that a layout knows."""
    files = layout.to_df()["path"].map(Path)
    return sorted(path.name for path in files if "derivatives" in path.parts and path.name.endswith(".nii.gz"))


def on_disk(data):
    return sorted(path.name for path in (data / "derivatives").rglob("*.nii.gz"))


@pytest.mark.skipif(not DROPS_LABELS, reason="pybids < 0.15.6 finds them by itself")
def test_stock_finds_no_labels_and_the_plugin_all(stock, data, tmp_path):
    config = make_config("ms_conv_staple", data, tmp_path / "out")
    del config["transformation"]["FuseRaters"]
    with pytest.raises(RuntimeError, match="Derivatives not found"):
        table(context_of(config, tmp_path), tmp_path)
    ivadomed_labelfusion.enable()
    frame, _ = table(context_of(config, tmp_path), tmp_path)
    assert sorted(frame.get_deriv_fnames()) == on_disk(data)


@pytest.mark.parametrize("name", ["sub-01_FLAIR_seg-manual.nii.gz", "sub-01_FLAIR_lesion-manual-rater1.nii.gz"])
def test_names_that_are_not_bids_are_found(data, name):
    label = next((data / "derivatives").rglob("sub-01*.nii.gz"))
    shutil.copy(label, label.with_name(name))
    assert name in label_names(LenientBids().BIDSLayout(str(data), derivatives=True))


def test_several_label_folders_are_all_indexed(data):
    shutil.copytree(data / "derivatives" / "labels", data / "derivatives" / "other")
    (data / "derivatives" / "dataset_description.json").unlink()
    for name in ("labels", "other"):
        description = {"Name": name, "BIDSVersion": "1.9.0", "GeneratedBy": [{"Name": name}]}
        (data / "derivatives" / name / "dataset_description.json").write_text(json.dumps(description))
    one = LenientBids().BIDSLayout(str(data), derivatives=str(data / "derivatives" / "labels"))
    every = LenientBids().BIDSLayout(str(data), derivatives=True)
    assert len(label_names(every)) == 2 * len(label_names(one)) == len(on_disk(data))


@pytest.mark.parametrize("validate", [True, False])
def test_the_raw_data_are_validated_as_asked_for(data, validate):
    image = next((data / "sub-01").rglob("*.nii.gz"))
    shutil.copy(image, image.with_name("sub-01_my-own.nii.gz"))
    indexer = bids.BIDSLayoutIndexer(validate=validate)
    files = LenientBids().BIDSLayout(str(data), derivatives=True, indexer=indexer).to_df()["path"].map(Path)
    assert ("sub-01_my-own.nii.gz" in {path.name for path in files}) is not validate


def test_without_derivatives_nothing_is_added(data):
    assert label_names(LenientBids().BIDSLayout(str(data), derivatives=False)) == []


def test_the_rest_of_bids_is_untouched():
    assert LenientBids().BIDSLayoutIndexer is bids.BIDSLayoutIndexer


def test_a_machine_without_git_trains(plugin, monkeypatch, tmp_path):
    from ivadomed import utils

    (tmp_path / "bin").mkdir()
    subprocess.run(["git", "init", "--quiet", tmp_path / "data"], check=True)
    outside = utils.__dict__["__get_commit"](str(tmp_path / "bin"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert utils.__dict__["__get_commit"](str(tmp_path / "data")) == outside
    ivadomed_labelfusion.disable()
    with pytest.raises(FileNotFoundError, match="git"):
        utils.__dict__["__get_commit"](str(tmp_path / "data"))
