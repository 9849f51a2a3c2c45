"""Loose files by patterns."""

import json

import nibabel
import numpy as np
import pytest

from ivadomed_labelfusion.cli import main
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.prepare import prepare_generic


def save(path, voxels):
    """Write a small image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(voxels, np.diag([1, 1, 2, 1.0])).to_filename(path)


@pytest.fixture
def loose(tmp_path):
    """Two patients, two raters by name, two classes in files of their own, and label maps."""
    rng = np.random.default_rng(0)
    root = tmp_path / "loose"
    for subject in ("pat_01", "pat_02"):
        for contrast in ("T2w", "FLAIR"):
            save(root / subject / f"{contrast}.nii.gz", rng.integers(0, 99, (6, 7, 4)).astype(np.int16))
        for rater in ("anna", "7"):
            maps = rng.integers(0, 3, (6, 7, 4)).astype(np.uint8)
            save(root / subject / f"seg/{rater}.nii.gz", maps)
            for label, value in (("GM", 1), ("WM", 2)):
                save(root / subject / f"masks/{rater}_{label}.nii.gz", (maps == value).astype(np.uint8))
    return root


def test_one_file_per_class_and_label_maps_agree(loose, tmp_path):
    image, label_map = f"{loose}/{{subject}}/{{contrast}}.nii.gz", f"{loose}/{{subject}}/seg/{{rater}}.nii.gz"
    per_class = f"{loose}/{{subject}}/masks/{{rater}}_{{class}}.nii.gz"
    prepare_generic(image, label_map, tmp_path / "maps", classes={"GM": 1, "WM": 2}, contrast="T2w")
    prepare_generic(image, per_class, tmp_path / "files", classes=None, contrast="T2w")
    names = sorted(path.name for path in (tmp_path / "maps/derivatives").rglob("*.nii.gz"))
    assert names == sorted(path.name for path in (tmp_path / "files/derivatives").rglob("*.nii.gz"))
    assert "sub-pat01_T2w_desc-anna_label-GM_seg.nii.gz" in names
    assert "sub-pat01_T2w_desc-rater7_label-WM_seg.nii.gz" in names
    assert len(names) == 8
    for name in names:
        first, second = (next((tmp_path / kind).rglob(name)) for kind in ("maps", "files"))
        assert first.read_bytes() == second.read_bytes()
    assert {p.name for p in (tmp_path / "maps/sub-pat02/anat").glob("*.gz")} == {
        "sub-pat02_T2w.nii.gz", "sub-pat02_FLAIR.nii.gz",
    }  # fmt: skip


def test_relative_patterns_wildcards_and_institutions(loose, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    loose.rename(tmp_path / "deep" / "siteA")
    report = prepare_generic(
        "deep/{institution}/{subject}/FLAIR.nii*", "deep/**/{subject}/seg/{rater}.nii.gz", "out",
        classes={"GM": 1, "WM": 2}, contrast="FLAIR", title="Mine",
    )  # fmt: skip
    assert [subject.source_id for subject in report.subjects] == ["pat_01", "pat_02"]
    assert (tmp_path / "out/participants.tsv").read_text().splitlines()[1] == "sub-pat01\tsiteA\tpat_01"
    assert json.loads((tmp_path / "out/dataset_description.json").read_text())["Name"] == "Mine"


def test_overlapping_classes_and_gaps_are_said(loose, tmp_path):
    for label in ("GM", "WM"):
        save(loose / f"pat_01/masks/anna_{label}.nii.gz", np.ones((6, 7, 4), np.uint8))
    (loose / "pat_02/masks/7_WM.nii.gz").unlink()
    (loose / "pat_03").mkdir()
    save(loose / "pat_03/T2w.nii.gz", np.ones((6, 7, 4), np.int16))
    report = prepare_generic(
        f"{loose}/{{subject}}/T2w.nii.gz", f"{loose}/{{subject}}/masks/{{rater}}_{{class}}.nii.gz", tmp_path / "out",
        classes=None, contrast="T2w",
    )  # fmt: skip
    assert "sub-pat01: GM and WM of anna overlap in 168 voxels." in report.warnings
    assert "sub-pat02: pat_02 lacks WM of rater7." in report.warnings
    assert "sub-pat03: pat_03 has no mask and is left out." in report.warnings


@pytest.mark.parametrize(
    ("image", "mask", "options", "match"),
    [
        ("*/T2w.nii.gz", "{subject}/seg/{rater}.nii.gz", {}, "--image must hold {subject}"),
        ("{subject}/T2w.nii.gz", "{subject}/seg/*.nii.gz", {}, "must hold {rater}"),
        ("{subject}/T2w.nii.gz", "{subject}/seg/{rater}.nii.gz", {"classes": None}, "holds no {class}"),
        ("{subject}/T2w.nii.gz", "{subject}/masks/{rater}_{class}.nii.gz", {}, "must not be given"),
        ("{person}/T2w.nii.gz", "{subject}/seg/{rater}.nii.gz", {}, "got {person}"),
        ("{subject}/T9.nii.gz", "{subject}/seg/{rater}.nii.gz", {}, "--image must match files"),
        ("{subject}/T2w.nii.gz", "{subject}/x/{rater}.nii.gz", {}, "--mask must match files"),
        ("{subject}/T2w.nii.gz", "{subject}/seg/{rater}.nii.gz", {"contrast": "T2 w"}, "BIDS suffix"),
    ],
)
def test_bad_patterns(loose, tmp_path, image, mask, options, match):
    with pytest.raises(InputError, match=match):
        prepare_generic(
            f"{loose}/{image}",
            f"{loose}/{mask}",
            tmp_path / "out",
            **{"classes": {"a": 1}, "contrast": "T2w", **options},
        )
    assert not (tmp_path / "out").exists()


def test_names_that_become_equal(loose, tmp_path):
    (loose / "pat_01").rename(loose / "pat-02")
    with pytest.raises(InputError, match="Two subjects become sub-pat02: 'pat-02' and 'pat_02'"):
        prepare_generic(
            f"{loose}/{{subject}}/T2w.nii.gz", f"{loose}/{{subject}}/seg/{{rater}}.nii.gz", tmp_path / "out",
            classes={"GM": 1, "WM": 2}, contrast="T2w",
        )  # fmt: skip


def test_command_line(loose, tmp_path, capsys):
    arguments = ["prepare", "generic", "--image", f"{loose}/{{subject}}/T2w.nii.gz", "--contrast", "T2w"]
    arguments += ["--mask", f"{loose}/{{subject}}/seg/{{rater}}.nii.gz", str(tmp_path / "out"), "--quiet"]
    # options before OUT, as in the documented examples
    assert main([*arguments[:8], "--class", "GM=1", "--class", "WM=2", *arguments[8:]]) == 0
    assert "Wrote 2 subjects with 2 raters" in capsys.readouterr().out
    for classes, match in (
        (["GM", "WM"], "needs values"), (["GM=0"], "must be NAME or NAME=VALUE"), (["G M"], "must be NAME"),
        (["GM=1", "WM=1"], "each class and value once"),
    ):  # fmt: skip
        assert main([*arguments, *(f"--class={entry}" for entry in classes)]) == 2
        assert match in capsys.readouterr().err
