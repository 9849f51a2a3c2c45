"""A small BIDS dataset with several raters and predictions whose scores are known."""

from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

AFFINE = np.array([[-0.5, 0, 0, 10], [0, 0.5, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1.0]])
SHAPE = (24, 20, 6)


def raters_of(seed, *, n_raters=4, n_classes=1, shape=SHAPE):
    """Return ``(R, C, *spatial)`` uint8: blobs of different size; with two classes the second surrounds the first."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 2)
    field /= field.std()
    masks = np.zeros((n_raters, n_classes, *shape), np.uint8)
    for rater in range(n_raters):
        own = field + 0.1 * ndimage.gaussian_filter(rng.standard_normal(shape), 1)
        masks[rater, 0] = own > 1.2 + 0.1 * rater
        if n_classes == 2:
            masks[rater, 1] = (own > 0.6) & ~masks[rater, 0].astype(bool)
    return masks


def save(path, data, affine=AFFINE):
    """Write a NIfTI file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, affine), path)


def make_bids(root, *, n_subjects=2, n_raters=4, classes=("lesion",), contrast="FLAIR"):
    """Write images and raters' masks; return ``(root, nested target_suffix, {image stem: masks})``."""
    root = Path(root)
    masks = {}
    for number in range(1, n_subjects + 1):
        stem = f"sub-{number:02d}_{contrast}"
        masks[stem] = raters_of(number, n_raters=n_raters, n_classes=len(classes))
        image = np.random.default_rng(number).random(SHAPE).astype(np.float32) + masks[stem].mean((0, 1))
        save(root / f"sub-{number:02d}" / "anat" / f"{stem}.nii.gz", image.astype(np.float32))
        for rater in range(n_raters):
            for index, name in enumerate(classes):
                label = root / "derivatives" / "labels" / f"sub-{number:02d}" / "anat"
                save(label / f"{stem}_desc-rater{rater + 1}_label-{name}_seg.nii.gz", masks[stem][rater, index])
    suffixes = [[f"_desc-rater{rater + 1}_label-{name}_seg" for rater in range(n_raters)] for name in classes]
    return root, suffixes, masks
