"""Converting one subject into the staging folder: images, masks, sidecars, region of interest, checks."""

import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.coding import coding_note
from ivadomed_labelfusion.data.bids import MANUAL
from ivadomed_labelfusion.data.grid import spatial_shape
from ivadomed_labelfusion.data.volumes import load_image, save_nifti, voxel_size_mm
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import write_gzip, write_json
from ivadomed_labelfusion.prepare import _checks
from ivadomed_labelfusion.prepare._plan import ImagePlan, MaskPlan, SubjectPlan
from ivadomed_labelfusion.prepare._roi import check_crop
from ivadomed_labelfusion.prepare._source import SourceFile
from ivadomed_labelfusion.prepare._subject import Masks, SubjectOptions, SubjectReport


def convert_subject(
    plan: SubjectPlan, staging: Path, classes: Sequence[str], options: SubjectOptions, *, exclusive: bool
) -> SubjectReport:
    """Write one subject below ``staging`` and report on it; on an error the rest of the subject is skipped.

    Args:
        plan: What to write.
        staging: Root of the unfinished dataset.
        classes: Names of the classes.
        options: How.
        exclusive: Overlapping classes are worth a warning.

    Returns:
        SubjectReport: With every problem found; errors are reported, not raised.
    """
    report = SubjectReport(plan.name, plan.source_id)
    anat = staging / plan.name / "anat"
    labels = staging / "derivatives" / "labels" / plan.name / "anat"
    image = _write_images(plan, anat, options, report)
    if image is None:
        return report
    report.axes = _checks.axis_codes(image)
    report.voxel_mm = voxel_size_mm(image)
    report.shape = spatial_shape(image)
    masks: Masks = {name: {} for name in classes}
    for mask_plan in plan.masks:
        per_class, notes = _read_mask(mask_plan.file, mask_plan.values, image, options, report)
        for name, mask in per_class.items():
            if not mask_plan.is_consensus:
                masks[name][mask_plan.rater] = mask
            if not mask.any():
                report.add(
                    "warning", f"{mask_plan.file.place} holds no {name} voxel: {mask_plan.rater}'s mask is empty."
                )
            _save_label(labels, plan, mask_plan, name, mask, image, notes)
    if report.failed:
        return report
    report.raters = [rater for rater in plan.raters if any(rater in masks[name] for name in classes)]
    _measure(masks, report, exclusive=exclusive)
    brain = _save_brain(labels, plan, plan.brain, image, options, report) if plan.brain else None
    check_crop(labels, plan, masks, brain, image, options, report)
    return report


def _write_images(plan: SubjectPlan, anat: Path, options: SubjectOptions, report: SubjectReport) -> SpatialImage | None:
    """Write all images and sidecars; return the image that carries the labels, or None after an error."""
    reference = None
    for item in plan.images:
        target = anat / f"{plan.name}_{item.contrast}.nii.gz"
        sidecar = dict(item.sidecar)
        try:
            image = load_image(item.file.path)
        except InputError as error:
            report.add("error", f"{item.file.place}: {error}")
            return None
        try:
            data = _finite_volume(image, item.file.place)
        except InputError as error:
            report.add("error", str(error))
            return None
        if data.min() == data.max():
            report.add("warning", f"{item.file.place} is constant ({data.min():g}): it shows nothing.")
        unknown = _checks.header_problem(image, item.file.place)
        if unknown:
            report.add("warning", unknown)
        if reference is not None and not item.register:
            found, problem = _checks.check_grid(reference, image, item.file.place, repair=True)
            if problem is None and found is not None and not found.is_same_axes:
                problem = (
                    "error",
                    f"{item.file.place} has its axes in another order or direction than the first channel.",
                )
            if problem and problem[0] == "error":
                report.add("error", f"{problem[1]} All channels must share the grid of {plan.images[0].file.place}.")
                return None
            if problem:
                report.add("note", f"the headers of {item.file.place} and of its first channel differ by rounding.")
        if item.register and reference is not None:
            sidecar |= _register(plan, item, reference, target, image.get_data_dtype(), report)
            if report.failed:
                return None
        elif len(image.shape) > 3:
            save_nifti(target, data, image)
        else:
            target = _place(item.file, target, symlink=options.symlink)
        write_json(anat / f"{plan.name}_{item.contrast}.json", sidecar)
        if reference is None:
            reference = image if len(image.shape) == 3 else load_image(target)
    return reference


def _finite_volume(image: SpatialImage, what: str) -> NDArray:
    data = _checks.read_data(image, what)
    if data.ndim != 3:
        raise InputError(f"{what} must be a 3D image, got shape {image.shape}. Leave the subject out with --subjects.")
    if not np.isfinite(data).all():
        raise InputError(f"{what} must hold finite values, got NaN or infinity. Get the file again.")
    return data


def _place(file: SourceFile, target: Path, *, symlink: bool) -> Path:
    """Copy or link an image; ``.nii`` is compressed when copied. Return the path written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    gzipped = file.path.name.lower().endswith(".gz")
    if symlink:
        target = target if gzipped else target.with_suffix("")
        target.symlink_to(file.path.resolve())
    elif gzipped:
        shutil.copyfile(file.path, target)
    else:
        write_gzip(target, file.path.read_bytes())
    return target


def _register(
    plan: SubjectPlan,
    item: ImagePlan,
    reference: SpatialImage,
    target: Path,
    dtype: np.dtype[Any],
    report: SubjectReport,
) -> dict[str, Any]:
    """Register and write one raw image; return the fields of its sidecar that tell how."""
    import SimpleITK as sitk

    from ivadomed_labelfusion.prepare._register import register_rigid

    try:
        data, matrix, metric = register_rigid(plan.images[0].file.path, item.file.path)
    except RuntimeError as error:
        line = str(error).strip().splitlines()[-1]
        report.add("error", f"{item.file.place} cannot be registered to FLAIR ({line}). Try --space preprocessed.")
        return {}
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        data = np.clip(np.rint(data), limits.min, limits.max)
    save_nifti(target, data.astype(dtype), reference)
    shift = float(np.linalg.norm((matrix @ [*_centre_mm(reference), 1.0])[:3] - _centre_mm(reference)))
    if shift > 30:
        report.add("warning", f"{item.file.place} moved by {shift:.0f} mm in registration: look at the result.")
    return {
        "Registration": {
            "Software": f"SimpleITK {sitk.Version_VersionString()}",
            "Transform": "rigid, Mattes mutual information, linear interpolation",
            "Reference": f"bids::{plan.name}/anat/{plan.label_stem}.nii.gz",
            "MatrixReferenceToImageRAS": np.round(matrix, 6).tolist(),
            "Metric": round(metric, 6),
        }
    }


def _centre_mm(image: SpatialImage) -> NDArray:
    return (image.affine @ [*(np.array(image.shape[:3]) - 1) / 2, 1.0])[:3]


def _read_mask(
    file: SourceFile,
    values: Mapping[str, int | None],
    image: SpatialImage,
    options: SubjectOptions,
    report: SubjectReport,
) -> tuple[dict[str, NDArray], list[str]]:
    """Return ``(class -> bool ndarray, notes for the sidecar)``, and note problems; empty after an error."""
    try:
        mask = load_image(file.path)
    except InputError as error:
        report.add("error", f"{file.place}: {error}")
        return {}, []
    found, problem = _checks.check_grid(image, mask, file.place, repair=options.repair_affine)
    notes = []
    if found is not None and not found.is_same_axes:
        axes = _checks.axis_codes(mask), _checks.axis_codes(image)
        text = f"{file.place} has the axes {axes[0]}, its image {axes[1]}; it was turned without resampling."
        notes.append(text)
        report.add("note", text)
    if problem:
        report.add(*problem)
        notes.append(problem[1])
    if found is None or (problem and problem[0] == "error"):
        return {}, notes
    try:
        data = _checks.read_data(mask, file.place)
    except InputError as error:
        report.add("error", str(error))
        return {}, notes
    clean = _checks.clean_mask(found.turn(data), values, file.place)
    if clean.coding is not None:
        report.codings[file.place] = clean.coding
        coded = coding_note({file.place: clean.coding})
        notes += [coded] if coded else []
    for level, text in clean.problems:
        report.add(level, text)
        notes.append(text)
    return clean.masks, notes


def _save_label(
    folder: Path,
    plan: SubjectPlan,
    mask_plan: MaskPlan,
    name: str,
    mask: NDArray,
    image: SpatialImage,
    notes: Sequence[str],
) -> None:
    stem = f"{plan.label_stem}_desc-{mask_plan.rater}_label-{name}_seg"
    save_nifti(folder / f"{stem}.nii.gz", mask, image)
    manual = not mask_plan.is_consensus
    sidecar = {
        "Label": name,
        "Raters": [mask_plan.rater] if manual else plan.raters,
        "Sources": [f"bids::{plan.name}/anat/{plan.label_stem}.nii.gz"],
        "Method": MANUAL if manual else "consensus published with the dataset",
        "Parameters": {"SourceFile": mask_plan.file.place, "SourceValue": mask_plan.values[name] or 1},
        "GeneratedBy": {"Name": "ivadomed_labelfusion", "Version": __version__},
    }
    if notes:
        sidecar["Repairs"] = notes
    write_json(folder / f"{stem}.json", sidecar)


def _save_brain(
    folder: Path,
    plan: SubjectPlan,
    brain: SourceFile,
    image: SpatialImage,
    options: SubjectOptions,
    report: SubjectReport,
) -> NDArray | None:
    per_class, notes = _read_mask(brain, {"brain": None}, image, options, report)
    if not per_class:
        return None
    stem = f"{plan.label_stem}_desc-brain_mask"
    save_nifti(folder / f"{stem}.nii.gz", per_class["brain"], image)
    sidecar = {
        "Type": "Brain",
        "Sources": [f"bids::{plan.name}/anat/{plan.label_stem}.nii.gz"],
        "Method": "published with the dataset",
        "Parameters": {"SourceFile": brain.place},
        "GeneratedBy": {"Name": "ivadomed_labelfusion", "Version": __version__},
    }
    if notes:
        sidecar["Repairs"] = notes
    write_json(folder / f"{stem}.json", sidecar)
    return per_class["brain"]


def _measure(masks: Masks, report: SubjectReport, *, exclusive: bool) -> None:
    """Fill in volumes and pairwise Dice, and warn of overlapping classes."""
    voxel_mm3 = float(np.prod(report.voxel_mm))
    for name, by_rater in masks.items():
        report.volumes_mm3[name] = {rater: int(np.count_nonzero(m)) * voxel_mm3 for rater, m in by_rater.items()}
        report.dice[name] = {
            (first, second): _checks.dice(by_rater[first], by_rater[second])
            for first, second in itertools.combinations(by_rater, 2)
        }
    if not exclusive:
        return
    for (first, of_first), (second, of_second) in itertools.combinations(masks.items(), 2):
        for rater in of_first.keys() & of_second.keys():
            shared = int(np.count_nonzero(of_first[rater] & of_second[rater]))
            if shared:
                report.add("warning", f"{first} and {second} of {rater} overlap in {shared} voxels.")
