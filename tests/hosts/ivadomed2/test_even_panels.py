"""Four raters, two classes: what an average is binarised to in ivadomed's own loader."""

import nibabel
import numpy as np
import pytest
from loguru import logger

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.config import check_config, load_template
from tests.builders.loading import dataset
from tests.builders.tiny import make_dataset
from tests.hosts.ivadomed2.test_loader import plain, raters_of, where


def two_to_two(subject, rater, label_index, shape):
    """Raters 1 and 2 take a block for gray matter, 3 and 4 for white matter; all agree elsewhere."""
    mask = np.zeros(shape)
    mask[4:8, 4:8] = label_index == (0 if rater <= 2 else 1)
    mask[10:14, 4:8] = label_index == 0
    mask[4:8, 12:16] = (label_index == 1) * (rater <= 2)
    return mask


def make(tmp_path, template, **fuse):
    options = {"labels": ("GM", "WM"), "contrasts": ("T2starw",)}
    data = tmp_path / "data"
    if not data.exists():
        make_dataset(data, n_subjects=2, n_raters=4, rater_value=two_to_two, **options)
    config = plain(template, data, tmp_path, n_raters=4, **options)
    config["transformation"]["FuseRaters"] |= fuse
    return data, config


@pytest.mark.parametrize("ties", ["background", "lowest", "foreground"])
def test_a_tie_is_decided_once(plugin, tmp_path, ties):
    data, config = make(tmp_path, "scgm_conv_average", **({} if ties == "background" else {"ties": ties}))
    samples = dataset(config, tmp_path)
    for index in range(len(samples)):
        sample = samples[index]
        subject, z, _ = where(sample)
        masks = np.stack([raters_of(data, subject, label, "T2starw", 4) for label in ("GM", "WM")], axis=1)
        expected = fusion.fuse_classes(masks, "majority", ties=ties)[..., z]
        np.testing.assert_array_equal(np.asarray(sample["gt"]), expected)
        assert not np.asarray(sample["gt"]).all(axis=0).any()


def test_soft_labels_stay_averages(plugin, tmp_path):
    _, config = make(tmp_path, "scgm_softseg_average")
    values = np.unique(np.asarray(dataset(config, tmp_path)[0]["gt"]))
    np.testing.assert_array_equal(values, [0, 0.5, 1])


def test_another_rule_makes_the_labels_anew(plugin, tmp_path):
    _, config = make(tmp_path, "scgm_conv_average")
    first = np.asarray(dataset(config, tmp_path)[0]["gt"])
    _, config = make(tmp_path, "scgm_conv_average", ties="foreground")
    assert np.asarray(dataset(config, tmp_path)[0]["gt"]).sum() > first.sum()


def test_the_rule_is_checked():
    def problems(template, **fuse):
        config = load_template(template)
        config["transformation"]["FuseRaters"] |= fuse
        return [str(problem) for problem in check_config(config)]

    assert problems("scgm_conv_average", ties="lowest") == []
    (wrong,) = problems("scgm_conv_average", ties="lowst")
    assert "ties: must be one of lowest, background, foreground, error, got 'lowst'" in wrong
    (soft,) = problems("scgm_softseg_average", ties="background")
    assert "Method average takes no option 'ties'" in soft
    assert "takes no option 'ties'" in problems("scgm_conv_staple", ties="lowest")[0]


@pytest.mark.parametrize(("thickness", "warned"), [(2.0, False), (5.0, True)])
def test_dspace_that_does_nothing_is_told(plugin, tmp_path, thickness, warned):
    options = {"labels": ("GM", "WM"), "contrasts": ("T2starw",)}
    data = make_dataset(tmp_path / "data", n_subjects=2, n_raters=4, voxel_size_mm=(1, 1, thickness), **options)
    config = plain("scgm_conv_average", data, tmp_path, n_raters=4, **options)
    config["transformation"] |= {"Resample": {"hspace": 1, "wspace": 1, "dspace": 2}}
    messages = []
    sink = logger.add(messages.append, format="{message}")
    try:
        dataset(config, tmp_path)
    finally:
        logger.remove(sink)
    found = [text for text in messages if "Resample.dspace is 2 mm" in text]
    assert bool(found) is warned
    if warned:
        assert "here 5 mm thick" in found[0]
    assert nibabel.load(next(data.glob("sub-*/anat/*.nii.gz"))).header.get_zooms()[2] == pytest.approx(thickness)
