"""Crop coverage and regions of interest against scipy's zoom, which ivadomed's Resample is."""

import json

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.prepare import prepare_msseg2016, prepare_scgm
from ivadomed_labelfusion.prepare._coverage import Crop, from_ras, kept_share, roi_around, template_crop, to_ras


def image_of(shape, voxel, axes="RAS"):
    """Return an empty image with a voxel size and orientation."""
    image = nibabel.Nifti1Image(np.zeros(shape, np.uint8), np.diag([*voxel, 1.0]))
    transform = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(tuple(axes))
    )
    return image.as_reoriented(transform)


def test_templates_hold_the_papers_crops():
    assert template_crop("scgm_softseg_average") == Crop((0.25, 0.25), (128, 128))
    assert template_crop("ms_softseg_average") == Crop((1, 1), (160, 124))


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    factor=st.tuples(st.sampled_from([0.5, 1.0, 1.3, 2.0]), st.sampled_from([0.5, 1.0, 1.7, 2.0])),
    size=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    point=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_one_voxel_is_kept_where_the_cropped_zoom_still_shows_it(shape, factor, size, point):
    """Zoom a ramp of coordinates as Resample does, crop it as CenterCrop does, and look for the voxel in it."""
    image = image_of((*shape, 1), (*factor, 2.0))
    position = tuple(int(share * (n - 1)) for share, n in zip(point, shape, strict=True))
    labels = np.zeros((*shape, 1), bool)
    labels[(*position, 0)] = True
    inside = True
    for axis in (0, 1):
        ramp = ndimage.zoom(np.arange(shape[axis], dtype=float), factor[axis], order=1)
        start = round((ramp.size - size[axis]) / 2.0)
        if start <= 0:
            continue
        window = ramp[start : start + size[axis]]
        step = ramp[1] - ramp[0] if ramp.size > 1 else 1
        low, high = window[0] - step / 2, window[-1] + step / 2
        if min(abs(position[axis] - low), abs(position[axis] - high)) < 1e-6:
            return  # on the edge, rounding decides
        inside &= low < position[axis] < high
    assert kept_share(labels, image, Crop((1.0, 1.0), size)) == float(inside)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "PIR", "SRA"])
def test_orientation_does_not_matter(axes):
    rng = np.random.default_rng(0)
    ras = image_of((60, 40, 5), (0.5, 0.8, 3.0))
    labels = rng.random((60, 40, 5)) < 0.2
    crop = Crop((0.5, 0.5), (30, 30))
    other = nibabel.Nifti1Image(labels.astype(np.uint8), ras.affine)
    other = other.as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.io_orientation(ras.affine), nibabel.orientations.axcodes2ornt(tuple(axes))
        )
    )
    stored = np.asanyarray(other.dataobj) > 0
    assert np.array_equal(to_ras(stored, other.affine), labels)
    assert np.array_equal(from_ras(labels, other.affine), stored)
    assert kept_share(stored, other, crop) == kept_share(labels, ras, crop)
    assert 0.1 < kept_share(labels, ras, crop) < 0.9


def test_empty_labels_lose_nothing():
    assert kept_share(np.zeros((8, 8, 2), bool), image_of((8, 8, 2), (1, 1, 1)), Crop((1, 1), (4, 4))) == 1.0


def test_roi_follows_a_centreline_and_fills_gaps():
    image = image_of((40, 40, 5), (1, 1, 5))
    line = np.zeros((40, 40, 5))
    line[10, 12, 1] = 1
    line[20, 12, 3] = 7
    roi = roi_around(line, image, half_width_mm=3)
    assert roi.dtype == np.uint8
    for index, centre in enumerate([10, 10, 15, 20, 20]):
        x, y = np.nonzero(roi[:, :, index])
        assert (x.mean(), y.mean()) == (centre, 12)
        assert len(x) == 49
    with pytest.raises(InputError, match="must not be empty"):
        roi_around(np.zeros((4, 4, 1)), image_of((4, 4, 1), (1, 1, 1)))


@pytest.fixture
def off_centre(scgm_raw):
    """The first subject's cord moved to the left edge of a wide image: 128 pixels of 0.25 mm do not hold it."""
    for path in scgm_raw.glob("site1-sc01*.nii.gz"):
        image = nibabel.load(path)
        voxels = np.pad(np.asanyarray(image.dataobj), ((0, 60), (0, 0), (0, 0)))
        nibabel.Nifti1Image(voxels, image.affine).to_filename(path)
    return scgm_raw


def test_a_loss_is_a_warning_and_the_roi_mends_it(off_centre, tmp_path):
    report = prepare_scgm(off_centre, tmp_path / "plain")
    first, *others = report.subjects
    assert first.kept < 0.7
    assert all(subject.kept == 1 for subject in others)
    text = next(text for text in report.warnings if "sub-ucl01" in text)
    assert "the crop to 128x128 pixels of 0.25x0.25 mm in the middle" in text
    assert f"keeps {100 * first.kept:.2f} %" in text
    with pytest.raises(InputError, match="turned into errors by --strict"):
        prepare_scgm(off_centre, tmp_path / "strict", strict=True)

    report = prepare_scgm(off_centre, tmp_path / "roi", roi="raters", strict=True)
    assert report.subjects[0].kept == 1
    folder = tmp_path / "roi/derivatives/labels/sub-ucl01/anat"
    sidecar = json.loads((folder / "sub-ucl01_T2starw_desc-roi_mask.json").read_text())
    assert sidecar["LabelBased"] is True
    roi = nibabel.load(folder / "sub-ucl01_T2starw_desc-roi_mask.nii.gz")
    assert np.asanyarray(roi.dataobj).any(axis=(0, 1)).all()


def test_roi_around_given_masks(off_centre, tmp_path):
    lines = tmp_path / "lines"
    lines.mkdir()
    for site, name in ((1, "ucl01"), (2, "unf01")):
        mask = nibabel.load(off_centre / f"site{site}-sc01-mask-r1.nii.gz")
        cord = np.asanyarray(mask.dataobj) > 0
        line = np.zeros(cord.shape, np.uint8)
        for index in range(cord.shape[2]):
            line[(*np.rint(ndimage.center_of_mass(cord[:, :, index])).astype(int), index)] = 1
        nibabel.Nifti1Image(line, mask.affine).to_filename(lines / f"{name}.nii.gz")
    roi = str(lines / "{subject}.nii.gz")
    report = prepare_scgm(off_centre, tmp_path / "out", roi=roi, subjects=["ucl01", "unf01"])
    assert [subject.kept for subject in report.subjects] == [1, 1]
    sidecar = tmp_path / "out/derivatives/labels/sub-ucl01/anat/sub-ucl01_T2starw_desc-roi_mask.json"
    assert json.loads(sidecar.read_text())["LabelBased"] is False
    with pytest.raises(InputError, match=r"region of interest: .*zurich01.nii.gz does not exist"):
        prepare_scgm(off_centre, tmp_path / "other", roi=roi)


def test_roi_around_the_brain(msseg_raw, tmp_path):
    report = prepare_msseg2016(msseg_raw, tmp_path / "out", roi="brain")
    assert len(list((tmp_path / "out").rglob("*_desc-roi_mask.nii.gz"))) == len(report.subjects) == 3
    next(msseg_raw.rglob("Brain_Mask.nii.gz")).unlink()
    with pytest.raises(InputError, match="--roi brain needs the download's Brain_Mask"):
        prepare_msseg2016(msseg_raw, tmp_path / "other", roi="brain")
