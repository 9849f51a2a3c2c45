"""Every raw layout gives the same dataset, and the dataset holds what the raw files hold."""

import gzip
import json
import shutil
import zipfile

import nibabel
import numpy as np
import pytest

from ivadomed_labelfusion.data.bids import find_label_sets
from ivadomed_labelfusion.data.raters import target_suffix
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.phantom import generate_msseg2016, generate_scgm
from ivadomed_labelfusion.prepare import prepare_msseg2016, prepare_scgm


def data(path):
    """Return the voxels of an image."""
    return np.asanyarray(nibabel.load(path).dataobj)


def labels(out):
    """Return the path of the labels below ``out`` for ``sub_stem + suffix``."""
    return out / "derivatives" / "labels"


@pytest.fixture(scope="module")
def scgm(scgm_source, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "SCGM"
    return out, prepare_scgm(scgm_source, out)


@pytest.fixture(scope="module")
def msseg(msseg_source, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "MSSEG"
    return out, prepare_msseg2016(msseg_source, out)


def test_scgm_masks_hold_what_the_raters_drew(scgm, scgm_source):
    out, report = scgm
    for site, name in ((1, "ucl"), (2, "unf"), (3, "zurich"), (4, "vanderbilt")):
        image = out / f"sub-{name}01/anat/sub-{name}01_T2starw.nii.gz"
        assert image.read_bytes() == (scgm_source / f"site{site}-sc01-image.nii.gz").read_bytes()
        for rater in (1, 2, 3, 4):
            raw = data(scgm_source / f"site{site}-sc01-mask-r{rater}.nii.gz")
            for label, value in (("GM", 1), ("WM", 2)):
                path = (
                    labels(out) / f"sub-{name}01/anat/sub-{name}01_T2starw_desc-rater{rater}_label-{label}_seg.nii.gz"
                )
                mask = nibabel.load(path)
                assert mask.get_data_dtype() == np.uint8
                assert np.array_equal(np.asanyarray(mask.dataobj), raw == value)
                assert np.allclose(mask.affine, nibabel.load(image).affine)
                volume = (raw == value).sum() * np.prod(mask.header.get_zooms())
                subject = next(s for s in report.subjects if s.name == f"sub-{name}01")
                assert subject.volumes_mm3[label][f"rater{rater}"] == pytest.approx(float(volume), rel=1e-5)


def test_scgm_sidecars_say_what_is_published_and_no_more(scgm):
    out, _ = scgm
    read = {
        name: json.loads((out / f"sub-{name}01/anat/sub-{name}01_T2starw.json").read_text())
        for name in ("ucl", "unf", "zurich", "vanderbilt")
    }
    assert (read["ucl"]["RepetitionTime"], read["ucl"]["EchoTime"], read["ucl"]["FlipAngle"]) == (0.023, 0.005, 7)
    assert (read["unf"]["RepetitionTime"], read["unf"]["FlipAngle"]) == (0.539, 35)
    assert read["unf"]["EchoTimesAveraged"] == [0.00541, 0.01256, 0.01916]
    assert "EchoTime" not in read["unf"]
    for name in ("zurich", "vanderbilt"):
        assert not {"RepetitionTime", "EchoTime", "FlipAngle"} & set(read[name])
    assert "ManufacturersModelName" not in read["vanderbilt"]


def test_scgm_participants_and_label_sidecars(scgm):
    out, _ = scgm
    lines = (out / "participants.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["participant_id", "institution_id", "source_id"]
    assert "sub-zurich01\tzurich\tsite3-sc01" in lines
    assert set(json.loads((out / "participants.json").read_text())) == {"institution_id", "source_id"}
    sidecar = json.loads((labels(out) / "sub-unf01/anat/sub-unf01_T2starw_desc-rater2_label-WM_seg.json").read_text())
    assert sidecar["Raters"] == ["rater2"]
    assert sidecar["Sources"] == ["bids::sub-unf01/anat/sub-unf01_T2starw.nii.gz"]
    assert sidecar["Parameters"] == {"SourceFile": "raw/site2-sc01-mask-r2.nii.gz", "SourceValue": 2}
    assert sidecar["GeneratedBy"]["Version"]


def test_label_sets_are_complete(scgm, msseg):
    out, report = scgm
    suffixes = target_suffix(report.plan.classes, report.plan.raters)
    sets = find_label_sets(out, suffixes)
    assert [found.subject for found in sets] == ["sub-ucl01", "sub-unf01", "sub-vanderbilt01", "sub-zurich01"]
    assert not any(found.missing() for found in sets)
    out, report = msseg
    suffixes = target_suffix(report.plan.classes, report.plan.raters)
    assert len(suffixes[0]) == 7
    assert not any(found.missing() for found in find_label_sets(out, suffixes))


@pytest.mark.parametrize("layout", ["folder", "zip", "zip-folder"])
def test_scgm_layouts_give_the_same_images_and_masks(scgm, tmp_path, layout, digest):
    raw = generate_scgm(tmp_path / "raw", subjects=4, size="tiny", layout=layout, without_masks=2)
    report = prepare_scgm(raw, tmp_path / "out")
    images = {k: v for k, v in digest(tmp_path / "out").items() if k.endswith((".nii.gz", ".tsv"))}
    assert images == {k: v for k, v in digest(scgm[0]).items() if k.endswith((".nii.gz", ".tsv"))}
    assert any("2 subjects without masks" in str(problem) for problem in report.problems)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_scgm_single_zip(scgm, tmp_path, digest):
    raw = generate_scgm(tmp_path / "raw", subjects=4, size="tiny", layout="zip")
    prepare_scgm(next(raw.glob("training*.zip")), tmp_path / "out")
    assert (tmp_path / "out/participants.tsv").read_text() == (scgm[0] / "participants.tsv").read_text()


def test_scgm_any_case_and_uncompressed(scgm, scgm_raw, tmp_path, digest):
    for path in sorted(scgm_raw.glob("site*.nii.gz")):
        plain = path.with_name(path.name.removesuffix(".gz").upper())
        plain.write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    prepare_scgm(scgm_raw, tmp_path / "out")
    for name in ("ucl", "zurich"):
        image = f"sub-{name}01/anat/sub-{name}01_T2starw.nii.gz"
        assert np.array_equal(data(tmp_path / "out" / image), data(scgm[0] / image))
    masks = {k: v for k, v in digest(labels(tmp_path / "out")).items() if k.endswith(".nii.gz")}
    assert masks == {k: v for k, v in digest(labels(scgm[0])).items() if k.endswith(".nii.gz")}


def test_msseg_public_release(msseg, msseg_source):
    out, report = msseg
    folder = msseg_source / "MSSEG-Training/Training/Center_07/Patient_01"
    for contrast, name in (
        ("FLAIR", "FLAIR"),
        ("T1w", "T1"),
        ("ce-gadolinium_T1w", "GADO"),
        ("T2w", "T2"),
        ("PDw", "DP"),
    ):
        image = out / f"sub-c07p01/anat/sub-c07p01_{contrast}.nii.gz"
        assert image.read_bytes() == (folder / f"Preprocessed_Data/{name}_preprocessed.nii.gz").read_bytes()
        sidecar = json.loads(image.with_name(f"sub-c07p01_{contrast}.json").read_text())
        assert sidecar["MagneticFieldStrength"] == 1.5
        assert ("ContrastBolusIngredient" in sidecar) == (name == "GADO")
    for rater in range(1, 8):
        path = labels(out) / f"sub-c07p01/anat/sub-c07p01_FLAIR_desc-rater{rater}_label-lesion_seg.nii.gz"
        assert np.array_equal(data(path), data(folder / f"Masks/ManualSegmentation_{rater}.nii.gz"))
    consensus = labels(out) / "sub-c07p01/anat/sub-c07p01_FLAIR_desc-consensus_label-lesion_seg.nii.gz"
    assert np.array_equal(data(consensus), data(folder / "Masks/Consensus.nii.gz"))
    assert np.array_equal(
        data(labels(out) / "sub-c07p01/anat/sub-c07p01_FLAIR_desc-brain_mask.nii.gz"),
        data(folder / "Masks/Brain_Mask.nii.gz"),
    )
    # labels once per image, on FLAIR alone
    assert not list(out.rglob("*T1w_desc*"))
    assert "sub-c07p01\tcenter07\tCenter_07/Patient_01\ttraining" in (out / "participants.tsv").read_text()
    assert report.subjects[0].raters == [f"rater{number}" for number in range(1, 8)]


@pytest.mark.parametrize("layout", ["public-zip", "older", "older-zip"])
def test_msseg_layouts_give_the_same_voxels(msseg, tmp_path, layout):
    raw = generate_msseg2016(tmp_path / "raw", subjects=3, size="tiny", layout=layout)
    report = prepare_msseg2016(raw, tmp_path / "out")
    names = [subject.name for subject in report.subjects]
    assert len(names) == 3
    older = layout.startswith("older")
    assert any("numbers are not consistent" in text for text in report.warnings) == older
    pairs = zip(names, ("sub-c01p01", "sub-c07p01", "sub-c08p01"), strict=True)
    for name, public in pairs:
        assert name == public or older
        ours = {p.name.replace(name, "x"): data(p) for p in (tmp_path / "out").rglob(f"{name}*.nii.gz")}
        theirs = {p.name.replace(public, "x"): data(p) for p in msseg[0].rglob(f"{public}*.nii.gz")}
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


def test_msseg_any_case(msseg, msseg_raw, tmp_path):
    upper = tmp_path / "upper"
    for path in msseg_raw.rglob("*.nii.gz"):
        relative = path.relative_to(msseg_raw).as_posix().upper().replace(".NII.GZ", ".nii.gz")
        target = upper / relative.replace("MANUAL", "manual")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    report = prepare_msseg2016(upper, tmp_path / "out")
    assert [subject.name for subject in report.subjects] == ["sub-c01p01", "sub-c07p01", "sub-c08p01"]


def test_msseg_testing_part_gets_names_of_its_own(tmp_path):
    raw = generate_msseg2016(tmp_path / "raw", subjects=1, size="tiny", testing=2)
    report = prepare_msseg2016(raw, tmp_path / "out")
    assert [subject.name for subject in report.subjects] == ["sub-c01p01", "sub-c01t01", "sub-c03t01"]
    assert any("1 training and 2 testing" in str(problem) for problem in report.problems)
    report = prepare_msseg2016(raw, tmp_path / "training", subjects=["c??p*"])
    assert [subject.name for subject in report.subjects] == ["sub-c01p01"]
    # nothing is published here about the scanner of centre 03
    sidecar = json.loads((tmp_path / "out/sub-c03t01/anat/sub-c03t01_FLAIR.json").read_text())
    assert "Manufacturer" not in sidecar


def test_msseg_contrasts(msseg_source, tmp_path):
    prepare_msseg2016(msseg_source, tmp_path / "out", contrasts=["FLAIR", "GADO"], subjects=["c01p01"])
    names = {path.name for path in (tmp_path / "out/sub-c01p01/anat").glob("*.nii.gz")}
    assert names == {"sub-c01p01_FLAIR.nii.gz", "sub-c01p01_ce-gadolinium_T1w.nii.gz"}
    with pytest.raises(InputError, match="must hold FLAIR"):
        prepare_msseg2016(msseg_source, tmp_path / "other", contrasts=["T1w"])
    with pytest.raises(InputError, match="got 'T3w'"):
        prepare_msseg2016(msseg_source, tmp_path / "other", contrasts=["FLAIR", "T3w"])
    with pytest.raises(InputError, match="preprocessed, raw, got 'mni'"):
        prepare_msseg2016(msseg_source, tmp_path / "other", space="mni")


def test_folder_of_zips_with_files_beside_them(scgm_source, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    with zipfile.ZipFile(raw / "half.zip", "w") as packed:
        for path in scgm_source.glob("site1*"):
            packed.write(path, f"any/folder/{path.name}")
        packed.writestr("__MACOSX/any/._site1-sc01-image.nii.gz", b"junk")
    for path in scgm_source.glob("site3*"):
        shutil.copy(path, raw)
    report = prepare_scgm(raw, tmp_path / "out")
    assert [subject.name for subject in report.subjects] == ["sub-ucl01", "sub-zurich01"]
