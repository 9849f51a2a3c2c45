"""PNG and TIFF files to a dataset that trains, is tested and evaluated as any other."""

import json

import nibabel
import numpy as np
import pytest
from PIL import Image

from ivadomed_labelfusion.cli import main
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.prepare import prepare_generic
from tests.builders.tiny import make_config, write_config

SHAPE = (24, 20)
PIXEL = 0.0005


def save(path, pixels, **options):
    """Write a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def truth(subject, rater):
    """Return what a rater marks, ``(height, width)`` bool; off the middle, so that no flip goes unseen."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(rows - 9 - subject % 2, columns - 12) < 3 + rater * 0.7


@pytest.fixture
def cells(tmp_path):
    """Six pictures, three experts; masks as gray PNG, RGB PNG and 1-bit TIFF, all 0 and 255 to a viewer."""
    rng = np.random.default_rng(0)
    for subject in range(1, 7):
        image = (60 + 120 * truth(subject, 3) + rng.normal(0, 8, SHAPE)).clip(0, 255).astype(np.uint8)
        save(tmp_path / f"cells/images/{subject:02d}.png", image)
        gray = [255 * truth(subject, rater).astype(np.uint8) for rater in (1, 2, 3)]
        save(tmp_path / f"cells/labels/expert_1/{subject:02d}.png", gray[0])
        save(tmp_path / f"cells/labels/expert_2/{subject:02d}.png", np.stack([gray[1]] * 3, -1))
        save(tmp_path / f"cells/labels/expert_3/{subject:02d}.tif", gray[2] > 0)
    return tmp_path / "cells"


def convert(cells, **options):
    """Convert the pictures; return the dataset."""
    settings = {"classes": {"cell": None}, "contrast": "FLUO", "pixel_size": PIXEL, **options}
    out = cells.parent / "data"
    prepare_generic(f"{cells}/images/{{subject}}.*", f"{cells}/labels/expert_{{rater}}/{{subject}}.*", out, **settings)
    return out


def test_pictures_become_volumes_of_one_slice(cells):
    before = {path: path.read_bytes() for path in cells.rglob("*.*")}
    out = convert(cells)
    assert {path: path.read_bytes() for path in cells.rglob("*.*")} == before
    image = nibabel.load(out / "sub-01/anat/sub-01_FLUO.nii.gz")
    assert image.shape == (*SHAPE, 1)
    np.testing.assert_allclose(image.header.get_zooms(), (PIXEL, PIXEL, 1))
    np.testing.assert_array_equal(np.asarray(image.dataobj)[..., 0], np.asarray(Image.open(cells / "images/01.png")))
    for rater in (1, 2, 3):
        path = out / f"derivatives/labels/sub-01/anat/sub-01_FLUO_desc-rater{rater}_label-cell_seg.nii.gz"
        np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj)[..., 0], truth(1, rater))
        sidecar = json.loads(path.with_suffix("").with_suffix(".json").read_text())
        assert sidecar["Parameters"]["SourceFile"].endswith(("01.png", "01.tif"))
        assert all("0 and 255 are read as 0 and 1" in repair for repair in sidecar.get("Repairs", []))
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


def test_label_maps_keep_their_values(cells):
    for path in (cells / "labels").rglob("*.*"):
        path.unlink()
    for subject in range(1, 7):
        for rater in (1, 2):
            maps = truth(subject, rater).astype(np.uint8) * 255
            maps[0, :5] = 128
            save(cells / f"labels/expert_{rater}/{subject:02d}.png", maps)
    out = convert(cells, classes={"cell": 255, "nucleus": 128})
    folder = out / "derivatives/labels/sub-02/anat"
    for label, expected in (("cell", truth(2, 1).sum() - truth(2, 1)[0, :5].sum()), ("nucleus", 5)):
        mask = nibabel.load(folder / f"sub-02_FLUO_desc-rater1_label-{label}_seg.nii.gz").get_fdata()
        assert mask.sum() == expected


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_deep_pictures_and_transparency(cells, depth):
    pixels = np.arange(np.prod(SHAPE), dtype=np.uint32).reshape(SHAPE) % np.iinfo(depth).max
    for path in (cells / "images").glob("*.png"):
        path.unlink()
        save(path.with_suffix(".tiff"), pixels.astype(depth))
    opaque = np.stack([255 * truth(1, 1).astype(np.uint8)] * 3 + [np.full(SHAPE, 255, np.uint8)], -1)
    save(cells / "labels/expert_1/01.png", opaque)
    out = convert(cells)
    np.testing.assert_array_equal(nibabel.load(out / "sub-01/anat/sub-01_FLUO.nii.gz").get_fdata()[..., 0], pixels)
    path = out / "derivatives/labels/sub-01/anat/sub-01_FLUO_desc-rater1_label-cell_seg.nii.gz"
    np.testing.assert_array_equal(nibabel.load(path).get_fdata()[..., 0], truth(1, 1))


def coloured(cells):
    pixels = np.zeros((*SHAPE, 3), np.uint8)
    pixels[..., 1] = 255
    save(cells / "labels/expert_1/01.png", pixels)


def damaged(cells):
    (cells / "images/01.png").write_bytes((cells / "images/01.png").read_bytes()[:60])


def no_picture(cells):
    (cells / "images/01.png").write_text("no picture")


def several(cells):
    pages = [Image.fromarray(np.zeros(SHAPE, np.uint8))] * 2
    (cells / "labels/expert_3/01.tif").unlink()
    pages[0].save(cells / "labels/expert_3/01.tif", save_all=True, append_images=pages[1:])


def another_size(cells):
    save(cells / "labels/expert_1/01.png", np.zeros((10, 10), np.uint8))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (coloured, r"expert_1/01\.png must be a gray picture"),
        (damaged, r"images/01\.png .*damaged"),
        (no_picture, r"images/01\.png is not a picture"),
        (several, r"expert_3/01\.tif must hold one picture, got 2"),
        (another_size, r"expert_1/01\.png must have its image's shape"),
    ],
)
def test_pictures_that_cannot_be_used_are_named(cells, spoil, message):
    spoil(cells)
    with pytest.raises(InputError, match=message):
        convert(cells)
    assert not (cells.parent / "data").exists()


@pytest.mark.parametrize("size", [0, -1, float("nan"), float("inf")])
def test_pixel_sizes_that_are_none(cells, size):
    with pytest.raises(InputError, match="--pixel-size must be a number above 0"):
        convert(cells, pixel_size=size)


def test_pictures_need_a_pixel_size_and_cannot_be_linked(cells, capsys):
    arguments = ["--image", f"{cells}/images/{{subject}}.png", "--class", "cell", "--contrast", "FLUO"]
    arguments += ["--mask", f"{cells}/labels/expert_{{rater}}/{{subject}}.*", str(cells.parent / "data")]
    assert main(["prepare", "generic", *arguments]) == 2
    assert "--pixel-size 0.0005" in capsys.readouterr().err
    assert main(["prepare", "generic", *arguments, "--pixel-size", "0.001", "--symlink"]) == 2
    assert "--symlink needs NIfTI images" in capsys.readouterr().err


def test_pictures_train_and_are_tested_and_evaluated(cells, monkeypatch):
    pytest.importorskip("ivadomed", reason="the extra 'ivadomed' is not installed")
    import sys

    import ivadomed.main
    from loguru import logger

    import ivadomed_labelfusion

    out, model = convert(cells), cells.parent / "model"
    config = make_config(
        "ms_softseg_average",
        out,
        model,
        labels=("cell",),
        contrasts=("FLUO",),
        transformation__Resample={"hspace": PIXEL, "wspace": PIXEL},
        loader_parameters__bids_validate=False,
    )
    path = write_config(cells.parent / "config.json", config)
    ivadomed_labelfusion.enable()
    try:
        for command in (["--train", "-t", "0.1"], ["--test"], ["--segment"]):
            monkeypatch.setattr(sys, "argv", ["ivadomed", *command, "-c", str(path)])
            assert not ivadomed.main.run_main() or command == ["--test"]
    finally:
        ivadomed_labelfusion.disable()
        logger.remove()
    (soft,) = (model / "pred_soft").glob("*.nii.gz")
    assert nibabel.load(soft).shape[:2] == SHAPE
    evaluated = cells.parent / "evaluated"
    arguments = ["--predictions", model / "pred_soft", "--bids", out, "--config", path, "-o", evaluated]
    assert main(["evaluate", *map(str, arguments)]) == 0
    assert (evaluated / "summary.csv").exists()
