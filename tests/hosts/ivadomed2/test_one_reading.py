"""fuse, evaluate, train and test read one list of mask encodings and headers alike, with the numbers of plain masks."""

import csv
import json
import shutil

import nibabel
import numpy as np
import pandas
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from ivadomed_labelfusion.cli import main
from tests.builders.tiny import make_config, make_dataset, nested_suffixes, write_config

SHAPE = (24, 20, 4)
SUFFIXES = nested_suffixes(3, ("lesion",))


def scaled(mask, affine, slope, inter, dtype=np.int16):
    """Return an image of integers with a scale factor in its header, as nibabel writes floats."""
    image = nibabel.Nifti1Image(np.rint((mask - inter) / slope).astype(dtype), affine)
    image.header.set_slope_inter(slope, inter)
    return image


def moved(affine, distance):
    """Return an affine whose every voxel lies some mm further along the first axis."""
    other = affine.copy()
    other[0, 3] += distance
    return other


def turned(mask, affine, codes):
    """Return the mask with its axes in another order and direction."""
    image = nibabel.Nifti1Image(mask, affine)
    return image.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt(codes)))


NOISE = np.random.default_rng(5).uniform(-9e-5, 9e-5, SHAPE)
# name -> function of (uint8 mask, affine) that returns an image
ENCODINGS = {
    **{
        f"0/1 {dtype}": lambda m, a, d=dtype: nibabel.Nifti1Image(m.astype(d), a) for dtype in ("i2", "f4", ">f8", "u2")
    },
    "0/255": lambda m, a: nibabel.Nifti1Image(m * np.uint8(255), a),
    "0/1000": lambda m, a: nibabel.Nifti1Image(m * np.int16(1000), a),
    "0/4.5": lambda m, a: nibabel.Nifti1Image(m * np.float32(4.5), a),
    "1.0000076": lambda m, a: nibabel.Nifti1Image(m * np.float32(1.0000076), a),
    "0.9999999": lambda m, a: nibabel.Nifti1Image(m * 0.9999999, a),
    "scale factor": lambda m, a: scaled(m, a, 1 / 32767, 0),
    "scale factor and offset": lambda m, a: scaled(m, a, 1 / 60000, 0.5),
    "noise": lambda m, a: nibabel.Nifti1Image(m + NOISE, a),
    "fourth axis": lambda m, a: nibabel.Nifti1Image(m[..., None], a),
    "LPS": lambda m, a: turned(m, a, "LPS"),
    "SAL 0/255": lambda m, a: turned(m * np.uint8(255), a, "SAL"),
    "header rounding": lambda m, a: nibabel.Nifti1Image(m, moved(a, 0.008)),
}
REFUSED = {
    "-1/1": lambda m, a: nibabel.Nifti1Image(2 * m.astype(np.int16) - 1, a),
    "0/2": lambda m, a: nibabel.Nifti1Image(m * np.uint8(2), a),
    "0/1/2": lambda m, a: nibabel.Nifti1Image(m + np.roll(m, 1, 0), a),
    "NaN": lambda m, a: nibabel.Nifti1Image(np.where(m > 0, np.nan, 0).astype(np.float32), a),
    "infinity": lambda m, a: nibabel.Nifti1Image(np.where(m > 0, np.inf, 0).astype(np.float32), a),
    "complex": lambda m, a: nibabel.Nifti1Image(m.astype(np.complex64), a),
    "RGB": lambda m, a: nibabel.Nifti1Image(m.astype([("R", "u1"), ("G", "u1"), ("B", "u1")]), a),
    "negative": lambda m, a: nibabel.Nifti1Image(-m.astype(np.int16), a),
    "elsewhere": lambda m, a: nibabel.Nifti1Image(m, moved(a, 0.02)),
    "other shape": lambda m, a: nibabel.Nifti1Image(m[:-1], a),
    "flipped without its header": lambda m, a: nibabel.Nifti1Image(m, a @ np.diag([-1, 1, 1, 1])),
}


def masks(data):
    """Return the raters' masks of a dataset."""
    return sorted(data.glob("derivatives/labels/sub-*/anat/*desc-rater*.nii.gz"))


def encode(path, encoding):
    """Write a mask anew in another encoding; return its array as it was."""
    image = nibabel.load(path)
    mask = np.asanyarray(image.dataobj)
    encoding(mask, image.affine).to_filename(path)
    return mask


@pytest.fixture
def plain(tmp_path):
    """A dataset of masks of 0 and 1, one voxel size per axis."""
    return make_dataset(tmp_path / "plain", n_subjects=5, shape=SHAPE, voxel_size_mm=(0.5, 0.75, 2))


def tables(folder, name):
    """Return the numbers of a table."""
    with open(folder / name, newline="") as stream:
        return list(csv.reader(stream))


def trained(ivadomed, data, out, template, capfd):
    """Train with a threshold search and test; return losses, threshold and table of results."""
    config = make_config(template, data, out, epochs=1, crop=(16, 16))
    config["transformation"]["Resample"] = {"hspace": 0.5, "wspace": 0.75, "dspace": 2}
    out.parent.mkdir(exist_ok=True, parents=True)
    path = write_config(out.parent / f"{out.name}.json", config)
    assert ivadomed("--train", "-c", path, "-t", "0.1") is None
    assert ivadomed("--test", "-c", path) is None
    captured = capfd.readouterr()
    losses = [line.split("loss")[1] for line in (captured.out + captured.err).splitlines() if " loss: " in line]
    threshold = json.loads((out / "config_file.json").read_text())["postprocessing"]["binarize_prediction"]
    assert losses
    return losses, threshold, pandas.read_csv(out / "results_eval" / "evaluation_3Dmetrics.csv")


@pytest.mark.parametrize("seed", [0])
def test_every_entrance_reads_the_encodings_alike(ivadomed, plain, tmp_path, capfd, seed):
    other = tmp_path / "other"
    shutil.copytree(plain, other)
    rng = np.random.default_rng(seed)
    names = list(ENCODINGS)
    drawn = [names[index] for index in rng.permutation(len(masks(other))) % len(names)]
    for path, name in zip(masks(other), drawn, strict=True):
        encode(path, ENCODINGS[name])
    found = {}
    for data in (plain, other):
        work = tmp_path / f"work-{data.name}"
        suffixes = ["--target-suffix", *SUFFIXES[0]]
        # the entrances that may write into the dataset come last
        assert main(["evaluate", "--bids", str(data), "--raters-as-predictions", "-o", str(work / "e"), *suffixes]) == 0
        files = [str(path) for path in masks(data) if "sub-01" in path.name]
        assert main(["fuse", *files, "-o", str(work / "fused.nii.gz")]) == 0
        runs = [trained(ivadomed, data, work / name, name, capfd) for name in ("ms_softseg_random", "ms_conv_staple")]
        assert main(["fuse", "--bids", str(data), "--method", "staple", "average", *suffixes]) == 0
        capfd.readouterr()
        fused = sorted(path for path in data.rglob("*.nii.gz") if "staple" in path.name or "average" in path.name)
        assert len(fused) == 10
        volumes = [np.asanyarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj) for path in fused]
        loose = np.asanyarray(nibabel.as_closest_canonical(nibabel.load(work / "fused.nii.gz")).dataobj)
        found[data] = [*volumes, loose], tables(work / "e", "evaluation_raters.csv"), runs
    (volumes, table, runs), (other_volumes, other_table, other_runs) = found.values()
    for volume, same in zip(volumes, other_volumes, strict=True):
        np.testing.assert_array_equal(volume, same)
    assert table == other_table
    for (losses, threshold, results), (same_losses, same_threshold, same_results) in zip(runs, other_runs, strict=True):
        assert losses == same_losses
        assert threshold == same_threshold
        pandas.testing.assert_frame_equal(results, same_results)


def test_one_note_tells_of_all_masks_that_are_not_coded_0_and_1(plain, tmp_path, capsys):
    for path in masks(plain):
        encode(path, ENCODINGS["0/255"])
    assert main(["fuse", "--bids", str(plain), "--target-suffix", *SUFFIXES[0]]) == 0
    assert capsys.readouterr().err.count("read as 0 and 1") == 1
    arguments = ["--raters-as-predictions", "-o", str(tmp_path / "e"), "--target-suffix", *SUFFIXES[0]]
    assert main(["evaluate", "--bids", str(plain), *arguments]) == 0
    assert capsys.readouterr().err.count("read as 0 and 1") == 1


@pytest.mark.parametrize("name", REFUSED)
def test_every_entrance_refuses_what_is_no_mask_by_its_file(plugin, plain, tmp_path, capsys, name):
    from ivadomed_labelfusion.errors import InputError
    from tests.builders.loading import dataset

    bad = next(path for path in masks(plain) if "sub-02" in path.name and "rater2" in path.name)
    encode(bad, REFUSED[name])
    suffixes = ["--target-suffix", *SUFFIXES[0]]
    assert (
        main(["evaluate", "--bids", str(plain), "--raters-as-predictions", "-o", str(tmp_path / "e"), *suffixes]) == 2
    )
    assert bad.name in capsys.readouterr().err
    files = [str(path) for path in masks(plain) if "sub-02" in path.name]
    # loose files of which one holds several labels are label maps
    assert main(["fuse", *files, "-o", str(tmp_path / "f.nii.gz")]) == (0 if name == "0/1/2" else 2)
    assert bad.name.removesuffix(".nii.gz") in capsys.readouterr().err or name == "0/1/2"
    assert main(["fuse", "--bids", str(plain), *suffixes]) == 2
    assert bad.name in capsys.readouterr().err
    # one bad mask stops its own subject only
    assert len(list(plain.rglob("*desc-staple*.nii.gz"))) == 4
    for template in ("ms_softseg_random", "ms_conv_staple"):
        config = make_config(template, plain, tmp_path / template)
        with pytest.raises(InputError, match=bad.name):
            dataset(config, tmp_path)


def test_masks_that_all_lie_elsewhere_than_their_image_are_refused(plain, tmp_path, capsys):
    for path in masks(plain):
        if "sub-02" in path.name:
            encode(path, lambda mask, affine: nibabel.Nifti1Image(mask, moved(affine, 5)))
    suffixes = ["--target-suffix", *SUFFIXES[0]]
    assert main(["fuse", "--bids", str(plain), *suffixes]) == 2
    assert "its image" in capsys.readouterr().err
    assert (
        main(["evaluate", "--bids", str(plain), "--raters-as-predictions", "-o", str(tmp_path / "e"), *suffixes]) == 2
    )
    assert "5 mm apart" in capsys.readouterr().err
