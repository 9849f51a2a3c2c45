"""Which files a training takes, and that every one of them is known by its path and lies on one grid."""

import shutil

import nibabel
import numpy as np
import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2.images import check_channels
from tests.builders.loading import context_of, dataset, table
from tests.builders.tiny import make_dataset, suffix
from tests.hosts.ivadomed2.test_loader import plain


def images(data):
    return sorted(path for path in data.glob("sub-*/anat/*.nii.gz"))


def masks(data):
    return sorted(data.glob("derivatives/labels/**/*rater*.nii.gz"))


def move(path, distance):
    """Let a file's header say that it lies some mm further along the first axis."""
    image = nibabel.load(path)
    affine = image.affine.copy()
    affine[0, 3] += distance
    nibabel.save(nibabel.Nifti1Image(np.asanyarray(image.dataobj), affine), path)


def frame(config, folder):
    """Return the table of files of a configuration."""
    return table(context_of(config, folder), folder)[0]


def test_the_same_label_in_two_folders_is_refused_with_both_paths(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    shutil.copytree(data / "derivatives/labels", data / "derivatives/labels_v2")
    for template in ("ms_conv_staple", "ms_softseg_random"):
        with pytest.raises(InputError, match=r"Two files are both sub-01_FLAIR_desc-rater1.*labels/.*labels_v2"):
            dataset(plain(template, data, tmp_path), tmp_path)


def test_a_label_reached_by_two_ways_is_one(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    (data / "derivatives/again").symlink_to("labels")
    assert len(dataset(plain("ms_conv_staple", data, tmp_path), tmp_path)) == 8


@pytest.mark.parametrize("labels", ["both", "first", "second"])
@pytest.mark.parametrize("n_raters", [1, 3])
def test_two_datasets_with_one_subject_are_refused(plugin, tmp_path, labels, n_raters):
    folders = [
        make_dataset(tmp_path / name, n_subjects=2, n_raters=n_raters, seed=seed) for seed, name in enumerate("ab")
    ]
    for folder, name in zip(folders, ("first", "second"), strict=True):
        if labels not in ("both", name):
            shutil.rmtree(folder / "derivatives/labels")
    config = plain("ms_conv_staple", folders[0], tmp_path, n_raters=n_raters)
    config["loader_parameters"]["path_data"] = list(map(str, folders))
    if n_raters == 1:
        config["loader_parameters"]["target_suffix"] = [suffix(1, "lesion")]
        config["transformation"].pop("FuseRaters")
        config["evaluation_parameters"].pop("inter_rater", None)
    with pytest.raises(InputError, match="sub-01 is in") as caught:
        frame(config, tmp_path)
    assert all(str(folder) in str(caught.value) for folder in folders)


def test_two_datasets_of_different_subjects_are_used_together(plugin, tmp_path):
    folders = [make_dataset(tmp_path / name, n_subjects=2) for name in ("a", "b")]
    for path in sorted(folders[1].rglob("sub-*"), key=lambda path: -len(path.parts)):
        path.rename(path.with_name(path.name.replace("sub-0", "sub-1")))
    config = plain("ms_conv_staple", folders[0], tmp_path)
    config["loader_parameters"]["path_data"] = [*map(str, folders), str(folders[0])]
    (folders[1] / "participants.tsv").write_text("participant_id\nsub-11\nsub-12\n")
    assert len(dataset(config, tmp_path)) == 16


@pytest.mark.parametrize("entities", [("", "acq-ax_"), ("run-01_", "run-02_"), ("ses-1_", "ses-2_")])
def test_every_image_of_a_contrast_is_used(plugin, tmp_path, entities):
    data = make_dataset(tmp_path / "data", n_subjects=2, contrasts=("T2w",))
    for path in [*masks(data), *images(data)]:
        for entity in entities:
            shutil.copy(path, path.with_name(path.name.replace("_T2w", f"_{entity}T2w"))) if entity else None
        if "" not in entities:
            path.unlink()
    config = plain("ms_conv_staple", data, tmp_path, contrasts=("T2w",))
    config["loader_parameters"]["bids_validate"] = False
    assert len(dataset(config, tmp_path)) == 16


def test_only_labels_with_the_extensions_of_the_configuration_count(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    for path in masks(data):
        path.with_name(path.name.replace(".nii.gz", ".png")).touch()
    assert len(dataset(plain("ms_conv_staple", data, tmp_path), tmp_path)) == 8


def test_a_dataset_below_a_folder_named_derivatives(plugin, tmp_path):
    data = make_dataset(tmp_path / "derivatives" / "ms", n_subjects=2)
    found = frame(plain("ms_conv_staple", data, tmp_path), tmp_path)
    assert found.get_subject_fnames() == ["sub-01_FLAIR.nii.gz", "sub-02_FLAIR.nii.gz"]
    assert len(found.get_deriv_fnames()) == 6


def test_linked_subjects_and_labels_are_followed(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    for place in ("sub-02", "derivatives/labels/sub-01"):
        (data / place).rename(tmp_path / place.replace("/", "-"))
        (data / place).symlink_to(tmp_path / place.replace("/", "-"))
    assert len(dataset(plain("ms_conv_staple", data, tmp_path), tmp_path)) == 8


def test_nothing_is_written_into_the_dataset(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    (data / "derivatives/dataset_description.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    dataset(plain("ms_conv_staple", data, tmp_path), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before


@pytest.mark.parametrize("template", ["ms_conv_staple", "ms_softseg_random"])
def test_channels_that_lie_elsewhere_are_refused(plugin, tmp_path, template):
    data = make_dataset(tmp_path / "data", n_subjects=2, contrasts=("FLAIR", "T1w"))
    config = plain(template, data, tmp_path, contrasts=("FLAIR", "T1w"))
    path = next(path for path in images(data) if path.name == "sub-02_T1w.nii.gz")
    move(path, 0.008)
    assert len(dataset(config, tmp_path)) == 8
    move(path, 7)
    with pytest.raises(InputError, match=r"channel .*sub-02_T1w.*sub-02_FLAIR.*7.008 mm apart"):
        dataset(config, tmp_path)
    with pytest.raises(InputError, match="mm apart"):
        check_channels([str(path.with_name("sub-02_FLAIR.nii.gz")), str(path)])


def test_a_region_of_interest_that_lies_elsewhere_is_refused(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    for path in images(data):
        mask = nibabel.Nifti1Image(np.ones((24, 20, 4), np.uint8), np.eye(4))
        subject = path.name.split("_")[0]
        nibabel.save(mask, data / f"derivatives/labels/{subject}/anat/{subject}_FLAIR_desc-box_mask.nii.gz")
    config = plain("ms_conv_staple", data, tmp_path)
    config["loader_parameters"]["roi_params"] = {"suffix": "_desc-box_mask", "slice_filter_roi": None}
    config["transformation"]["ROICrop"] = config["transformation"].pop("CenterCrop")
    assert len(dataset(config, tmp_path)) == 8
    move(data / "derivatives/labels/sub-02/anat/sub-02_FLAIR_desc-box_mask.nii.gz", 1)
    with pytest.raises(InputError, match=r"region of interest .*sub-02_FLAIR_desc-box_mask.*1 mm apart"):
        dataset(config, tmp_path)


def single_rater(data, folder):
    """Return a configuration of ivadomed's own, with one rater."""
    config = plain("ms_conv_staple", data, folder, n_raters=1)
    config["loader_parameters"]["target_suffix"] = [suffix(1, "lesion")]
    config["transformation"].pop("FuseRaters")
    config["evaluation_parameters"].pop("inter_rater", None)
    return config


def test_the_label_of_a_single_rater_is_read_alike(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2, n_raters=1)
    samples = dataset(single_rater(data, tmp_path), tmp_path)
    expected = np.stack([np.asarray(samples[index]["gt"]) for index in range(len(samples))])
    assert not (tmp_path / "out/read_labels").exists()
    for path in masks(data):
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.asanyarray(image.dataobj) * np.uint8(255), image.affine), path)
    samples = dataset(single_rater(data, tmp_path), tmp_path)
    again = np.stack([np.asarray(samples[index]["gt"]) for index in range(len(samples))])
    np.testing.assert_array_equal(again, expected)
    assert len(list((tmp_path / "out/read_labels").glob("*.nii.gz"))) == 2
    image = nibabel.load(masks(data)[1])
    nibabel.save(nibabel.Nifti1Image(np.asanyarray(image.dataobj) / np.float32(127.5), image.affine), masks(data)[1])
    with pytest.raises(InputError, match=f"{masks(data)[1].name}.*number of a class"):
        dataset(single_rater(data, tmp_path), tmp_path)


def test_an_unfetched_mask_is_named_and_is_no_missing_one(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    masks(data)[1].unlink()
    masks(data)[0].with_name(masks(data)[0].name.replace("rater1", "rater2")).symlink_to("../../.git/annex/objects/x")
    config = plain("ms_conv_staple", data, tmp_path, loader_parameters__allow_missing_raters=True)
    with pytest.raises(InputError, match=r"datalad get .*rater2"):
        dataset(config, tmp_path)
