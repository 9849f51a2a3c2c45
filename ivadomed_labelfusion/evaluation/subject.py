"""Evaluation of one subject: arrays in, named columns and reliability curves out."""

import re
from dataclasses import dataclass, field

import numpy as np

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.evaluation.reference import consensus
from ivadomed_labelfusion.evaluation.settings import Settings
from ivadomed_labelfusion.evaluation.uncertainty import (
    PREFIX,
    agreement_columns,
    brier_split_columns,
    calibrated_entropy_columns,
    entropy_columns,
    log_score_columns,
)
from ivadomed_labelfusion.metrics.checks import check_raters
from ivadomed_labelfusion.metrics.lesions import lesion_detection
from ivadomed_labelfusion.metrics.overlap import (
    dice_of_counts,
    precision_of_counts,
    qubiq_dice_of_table,
    recall_of_counts,
    rvd_of_counts,
)
from ivadomed_labelfusion.metrics.sets import energy_distance_of_iou, hungarian_of_iou, iou_of_counts
from ivadomed_labelfusion.metrics.streaming import collect
from ivadomed_labelfusion.metrics.surface import bounding_box, surface_distances
from ivadomed_labelfusion.plots.slices import crop_around, most_disagreement_slices, slice_axis


@dataclass(frozen=True)
class SliceView:
    """One slice for the picture, cut out around the masks.

    Attributes:
        index (int): Number of the slice along ``axis`` of the volume.
        axis (int): Axis that was cut.
        spacing_mm (tuple of float): Voxel size of the two axes shown.
        image (ndarray or None): ``(a, b)``.
        raters (ndarray): ``(R, C, a, b)``.
        average, reference, prediction (ndarray): ``(C, a, b)``.
    """

    index: int
    axis: int
    spacing_mm: tuple
    image: np.ndarray | None
    raters: np.ndarray
    average: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray


@dataclass(frozen=True)
class SubjectResult:
    """What ``evaluate_subject`` finds.

    Attributes:
        subject (str): Name of the row.
        columns (dict): Column name to float; NaN where a metric is not defined for the subject (see its docstring) or
            an own metric failed.
        reliability (dict): ``(form, region)`` to ``ReliabilityCurve``.
        errors (dict): Own metric's name to the reason why it failed.
        details (dict): How the numbers came about, ready for JSON: classes, raters, reference, binarisation.
        slices (tuple of SliceView): Slices of most disagreement.
    """

    subject: str
    columns: dict
    reliability: dict
    errors: dict
    details: dict
    slices: tuple = field(default=(), repr=False)


def evaluate_subject(
    prediction, raters, *, class_names, voxel_size_mm, settings=None, subject="", image=None, rater_names=None
):
    """Evaluate one prediction against the masks of several raters.

    The volumes are read in one pass (plus the consensus, and lesions and surfaces within the masks' bounding box).

    Args:
        prediction (ndarray): ``(C, *spatial)``, soft or binary foreground classes in [0, 1], in native space.
        raters (ndarray): ``(R, C, *spatial)`` masks of 0 and 1 (uint8 is best) or soft masks in [0, 1].
        class_names (sequence of str): C names; they end the columns' names.
        voxel_size_mm (sequence of float): Voxel size of each spatial axis in mm.
        settings (Settings): What to compute; None takes the defaults.
        subject (str): Name of the row.
        image (ndarray): ``(*spatial)`` background of the picture; None draws black.
        rater_names (sequence of str): R names for the details; None numbers them from 1.

    Returns:
        SubjectResult

    Raises:
        InputError: If arrays do not fit each other, hold NaN or values outside [0, 1], or names are missing; the
            message starts with the subject.
    """
    settings = Settings() if settings is None else settings
    prediction, raters = np.asarray(prediction), np.asarray(raters)
    names = _column_names(class_names, prediction)
    voxel_size_mm = tuple(float(size) for size in voxel_size_mm)
    try:
        raters = check_raters(raters, prediction)
        reference, reference_details = consensus(raters, settings, names=rater_names)
        sums = collect(prediction, raters, reference, threshold=settings.threshold, n_bins=settings.n_bins)
        columns = _voxel_columns(sums, names, settings)
        if {"lesions", "surface"} & set(settings.built_in):
            columns.update(_mask_columns(sums.labels, reference, names, voxel_size_mm, settings))
    except InputError as error:
        raise InputError(f"{subject}: {error}" if subject else str(error)) from None
    errors = {}
    if settings.own:
        context = {"voxel_size_mm": voxel_size_mm, "class_names": tuple(class_names), "subject": subject}
        own = _own_columns(prediction, raters, reference, sums.labels, context, names, settings.own)
        columns.update(own[0])
        errors = own[1]
    curves = {}
    if "ece" in settings.built_in:
        curves = {
            (form, region): sums.bins[region].curve(form) for form in settings.ece_forms for region in settings.regions
        }
    details = {
        "class_names": list(class_names),
        "raters": [str(index + 1) for index in range(raters.shape[0])] if rater_names is None else list(rater_names),
        "voxel_size_mm": list(voxel_size_mm),
        "shape": list(prediction.shape[1:]),
        "reference": reference_details,
        "binarization": "argmax with background" if settings.threshold is None else f">= {settings.threshold:g}",
        "voxels_with_class_sum_above_1": sums.n_above_one,
        "settings": settings.as_dict(),
    }
    slices = ()
    if settings.disagreement_slices:
        slices = _slices(image, raters, reference, prediction, voxel_size_mm, settings.disagreement_slices)
    return SubjectResult(subject, columns, curves, errors, details, slices)


def _column_names(class_names, prediction):
    names = [re.sub(r"[^A-Za-z0-9]+", "_", str(name)).strip("_") for name in class_names]
    if prediction.ndim < 2 or len(names) != prediction.shape[0]:
        raise InputError(
            f"prediction must have the shape (C, *spatial) for the classes {list(class_names)}, got {prediction.shape}."
        )
    if not all(names) or len(set(names)) != len(names):
        raise InputError(f"class_names must differ and hold letters or digits, got {list(class_names)}.")
    return names


def _voxel_columns(sums, names, settings):
    """Return the columns that follow from the sums of the pass, in the order of the built-in metrics."""
    wanted, columns = set(settings.built_in), {}

    def per_class(metric, values):
        columns.update({f"{PREFIX}{metric}_{name}": float(value) for name, value in zip(names, values, strict=True)})

    if "entropy" in wanted:
        columns |= entropy_columns(sums, settings)
    if "calibrated_entropy" in wanted:
        columns |= calibrated_entropy_columns(sums, settings)
    if "brier" in wanted:
        per_class("brier", sums.squared_error / sums.n_voxels)
    if "brier_split" in wanted:
        columns |= brier_split_columns(sums, names)
    if "log_score" in wanted:
        columns |= log_score_columns(sums, settings)
    if "ece" in wanted:
        for form in settings.ece_forms:
            for region in settings.regions:
                curve = sums.bins[region].curve(form)
                columns[f"{PREFIX}ece_{form}_{region}"] = curve.ece
                columns[f"{PREFIX}mce_{form}_{region}"] = curve.mce
    if "dice" in wanted:
        per_class("dice", dice_of_counts(*sums.overlap))
    if "precision" in wanted:
        per_class("precision", precision_of_counts(*sums.overlap))
    if "recall" in wanted:
        per_class("recall", recall_of_counts(*sums.overlap))
    volume_difference = rvd_of_counts(*sums.overlap)
    if "rvd" in wanted:
        per_class("rvd", volume_difference)
    if "avd" in wanted:
        per_class("avd", np.abs(volume_difference))
    if "soft_dice" in wanted:
        per_class("soft_dice", dice_of_counts(*sums.soft))
    if "qubiq_dice" in wanted:
        per_class("qubiq_dice", qubiq_dice_of_table(sums.level_table))
    iou = iou_of_counts(sums.shared).mean(axis=0)
    if "ged" in wanted:
        columns[f"{PREFIX}ged"] = energy_distance_of_iou(iou, 1)
    if "hungarian_iou" in wanted:
        columns[f"{PREFIX}hungarian_iou"] = hungarian_of_iou(iou, 1)
    if "rater_agreement" in wanted:
        columns |= agreement_columns(sums.shared, names)
    return columns


def _mask_columns(labels, reference, names, voxel_size_mm, settings):
    """Return the columns of lesions and surfaces, class by class within the bounding box of both masks."""
    columns = {}
    for index, name in enumerate(names):
        prediction = labels.view(bool) if len(names) == 1 else labels == index + 1
        box = bounding_box(prediction | reference[index])
        box = tuple(slice(0, 1) for _ in prediction.shape) if box is None else box
        ours, theirs = prediction[box][None], reference[index][box][None]
        if "lesions" in settings.built_in:
            (found,) = lesion_detection(ours, theirs, min_overlap=settings.lesion_min_overlap)
            columns[f"{PREFIX}lesion_tpr_{name}"] = found.true_positive_rate
            columns[f"{PREFIX}lesion_fdr_{name}"] = found.false_detection_rate
            columns[f"{PREFIX}lesion_n_reference_{name}"] = float(found.n_reference)
            columns[f"{PREFIX}lesion_n_prediction_{name}"] = float(found.n_prediction)
        if "surface" in settings.built_in:
            (surface,) = surface_distances(
                ours, theirs, voxel_size_mm=voxel_size_mm, tolerance_mm=settings.surface_tolerance_mm
            )
            columns[f"{PREFIX}hd95_mm_{name}"] = surface.hausdorff_95_mm
            columns[f"{PREFIX}assd_mm_{name}"] = surface.average_mm
            columns[f"{PREFIX}surface_dice_{name}"] = surface.surface_dice
    return columns


def _own_columns(prediction, raters, reference, labels, context, names, metrics):
    """Run the own metrics; return ``(columns, errors)``."""
    needed = {argument for metric in metrics for argument in metric.arguments}
    available = {**context, "prediction": prediction, "raters": raters, "reference": reference}
    if "average" in needed:
        available["average"] = raters.mean(axis=0, dtype=np.float32)
    if "binarized" in needed:
        available["binarized"] = np.stack([labels == index + 1 for index in range(len(names))])
    for key, value in available.items():
        if isinstance(value, np.ndarray):
            available[key] = value.view()
            available[key].flags.writeable = False
    columns, errors = {}, {}
    for metric in metrics:
        column = PREFIX + metric.name
        try:
            columns.update(_own_values(column, metric(available), names))
        except (Exception, SystemExit) as error:  # an own metric may fail in any way; the other columns must not suffer
            errors[metric.name] = f"{type(error).__name__}: {error}"
            columns[column] = float("nan")
    return columns, errors


def _own_values(column, value, names):
    if isinstance(value, dict):
        return {f"{column}_{key}": float(number) for key, number in value.items()}
    values = np.asarray(value, np.float64)
    if values.ndim == 0:
        return {column: float(values)}
    if values.shape != (len(names),):
        raise ValueError(
            f"a metric must return a number, one number for each of {len(names)} classes or a dict, "
            f"got an array of shape {values.shape}"
        )
    return {f"{column}_{name}": float(number) for name, number in zip(names, values, strict=True)}


def _slices(image, raters, reference, prediction, voxel_size_mm, count):
    """Return the slices on which the raters disagree most, all cut out along the same box around the masks."""
    axis = slice_axis(voxel_size_mm) if raters.ndim > 4 else None
    box = bounding_box(raters.any(axis=(0, 1)))
    if axis is None:
        chosen = [None]
    elif box is None:
        chosen = [reference.shape[axis + 1] // 2]
    else:
        # only the raters' bounding box, because their average would take as much memory as the image
        inside = np.moveaxis(raters[(slice(None), slice(None), *box)].mean(axis=0, dtype=np.float32), 0, -1)
        gap = max(1, reference.shape[axis + 1] // 20)
        near = most_disagreement_slices(inside, count, axis, min_gap=gap)
        chosen = [box[axis].start + index for index in near]

    def take(array, index):
        if axis is None:
            return array
        return array[(..., index, *[slice(None)] * (len(voxel_size_mm) - 1 - axis))]

    marked = [
        take(raters, index).any(axis=(0, 1))
        | take(reference, index).any(axis=0)
        | (take(prediction, index) >= 0.5).any(0)
        for index in chosen
    ]
    plane = crop_around(np.logical_or.reduce(marked))
    return tuple(
        SliceView(
            index=0 if axis is None else int(index),
            axis=-1 if axis is None else axis,
            spacing_mm=tuple(size for number, size in enumerate(voxel_size_mm) if number != axis),
            image=None if image is None else np.array(take(np.asarray(image), index)[plane], np.float32),
            raters=np.array(take(raters, index)[(..., *plane)]),
            average=take(raters, index)[(..., *plane)].mean(axis=0, dtype=np.float32),
            reference=np.array(take(reference, index)[(..., *plane)]),
            prediction=np.array(take(prediction, index)[(..., *plane)], np.float32),
        )
        for index in chosen
    )
