"""The raters' masks of the images of a run: which files they are, and their fusion on disk.

Fused labels are written as NIfTI files into the run's output folder, on whole volumes at native resolution. From then
on ivadomed handles them like any single-rater label, in 2D slices, 2D patches and 3D subvolumes alike, and the user
can look at what was trained on.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.data.volumes import check_same_grid, load_image, open_masks, save_nifti
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import read_json, write_json
from ivadomed_labelfusion.fusion.ties import settle_ties

SOFT_METHODS = ("average",)


@dataclass(frozen=True)
class RaterMasks:
    """The masks of one image.

    Attributes:
        image_stem (str): ``sub-01_FLAIR``.
        image (str): Path of the image.
        files (tuple of tuple of str): Per class, one path per rater that is present, in the config's order.
        raters (tuple of int): The positions in ``target_suffix`` of the raters that are present.
    """

    image_stem: str
    image: str
    files: tuple
    raters: tuple


def complete_raters(image_stem, table, nested, *, allow_missing):
    """Return which raters have a mask for every class of an image.

    Args:
        image_stem (str): For messages.
        table (list of list of (str or None)): Per class and rater, the path or None.
        nested (list of list of str): The suffixes of ``target_suffix``.
        allow_missing (bool): Leave out raters who lack a class, for all classes. One rater has to remain.

    Returns:
        list of int: Positions of the raters.

    Raises:
        InputError: If a mask is missing and that is not allowed, or nobody remains.
    """
    missing = [
        (class_index, rater_index)
        for class_index, row in enumerate(table)
        for rater_index, path in enumerate(row)
        if path is None
    ]
    present = [index for index in range(len(nested[0])) if all(row[index] is not None for row in table)]
    if missing and (not allow_missing or not present):
        subject = image_stem.split("_")[0]
        lines = "; ".join(
            f"class {class_index} ({class_name(nested[class_index][0], class_index)}), "
            f"rater {nested[class_index][rater_index]!r}"
            for class_index, rater_index in missing
        )
        cure = (
            "No rater has all classes. Leave this subject out."
            if not present
            else 'Add the file, or set "allow_missing_raters": true in loader_parameters to go on with the others.'
        )
        raise InputError(f"{subject}: no mask of {image_stem} for {lines}. {cure}")
    return present


def class_name(suffix, index):
    """Return the ``label-`` entity of a suffix, or ``class<index>`` if it has none."""
    match = re.search(r"label-([A-Za-z0-9]+)", suffix)
    return match.group(1) if match else f"class{index}"


def read_masks(masks):
    """Read all masks of an image.

    Args:
        masks (RaterMasks): Which files.

    Returns:
        (ndarray, nibabel image): ``(R, C, *spatial)`` in the dtype on disk, and the first mask's image for its grid.

    Raises:
        InputError: If a mask does not lie on the grid of the image.
    """
    check_grids(masks)
    paths = [row[rater] for rater in range(len(masks.raters)) for row in masks.files]
    first, arrays = open_masks(paths)
    stacked = np.stack(arrays)
    return stacked.reshape(len(masks.raters), len(masks.files), *stacked.shape[1:]), first


def check_grids(masks):
    """Check that every mask lies on the grid of its image; ivadomed compares shapes only.

    Raises:
        InputError: With both affines and the two files.
    """
    image = _canonical(load_image(masks.image))
    for path in (path for row in masks.files for path in row if path is not None):
        check_same_grid([image, _canonical(load_image(path))], [masks.image, path])


def _canonical(image):
    """Return the image as ivadomed sees it, in RAS orientation."""
    axes = nibabel.aff2axcodes(image.affine)
    return image if axes == ("R", "A", "S") else nibabel.as_closest_canonical(image)


class OwnLabels:
    """The labels of a single rater, in the place of fused ones.

    Args:
        nested (list of list of str): One suffix per class.
    """

    def __init__(self, nested):
        self.suffixes = [row[0] for row in nested]
        self._paths = {}

    def write(self, masks):
        """Remember the labels of one image; return the paths, None for a class without a file."""
        self._paths[masks.image_stem] = [row[0] for row in masks.files]
        return self._paths[masks.image_stem]

    def paths(self, image_stem):
        """Return the path of the label per class."""
        return self._paths[image_stem]


class FusedLabels:
    """Fused labels of a run, computed when they are asked for and kept in the output folder.

    Args:
        folder (str or Path): ``<path_output>/fused_labels``.
        nested (list of list of str): The suffixes of ``target_suffix``.
        method (str): A fusion method.
        options (dict): Further arguments of ``fusion.fuse_classes``.
        average_ties (str): For ``average`` whose labels will be binarised: see ``fusion.ties.settle_ties``. None keeps
            the averages as they are.
    """

    def __init__(self, folder, nested, method, options=None, average_ties=None):
        self.average_ties = average_ties
        self.folder = Path(folder).absolute()
        self.nested = nested
        self.method = method
        self.options = dict(options or {})
        kind = "softseg" if method in SOFT_METHODS else "seg"
        self.suffixes = [f"_desc-{method}_label-{class_name(row[0], index)}_{kind}" for index, row in enumerate(nested)]
        if len(set(self.suffixes)) < len(self.suffixes):
            self.suffixes = [f"_desc-{method}_label-class{index}_{kind}" for index in range(len(nested))]

    def paths(self, image_stem):
        """Return the path of the fused label per class, whether or not it has been written."""
        return [str(self.folder / f"{image_stem}{suffix}.nii.gz") for suffix in self.suffixes]

    def write(self, masks):
        """Fuse the masks of one image unless that is up to date; return the paths, one per class."""
        targets = self.paths(masks.image_stem)
        recipe = self._recipe(masks)
        sidecar = self.folder / f"{masks.image_stem}_desc-{self.method}.json"
        if all(os.path.exists(path) for path in targets) and sidecar.exists() and read_json(sidecar) == recipe:
            return targets
        arrays, grid = read_masks(masks)
        fused = fusion.fuse_classes(arrays, self.method, **self._present_weights(masks))
        if self.average_ties:
            fused = settle_ties(fused, self.average_ties)
        for target, label in zip(targets, fused, strict=True):
            save_nifti(target, label, grid, overwrite=True)
        write_json(sidecar, recipe, overwrite=True)
        return targets

    def _present_weights(self, masks):
        options = dict(self.options)
        if options.get("weights") is not None:
            options["weights"] = [options["weights"][rater] for rater in masks.raters]
        return options

    def _recipe(self, masks):
        sources = [path for row in masks.files for path in row]
        return json.loads(
            json.dumps(
                {
                    "Method": self.method,
                    "Parameters": self.options,
                    **({"AverageTies": self.average_ties} if self.average_ties else {}),
                    "Sources": [str(path) for path in sources],
                    # a changed mask is noticed by its size and time
                    "SourceState": [[os.stat(path).st_size, os.stat(path).st_mtime_ns] for path in sources],
                    "Software": f"ivadomed_labelfusion {__version__}",
                }
            )
        )
