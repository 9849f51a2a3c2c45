"""The region of interest of one subject, and what the configuration's crop keeps of its labels."""

from pathlib import Path

import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.data.volumes import load_image, save_nifti
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import write_json
from ivadomed_labelfusion.prepare import _checks, _coverage
from ivadomed_labelfusion.prepare._plan import SubjectPlan
from ivadomed_labelfusion.prepare._subject import Masks, SubjectOptions, SubjectReport


def check_crop(
    folder: Path,
    plan: SubjectPlan,
    masks: Masks,
    brain: NDArray | None,
    image: SpatialImage,
    options: SubjectOptions,
    report: SubjectReport,
) -> None:
    """Write the region of interest if asked for, and check what the configuration's crop keeps of the labels."""
    present = [mask for by_rater in masks.values() for mask in by_rater.values()]
    if not present:
        return
    union = np.logical_or.reduce(present)
    roi = None
    if options.roi:
        roi = _write_roi(folder, plan, options.roi, union, brain, image, options, report)
    if options.crop is None:
        return
    centred = _coverage.kept_share(union, image, options.crop)
    report.kept = centred if roi is None else _coverage.kept_share(union, image, options.crop, roi=roi)
    if report.kept < 1:
        size = "x".join(map(str, options.crop.size))
        resolution = "x".join(f"{value:g}" for value in options.crop.resolution)
        around = "around the region of interest" if roi is not None else "in the middle"
        cure = "Enlarge the crop in your configuration" + (
            "." if roi is not None else ", or add --roi raters and use ROICrop."
        )
        report.add(
            "warning",
            f"the crop to {size} pixels of {resolution} mm {around} (template {options.template}) keeps "
            f"{100 * report.kept:.2f} % of the labelled voxels. {cure}",
        )


def _write_roi(
    folder: Path,
    plan: SubjectPlan,
    around: str,
    union: NDArray,
    brain: NDArray | None,
    image: SpatialImage,
    options: SubjectOptions,
    report: SubjectReport,
) -> NDArray | None:
    """Write the region of interest; return it, or None after a problem."""
    if around == "raters":
        mask, source, label_based = union, "union of the raters' masks", True
    elif around == "brain":
        if brain is None:
            report.add("error", "--roi brain needs the download's Brain_Mask, which this subject lacks.")
            return None
        mask, source, label_based = brain, "brain mask published with the dataset", False
    else:
        path = Path(around.format(subject=plan.name.removeprefix("sub-"), source_id=plan.source_id))
        try:
            given = load_image(path)
        except InputError as error:
            report.add("error", f"region of interest: {error}")
            return None
        found, problem = _checks.check_grid(image, given, str(path), repair=options.repair_affine)
        if problem:
            report.add(*problem)
        if found is None or (problem and problem[0] == "error"):
            return None
        try:
            mask = found.turn(_checks.read_data(given, str(path)))
        except InputError as error:
            report.add("error", str(error))
            return None
        source, label_based = path.name, False
    if not np.any(mask):
        report.add("error", f"the region of interest ({source}) must not be empty, got no voxel above 0.")
        return None
    roi = _coverage.roi_around(mask, image)
    stem = f"{plan.label_stem}{_coverage.ROI_SUFFIX}"
    save_nifti(folder / f"{stem}.nii.gz", roi, image)
    sidecar = {
        "Type": "ROI",
        "Sources": [f"bids::{plan.name}/anat/{plan.label_stem}.nii.gz"],
        "Method": "square around the centre of a mask in every axial slice",
        "Parameters": {"Around": source, "HalfWidthMm": _coverage.ROI_HALF_WIDTH_MM},
        "LabelBased": label_based,
        "GeneratedBy": {"Name": "ivadomed_labelfusion", "Version": __version__},
    }
    write_json(folder / f"{stem}.json", sidecar)
    return roi
