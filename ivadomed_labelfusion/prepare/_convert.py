"""Converting one subject into the staging folder: images, masks, sidecars, region of interest, checks."""

import itertools
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.coding import coding_note
from ivadomed_labelfusion.data.bids import MANUAL
from ivadomed_labelfusion.data.grid import spatial_shape
from ivadomed_labelfusion.data.volumes import load_image, save_nifti, voxel_size_mm
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import write_gzip, write_json
from ivadomed_labelfusion.prepare import _checks, _coverage
from ivadomed_labelfusion.prepare._plan import PlanProblem


@dataclass(frozen=True)
class SubjectOptions:
    """How to convert a subject: see ``prepare_scgm`` for the meaning."""

    symlink: bool = False
    repair_affine: bool = False
    roi: str | None = None
    crop: _coverage.Crop | None = None
    template: str | None = None


@dataclass
class SubjectReport:
    """What one subject holds.

    Attributes:
        name (str): ``sub-01``.
        source_id (str): The subject's name in the download.
        raters (list of str): Raters whose masks were written.
        axes (str): Orientation of the image that carries the labels.
        voxel_mm (tuple): Its voxel size in mm.
        shape (tuple): Its shape.
        volumes_mm3 (dict): Class -> rater -> volume in mm^3.
        dice (dict): Class -> (rater, rater) -> Dice; 1.0 if both are empty.
        kept (float or None): Share in [0, 1] of the raters' union that the configuration's crop keeps; None if unknown.
        problems (list of PlanProblem): Everything found.
        codings (dict): Place of each binary mask to its `Coding`.
    """

    name: str
    source_id: str
    raters: list = field(default_factory=list)
    axes: str = ""
    voxel_mm: tuple = ()
    shape: tuple = ()
    volumes_mm3: dict = field(default_factory=dict)
    dice: dict = field(default_factory=dict)
    kept: float | None = None
    problems: list = field(default_factory=list)
    codings: dict = field(default_factory=dict)

    def add(self, level, text):
        """Note a problem of this subject."""
        self.problems.append(PlanProblem(level, self.name, text))

    @property
    def failed(self):
        """True if an error was found."""
        return any(problem.level == "error" for problem in self.problems)


def convert_subject(plan, staging, classes, options, *, exclusive):
    """Write one subject below ``staging`` and report on it; on an error the rest of the subject is skipped.

    Args:
        plan (SubjectPlan): What to write.
        staging (Path): Root of the unfinished dataset.
        classes (tuple of str): Names of the classes.
        options (SubjectOptions): How.
        exclusive (bool): Overlapping classes are worth a warning.

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
    masks = {name: {} for name in classes}
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
    brain = _save_brain(labels, plan, image, options, report) if plan.brain else None
    _check_crop(labels, plan, masks, brain, image, options, report)
    return report


def _write_images(plan, anat, options, report):
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
        data, text = _checks.read_data(image, item.file.place)
        if text is None and data.ndim != 3:
            text = (
                f"{item.file.place} must be a 3D image, got shape {image.shape}. Leave the subject out with --subjects."
            )
        if text is None and not np.isfinite(data).all():
            text = f"{item.file.place} must hold finite values, got NaN or infinity. Get the file again."
        if text is not None:
            report.add("error", text)
            return None
        if data.min() == data.max():
            report.add("warning", f"{item.file.place} is constant ({data.min():g}): it shows nothing.")
        unknown = _checks.header_problem(image, item.file.place)
        if unknown:
            report.add("warning", unknown)
        if reference is not None and not item.register:
            found, problem = _checks.check_grid(reference, image, item.file.place, repair=True)
            if problem is None and not found.is_same_axes:
                problem = (
                    "error",
                    f"{item.file.place} has its axes in another order or direction than the first channel.",
                )
            if problem and problem[0] == "error":
                report.add("error", f"{problem[1]} All channels must share the grid of {plan.images[0].file.place}.")
                return None
            if problem:
                report.add("note", f"the headers of {item.file.place} and of its first channel differ by rounding.")
        if item.register:
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


def _place(file, target, *, symlink):
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


def _register(plan, item, reference, target, dtype, report):
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


def _centre_mm(image):
    return (image.affine @ [*(np.array(image.shape[:3]) - 1) / 2, 1.0])[:3]


def _read_mask(file, values, image, options, report):
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
        if problem[0] == "error":
            return {}, notes
    data, text = _checks.read_data(mask, file.place)
    if text:
        report.add("error", text)
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


def _save_label(folder, plan, mask_plan, name, mask, image, notes):
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


def _save_brain(folder, plan, image, options, report):
    per_class, notes = _read_mask(plan.brain, {"brain": None}, image, options, report)
    if not per_class:
        return None
    stem = f"{plan.label_stem}_desc-brain_mask"
    save_nifti(folder / f"{stem}.nii.gz", per_class["brain"], image)
    sidecar = {
        "Type": "Brain",
        "Sources": [f"bids::{plan.name}/anat/{plan.label_stem}.nii.gz"],
        "Method": "published with the dataset",
        "Parameters": {"SourceFile": plan.brain.place},
        "GeneratedBy": {"Name": "ivadomed_labelfusion", "Version": __version__},
    }
    if notes:
        sidecar["Repairs"] = notes
    write_json(folder / f"{stem}.json", sidecar)
    return per_class["brain"]


def _measure(masks, report, *, exclusive):
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


def _check_crop(folder, plan, masks, brain, image, options, report):
    """Write the region of interest if asked for, and check what the configuration's crop keeps of the labels."""
    present = [mask for by_rater in masks.values() for mask in by_rater.values()]
    if not present:
        return
    union = np.logical_or.reduce(present)
    roi = None
    if options.roi:
        roi = _write_roi(folder, plan, union, brain, image, options, report)
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


def _write_roi(folder, plan, union, brain, image, options, report):
    """Write the region of interest; return it, or None after a problem."""
    if options.roi == "raters":
        mask, source, label_based = union, "union of the raters' masks", True
    elif options.roi == "brain":
        if brain is None:
            report.add("error", "--roi brain needs the download's Brain_Mask, which this subject lacks.")
            return None
        mask, source, label_based = brain, "brain mask published with the dataset", False
    else:
        path = Path(options.roi.format(subject=plan.name.removeprefix("sub-"), source_id=plan.source_id))
        try:
            given = load_image(path)
        except InputError as error:
            report.add("error", f"region of interest: {error}")
            return None
        found, problem = _checks.check_grid(image, given, str(path), repair=options.repair_affine)
        if problem:
            report.add(*problem)
            if problem[0] == "error":
                return None
        mask, text = _checks.read_data(given, str(path))
        if text:
            report.add("error", text)
            return None
        mask = found.turn(mask)
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
