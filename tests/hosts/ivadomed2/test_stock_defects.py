"""Each defect of ivadomed 2.9.10 with several raters, shown on stock ivadomed and then gone with the plugin."""

import contextlib
import random
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pandas
import pytest

import ivadomed_labelfusion
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2.layouts import LenientBids
from tests.builders.loading import context_of, dataset, table
from tests.builders.tiny import make_config, make_dataset, save, suffix

LABELS = ("GM", "WM")


@contextlib.contextmanager
def enabled():
    """The plugin, for a block."""
    ivadomed_labelfusion.enable()
    try:
        yield
    finally:
        ivadomed_labelfusion.disable()


@pytest.fixture(autouse=True)
def _plugin_off(stock, monkeypatch):
    """Every test starts on stock ivadomed, but for the labels that current pybids does not find (test_layouts.py)."""
    monkeypatch.setattr("ivadomed.loader.bids_dataframe.pybids", LenientBids())


def two_classes(folder, template="scgm_conv_random", n_raters=4, **changes):
    """Return a configuration of a two-class dataset without the plugin's transforms, which stock does not know."""
    data = make_dataset(folder / "data", n_subjects=4, n_raters=n_raters, labels=LABELS, contrasts=("T2starw",))
    config = make_config(
        template, data, folder / "out", n_raters=n_raters, labels=LABELS, contrasts=("T2starw",), **changes
    )
    del config["transformation"]["SampleRater"]
    return config


def pairs(samples):
    """Return the raters' suffix order of each class of the first image."""
    return [[Path(path).name.split("_desc-")[1] for path in row] for row in samples.filename_pairs[0][1]]


def shuffled_frame(config, folder):
    """Return the table of files with its rows in an order that pybids may give them in: gray matter up, white down."""
    frame, loader = table(context_of(config, folder), folder)
    white = frame.df["filename"].str.contains("WM")
    gray = frame.df[~white].sort_values("filename")
    frame.df = pandas.concat([gray, frame.df[white].sort_values("filename", ascending=False)], ignore_index=True)
    return frame, loader


def test_raters_are_mixed_across_classes(tmp_path):
    config = two_classes(tmp_path)

    def people(row):
        return [name.split("_")[0] for name in row]

    gray, white = pairs(dataset(config, tmp_path, frame=shuffled_frame(config, tmp_path)))
    assert people(gray) != people(white)
    with enabled():
        gray, white = pairs(dataset(config, tmp_path, frame=shuffled_frame(config, tmp_path)))
        assert people(gray) == people(white) == ["rater1", "rater2", "rater3", "rater4"]


def test_suffixes_match_anywhere_in_the_path(tmp_path):
    # a suffix without the underscore after the number, inside a folder whose name holds another suffix
    data = make_dataset(tmp_path / "data", n_subjects=3, labels=("GM",), contrasts=("T2starw",), n_raters=2)
    for path in sorted((data / "derivatives").rglob("*_desc-rater2_*")):
        path.rename(path.with_name(path.name.replace("_desc-rater2_label-GM_seg", "_GM-rater10")))
    for path in sorted((data / "derivatives").rglob("*_desc-rater1_*")):
        path.rename(path.with_name(path.name.replace("_desc-rater1_label-GM_seg", "_GM-rater1")))
    config = make_config("scgm_conv_random", data, tmp_path / "out", labels=("GM",), contrasts=("T2starw",))
    config["loader_parameters"]["target_suffix"] = [["_GM-rater1", "_GM-rater10"]]
    config["default_model"]["final_activation"] = "sigmoid"
    del config["transformation"]["SampleRater"]
    config["training_parameters"]["loss"] = {"name": "DiceLoss"}

    def files(samples):
        return [Path(path).name.split("_GM-")[1] for path in samples.filename_pairs[0][1][0]]

    # rater 10 counts for both suffixes
    assert len(files(dataset(config, tmp_path))) == 3
    with enabled():
        assert files(dataset(config, tmp_path)) == ["rater1.nii.gz", "rater10.nii.gz"]


def test_a_missing_rater_shifts_the_others(tmp_path):
    config = two_classes(tmp_path)
    (tmp_path / f"data/derivatives/labels/sub-01/anat/sub-01_T2starw{suffix(1, 'WM')}.nii.gz").unlink()
    gray, white = pairs(dataset(config, tmp_path))
    # the same index now means different people, and the last index exists for one class only
    assert len(gray) == 4
    assert len(white) == 3
    with enabled(), pytest.raises(InputError, match=r"sub-01.*WM.*rater1"):
        dataset(config, tmp_path)


def test_patches_of_several_raters_are_indexed_wrongly(tmp_path):
    def one_corner(subject, rater, label_index, shape):
        mask = np.zeros(shape)
        mask[2:5, 12:15] = 1
        return mask

    data = make_dataset(tmp_path / "data", n_subjects=3, labels=LABELS, contrasts=("T2starw",), rater_value=one_corner)
    config = make_config(
        "scgm_conv_random",
        data,
        tmp_path / "out",
        labels=LABELS,
        contrasts=("T2starw",),
        crop=(24, 20),
        default_model__length_2D=[8, 10],
        default_model__stride_2D=[8, 10],
        loader_parameters__patch_filter_params={"filter_empty_mask": True, "filter_empty_input": False},
    )
    del config["transformation"]["SampleRater"]

    def kept():
        samples = dataset(config, tmp_path)
        return {tuple(samples[index]["input_metadata"][0]["coord"]) for index in range(len(samples))}

    # the label lies in one of six patches; stock keeps another one, because it slices raters and rows
    assert kept() == {(0, 8, 0, 10)}
    with enabled():
        assert kept() == {(0, 8, 10, 20)}


def test_draws_come_from_the_global_generator(tmp_path):
    config = two_classes(tmp_path)
    del config["transformation"]["RandomAffine"]

    def epoch(samples, seed):
        random.seed(seed)
        return np.stack([np.asarray(samples[index]["gt"]) for index in range(len(samples))])

    samples = dataset(config, tmp_path)
    assert not np.array_equal(epoch(samples, 1), epoch(samples, 2))
    with enabled():
        samples = dataset(config, tmp_path)
        np.testing.assert_array_equal(epoch(samples, 1), epoch(samples, 2))


def test_several_raters_exit_outside_training(tmp_path):
    from ivadomed import main

    loader = {"target_suffix": [["_a", "_b"]]}
    with pytest.raises(SystemExit):
        main.check_multiple_raters(False, loader)
    with enabled():
        main.check_multiple_raters(False, loader)


def test_ground_truth_of_nested_lists_cannot_be_read(tmp_path):
    from ivadomed import testing

    config = two_classes(tmp_path)
    samples = dataset(config, tmp_path)
    with pytest.raises((AttributeError, TypeError)):
        testing.get_gt(samples.filename_pairs[0][1])
    with enabled():
        samples = dataset(config, tmp_path)
        samples.write_references()
        names = samples[0]["gt_metadata"][0]["gt_filenames"]
        assert testing.get_gt(names).shape == (2, 24, 20, 4)


def test_one_contrast_overwrites_another_with_the_same_suffix(tmp_path):
    contrasts = ("T1w", "ce-gadolinium_T1w")
    data = make_dataset(tmp_path / "data", n_subjects=3, contrasts=contrasts, n_raters=2)
    for path in sorted((data / "derivatives").rglob("*_T1w_desc*")):
        shutil.copy(path, path.with_name(path.name.replace("_T1w_", "_ce-gadolinium_T1w_")))
    config = make_config("ms_conv_random", data, tmp_path / "out", n_raters=2, contrasts=contrasts)
    config["loader_parameters"]["target_suffix"] = [suffix(1, "lesion")]
    stock_config = {**config, "transformation": {"Resample": {"hspace": 1, "wspace": 1, "dspace": 1}}}
    # no image has all its channels, because no file has the suffix "ce-gadolinium_T1w"
    with pytest.raises(Exception, match="No subjects were selected"):
        dataset(stock_config, tmp_path)
    config["loader_parameters"]["target_suffix"] = [[suffix(1, "lesion"), suffix(2, "lesion")]]
    for path in sorted((data / "derivatives").rglob("*_ce-gadolinium_*")):
        path.unlink()
    with enabled():
        channels = [Path(path).name for path in dataset(config, tmp_path).filename_pairs[0][0]]
    assert channels == ["sub-01_T1w.nii.gz", "sub-01_ce-gadolinium_T1w.nii.gz"]


def test_only_shapes_are_compared(tmp_path):
    config = two_classes(tmp_path)
    path = tmp_path / f"data/derivatives/labels/sub-01/anat/sub-01_T2starw{suffix(1, 'WM')}.nii.gz"
    data = np.asanyarray(nibabel.load(path).dataobj)
    save(path, data, np.diag([2.0, 2.0, 2.0, 1.0]))
    assert len(dataset(config, tmp_path)) == 16
    with enabled(), pytest.raises(InputError, match="mm apart"):
        dataset(config, tmp_path)


def test_normalised_relu_depends_on_batch_mates(tmp_path):
    import torch
    from ivadomed.models import Unet

    from ivadomed_labelfusion.hosts.ivadomed2.models import SoftSegUnet

    torch.manual_seed(0)
    batch = torch.randn(4, 1, 16, 16) * torch.tensor([1.0, 5.0, 20.0, 100.0]).view(-1, 1, 1, 1)

    def mates_matter(model):
        model.eval()
        with torch.no_grad():
            alone = torch.cat([model(image[None]) for image in batch])
            return float((model(batch) - alone).abs().max())

    assert mates_matter(Unet(depth=2, n_filters=4, final_activation="relu")) > 0.1
    assert mates_matter(SoftSegUnet(depth=2, n_filters=4, normalization="sample")) < 1e-5


def test_temporary_folders_stay_behind(tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    config = two_classes(tmp_path)
    dataset(config, tmp_path)
    assert len(list((tmp_path / "temp").glob("ivadomed_*"))) == 4
    with enabled():
        from ivadomed_labelfusion.hosts.ivadomed2 import run

        dataset(config, tmp_path)
        run._remove_temporary()
    assert len(list((tmp_path / "temp").glob("ivadomed_*"))) == 4
