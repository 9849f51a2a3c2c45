"""The phantoms: layouts, geometry, determinism, and that the raters' known habits are in the masks."""

import hashlib
import itertools
import json
import zipfile

import nibabel
import numpy as np
import pytest

from ivadomed_labelfusion.cli import main
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.phantom import generate_msseg2016, generate_scgm
from ivadomed_labelfusion.phantom import msseg2016 as ms
from ivadomed_labelfusion.phantom import scgm as sc


def digest(folder):
    """Return path -> hash of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def parameters(folder):
    """Return the content of phantom.json."""
    return json.loads((folder / "phantom.json").read_text())


def data(path):
    """Return the voxels of an image."""
    return np.asanyarray(nibabel.load(path).dataobj)


@pytest.fixture(scope="module")
def scgm(tmp_path_factory):
    return generate_scgm(tmp_path_factory.mktemp("scgm") / "raw", subjects=8, seed=3, layout="flat")


@pytest.fixture(scope="module")
def msseg(tmp_path_factory):
    return generate_msseg2016(tmp_path_factory.mktemp("ms") / "raw", subjects=3, seed=3)


def test_scgm_flat_layout(scgm):
    names = {path.name for path in scgm.iterdir()}
    for site, number in itertools.product((1, 2, 3, 4), ("01", "02")):
        stem = f"site{site}-sc{number}"
        assert {f"{stem}-image.nii.gz", f"{stem}-levels.txt"} <= names
        assert {f"{stem}-mask-r{rater}.nii.gz" for rater in (1, 2, 3, 4)} <= names
    assert "license.txt" in names


@pytest.mark.parametrize("layout", ["zip", "zip-folder"])
def test_scgm_zip_layouts(tmp_path, layout):
    raw = generate_scgm(tmp_path / "raw", subjects=1, size="tiny", layout=layout, without_masks=1)
    assert sorted(path.name for path in raw.glob("*.zip")) == [f"{sc.TEST}.zip", f"{sc.TRAINING}.zip"]
    with zipfile.ZipFile(raw / f"{sc.TRAINING}.zip") as packed:
        prefix = f"{sc.TRAINING}/" if layout == "zip-folder" else ""
        assert f"{prefix}site1-sc01-mask-r4.nii.gz" in packed.namelist()
        assert packed.testzip() is None
    with zipfile.ZipFile(raw / f"{sc.TEST}.zip") as packed:
        assert not [name for name in packed.namelist() if "mask" in name]
        assert any(name.endswith("site1-sc11-image.nii.gz") for name in packed.namelist())


def test_msseg_older_layout(tmp_path):
    raw = generate_msseg2016(tmp_path / "raw", subjects=1, size="tiny", layout="older")
    subject = next((raw / "TrainingDataset_MSSEG").iterdir())
    assert subject.name[:2] == "01"
    assert subject.name[5:].isalpha()
    assert {path.name for path in subject.iterdir()} == {
        *(f"{name}.nii.gz" for name in ("3DFLAIR", "3DT1", "3DT1GADO", "DP", "T2", "Consensus")),
        *(f"ManualSegmentation_{number}.nii.gz" for number in range(1, 8)),
    }
    other = raw / "Preprocessed_TrainingDataset_MSSEG" / subject.name
    assert (other / "Mask_registered.nii.gz").is_file()
    assert (other / "FLAIR_preprocessed.nii.gz").is_file()


def test_msseg_public_layout_with_testing(tmp_path):
    raw = generate_msseg2016(tmp_path / "raw", subjects=1, size="tiny", layout="public-zip", testing=2)
    with zipfile.ZipFile(raw / "MSSEG-Testing.zip") as packed:
        assert "Testing/Center_03/Patient_01/Raw_Data/GADO.nii.gz" in packed.namelist()
    with zipfile.ZipFile(raw / "MSSEG-Training.zip") as packed:
        assert "Training/Center_01/Patient_01/Masks/ManualSegmentation_7.nii.gz" in packed.namelist()


@pytest.mark.parametrize("generate", [generate_scgm, generate_msseg2016])
def test_equal_seed_equal_bytes(tmp_path, generate):
    first, again, other = (
        digest(generate(tmp_path / name, subjects=1, size="tiny", seed=seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again
    images = [name for name in first if name.endswith("image.nii.gz") or "Raw_Data" in name]
    assert images
    assert all(first[name] != other[name] for name in images)


def test_a_subject_does_not_depend_on_how_many_there_are(tmp_path):
    few = digest(generate_scgm(tmp_path / "few", subjects=1, size="tiny", layout="flat"))
    more = digest(generate_scgm(tmp_path / "more", subjects=3, size="tiny", layout="flat"))
    assert few.items() - {("phantom.json", few["phantom.json"])} <= more.items()


def test_sites_have_their_geometry_and_oblique_grids(scgm):
    for number, site in sc.SITES.items():
        image = nibabel.load(scgm / f"site{number}-sc01-image.nii.gz")
        assert np.allclose(sorted(image.header.get_zooms()), sorted(site["voxel"]), atol=1e-5)
        assert image.shape == site["small"]
        assert "".join(nibabel.aff2axcodes(image.affine)) == site["axes"]
        assert np.abs(nibabel.affines.obliquity(image.affine)).max() > np.deg2rad(0.5)
    assert len({nibabel.load(scgm / f"site{number}-sc01-image.nii.gz").shape[2] for number in sc.SITES}) == 4


def test_full_size_has_the_real_matrix(tmp_path):
    raw = generate_scgm(tmp_path / "raw", subjects=1, size="full", layout="flat")
    assert nibabel.load(raw / "site1-sc01-image.nii.gz").shape == (100, 100, 3)


def test_signal_order_of_t2star(scgm):
    for site in sc.SITES:
        image, truth = (
            data(scgm / f"site{site}-sc01-image.nii.gz"),
            data(scgm / f"phantom_truth/site{site}-sc01-truth.nii.gz"),
        )
        ring = nibabel.load(scgm / f"site{site}-sc01-image.nii.gz")
        gray, white = image[truth == 1].mean(), image[truth == 2].mean()
        assert gray > 1.15 * white
        assert np.percentile(image, 99) > 1.2 * gray  # cerebrospinal fluid is brightest
        assert ring.get_data_dtype() == np.int16


def test_signal_of_lesions_per_contrast(msseg):
    folder = msseg / "MSSEG-Training/Training/Center_08/Patient_01"
    truth = data(msseg / "phantom_truth/Center_08_Patient_01-truth.nii.gz") > 0
    brain = (data(folder / "Masks/Brain_Mask.nii.gz") > 0) & ~truth
    mean = {
        contrast: (image[truth].mean(), np.median(image[brain]))
        for contrast in ms.CONTRASTS
        for image in [data(folder / f"Preprocessed_Data/{contrast}_preprocessed.nii.gz")]
    }
    for contrast in ("FLAIR", "T2", "DP"):
        assert mean[contrast][0] > 1.2 * mean[contrast][1], contrast
    assert mean["T1"][0] < 0.85 * mean["T1"][1]


def test_preprocessed_images_share_the_flair_grid_and_raw_ones_do_not(msseg):
    folder = msseg / "MSSEG-Training/Training/Center_01/Patient_01"
    flair = nibabel.load(folder / "Raw_Data/FLAIR.nii.gz")
    for contrast in ms.CONTRASTS:
        same = nibabel.load(folder / f"Preprocessed_Data/{contrast}_preprocessed.nii.gz")
        assert same.shape == flair.shape
        assert np.allclose(same.affine, flair.affine)
        if contrast != "FLAIR":
            assert nibabel.load(folder / f"Raw_Data/{contrast}.nii.gz").shape != flair.shape


@pytest.mark.parametrize(("label", "value"), [("GM", 1), ("WM", 2)])
def test_saved_agreement_is_that_of_the_files(scgm, label, value):
    for stem, entry in parameters(scgm)["truth"].items():
        truth = data(scgm / entry["file"]) == value
        for rater in (1, 4):
            mask = data(scgm / f"{stem}-mask-r{rater}.nii.gz") == value
            saved = entry["raters"][str(rater)][label]
            assert saved["sensitivity"] == pytest.approx((mask & truth).sum() / truth.sum())
            assert saved["dice"] == pytest.approx(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
            assert saved["specificity"] == pytest.approx((~mask & ~truth).sum() / (~truth).sum())


def test_cord_bias_is_recovered_from_the_area(scgm):
    """For an ellipse of axis ratio 1.56, area grows by perimeter times bias, and perimeter = 3.72 sqrt(area)."""
    habits = parameters(scgm)["raters"]
    for rater in habits:
        measured = []
        for stem in parameters(scgm)["truth"]:
            image = nibabel.load(scgm / f"{stem}-mask-r{rater['rater']}.nii.gz")
            pixel = np.prod(image.header.get_zooms()[:2])
            drawn = (np.asanyarray(image.dataobj) > 0).sum() * pixel / image.shape[2]
            true = (data(scgm / f"phantom_truth/{stem}-truth.nii.gz") > 0).sum() * pixel / image.shape[2]
            measured.append((drawn - true) / (3.72 * np.sqrt(true)))
        assert np.mean(measured) == pytest.approx(rater["cord_bias_mm"], abs=0.05)


def test_missed_lesions_are_missing_and_others_are_drawn(msseg):
    seen = 0
    content = parameters(msseg)
    for name, entry in content["truth"].items():
        folder = msseg / "MSSEG-Training/Training" / name / "Masks"
        truth = nibabel.load(msseg / entry["file"])
        centres = np.array([lesion["centre_mm"] for lesion in entry["lesions"]])
        radii = np.array([lesion["radius_mm"] for lesion in entry["lesions"]])
        voxels = np.rint(nibabel.affines.apply_affine(np.linalg.inv(truth.affine), centres)).astype(int)
        distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1) - radii[:, None] - radii[None]
        np.fill_diagonal(distance, np.inf)
        for rater, events in entry["raters"].items():
            mask = data(folder / f"ManualSegmentation_{rater}.nii.gz")
            for index in np.flatnonzero(distance.min(axis=1) > 6):
                position = tuple(voxels[index])
                if not all(0 <= p < n for p, n in zip(position, mask.shape, strict=True)):
                    continue
                if index in events["missed"]:
                    assert mask[position] == 0
                    assert radii[index] < content["small_lesion_radius_mm"]
                    seen += 1
                elif radii[index] > 5 and data(msseg / entry["file"])[position]:
                    assert mask[position] == 1
                    seen += 1
    assert seen > 10


def test_staple_recovers_the_raters_sensitivity(msseg):
    """SimpleITK's STAPLE, told nothing, ranks the raters as the saved truth does and comes near their sensitivity."""
    sitk = pytest.importorskip("SimpleITK")

    entry = parameters(msseg)["truth"]["Center_08/Patient_01"]
    folder = msseg / "MSSEG-Training/Training/Center_08/Patient_01/Masks"
    masks = [
        sitk.ReadImage(str(folder / f"ManualSegmentation_{number}.nii.gz"), sitk.sitkUInt8) for number in range(1, 8)
    ]
    staple = sitk.STAPLEImageFilter()
    staple.SetForegroundValue(1)
    staple.Execute(masks)
    estimated = np.array(staple.GetSensitivity())
    saved = np.array([entry["raters"][str(number)]["lesion"]["sensitivity"] for number in range(1, 8)])
    assert np.corrcoef(estimated, saved)[0, 1] > 0.95
    # STAPLE's truth is larger than the real one, since all raters err at the boundary: it underestimates sensitivity
    assert np.abs(estimated - saved).max() < 0.25


def test_missing_rater_and_float_masks(tmp_path):
    raw = generate_scgm(tmp_path / "s", subjects=2, size="tiny", layout="flat", missing_rater=True, float_masks=True)
    assert not (raw / "site2-sc01-mask-r4.nii.gz").exists()
    assert parameters(raw)["truth"]["site2-sc01"]["missing_raters"] == [4]
    values = np.unique(data(raw / "site1-sc01-mask-r1.nii.gz"))
    assert np.allclose(values, [0, 0.2, 1, 2])
    raw = generate_msseg2016(tmp_path / "m", subjects=2, size="tiny", missing_rater=True, float_masks=True)
    masks = raw / "MSSEG-Training/Training/Center_07/Patient_01/Masks"
    assert not (masks / "ManualSegmentation_7.nii.gz").exists()
    first = data(raw / "MSSEG-Training/Training/Center_01/Patient_01/Masks/ManualSegmentation_1.nii.gz")
    assert np.allclose(np.unique(first), [0, 0.2, 1])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"subjects": 0}, "at least 1, got 0"),
        ({"size": "huge"}, "small.*got 'huge'"),
        ({"layout": "rar"}, "got 'rar'"),
    ],
)
@pytest.mark.parametrize("generate", [generate_scgm, generate_msseg2016])
def test_bad_arguments(tmp_path, generate, arguments, text):
    with pytest.raises(InputError, match=text):
        generate(tmp_path / "raw", **arguments)
    assert not (tmp_path / "raw").exists()


def test_an_existing_folder_is_not_touched(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/mine.txt").write_text("mine")
    with pytest.raises(InputError, match="must not exist or be empty"):
        generate_scgm(tmp_path / "raw", subjects=1, size="tiny")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine.txt"]


def test_command_line(tmp_path, capsys):
    assert main(["phantom", "scgm", str(tmp_path / "raw"), "--subjects", "1", "--size", "tiny", "--layout", "zip"]) == 0
    assert "prepare scgm" in capsys.readouterr().out
    assert main(["phantom", "scgm", str(tmp_path / "raw"), "--subjects", "1"]) == 2
    assert "Choose another folder" in capsys.readouterr().err
