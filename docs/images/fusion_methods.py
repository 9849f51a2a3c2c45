"""Draw docs/images/fusion_methods.png and fusion_command.png: one phantom patient under every fusion method.

python docs/images/fusion_methods.py
"""

import tempfile
from pathlib import Path

import numpy as np

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.cli import main
from ivadomed_labelfusion.data.masks import open_masks
from ivadomed_labelfusion.phantom import generate_msseg2016
from ivadomed_labelfusion.plots import style
from ivadomed_labelfusion.plots.slices import draw_slice, most_disagreement_slices

FOLDER = Path(__file__).parent
PANELS = (
    ("average", "average", {}),
    ("union", "union", {}),
    ("majority", "majority", {}),
    ("intersection", "intersection", {}),
    ("simple", "SIMPLE", {}),
    ("staple", "STAPLE, region image", {}),
    ("staple", "STAPLE, region union", {"region": "union"}),
)


def draw(raw):
    """Draw one patient of the phantom dataset ``raw``."""
    patient = sorted(path.parent for path in Path(raw).rglob("Masks"))[0]
    paths = sorted((patient / "Masks").glob("ManualSegmentation_*.nii.gz"))
    flair = next(path for path in patient.rglob("*FLAIR*.nii.gz") if "Preprocessed" in str(path))
    _, masks = open_masks(paths)
    _, (image,) = open_masks([flair])
    average = fusion.average(masks)
    index = most_disagreement_slices(average, 1)[0]
    plane = average[..., index]
    # the lesion with most disagreement in this slice
    centre = np.unravel_index(np.argmax(box_sum(plane * (1 - plane), 9)), plane.shape)
    window = tuple(
        slice(max(0, min(size - 28, middle - 14)), max(0, min(size - 28, middle - 14)) + 28)
        for middle, size in zip(centre, plane.shape, strict=True)
    )
    picture = np.asarray(image[..., index][window], float)
    limits = tuple(np.percentile(picture, (1, 99)))
    figure, axes = style.new_figure(2, 4, height=4.2)
    axes = axes.ravel()
    draw_slice(
        axes[0],
        picture,
        [mask[..., index][window] for mask in masks],
        limits=limits,
        line_width=np.linspace(2.4, 0.8, len(masks)),
        title=f"{len(masks)} raters\n{min(map(np.sum, masks))} to {max(map(np.sum, masks))} voxels",
    )
    for panel, (method, title, options) in zip(axes[1:], PANELS, strict=True):
        result = fusion.consensus(masks, method, **options)
        soft = result.posterior if method == "average" else result.labels()
        text = "\nprobability" if method == "average" else f"\n{result.volume()} voxels"
        shown = draw_slice(
            panel,
            picture,
            [] if method == "average" else [soft[..., index][window]],
            limits=limits,
            colors=["white"],
            overlay=soft[..., index][window].astype(float),
            overlay_alpha=0.9 if method == "average" else 0.4,
            title=title + text,
        )
        if method == "average":
            scale = shown
    with style.style():
        figure.colorbar(scale, ax=list(axes), fraction=0.02, pad=0.01, label="share of raters")
    style.save_figure(figure, FOLDER / "fusion_methods.png", overwrite=True)
    output = Path(raw) / "consensus.nii.gz"
    figure = str(FOLDER / "fusion_command.png")
    main(["fuse", *map(str, paths), "-o", str(output), "--figure", figure, "--image", str(flair), "--overwrite"])


def box_sum(values, size):
    """Return the sum in a square around each element."""
    padded = np.pad(values, size // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size)).sum(axis=(2, 3))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        generate_msseg2016(Path(folder) / "raw", subjects=1, seed=3)
        draw(Path(folder) / "raw")
