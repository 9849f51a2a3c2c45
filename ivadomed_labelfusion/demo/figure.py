"""The demo's figure: one slice with the raters, their fused labels and the six predictions side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.data.bids import find_label_sets
from ivadomed_labelfusion.data.entities import stem
from ivadomed_labelfusion.data.masks import open_masks
from ivadomed_labelfusion.data.raters import names_of_suffixes
from ivadomed_labelfusion.data.volumes import load_image, voxel_size_mm
from ivadomed_labelfusion.files import read_json
from ivadomed_labelfusion.plots import style
from ivadomed_labelfusion.plots.slices import crop_around, draw_slice, most_disagreement_slices

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# classes on black: the first two of the palette for outlines
CLASS_COLORS = ("#E69F00", "#56B4E9")


def demo_figure(output: Path, bids_dir: Path, candidates: Sequence[str]) -> Figure:
    """Draw the test image's slice on which the raters disagree most.

    Args:
        output: Folder of the demo with ``models/<candidate>/pred_soft``.
        bids_dir: Its dataset.
        candidates: Six names.

    Returns:
        Figure: First row: image, raters, average, STAPLE. Below: the soft prediction of every candidate.
    """
    models = Path(output) / "models"
    config = read_json(Path(output) / "configs" / f"{candidates[0]}.json")
    suffixes = config["loader_parameters"]["target_suffix"]
    class_names, _ = names_of_suffixes(suffixes)
    stems = {path.name.removesuffix("_pred.nii.gz") for path in (models / candidates[0] / "pred_soft").glob("*.nii.gz")}
    labels = next(labels for labels in find_label_sets(bids_dir, suffixes) if labels.image_stem in stems)
    first, arrays = open_masks([path for row in labels.files for path in row])
    raters = np.stack([_upright(mask, first.affine) for mask in arrays])
    raters = raters.reshape(len(suffixes), len(suffixes[0]), *raters.shape[1:]).swapaxes(0, 1)
    average, staple = raters.mean(axis=0), fusion.fuse_classes(raters, "staple")
    (index,) = most_disagreement_slices(np.moveaxis(average, 0, -1), 1, axis=2)
    box = crop_around(average[..., index].sum(axis=0) > 0, margin=6)

    def view(volume: NDArray) -> NDArray:
        """Cut the slice out of ``(..., x, y, z)``."""
        return volume[(..., *box, index)]

    image = view(_load_upright(_image(bids_dir, labels.image_stem)))
    spacing = voxel_size_mm(nibabel.as_closest_canonical(first))[:2]
    figure, axes = style.new_figure(3, 4, height=6.2)
    draw_slice(axes[0, 0], image, spacing=spacing, title=labels.image_stem)
    outlines = [mask for rater in view(raters) for mask in rater]
    colors = [
        style.COLORS_ON_IMAGE[rater % len(style.COLORS_ON_IMAGE)]
        for rater in range(len(raters))
        for _ in range(len(suffixes))
    ]
    draw_slice(
        axes[0, 1], image, outlines, colors=colors, line_width=0.7, spacing=spacing, title=f"{len(raters)} raters"
    )
    _probabilities(axes[0, 2], view(average), spacing, "average")
    _probabilities(axes[0, 3], view(staple), spacing, "STAPLE")
    places = [axes[1, 0], axes[1, 1], axes[1, 2], axes[2, 0], axes[2, 1], axes[2, 2]]
    for place, candidate in zip(places, candidates, strict=True):
        path = next((models / candidate / "pred_soft").glob(f"{labels.image_stem}_pred.nii.gz"))
        soft = _load_upright(path)
        soft = np.moveaxis(soft if soft.ndim == 4 else soft[..., None], -1, 0)
        _probabilities(place, view(soft), spacing, candidate.replace("_", " "))
    _legend(axes[1, 3], class_names)
    axes[2, 3].set_axis_off()
    return figure


def _upright(data: NDArray, affine: NDArray) -> NDArray:
    """Return a volume in RAS+ order."""
    return np.asanyarray(nibabel.as_closest_canonical(nibabel.Nifti1Image(data, affine)).dataobj)


def _load_upright(path: str | os.PathLike[str]) -> NDArray:
    return np.asanyarray(nibabel.as_closest_canonical(load_image(path)).dataobj).astype(np.float32)


def _image(bids_dir: Path, image_stem: str) -> Path:
    return next(path for path in sorted(Path(bids_dir).glob("sub-*/**/*.nii*")) if stem(path) == image_stem)


def composite(probabilities: NDArray, colors: Sequence[str] = CLASS_COLORS) -> NDArray:
    """Return an RGB picture: each class adds its colour in proportion to its probability, on black.

    Args:
        probabilities: ``(C, a, b)`` in [0, 1].
        colors: Hex colours; a single class is drawn in white.

    Returns:
        ndarray: ``(a, b, 3)`` in [0, 1].
    """
    from matplotlib.colors import to_rgb

    chosen = ["white"] if len(probabilities) == 1 else colors
    picture = sum(
        np.asarray(probability, float)[..., None] * np.array(to_rgb(color))
        for probability, color in zip(probabilities, chosen, strict=True)
    )
    return np.clip(picture, 0, 1)


def _probabilities(axes: Axes, probabilities: NDArray, spacing: Sequence[float], title: str) -> None:
    axes.imshow(composite(probabilities).swapaxes(0, 1), origin="lower", aspect=spacing[1] / spacing[0])
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def _legend(axes: Axes, class_names: Sequence[str]) -> None:
    """Draw the scale from probability 0 to 1 of every class."""
    ramp = np.linspace(0, 1, 101)
    bars = []
    for index in range(len(class_names)):
        weights = np.zeros((len(class_names), 1, ramp.size))
        weights[index, 0] = ramp
        bars.append(composite(weights)[0])
    axes.imshow(np.stack(bars), aspect="auto", extent=(0, 1, len(class_names), 0))
    axes.set_yticks(np.arange(len(class_names)) + 0.5, class_names)
    axes.set_xticks([0, 0.5, 1])
    axes.set_xlabel("probability", fontsize=7)
    axes.tick_params(labelsize=7)
    axes.set_box_aspect(0.15 * len(class_names))
