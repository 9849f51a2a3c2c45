"""The fuse command over files, end to end."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.cli import main
from tests.builders.oracle import ball_masks, itk_staple, random_label_maps

AFFINE = np.array([[-0.5, 0, 0, 10], [0, 0.6, 0, -20], [0, 0, 5, 30], [0, 0, 0, 1.0]])
REAL = Path(__file__).parents[2] / "../shared/data/open_ms_raters/MSSEG-Training/Training"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three masks r1.nii.gz to r3.nii.gz in the working directory."""
    monkeypatch.chdir(tmp_path)
    for index, mask in enumerate(MASKS):
        nibabel.Nifti1Image(mask, AFFINE).to_filename(f"r{index + 1}.nii.gz")
    return tmp_path


MASKS = ball_masks(1, 3, (16, 15, 9))
FILES = ["r1.nii.gz", "r2.nii.gz", "r3.nii.gz"]


def fuse(*args):
    return main(["fuse", *map(str, args)])


def load(path):
    return np.asanyarray(nibabel.load(path).dataobj)


@pytest.mark.parametrize("method", fusion.METHODS)
def test_every_method(folder, method, capsys):
    assert fuse(*FILES, "--method", method, "-o", "out.nii.gz") == 0
    found = nibabel.load("out.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(found.dataobj), fusion.fuse(MASKS, method))
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-6)
    assert found.get_data_dtype() == (np.float32 if method == "average" else np.uint8)
    output = capsys.readouterr().out
    assert "r2" in output
    assert "out.nii.gz" in output


def test_posterior_report_and_figure(folder):
    nibabel.Nifti1Image(np.random.default_rng(0).random(MASKS[0].shape), AFFINE).to_filename("image.nii.gz")
    outputs = ["--posterior", "p.nii", "--report", "r.json", "--figure", "f.png", "--image", "image.nii.gz"]
    assert fuse(*FILES, "-o", "out.nii", *outputs) == 0
    posterior, sensitivity, _ = itk_staple(MASKS)
    np.testing.assert_allclose(load("p.nii"), posterior, atol=1e-6)
    report = json.loads(Path("r.json").read_text())
    np.testing.assert_allclose(report["sensitivity"], sensitivity, atol=1e-6)
    assert report["method"] == "staple"
    assert report["converged"] is True
    assert report["parameters"]["region"] == "image"
    assert report["masks"] == FILES
    assert report["labels"][0]["raters"][0]["name"] == "r1"
    assert report["labels"][0]["raters"][0]["volume_mm3"] == pytest.approx(MASKS[0].sum() * 1.5)
    assert Path("f.png").read_bytes().startswith(b"\x89PNG")


def test_label_maps(folder):
    maps = random_label_maps(2, 3, (9, 8, 5), 3)
    for index, labels in enumerate(maps):
        nibabel.Nifti1Image(labels.astype(float), AFFINE).to_filename(f"l{index}.nii.gz")
    files = [f"l{index}.nii.gz" for index in range(3)]
    outputs = ["--posterior", "p.nii.gz", "--report", "r.json", "--figure", "f.svg"]
    assert fuse(*files, "-o", "out.nii.gz", *outputs) == 0
    result = fusion.multilabel_staple(maps)
    np.testing.assert_array_equal(load("out.nii.gz"), result.labels())
    np.testing.assert_array_equal(load("p.nii.gz"), np.moveaxis(result.posterior, 0, -1))
    report = json.loads(Path("r.json").read_text())
    assert report["label_values"] == [0, 1, 2]
    assert [entry["label"] for entry in report["labels"]] == [1, 2]
    assert fuse(*files, "--stream", "-o", "s.nii.gz", "--posterior", "sp.nii.gz") == 0
    np.testing.assert_array_equal(load("s.nii.gz"), load("out.nii.gz"))
    np.testing.assert_array_equal(load("sp.nii.gz"), load("p.nii.gz"))
    assert fuse(*files, "-o", "average.nii.gz", "--method", "average") == 2


@pytest.mark.parametrize("region", ["image", "union", "box", "region.nii.gz"])
def test_streaming_gives_the_same_files(folder, region, monkeypatch):
    from ivadomed_labelfusion.fusion import source

    monkeypatch.setattr(source, "SLAB_VOXELS", 16 * 15 * 2)
    inside = np.zeros(MASKS[0].shape, np.uint8)
    inside[3:12, 2:13, 2:7] = 1
    nibabel.Nifti1Image(inside, AFFINE).to_filename("region.nii.gz")
    margin = ["--margin", "1"] if region == "box" else []
    for name, extra in (("a", []), ("b", ["--stream"])):
        outputs = ["-o", f"{name}.nii.gz", "--posterior", f"{name}p.nii.gz", "--report", f"{name}.json"]
        assert fuse(*FILES, *outputs, "--region", region, *margin, *extra) == 0
    for suffix in (".nii.gz", "p.nii.gz"):
        np.testing.assert_array_equal(load(f"b{suffix}"), load(f"a{suffix}"))
    assert Path("a.json").read_text() == Path("b.json").read_text()


def test_parameters_reach_the_engine(folder):
    assert fuse(*FILES, "-o", "a.nii", "--weights", 1, 3, 1, "--max-iter", 2, "--confidence-weight", 0.5) == 0
    expected = fusion.staple(MASKS, weights=[1, 3, 1], max_iter=2, confidence_weight=0.5)
    np.testing.assert_array_equal(load("a.nii"), expected.labels())
    assert fuse("r1.nii.gz", "r2.nii.gz", "-o", "b.nii", "--method", "majority", "--ties", "foreground") == 0
    np.testing.assert_array_equal(load("b.nii"), MASKS[0] | MASKS[1])


def test_soft_masks_and_255(folder, capsys):
    for index, mask in enumerate(MASKS):
        nibabel.Nifti1Image(mask * np.uint8(255), AFFINE).to_filename(f"high{index}.nii")
        nibabel.Nifti1Image((mask * 0.25).astype(np.float32), AFFINE).to_filename(f"soft{index}.nii")
    assert fuse("high0.nii", "high1.nii", "high2.nii", "-o", "high.nii") == 0
    assert capsys.readouterr().err.count("0 and 255 are read as 0 and 1") == 1
    np.testing.assert_array_equal(load("high.nii"), fusion.fuse(MASKS))
    soft = ["soft0.nii", "soft1.nii", "soft2.nii"]
    assert fuse(*soft, "-o", "soft.nii", "--method", "average") == 0
    np.testing.assert_allclose(load("soft.nii"), MASKS.mean(axis=0) / 4, atol=1e-7)
    assert fuse(*soft, "-o", "slabs.nii", "--method", "average", "--stream") == 0
    np.testing.assert_array_equal(load("slabs.nii"), load("soft.nii"))
    assert fuse(*soft, "-o", "no.nii") == 2
    assert "soft2" in capsys.readouterr().err or not Path("no.nii").exists()


@pytest.mark.parametrize("values", [(1, 2, 1), (255, 1, 2), (2, 2, 2), (1, 9, 5)])
def test_a_lone_class_number_beside_masks_is_refused(folder, capsys, values):
    for index, (mask, value) in enumerate(zip(MASKS, values, strict=True)):
        nibabel.Nifti1Image(mask * np.uint8(value), AFFINE).to_filename(f"odd{index}.nii")
    odd = next(index for index, value in enumerate(values) if 2 <= value <= 9)
    assert fuse("odd0.nii", "odd1.nii", "odd2.nii", "-o", "no.nii") == 2
    assert f"odd{odd}.nii" in capsys.readouterr().err
    assert not Path("no.nii").exists()


def test_pictures_are_fused_with_and_without_slabs(folder):
    from PIL import Image

    for index, mask in enumerate(MASKS):
        Image.fromarray(mask[:, :, 4].astype(np.uint8) * 255).save(f"r{index}.png")
    for extra in ([], ["--stream"]):
        assert fuse("r0.png", "r1.png", "r2.png", "-o", "out.nii", "--overwrite", *extra) == 0
        np.testing.assert_array_equal(load("out.nii")[..., 0], fusion.fuse(MASKS[..., 4]))


def test_two_dimensional_masks(folder):
    for index, mask in enumerate(MASKS):
        nibabel.Nifti1Image(mask[:, :, 4], AFFINE).to_filename(f"flat{index}.nii")
    assert fuse("flat0.nii", "flat1.nii", "flat2.nii", "-o", "flat.nii", "--figure", "flat.png") == 0
    np.testing.assert_array_equal(load("flat.nii"), fusion.fuse(MASKS[..., 4]))


def test_bad_input_is_refused_and_nothing_is_written(folder, capsys):
    nibabel.Nifti1Image(MASKS[0], AFFINE + np.eye(4) * 0.1).to_filename("moved.nii.gz")
    nibabel.Nifti1Image(MASKS[0] - 0.5, AFFINE).to_filename("negative.nii.gz")
    before = sorted(folder.iterdir())
    cases = [
        ([], "one mask file per rater"),
        ([*FILES], "-o"),
        (["r1.nii.gz", "r9.nii.gz", "-o", "x.nii"], "r9.nii.gz does not exist"),
        (["r1.nii.gz", "moved.nii.gz", "-o", "x.nii"], "mm apart"),
        (["r1.nii.gz", "negative.nii.gz", "-o", "x.nii"], "negative holds"),
        ([*FILES, "-o", "r1.nii.gz", "--overwrite"], "is an input"),
        ([*FILES, "-o", "x.nii", "--posterior", "x.nii"], "two outputs"),
        ([*FILES, "-o", "x.mgz"], "must end with .nii"),
        ([*FILES, "-o", "x.nii", "--method", "stapel"], "method must be one of"),
        ([*FILES, "-o", "x.nii", "--method", "staple", "majority"], "One method"),
        ([*FILES, "-o", "x.nii", "--ties", "lowest"], "takes no option 'ties'"),
        ([*FILES, "-o", "x.nii", "--weights", "1"], "one per rater"),
        ([*FILES, "-o", "x.nii", "--region", "nowhere.nii"], "does not exist"),
        ([*FILES, "-o", "x.nii", "--image", "r1.nii.gz"], "--figure"),
        ([*FILES, "-o", "x.nii", "--figure", "x.jpg"], ".png"),
        ([*FILES, "-o", "x.nii", "--posterior", "x.txt"], "must end with .nii"),
        ([*FILES, "-o", "x.nii", "--report", "x.txt"], "must end with .json"),
        ([*FILES, "-o", "x.nii", "--figure", "x.png", "--image", "moved.nii.gz"], "mm apart"),
        ([*FILES, "-o", "x.nii", "--allow-missing"], "needs --bids"),
        ([*FILES, "--bids", "."], "not both"),
        (["--bids", ".", "-o", "x.nii"], "not --bids"),
    ]
    for args, message in cases:
        assert fuse(*args) == 2, args
        assert message in capsys.readouterr().err, args
        assert sorted(folder.iterdir()) == before, args
    assert fuse(*FILES, "-o", "x.nii") == 0
    assert fuse(*FILES, "-o", "x.nii") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert fuse(*FILES, "-o", "x.nii", "--overwrite") == 0


def test_grid_tolerance(folder):
    moved = AFFINE.copy()
    moved[0, 3] += 0.2
    nibabel.Nifti1Image(MASKS[1], moved).to_filename("moved.nii.gz")
    assert fuse("r1.nii.gz", "moved.nii.gz", "r3.nii.gz", "-o", "x.nii", "--grid-tolerance", "0.25") == 0
    np.testing.assert_array_equal(load("x.nii"), fusion.fuse(MASKS))
    np.testing.assert_allclose(nibabel.load("x.nii").affine, AFFINE, atol=1e-6)


def test_equal_names_in_different_folders(folder, capsys):
    for index in range(3):
        Path(f"rater{index}").mkdir()
        Path(FILES[index]).rename(f"rater{index}/mask.nii.gz")
    assert fuse(*[f"rater{index}/mask.nii.gz" for index in range(3)], "-o", "x.nii") == 0
    assert "rater1/mask.nii.gz" in capsys.readouterr().out


def test_command_needs_neither_torch_nor_ivadomed_nor_a_compiler(folder):
    script = (
        "import sys; from ivadomed_labelfusion.cli import main; "
        f"status = main(['fuse', *{FILES}, '-o', 'x.nii.gz']); "
        "heavy = {'torch', 'ivadomed', 'numba', 'pandas', 'matplotlib', 'SimpleITK'} & set(sys.modules); "
        "print(heavy); sys.exit(status or bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not REAL.is_dir(), reason="the real images (../shared/data/open_ms_raters) are not here")
def test_seven_raters_of_real_patients(tmp_path):
    for folder in sorted(REAL.glob("*/*/Masks")):
        files = sorted(folder.glob("ManualSegmentation_*.nii.gz"))
        assert fuse(*files, "-o", tmp_path / "x.nii.gz", "--posterior", tmp_path / "p.nii.gz", "--overwrite") == 0
        posterior, _, _ = itk_staple([load(path) for path in files])
        np.testing.assert_allclose(load(tmp_path / "p.nii.gz"), posterior, atol=1e-6)
        np.testing.assert_array_equal(load(tmp_path / "x.nii.gz"), posterior > 0.5)
