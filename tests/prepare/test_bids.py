"""The official BIDS validator and ivadomed's own loader accept what the converters write."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from ivadomed_labelfusion.data.bids import find_label_sets
from ivadomed_labelfusion.data.raters import target_suffix
from ivadomed_labelfusion.prepare import prepare_generic, prepare_msseg2016, prepare_scgm


def validate(dataset):
    """Return the validator's issues of severity ``error``, and how many files it looked at."""
    command = Path(sys.executable).with_name("bids-validator-deno")
    if not command.exists():
        command = shutil.which("bids-validator-deno")
    if command is None:
        pytest.skip("bids-validator-deno is not installed")
    result = subprocess.run([command, dataset, "--format", "json"], capture_output=True, text=True, check=False)
    content = json.loads(result.stdout)
    errors = [issue for issue in content["issues"]["issues"] if issue["severity"] == "error"]
    return errors, content["summary"]


@pytest.fixture(scope="module")
def scgm(scgm_source, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "SCGM"
    return out, prepare_scgm(scgm_source, out, roi="raters")


@pytest.fixture(scope="module")
def msseg(msseg_source, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "MSSEG"
    return out, prepare_msseg2016(msseg_source, out, roi="brain")


def test_validator_finds_no_error_in_scgm(scgm):
    errors, summary = validate(scgm[0])
    assert errors == []
    assert len(summary["subjects"]) == 4


def test_validator_finds_no_error_in_msseg(msseg):
    errors, summary = validate(msseg[0])
    assert errors == []
    assert len(summary["subjects"]) == 3


def test_validator_finds_no_error_with_symlinks_and_loose_files(scgm_source, tmp_path):
    prepare_scgm(scgm_source, tmp_path / "linked", symlink=True)
    assert validate(tmp_path / "linked")[0] == []
    prepare_generic(
        f"{scgm_source}/{{subject}}-image.nii.gz", f"{scgm_source}/{{subject}}-mask-r{{rater}}.nii.gz",
        tmp_path / "loose", classes={"GM": 1, "WM": 2}, contrast="T2starw",
    )  # fmt: skip
    assert validate(tmp_path / "loose")[0] == []


def test_the_validator_can_fail(scgm, tmp_path):
    spoilt = shutil.copytree(scgm[0], tmp_path / "spoilt")
    (spoilt / "sub-ucl01/anat/sub-ucl01_T2starw.nii.gz").rename(spoilt / "sub-ucl01/anat/ucl01.nii.gz")
    assert validate(spoilt)[0]


def load_in_ivadomed(root, report, contrast, tmp_path, roi=None):
    """Return ivadomed's own BidsDataset of one contrast, every rater of every class asked for."""
    transforms = pytest.importorskip("ivadomed.transforms")
    from ivadomed.loader.bids_dataframe import BidsDataframe
    from ivadomed.loader.bids_dataset import BidsDataset

    from ivadomed_labelfusion.hosts.ivadomed2.layouts import LenientBids

    suffixes = target_suffix(report.plan.classes, report.plan.raters)
    parameters = {
        "path_data": [str(root)],
        "target_suffix": suffixes,
        "roi_params": {"suffix": roi, "slice_filter_roi": None},
        "extensions": [".nii.gz"],
        "contrast_params": {"contrast_lst": [contrast]},
    }
    # the one repair without which current pybids finds no labels
    with mock.patch("ivadomed.loader.bids_dataframe.pybids", LenientBids()):
        table = BidsDataframe(parameters, str(tmp_path), derivatives=True)
    crop = {"ROICrop" if roi else "CenterCrop": {"size": [32, 40]}}
    dataset = BidsDataset(
        table,
        sorted(name for name in table.df.filename if "_desc-" not in name),
        suffixes,
        {"contrast_lst": [contrast], "balance": {}},
        {"name": "Unet"},
        slice_axis=2,
        transform=[transforms.Compose(crop), transforms.Compose({"NumpyToTensor": {}})],
        roi_params=parameters["roi_params"],
        soft_gt=True,
    )
    dataset.load_filenames()
    return table.df, dataset


@pytest.mark.slow
@pytest.mark.parametrize("roi", [None, "_desc-roi_mask"])
@pytest.mark.parametrize("kind", ["scgm", "msseg"])
def test_ivadomed_loads_the_dataset(scgm, msseg, tmp_path, kind, roi, digest):
    source, report = scgm if kind == "scgm" else msseg
    root = shutil.copytree(source, tmp_path / "data")
    contrast = report.plan.subjects[0].images[0].contrast
    frame, dataset = load_in_ivadomed(root, report, contrast, tmp_path, roi)
    # ivadomed found every subject with its centre, and every mask
    images = frame[~frame.filename.str.contains("_desc-")]
    assert len(images) == len(report.subjects)
    assert images.institution_id.notna().all()
    suffixes = target_suffix(report.plan.classes, report.plan.raters)
    expected = {path.name for found in find_label_sets(root, suffixes) for row in found.files for path in row}
    assert expected <= set(frame.filename)
    # one sample per slice with labels, of the crop's size, one channel per class
    slices = sum(subject.shape[2] for subject in report.subjects)
    assert 0 < len(dataset) <= slices
    sample = dataset[0]
    assert tuple(sample["input"].shape) == (1, 32, 40)
    assert tuple(np.shape(sample["gt"])) == (len(report.plan.classes), 32, 40)
    # and wrote nothing into it
    assert digest(root) == digest(source)
