"""Evaluation of a whole dataset: files in, tables and pictures out."""

import dataclasses
import re
from pathlib import Path

import numpy as np

from ivadomed_labelfusion.data import bids
from ivadomed_labelfusion.data import predictions as files
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.evaluation.results import TABLE, ResultWriter
from ivadomed_labelfusion.evaluation.settings import Settings
from ivadomed_labelfusion.evaluation.subject import evaluate_subject


def evaluate_dataset(
    *,
    bids_dir,
    target_suffix,
    output_dir,
    predictions_dir=None,
    settings=None,
    raters_as_predictions=False,
    image_contrasts=None,
    prediction_suffix=None,
    allow_missing_raters=False,
    table=TABLE,
    overwrite=False,
    progress=iter,
):
    """Evaluate predictions, and the raters themselves, against the raters of a BIDS dataset.

    Args:
        bids_dir (str, Path or list of them): The dataset(s) with the raters' masks below ``derivatives/``.
        target_suffix (list): As in ivadomed's ``loader_parameters``: one entry per class, each a list of raters.
        output_dir (str or Path): As for ``ResultWriter``, like ``table`` and ``overwrite``.
        predictions_dir (str or Path): Predictions of any tool in native space, see ``predictions.find_predictions``;
            images without one are left out. None evaluates only the raters.
        settings (Settings): What to compute; None takes the defaults.
        raters_as_predictions (bool): Also evaluate each rater's mask against the others, whose consensus is then the
            reference: the human ceiling.
        image_contrasts (sequence of str): Keep only images of these contrasts, such as ``FLAIR``. None keeps all.
        prediction_suffix (str): What follows the image's stem in the names of predictions; None tries the known ones.
        allow_missing_raters (bool): Evaluate an image that some raters lack against the others, as in
            ``loader_parameters``.
        table (str or None): File name of the table of subjects; None writes none.
        overwrite (bool): Replace files of an earlier evaluation.
        progress (callable): Wraps the list of images, to show a progress bar.

    Returns:
        Evaluation

    Raises:
        InputError: If files are missing, do not fit each other or hold impossible values; the message names them.
    """
    settings = Settings() if settings is None else settings
    nested = bids.nested_target_suffix(target_suffix)
    if predictions_dir is None and not raters_as_predictions:
        raise InputError("There is nothing to evaluate: give --predictions, --raters-as-predictions or both.")
    if raters_as_predictions and len(nested[0]) < 2:
        raise InputError(
            f"Raters can be compared with each other only if there are two or more, got {len(nested[0])}. "
            "List every rater's suffix per class in --target-suffix."
        )
    bids_dirs = [bids_dir] if isinstance(bids_dir, str | Path) else list(bids_dir)
    label_sets = find_label_sets(bids_dirs, nested, image_contrasts)
    class_names, _ = names_of_suffixes(nested)
    found = {}
    if predictions_dir is not None:
        stems = [labels.image_stem for labels in label_sets]
        found = files.find_predictions(predictions_dir, stems, class_names, suffix=prediction_suffix)
        label_sets = [labels for labels in label_sets if labels.image_stem in found]
    with ResultWriter(output_dir, table=table, overwrite=overwrite) as writer:
        for labels in progress(label_sets):
            stem = labels.image_stem
            present = nested
            if allow_missing_raters:
                labels, present = labels.with_complete_raters(nested)
            rater_names = names_of_suffixes(present)[1]
            masks, like = files.load_masks(labels, present)
            shared = {
                "class_names": class_names,
                "voxel_size_mm": files.canonical_voxel_size_mm(like),
                "subject": stem,
            }
            if found:
                prediction = files.load_prediction(found[stem], class_names, like)
                image = files.load_background(bids_dirs, stem, like) if settings.disagreement_slices else None
                writer.add(
                    evaluate_subject(
                        prediction, masks, settings=settings, image=image, rater_names=rater_names, **shared
                    )
                )
            if raters_as_predictions:
                for rater, result in evaluate_raters(masks, settings=settings, rater_names=rater_names, **shared):
                    writer.add_rater(rater, result)
        return writer.finish()


def evaluate_raters(raters, *, rater_names, settings=None, **options):
    """Yield ``(rater name, SubjectResult)`` of each rater's mask against the other raters (leave one out).

    Average, consensus and every other reference come from the others alone, so that no rater is compared with itself.

    Args:
        raters (ndarray): ``(R, C, *spatial)`` with R >= 2.
        rater_names (sequence of str): R names.
        settings (Settings): What to compute; pictures are never made.
        **options: ``class_names``, ``voxel_size_mm`` and ``subject`` of ``evaluate_subject``.
    """
    settings = dataclasses.replace(Settings() if settings is None else settings, disagreement_slices=0)
    for index, rater in enumerate(rater_names):
        others = np.arange(len(rater_names)) != index
        names = [name for name in rater_names if name != rater]
        yield rater, evaluate_subject(raters[index], raters[others], settings=settings, rater_names=names, **options)


def find_label_sets(bids_dirs, nested, image_contrasts=None):
    """Return the ``LabelSet`` of every image of some datasets, of the given contrasts only.

    Raises:
        InputError: If no image has one of the contrasts, or two datasets hold the same image.
    """
    label_sets = [labels for folder in bids_dirs for labels in bids.find_label_sets(folder, nested)]
    stems = [labels.image_stem for labels in label_sets]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise InputError(f"Every image must belong to one dataset, got {twice[0]} in several.")
    if image_contrasts is None:
        return label_sets
    kept = [
        labels for labels in label_sets if labels.image_stem.endswith(tuple(f"_{name}" for name in image_contrasts))
    ]
    if not kept:
        there = sorted({stem.rpartition("_")[2] for stem in stems})
        raise InputError(
            f"No image has a contrast of {', '.join(image_contrasts)}; the raters' masks belong to {', '.join(there)}."
        )
    return kept


def names_of_suffixes(nested):
    """Return class names (``label-`` entity) and rater names (``desc-`` entity) of the suffixes.

    Where the entities are missing or do not tell them apart, classes are ``class1``... and raters ``rater1``...
    """
    classes = [_entity("label", suffixes[0]) for suffixes in nested]
    raters = [_entity("desc", suffix) for suffix in nested[0]]
    return _distinct(classes, "class"), _distinct(raters, "rater")


def _entity(key, suffix):
    match = re.search(rf"_{key}-([A-Za-z0-9]+)", suffix)
    return match.group(1) if match else None


def _distinct(names, kind):
    if None in names or len(set(names)) != len(names):
        return [f"{kind}{index + 1}" for index in range(len(names))]
    return names
