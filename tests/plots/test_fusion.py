"""The shared look of figures."""

import subprocess
import sys

import numpy as np
import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.plots import fusion, style
from ivadomed_labelfusion.plots.slices import (
    crop_around,
    draw_slice,
    most_disagreement_slices,
    outline_segments,
    slice_axis,
)
from tests.builders.oracle import ball_masks


def test_importing_figures_does_not_import_matplotlib():
    script = "import sys, ivadomed_labelfusion.plots.fusion; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("extension", [".png", ".svg", ".pdf"])
def test_equal_figures_give_equal_files(tmp_path, extension):
    for name in ("a", "b"):
        figure, axes = style.new_figure(1, 2)
        axes[0].plot([1, 2], [3, 4])
        style.save_figure(figure, tmp_path / f"{name}{extension}")
    content = (tmp_path / f"a{extension}").read_bytes()
    assert content == (tmp_path / f"b{extension}").read_bytes()
    assert content[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")


def test_saving_refuses_other_formats_and_existing_files(tmp_path):
    figure, _ = style.new_figure()
    with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf"):
        style.save_figure(figure, tmp_path / "a.jpg")
    style.save_figure(figure, tmp_path / "a.png")
    with pytest.raises(InputError, match="exists already"):
        style.save_figure(figure, tmp_path / "a.png")
    style.save_figure(figure, tmp_path / "a.png", overwrite=True)


def test_most_disagreement_slices():
    average = np.zeros((10, 10, 100))
    average[:5, :5, 20] = 0.5
    average[:5, :5, 22] = 0.4  # too near to 20
    average[:4, :4, 60] = 0.5
    average[:, :, 80] = 1.0  # agreement
    assert most_disagreement_slices(average, 2) == [20, 60]
    assert most_disagreement_slices(average, 3) == [20, 60, 80]
    assert most_disagreement_slices(average, 2, min_gap=1) == [20, 22]
    assert most_disagreement_slices(average.transpose(2, 0, 1), 2, axis=0) == [20, 60]
    assert most_disagreement_slices(np.zeros((3, 4, 9)), 2) == [4]


def test_outlines_run_along_voxel_edges():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2] = True
    segments = {tuple(map(tuple, sorted(map(tuple, segment)))) for segment in outline_segments(mask)}
    assert len(segments) == 6  # the perimeter of two voxels in a row
    assert ((0.5, 1.5), (0.5, 2.5)) in segments
    assert ((2.5, 1.5), (2.5, 2.5)) in segments
    assert ((0.5, 1.5), (1.5, 1.5)) in segments
    assert len(outline_segments(np.ones((3, 3)))) == 12  # closed at the border of the image
    assert len(outline_segments(np.zeros((3, 3)))) == 0


def test_crop_and_axis():
    mask = np.zeros((100, 60), bool)
    mask[50:55, 2] = True
    assert crop_around(mask, margin=3, min_size=20) == (slice(43, 63), slice(0, 20))
    assert crop_around(np.zeros((5, 6), bool)) == (slice(None), slice(None))
    assert slice_axis((0.5, 5, 0.5)) == 1
    assert slice_axis((1, 1, 1.0001)) == 2


def test_a_slice_keeps_its_proportions():
    _, axes = style.new_figure()
    draw_slice(axes, np.zeros((4, 6)), [np.eye(4, 6)], spacing=(0.5, 2.0))
    assert axes.get_aspect() == 4.0
    assert len(axes.collections) == 1
    assert axes.images[0].get_array().shape == (6, 4)


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_fusion_figure(tmp_path, image, flat):
    masks = ball_masks(1, 9, (20, 24, 16))
    picture = np.random.default_rng(0).random(masks[0].shape) if image else None
    if flat:
        masks, picture = masks[..., 8], None if picture is None else picture[..., 8]
    figure = fusion.fusion_figure(
        masks, [f"rater{r}" for r in range(9)], None, None, image=picture, spacing_mm=(1, 1, 3)[: masks[0].ndim]
    )
    style.save_figure(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_fusion_figure_of_empty_masks(tmp_path):
    figure = fusion.fusion_figure(np.zeros((2, 10, 11, 12)), ["a", "b"], None, None)
    style.save_figure(figure, tmp_path / "figure.svg")
