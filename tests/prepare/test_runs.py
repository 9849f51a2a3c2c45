"""Reruns, interruptions, overwriting, links, processes, plans, and registration."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.processing import resample_from_to

from ivadomed_labelfusion.cli import main
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.phantom import generate_msseg2016
from ivadomed_labelfusion.prepare import prepare_msseg2016, prepare_scgm


def test_a_rerun_changes_no_byte(scgm_source, tmp_path, digest):
    prepare_scgm(scgm_source, tmp_path / "out")
    first = digest(tmp_path / "out")
    prepare_scgm(scgm_source, tmp_path / "out", overwrite=True)
    assert digest(tmp_path / "out") == first
    prepare_scgm(scgm_source, tmp_path / "again", jobs=2)
    assert digest(tmp_path / "again") == first


def test_raw_data_are_never_changed(scgm_source, tmp_path, digest):
    before = digest(scgm_source)
    prepare_scgm(scgm_source, tmp_path / "out", roi="raters")
    assert digest(scgm_source) == before
    with pytest.raises(InputError, match="OUT must lie outside of RAW"):
        prepare_scgm(scgm_source, scgm_source / "out")
    with pytest.raises(InputError, match="OUT must lie outside of RAW"):
        prepare_scgm(scgm_source, scgm_source, overwrite=True)


def test_overwrite_replaces_only_what_this_command_wrote(scgm_source, tmp_path):
    out = tmp_path / "out"
    prepare_scgm(scgm_source, out)
    with pytest.raises(InputError, match="Add --overwrite"):
        prepare_scgm(scgm_source, out)
    prepare_scgm(scgm_source, out, subjects=["ucl01"], overwrite=True)
    assert [path.name for path in out.glob("sub-*")] == ["sub-ucl01"]
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="was not written by ivadomed_labelfusion and is not replaced"):
        prepare_scgm(scgm_source, other, overwrite=True)
    assert (other / "thesis.txt").exists()


def test_a_failed_overwrite_leaves_the_old_dataset(scgm_raw, tmp_path, digest):
    prepare_scgm(scgm_raw, tmp_path / "out")
    before = digest(tmp_path / "out")
    (scgm_raw / "site3-sc01-mask-r1.nii.gz").write_bytes(b"damaged")
    with pytest.raises(InputError):
        prepare_scgm(scgm_raw, tmp_path / "out", overwrite=True)
    assert digest(tmp_path / "out") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_half_dataset(tmp_path, sent):
    """Stop the real command in the middle of a conversion with registration."""
    pytest.importorskip("SimpleITK")
    raw = generate_msseg2016(tmp_path / "raw", subjects=6, size="tiny")
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "ivadomed_labelfusion",
        "prepare",
        "msseg2016",
        str(raw),
        str(out),
        "--space",
        "raw",
    ]
    partial = tmp_path / ".partial-out"
    for _ in range(5):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while (
            not (partial.exists() and any(partial.iterdir())) and process.poll() is None and time.monotonic() < deadline
        ):
            time.sleep(0.005)
        process.send_signal(sent)
        process.communicate(timeout=60)
        if process.returncode != 0:
            break
        # on a busy machine the conversion may be done before the signal arrives
        shutil.rmtree(out)
    assert not out.exists()
    assert partial.exists() == (sent == signal.SIGKILL)
    assert process.returncode == (130 if sent == signal.SIGINT else -9)
    # the next run clears what a killed one left
    prepare_msseg2016(raw, out, subjects=["c01p01"])
    assert out.exists()
    assert not partial.exists()


def test_symlinks(scgm_raw, scgm_source, tmp_path):
    prepare_scgm(scgm_raw, tmp_path / "out", symlink=True)
    link = tmp_path / "out/sub-ucl01/anat/sub-ucl01_T2starw.nii.gz"
    assert link.is_symlink()
    assert os.path.samefile(link, scgm_raw / "site1-sc01-image.nii.gz")
    label = next((tmp_path / "out/derivatives").rglob("*.nii.gz"))
    assert not label.is_symlink()


def test_symlinks_need_an_unpacked_folder(tmp_path):
    assert main(["phantom", "scgm", str(tmp_path / "raw"), "--subjects", "1", "--size", "tiny", "--layout", "zip"]) == 0
    with pytest.raises(InputError, match="--symlink needs an unpacked folder"):
        prepare_scgm(tmp_path / "raw", tmp_path / "out", symlink=True)


def test_dry_run_prints_the_plan_and_writes_nothing(scgm_raw, tmp_path, capsys):
    (scgm_raw / "site2-sc01-mask-r3.nii.gz").unlink()
    assert main(["prepare", "scgm", str(scgm_raw), str(tmp_path / "out"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "sub-vanderbilt01" in printed
    assert "1 2 4" in printed
    assert "lacks the masks of rater3" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_closing_summary(scgm_source, tmp_path, capsys):
    assert main(["prepare", "scgm", str(scgm_source), str(tmp_path / "out"), "--quiet"]) == 0
    captured = capsys.readouterr()
    report = prepare_scgm(scgm_source, tmp_path / "again")
    first = report.subjects[0]
    assert f"{first.volumes_mm3['GM']['rater1'] / 1000:.3g}" in captured.out
    assert f"{np.mean(list(first.dice['GM'].values())):.3f}" in captured.out
    assert "Wrote 4 subjects with 4 raters" in captured.out
    assert "warnings: 0" in captured.out
    assert captured.err == ""


def test_bad_input_gives_one_message_and_status_2(tmp_path, capsys):
    assert main(["prepare", "scgm", str(tmp_path / "nothing"), str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("ivadomed_labelfusion prepare: RAW must be a zip")
    assert main(["prepare", "scgm", str(tmp_path), str(tmp_path.parent / "x"), "--jobs", "0"]) == 2
    assert "jobs must be at least 1" in capsys.readouterr().err


def test_unknown_subject(scgm_source, tmp_path):
    with pytest.raises(InputError, match=r"got ucl99\. There are: sub-ucl01, sub-unf01"):
        prepare_scgm(scgm_source, tmp_path / "out", subjects=["ucl01", "ucl99"])


def test_data_prep_scripts(scgm_source, msseg_source, tmp_path):
    root = Path(__file__).resolve().parents[2]
    for script, raw in (("prepare_scgm.py", scgm_source), ("prepare_msseg2016.py", msseg_source)):
        result = subprocess.run(
            [sys.executable, root / "data_prep" / script, raw, tmp_path / script],
            capture_output=True, text=True, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip
        assert "Wrote" in result.stdout
        assert (tmp_path / script / "participants.tsv").exists()


def test_raw_images_are_registered_to_flair(tmp_path, digest):
    """The phantom's known motion is found again: T1 in slices of 4.5 mm within 2 mm, T2 in 6.5 mm within 3 mm."""
    pytest.importorskip("SimpleITK")
    raw = generate_msseg2016(tmp_path / "raw", subjects=1, size="small")
    prepare_msseg2016(raw, tmp_path / "out", space="raw", contrasts=["FLAIR", "T1w", "T2w"])
    truth = json.loads((raw / "phantom.json").read_text())["truth"]["Center_01/Patient_01"]["motion"]
    anat = tmp_path / "out/sub-c01p01/anat"
    flair = nibabel.load(anat / "sub-c01p01_FLAIR.nii.gz")
    points = np.random.default_rng(0).uniform([-50, -60, -15], [50, 60, 35], (200, 3))
    for contrast, name, limit in (("T1w", "T1", 2), ("T2w", "T2", 3)):
        image = nibabel.load(anat / f"sub-c01p01_{contrast}.nii.gz")
        assert image.shape == flair.shape
        assert np.allclose(image.affine, flair.affine)
        how = json.loads((anat / f"sub-c01p01_{contrast}.json").read_text())["Registration"]
        assert how["Reference"] == "bids::sub-c01p01/anat/sub-c01p01_FLAIR.nii.gz"
        difference = np.array(how["MatrixReferenceToImageRAS"]) - np.array(truth[name])
        error = np.linalg.norm(nibabel.affines.apply_affine(difference, points), axis=1)
        assert error.max() < limit, contrast
        moved = np.linalg.norm(nibabel.affines.apply_affine(np.eye(4) - np.array(truth[name]), points), axis=1)
        assert error.max() < 0.5 * moved.max(), contrast
        # the resampled image looks more like the one rendered on the FLAIR grid than without registration
        folder = raw / "MSSEG-Training/Training/Center_01/Patient_01"
        rendered = np.asanyarray(nibabel.load(folder / f"Preprocessed_Data/{name}_preprocessed.nii.gz").dataobj)
        unmoved = resample_from_to(nibabel.load(folder / f"Raw_Data/{name}.nii.gz"), flair, order=1).get_fdata()
        registered = np.asanyarray(image.dataobj)
        brain = (rendered > 0) & (unmoved > 0) & (registered > 0)
        before, after = (np.corrcoef(rendered[brain], each[brain])[0, 1] for each in (unmoved, registered))
        assert 1 - after < 0.6 * (1 - before), (contrast, before, after)
    # masks are never resampled
    mask = anat.parents[1] / "derivatives/labels/sub-c01p01/anat/sub-c01p01_FLAIR_desc-rater3_label-lesion_seg.nii.gz"
    source = raw / "MSSEG-Training/Training/Center_01/Patient_01/Masks/ManualSegmentation_3.nii.gz"
    assert np.array_equal(np.asanyarray(nibabel.load(mask).dataobj), np.asanyarray(nibabel.load(source).dataobj))
    # same input, same bytes
    prepare_msseg2016(raw, tmp_path / "again", space="raw", contrasts=["FLAIR", "T1w"])
    assert digest(tmp_path / "again/sub-c01p01").items() <= digest(tmp_path / "out/sub-c01p01").items()


def test_fused_derivatives_are_what_the_masks_say(scgm_source, msseg_source, tmp_path, capsys):
    """Average and majority by numpy, STAPLE by SimpleITK; the whole dataset appears with them at once."""
    sitk = pytest.importorskip("SimpleITK")

    arguments = ["prepare", "msseg2016", str(msseg_source), str(tmp_path / "ms"), "--quiet"]
    assert main([*arguments, "--fuse", "staple", "average", "majority"]) == 0
    assert "fused by staple, average, majority" in capsys.readouterr().out
    folder = tmp_path / "ms/derivatives/labels/sub-c07p01/anat"
    paths = [folder / f"sub-c07p01_FLAIR_desc-rater{number}_label-lesion_seg.nii.gz" for number in range(1, 8)]
    masks = np.stack([np.asanyarray(nibabel.load(path).dataobj) for path in paths])

    def fused(name):
        return np.asanyarray(nibabel.load(folder / f"sub-c07p01_FLAIR_desc-{name}.nii.gz").dataobj)

    assert np.allclose(fused("average_label-lesion_softseg"), masks.mean(0))
    assert np.array_equal(fused("majority_label-lesion_seg"), masks.sum(0) > 3)
    oracle = sitk.GetArrayFromImage(sitk.STAPLE([sitk.ReadImage(str(path), sitk.sitkUInt8) for path in paths], 1.0))
    assert np.array_equal(fused("staple_label-lesion_seg"), oracle.transpose(2, 1, 0) > 0.5)
    sidecar = json.loads((folder / "sub-c07p01_FLAIR_desc-staple_label-lesion_seg.json").read_text())
    assert sidecar["Raters"] == [f"rater{number}" for number in range(1, 8)]

    prepare_scgm(scgm_source, tmp_path / "scgm", fuse=["average"])
    assert len(list((tmp_path / "scgm").rglob("*_desc-average_label-*_softseg.nii.gz"))) == 8


def test_fusing_with_a_missing_rater_says_so(scgm_raw, tmp_path):
    (scgm_raw / "site2-sc01-mask-r3.nii.gz").unlink()
    report = prepare_scgm(scgm_raw, tmp_path / "out", fuse=["average"])
    assert any("fusion: Fused without all raters: rater3" in str(problem) for problem in report.problems)
    folder = tmp_path / "out/derivatives/labels/sub-unf01/anat"
    sidecar = json.loads((folder / "sub-unf01_T2starw_desc-average_label-GM_softseg.json").read_text())
    assert sidecar["Raters"] == ["rater1", "rater2", "rater4"]


def test_an_unknown_fusion_method_is_refused_before_the_work(scgm_source, tmp_path):
    with pytest.raises(InputError, match="stapel"):
        prepare_scgm(scgm_source, tmp_path / "out", fuse=["stapel"])
    assert list(tmp_path.iterdir()) == []
