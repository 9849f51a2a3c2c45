"""PNG and TIFF pictures as ivadomed's microscopy has them, without ``prepare``, with several raters."""

import json

import nibabel
import numpy as np
import pandas
import pytest
from PIL import Image

from tests.builders.tiny import make_config, suffix, write_config

SHAPE = (24, 20)
RATERS = (1, 2, 3)


def marked(number, rater):
    """Return what a rater marks, ``(height, width)`` bool; off the middle, so that no flip goes unseen."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(rows - 9 - number % 2, columns - 12) < 2 + rater


def make_pictures(root, extension, *, is_colour=False):
    """Write a BIDS dataset of pictures, 8 bit, masks of 0 and 255, pixels of 1 mm."""
    rng = np.random.default_rng(0)
    root.mkdir()
    (root / "dataset_description.json").write_text(json.dumps({"Name": "cells", "BIDSVersion": "1.9.0"}))
    participants, samples = ["participant_id"], ["sample_id\tparticipant_id\tsample_type"]
    for number in range(1, 6):
        subject = f"sub-{number:02d}"
        stem = f"{subject}_sample-1_BF"
        folder, labels = root / subject / "micr", root / "derivatives/labels" / subject / "micr"
        folder.mkdir(parents=True)
        labels.mkdir(parents=True)
        image = (60 + 120 * marked(number, 2) + rng.normal(0, 8, SHAPE)).clip(0, 255)
        save(folder / f"{stem}.{extension}", image, is_colour)
        (folder / f"{stem}.json").write_text(json.dumps({"PixelSize": [1, 1], "PixelSizeUnits": "mm"}))
        for rater in RATERS:
            save(labels / f"{stem}{suffix(rater, 'cell')}.{extension}", 255.0 * marked(number, rater), is_colour)
        participants.append(subject)
        samples.append(f"sample-1\t{subject}\ttissue")
    (root / "participants.tsv").write_text("\n".join(participants) + "\n")
    (root / "samples.tsv").write_text("\n".join(samples) + "\n")
    description = {"Name": "labels", "BIDSVersion": "1.9.0", "GeneratedBy": [{"Name": "tests"}]}
    (root / "derivatives/dataset_description.json").write_text(json.dumps(description))
    return root


def save(path, values, is_colour):
    """Write an 8-bit picture, gray or with equal channels."""
    pixels = np.asarray(values, dtype=np.uint8)
    Image.fromarray(np.stack([pixels] * 3, -1) if is_colour else pixels).save(path)


@pytest.mark.parametrize(
    ("template", "extension", "is_colour"),
    [
        ("ms_softseg_average", "png", False),
        ("ms_conv_staple", "png", True),
        ("ms_conv_random", "tif", False),
    ],
)
def test_pictures_of_several_raters_train_test_and_segment(ivadomed, tmp_path, template, extension, is_colour):
    data = make_pictures(tmp_path / "data", extension, is_colour=is_colour)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    config = make_config(template, data, tmp_path / "out", labels=("cell",), contrasts=("BF",), crop=SHAPE, epochs=1)
    config["loader_parameters"].update(extensions=[f".{extension}"], bids_validate=False)
    path, out = write_config(tmp_path / "config.json", config), tmp_path / "out"
    assert not isinstance(ivadomed("--train", "-c", path, "-t", "0.25"), int)
    ivadomed("--test", "-c", path)
    results = pandas.read_csv(out / "results_eval/evaluation_3Dmetrics.csv")
    (stem,) = results["image_id"]
    number = int(stem[4:6])
    # of three nested masks, STAPLE's and the majority's consensus is the middle one
    assert results["vol_gt_class0"][0] == marked(number, 2).sum()
    assert np.isfinite(results["ir_dice_cell"]).all()
    for fused in (out / "fused_labels").rglob("*_desc-average_*.nii.gz"):
        average = np.squeeze(nibabel.load(fused).get_fdata())
        expected = np.mean([marked(int(fused.name[4:6]), rater) for rater in RATERS], axis=0)
        np.testing.assert_allclose(average, expected, atol=1e-3)
    assert any((out / "fused_labels").rglob("*_desc-average_*")) == (template == "ms_softseg_average")
    ivadomed("--segment", "-c", path)
    assert len(list((out / "pred_masks").glob("*_class-0_pred.nii.gz"))) == 5
    after = {
        path: path.read_bytes() for path in data.rglob("*") if path.is_file() and not path.name.endswith(".nii.gz")
    }
    assert after == before
