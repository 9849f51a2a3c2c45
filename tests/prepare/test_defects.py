"""Every defect a download can have is said, and stops the conversion or not, as documented."""

import shutil

import nibabel
import numpy as np
import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.prepare import prepare_msseg2016, prepare_scgm

MASK = "site2-sc01-mask-r3.nii.gz"


def rewrite(path, change, *, affine=None, dtype=None):
    """Replace an image by ``change(voxels)``, optionally with another affine."""
    image = nibabel.load(path)
    voxels = change(np.asanyarray(image.dataobj))
    new = nibabel.Nifti1Image(
        voxels if dtype is None else voxels.astype(dtype), image.affine if affine is None else affine
    )
    new.to_filename(path)


def refused(raw, out, match, prepare=prepare_scgm, **options):
    """Check that the conversion is refused with a message that matches, and that nothing is left behind."""
    with pytest.raises(InputError, match=match):
        prepare(raw, out, **options)
    assert not out.exists()
    assert not [path.name for path in out.parent.iterdir() if path.name.startswith(".")]


def test_missing_rater(scgm_raw, tmp_path):
    (scgm_raw / MASK).unlink()
    report = prepare_scgm(scgm_raw, tmp_path / "out")
    assert [text for text in report.warnings if text.startswith("sub-unf01: site2-sc01 lacks the masks of rater3")]
    assert next(s for s in report.subjects if s.name == "sub-unf01").raters == ["rater1", "rater2", "rater4"]
    refused(scgm_raw, tmp_path / "strict", "1 warning, turned into errors by --strict", strict=True)
    report = prepare_scgm(scgm_raw, tmp_path / "others", subjects=["ucl*", "site4-sc01"], strict=True)
    assert [subject.name for subject in report.subjects] == ["sub-ucl01", "sub-vanderbilt01"]


def test_missing_image(scgm_raw, tmp_path):
    (scgm_raw / "site2-sc01-image.nii.gz").unlink()
    report = prepare_scgm(scgm_raw, tmp_path / "out")
    assert any("has masks but no image" in text for text in report.warnings)
    assert len(report.subjects) == 3


def test_missing_flair_and_contrast(msseg_raw, tmp_path):
    folder = msseg_raw / "MSSEG-Training/Training/Center_01/Patient_01/Preprocessed_Data"
    (folder / "DP_preprocessed.nii.gz").unlink()
    match = "sub-c01p01: no preprocessed PDw image.*--contrasts FLAIR T1w ce-gadolinium_T1w T2w "
    refused(msseg_raw, tmp_path / "out", match, prepare_msseg2016)
    (folder / "FLAIR_preprocessed.nii.gz").unlink()
    refused(
        msseg_raw,
        tmp_path / "out",
        "no preprocessed FLAIR image. There is a raw one: try --space raw",
        prepare_msseg2016,
    )


def test_no_masks_at_all(msseg_raw, tmp_path):
    for path in msseg_raw.rglob("ManualSegmentation*"):
        path.unlink()
    refused(msseg_raw, tmp_path / "out", "no usable subject of MSSEG-2016", prepare_msseg2016)


def test_shape_mismatch(scgm_raw, tmp_path):
    rewrite(scgm_raw / MASK, lambda voxels: voxels[:-1])
    refused(
        scgm_raw, tmp_path / "out", r"site2-sc01-mask-r3.* must have its image's shape \(48, 48, 4\).*\(47, 48, 4\)"
    )


def test_affine_of_another_space(scgm_raw, tmp_path):
    affine = nibabel.load(scgm_raw / MASK).affine.copy()
    affine[0, 3] += 2.5
    rewrite(scgm_raw / MASK, lambda voxels: voxels, affine=affine)
    refused(scgm_raw, tmp_path / "out", "lies up to 2.5 mm off its image", repair_affine=True)


def test_rounded_affine_can_be_repaired(scgm_raw, tmp_path):
    affine = nibabel.load(scgm_raw / MASK).affine.copy()
    affine[1, 3] += 0.02
    rewrite(scgm_raw / MASK, lambda voxels: voxels, affine=affine)
    refused(scgm_raw, tmp_path / "out", "looks like rounding. Add --repair-affine")
    report = prepare_scgm(scgm_raw, tmp_path / "out", repair_affine=True)
    assert any("differs from its image by 0.02 mm" in text for text in report.warnings)
    folder = tmp_path / "out/derivatives/labels/sub-unf01/anat"
    mask = nibabel.load(folder / "sub-unf01_T2starw_desc-rater3_label-GM_seg.nii.gz")
    image = nibabel.load(tmp_path / "out/sub-unf01/anat/sub-unf01_T2starw.nii.gz")
    assert np.array_equal(mask.affine, image.affine)
    assert "0.02 mm" in (folder / "sub-unf01_T2starw_desc-rater3_label-GM_seg.json").read_text()


def test_mask_stored_in_another_orientation_is_turned(scgm_raw, tmp_path):
    image = nibabel.load(scgm_raw / MASK)
    before = np.asanyarray(image.dataobj)
    nibabel.as_closest_canonical(image).to_filename(tmp_path / "turned.nii.gz")
    shutil.move(tmp_path / "turned.nii.gz", scgm_raw / MASK)
    report = prepare_scgm(scgm_raw, tmp_path / "out")
    assert any("has the axes RAS, its image LPS; it was turned" in str(problem) for problem in report.problems)
    folder = tmp_path / "out/derivatives/labels/sub-unf01/anat"
    gray = np.asanyarray(nibabel.load(folder / "sub-unf01_T2starw_desc-rater3_label-GM_seg.nii.gz").dataobj)
    assert np.array_equal(gray, before == 1)


def test_float_masks_are_rounded_and_said(scgm_raw, tmp_path):
    before = np.asanyarray(nibabel.load(scgm_raw / MASK).dataobj)
    rewrite(scgm_raw / MASK, lambda voxels: np.where(voxels == 0, 0.2, voxels), dtype=np.float32)
    report = prepare_scgm(scgm_raw, tmp_path / "out")
    text = next(text for text in report.warnings if "mask-r3" in text)
    assert "must hold 0, 1, 2, got also 0.2" in text
    assert f"({(before == 0).sum()} voxels); values were rounded" in text
    folder = tmp_path / "out/derivatives/labels/sub-unf01/anat"
    white = np.asanyarray(nibabel.load(folder / "sub-unf01_T2starw_desc-rater3_label-WM_seg.nii.gz").dataobj)
    assert np.array_equal(white, before == 2)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda voxels: voxels * 2, "got also 4"),
        (lambda voxels: -voxels.astype(np.float32), "got also -2, -1"),
        (lambda voxels: np.where(voxels == 1, np.nan, voxels).astype(np.float32), "must hold finite values, got NaN"),
    ],
)
def test_values_that_make_no_mask(scgm_raw, tmp_path, change, match):
    rewrite(scgm_raw / MASK, change)
    refused(scgm_raw, tmp_path / "out", match)


def test_binary_masks_coded_255_and_soft(msseg_raw, tmp_path):
    folder = msseg_raw / "MSSEG-Training/Training/Center_01/Patient_01/Masks"
    before = np.asanyarray(nibabel.load(folder / "ManualSegmentation_1.nii.gz").dataobj)
    rewrite(folder / "ManualSegmentation_1.nii.gz", lambda voxels: voxels * 255, dtype=np.uint8)
    rewrite(folder / "ManualSegmentation_2.nii.gz", lambda voxels: np.where(voxels > 0, 0.7, 0.3), dtype=np.float32)
    report = prepare_msseg2016(msseg_raw, tmp_path / "out")
    notes = [str(problem) for problem in report.problems if problem.level == "note"]
    assert sum("0 and 255 are read as 0 and 1" in text and "ManualSegmentation_1" in text for text in notes) == 1
    assert any("values above 0.5 were taken as 1" in text for text in report.warnings)
    mask = tmp_path / "out/derivatives/labels/sub-c01p01/anat/sub-c01p01_FLAIR_desc-rater1_label-lesion_seg.nii.gz"
    assert np.array_equal(np.asanyarray(nibabel.load(mask).dataobj), before)


def test_empty_mask(scgm_raw, tmp_path):
    rewrite(scgm_raw / MASK, np.zeros_like)
    report = prepare_scgm(scgm_raw, tmp_path / "out")
    assert sum("rater3's mask is empty" in text for text in report.warnings) == 2
    pairs = next(s for s in report.subjects if s.name == "sub-unf01").dice["GM"]
    assert pairs["rater1", "rater3"] == 0
    assert 0 < pairs["rater1", "rater2"] < 1


def test_duplicate_subjects(scgm_raw, tmp_path):
    again = scgm_raw / "copy"
    again.mkdir()
    for path in scgm_raw.glob("site1*.nii.gz"):
        shutil.copy(path, again)
    report = prepare_scgm(scgm_raw, tmp_path / "out")
    assert sum("is a second copy of" in text for text in report.warnings) == 5
    assert len(report.subjects) == 4
    rewrite(again / "site1-sc01-mask-r1.nii.gz", np.zeros_like)
    refused(scgm_raw, tmp_path / "again", "claim to be the same file but differ")


def test_channel_on_another_grid(msseg_raw, tmp_path):
    folder = msseg_raw / "MSSEG-Training/Training/Center_08/Patient_01/Preprocessed_Data"
    rewrite(folder / "T2_preprocessed.nii.gz", lambda voxels: voxels[..., :-1])
    refused(msseg_raw, tmp_path / "out", "T2_preprocessed.*All channels must share the grid", prepare_msseg2016)


def test_unknown_orientation(scgm_raw, tmp_path):
    path = scgm_raw / "site2-sc01-image.nii.gz"
    image = nibabel.load(path)
    image.header["sform_code"] = image.header["qform_code"] = 0
    new = nibabel.Nifti1Image(np.asanyarray(image.dataobj), None, image.header)
    new.header["sform_code"] = new.header["qform_code"] = 0
    new.to_filename(path)
    with pytest.raises(InputError, match="neither qform nor sform"):
        prepare_scgm(scgm_raw, tmp_path / "out")


def test_constant_four_dimensional_and_damaged_images(scgm_raw, tmp_path):
    path = scgm_raw / "site2-sc01-image.nii.gz"
    original = path.read_bytes()
    rewrite(path, np.ones_like)
    report = prepare_scgm(scgm_raw, tmp_path / "constant")
    assert any("is constant (1)" in text for text in report.warnings)
    rewrite(path, lambda voxels: np.stack([voxels, voxels], axis=-1))
    refused(scgm_raw, tmp_path / "out", "must be a 3D image, got shape")
    path.write_bytes(original[: len(original) // 2])
    refused(scgm_raw, tmp_path / "out", "seems to be damaged")
    path.write_bytes(b"no image")
    refused(scgm_raw, tmp_path / "out", "not an image that nibabel can read")


def test_trailing_axis_is_dropped(scgm_raw, tmp_path):
    rewrite(scgm_raw / "site2-sc01-image.nii.gz", lambda voxels: voxels[..., None])
    rewrite(scgm_raw / MASK, lambda voxels: voxels[..., None])
    prepare_scgm(scgm_raw, tmp_path / "out", strict=True)
    assert nibabel.load(tmp_path / "out/sub-unf01/anat/sub-unf01_T2starw.nii.gz").ndim == 3


def test_all_errors_are_listed_at_once(scgm_raw, tmp_path):
    for site in (1, 2):
        rewrite(scgm_raw / f"site{site}-sc01-mask-r1.nii.gz", lambda voxels: voxels[:-1])
    with pytest.raises(InputError) as error:
        prepare_scgm(scgm_raw, tmp_path / "out")
    assert "2 errors" in str(error.value)
    assert "site1-sc01-mask-r1" in str(error.value)
    assert "site2-sc01-mask-r1" in str(error.value)
