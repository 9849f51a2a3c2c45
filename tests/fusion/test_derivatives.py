"""Fused labels of a whole dataset, through the command and from Python."""

import hashlib
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.cli import main
from ivadomed_labelfusion.data.bids import expand_suffixes
from ivadomed_labelfusion.data.fused import write_fused
from ivadomed_labelfusion.data.raters import classes_and_raters
from ivadomed_labelfusion.errors import InputError
from tests.builders.oracle import random_label_maps

SUFFIXES = [[f"_desc-rater{rater}_label-{name}_seg" for rater in (1, 2, 10)] for name in ("GM", "WM")]
SUBJECTS = ("sub-01", "sub-02", "sub-03")


def maps_of(subject):
    return random_label_maps(int(subject[-1]), 3, (9, 8, 5), 3)


def anat(root, subject):
    return Path(root) / "derivatives" / "labels" / subject / "anat"


@pytest.fixture
def dataset(tmp_path):
    """Three subjects, three raters, two classes; three values of one mask stored as float."""
    root = tmp_path / "dataset"
    for subject in SUBJECTS:
        raw = root / subject / "anat" / f"{subject}_T2starw.nii.gz"
        raw.parent.mkdir(parents=True)
        nibabel.Nifti1Image(np.zeros((9, 8, 5), np.float32), np.eye(4)).to_filename(raw)
        anat(root, subject).mkdir(parents=True)
        for labels, rater in zip(maps_of(subject), (1, 2, 10), strict=True):
            for value, name in ((1, "GM"), (2, "WM")):
                path = anat(root, subject) / f"{subject}_T2starw_desc-rater{rater}_label-{name}_seg.nii.gz"
                dtype = np.float64 if rater == 2 else np.uint8
                nibabel.Nifti1Image((labels == value).astype(dtype), np.eye(4)).to_filename(path)
    return root


def content(root):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()}


def load(path):
    return np.asanyarray(nibabel.load(path).dataobj)


def test_files_and_sidecars(dataset):
    before = content(dataset)
    result = write_fused(dataset, SUFFIXES, ["staple", "average"])
    assert len(result.written) == 3 * 2 * 2
    assert {path: digest for path, digest in content(dataset).items() if path in before} == before
    for subject in SUBJECTS:
        folder, maps = anat(dataset, subject), maps_of(subject)
        expected = fusion.multilabel_staple(maps)
        for value, name in ((1, "GM"), (2, "WM")):
            hard = nibabel.load(folder / f"{subject}_T2starw_desc-staple_label-{name}_seg.nii.gz")
            assert hard.get_data_dtype() == np.uint8
            np.testing.assert_array_equal(np.asanyarray(hard.dataobj), expected.labels() == value)
            soft = nibabel.load(folder / f"{subject}_T2starw_desc-average_label-{name}_softseg.nii.gz")
            assert soft.get_data_dtype() == np.float32
            np.testing.assert_array_equal(np.asanyarray(soft.dataobj), fusion.average(maps == value))
    sidecar = json.loads((anat(dataset, "sub-02") / "sub-02_T2starw_desc-staple_label-WM_seg.json").read_text())
    assert sidecar["Label"] == "WM"
    assert sidecar["Raters"] == ["rater1", "rater2", "rater10"]
    assert sidecar["Method"] == "staple"
    assert sidecar["Parameters"] == {"multiclass": "joint"}
    assert sidecar["GeneratedBy"] == {"Name": "ivadomed_labelfusion", "Version": __version__}
    assert sidecar["Converged"] is True
    for uri, digest in zip(sidecar["Sources"], sidecar["SourcesSHA256"], strict=True):
        assert uri.startswith("bids::derivatives/labels/sub-02/anat/sub-02_T2starw_desc-rater")
        assert hashlib.sha256((dataset / uri.removeprefix("bids::")).read_bytes()).hexdigest() == digest
    expected = fusion.multilabel_staple(maps_of("sub-02"))
    fused, mask = expected.labels() == 2, maps_of("sub-02")[1] == 2
    rater = sidecar["RaterPerformance"][1]
    assert rater["Rater"] == "rater2"
    assert rater["Sensitivity"] == pytest.approx(expected.confusion[1, 2, 2])
    assert rater["VolumeVoxels"] == mask.sum()
    assert rater["DiceWithConsensus"] == pytest.approx(2 * (mask & fused).sum() / (mask.sum() + fused.sum()))


def test_a_rerun_changes_nothing(dataset):
    write_fused(dataset, SUFFIXES, ["staple", "average"])
    before = content(dataset)
    times = {path: path.stat().st_mtime_ns for path in before}
    again = write_fused(dataset, SUFFIXES, ["staple", "average"])
    assert again.written == []
    assert len(again.up_to_date) == 12
    assert content(dataset) == before
    assert {path: path.stat().st_mtime_ns for path in before} == times


def test_what_is_out_of_date_is_an_error_without_overwrite(dataset):
    write_fused(dataset, SUFFIXES, "majority")
    path = anat(dataset, "sub-02") / "sub-02_T2starw_desc-rater1_label-GM_seg.nii.gz"
    mask = load(path).copy()
    mask[:] = 0
    nibabel.Nifti1Image(mask, np.eye(4)).to_filename(path)
    before = content(dataset)
    with pytest.raises(InputError, match=r"1 of 3 images.*4 up to date(.|\n)*sub-02.*--overwrite"):
        write_fused(dataset, SUFFIXES, "majority")
    assert content(dataset) == before
    result = write_fused(dataset, SUFFIXES, "majority", overwrite=True)
    assert len(result.written) == 2
    assert len(result.up_to_date) == 4
    with pytest.raises(InputError, match="3 of 3"):
        write_fused(dataset, SUFFIXES, "majority", options={"ties": "foreground"})


def test_an_interrupted_run_is_completed(dataset):
    """A sidecar without its label, or a leftover temporary file, is no reason to stop."""
    write_fused(dataset, SUFFIXES, "staple")
    finished = content(dataset)
    missing = anat(dataset, "sub-01") / "sub-01_T2starw_desc-staple_label-GM_seg.nii.gz"
    missing.unlink()
    assert write_fused(dataset, SUFFIXES, "staple").written == [missing]
    assert content(dataset) == finished


def test_jobs_give_equal_files(dataset, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    write_fused(dataset, SUFFIXES, list(fusion.METHODS), posterior=True)
    seen = []
    write_fused(copy, SUFFIXES, list(fusion.METHODS), posterior=True, jobs=3, progress=lambda *args: seen.append(args))
    relative = [{path.relative_to(root): value for path, value in content(root).items()} for root in (dataset, copy)]
    assert relative[0] == relative[1]
    assert [done for done, _, _ in seen] == [1, 2, 3]
    assert {total for _, total, _ in seen} == {3}


def test_per_class(dataset):
    write_fused(dataset, SUFFIXES, "staple", multiclass="per_class", posterior=True)
    masks = maps_of("sub-01") == 2
    expected = fusion.staple(masks)
    stem = anat(dataset, "sub-01") / "sub-01_T2starw_desc-staple_label-WM"
    np.testing.assert_array_equal(load(f"{stem}_seg.nii.gz"), expected.labels())
    np.testing.assert_array_equal(load(f"{stem}_softseg.nii.gz"), expected.posterior)
    sidecar = json.loads(Path(f"{stem}_seg.json").read_text())
    found = [rater["Specificity"] for rater in sidecar["RaterPerformance"]]
    np.testing.assert_allclose(found, expected.specificity)
    assert sidecar["Prior"] == pytest.approx(masks.mean())


def test_one_class_and_a_plain_list(dataset):
    result = write_fused(dataset, SUFFIXES[0], "staple", subjects=["02"])
    assert [path.name for path in result.written] == ["sub-02_T2starw_desc-staple_label-GM_seg.nii.gz"]
    np.testing.assert_array_equal(load(result.written[0]), fusion.fuse(maps_of("sub-02") == 1))


def test_missing_masks_name_subject_class_and_rater(dataset):
    (anat(dataset, "sub-03") / "sub-03_T2starw_desc-rater2_label-WM_seg.nii.gz").unlink()
    with pytest.raises(InputError, match="sub-03_T2starw: rater2 has no mask of WM"):
        write_fused(dataset, SUFFIXES, "staple")
    result = write_fused(
        dataset, SUFFIXES, "staple", allow_missing=True, options={"weights": [1, 2, 3]}, overwrite=True
    )
    assert "rater2 has no mask of WM" in result.notes["sub-03_T2starw"][0]
    path = anat(dataset, "sub-03") / "sub-03_T2starw_desc-staple_label-GM_seg"
    sidecar = json.loads(path.with_suffix(".json").read_text())
    assert sidecar["Raters"] == ["rater1", "rater10"]
    assert sidecar["Parameters"]["weights"] == [1, 3]
    expected = fusion.multilabel_staple(maps_of("sub-03")[[0, 2]], weights=[1, 3]).labels()
    np.testing.assert_array_equal(load(f"{path}.nii.gz"), expected == 1)


def test_notes_reach_the_sidecar(dataset):
    path = anat(dataset, "sub-01") / "sub-01_T2starw_desc-rater1_label-WM_seg.nii.gz"
    other = anat(dataset, "sub-01") / "sub-01_T2starw_desc-rater1_label-GM_seg.nii.gz"
    nibabel.Nifti1Image((load(path) | load(other)) * np.uint8(255), np.eye(4)).to_filename(path)
    result = write_fused(dataset, SUFFIXES, "majority")
    notes = " ".join(result.notes["sub-01_T2starw"])
    assert "0 and 255 are read as 0 and 1: sub-01_T2starw_desc-rater1_label-WM_seg.nii.gz" in result.coding_note
    assert f"rater1 {load(other).sum()}" in notes
    sidecar = json.loads((anat(dataset, "sub-01") / "sub-01_T2starw_desc-majority_label-GM_seg.json").read_text())
    assert sidecar["Notes"] == [*result.notes["sub-01_T2starw"], result.coding_note]


def test_a_subject_on_another_grid_does_not_stop_the_others(dataset):
    path = anat(dataset, "sub-01") / "sub-01_T2starw_desc-rater2_label-WM_seg.nii.gz"
    nibabel.Nifti1Image(load(path), np.diag([2, 1, 1, 1])).to_filename(path)
    with pytest.raises(InputError, match=r"1 of 3 images(.|\n)*sub-01(.|\n)*mm apart"):
        write_fused(dataset, SUFFIXES, "staple")
    assert len(list(dataset.rglob("*desc-staple*.nii.gz"))) == 4


def test_names():
    assert classes_and_raters(SUFFIXES) == (["GM", "WM"], ["rater1", "rater2", "rater10"])
    for bad, message in (
        ([["_seg-manual"]], "form _desc-<rater>_label-<class>_seg"),
        ([["_desc-a_label-GM_seg", "_desc-b_label-WM_seg"]], "one class"),
        ([["_desc-a_label-GM_seg"], ["_desc-b_label-GM_seg"]], "one list"),
        (
            [["_desc-a_label-GM_seg", "_desc-b_label-GM_seg"], ["_desc-b_label-WM_seg", "_desc-a_label-WM_seg"]],
            "same raters",
        ),
    ):
        with pytest.raises(InputError, match=message):
            classes_and_raters(bad)


def test_wildcards(dataset):
    write_fused(dataset, SUFFIXES, ["staple", "average"])
    assert expand_suffixes(dataset, [["_desc-rater*_label-GM_seg"], SUFFIXES[1]]) == SUFFIXES
    assert expand_suffixes(dataset, [["_desc-*_label-WM_seg"]]) == [SUFFIXES[1]]  # what was fused is no rater
    with pytest.raises(InputError, match="ends with"):
        expand_suffixes(dataset, [["_desc-*_label-CSF_seg"]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": []}, "at least one"),
        ({"methods": "stapel"}, "method must be one of"),
        ({"jobs": 0}, "jobs"),
        ({"options": {"tie": "lowest"}}, "option 'tie'"),
        ({"multiclass": "both"}, "multiclass"),
        ({"target_suffix": [["_desc-rater9_label-GM_seg"]]}, "ends with a suffix"),
    ],
)
def test_bad_arguments(dataset, change, message):
    before = content(dataset)
    with pytest.raises(InputError, match=message):
        write_fused(**{"bids_dir": dataset, "target_suffix": SUFFIXES, "methods": "staple", **change})
    assert content(dataset) == before


def test_command(dataset, capsys):
    args = ["fuse", "--bids", str(dataset), "--method", "staple", "majority", "--jobs", "2"]
    for name in ("GM", "WM"):
        args += ["--target-suffix", f"_desc-rater*_label-{name}_seg"]
    assert main(args) == 0
    assert "12 files written, 0 up to date" in capsys.readouterr().out
    assert main(args) == 0
    assert "0 files written, 12 up to date" in capsys.readouterr().out
    assert main([*args, "--ties", "foreground"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*args, "--ties", "foreground", "--overwrite"]) == 0
    assert "6 files written, 6 up to date" in capsys.readouterr().out
    assert main(["fuse", "--bids", str(dataset)]) == 2
    assert "--target-suffix" in capsys.readouterr().err
    assert main(["fuse", "--bids", str(dataset / "nowhere"), "--target-suffix", *SUFFIXES[0]]) == 2
