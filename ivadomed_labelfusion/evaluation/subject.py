"""Evaluation of one subject: arrays in, named columns and reliability curves out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.evaluation.offer import Offer
from ivadomed_labelfusion.evaluation.reference import reference_consensus
from ivadomed_labelfusion.evaluation.settings import Settings
from ivadomed_labelfusion.metrics.calibration import ReliabilityCurve
from ivadomed_labelfusion.metrics.checks import check_raters
from ivadomed_labelfusion.metrics.kinds import PREFIX, Metric
from ivadomed_labelfusion.metrics.registry import built_in_metrics
from ivadomed_labelfusion.metrics.surface import bounding_box
from ivadomed_labelfusion.plots.slices import SliceView, crop_around, most_disagreement_slices, slice_axis


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
    columns: dict[str, float]
    reliability: dict[tuple[str, str], ReliabilityCurve]
    errors: dict[str, str]
    details: dict[str, Any]
    slices: tuple[SliceView, ...] = field(default=(), repr=False)


def evaluate_subject(
    prediction: ArrayLike,
    raters: ArrayLike,
    *,
    class_names: Sequence[str],
    voxel_size_mm: Sequence[float],
    settings: Settings | None = None,
    subject: str = "",
    image: ArrayLike | None = None,
    rater_names: Sequence[str] | None = None,
) -> SubjectResult:
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

    Example:
        >>> import numpy as np
        >>> raters = np.zeros((3, 1, 8, 8, 4), np.uint8)
        >>> raters[:, 0, 2:5, 2:5, 1] = 1
        >>> result = evaluate_subject(raters[0], raters, class_names=["lesion"], voxel_size_mm=(1, 1, 3))
        >>> result.columns["ir_dice_lesion"]
        1.0
    """
    settings = Settings() if settings is None else settings
    prediction, raters = np.asarray(prediction), np.asarray(raters)
    names = _column_names(class_names, prediction)
    voxel_size_mm = tuple(float(size) for size in voxel_size_mm)
    known = {"voxel_size_mm": voxel_size_mm, "class_names": tuple(class_names), "subject": subject}
    try:
        raters = check_raters(raters, prediction)
        reference, reference_details = reference_consensus(raters, settings, names=rater_names)
        offer = Offer(prediction, raters, reference, settings=settings, subject=known)
        built_in = built_in_metrics()
        wanted = [built_in[name] for name in built_in if name in settings.built_in]
        sums, columns = offer.sums, offer.columns(wanted, names)
    except InputError as error:
        raise InputError(f"{subject}: {error}" if subject else str(error)) from None
    own, errors = _own_columns(offer, names, settings.own)
    curves: dict[tuple[str, str], ReliabilityCurve] = {}
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
    slices: tuple[SliceView, ...] = ()
    if settings.disagreement_slices:
        slices = _slices(image, raters, reference, prediction, voxel_size_mm, settings.disagreement_slices)
    return SubjectResult(subject, {**columns, **own}, curves, errors, details, slices)


def _column_names(class_names: Sequence[str], prediction: NDArray) -> list[str]:
    names = [re.sub(r"[^A-Za-z0-9]+", "_", str(name)).strip("_") for name in class_names]
    if prediction.ndim < 2 or len(names) != prediction.shape[0]:
        raise InputError(
            f"prediction must have the shape (C, *spatial) for the classes {list(class_names)}, got {prediction.shape}."
        )
    if not all(names) or len(set(names)) != len(names):
        raise InputError(f"class_names must differ and hold letters or digits, got {list(class_names)}.")
    return names


def _own_columns(
    offer: Offer, names: Sequence[str], metrics: Sequence[Metric]
) -> tuple[dict[str, float], dict[str, str]]:
    """Run the own metrics; return ``(columns, errors)``."""
    columns: dict[str, float] = {}
    errors: dict[str, str] = {}
    for metric in metrics:
        try:
            columns |= offer.columns([metric], names)
        except (Exception, SystemExit) as error:  # an own metric may fail in any way; the other columns must not suffer
            errors[metric.name] = f"{type(error).__name__}: {error}"
            columns[PREFIX + metric.name] = float("nan")
    return columns, errors


def _slices(
    image: ArrayLike | None,
    raters: NDArray,
    reference: NDArray,
    prediction: NDArray,
    voxel_size_mm: tuple[float, ...],
    count: int,
) -> tuple[SliceView, ...]:
    """Return the slices on which the raters disagree most, all cut out along the same box around the masks."""
    axis = slice_axis(voxel_size_mm) if raters.ndim > 4 else None
    box = bounding_box(np.asarray(raters.any(axis=(0, 1))))
    chosen: list[int | None]
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

    def take(array: NDArray, index: int | None) -> NDArray:
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
            index=0 if index is None else int(index),
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
