"""Evaluation of a whole dataset: files in, tables and pictures out."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.coding import coding_note
from ivadomed_labelfusion.data import bids
from ivadomed_labelfusion.data import predictions as files
from ivadomed_labelfusion.data.entities import has_contrast, parse
from ivadomed_labelfusion.data.grid import canonical_voxel_size_mm
from ivadomed_labelfusion.data.masks import RaterMasks, load_masks
from ivadomed_labelfusion.data.raters import ALLOW_BY_OPTION, names_of_suffixes, nested_target_suffix
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.evaluation.results import TABLE, Evaluation, ResultWriter
from ivadomed_labelfusion.evaluation.settings import Settings
from ivadomed_labelfusion.evaluation.subject import SubjectResult, evaluate_subject


# twelve: each is an option of the command `evaluate`, by keyword only
def evaluate_dataset(
    *,
    bids_dir: str | Path | Sequence[str | Path],
    target_suffix: Sequence[Any],
    output_dir: str | Path,
    predictions_dir: str | Path | None = None,
    settings: Settings | None = None,
    raters_as_predictions: bool = False,
    image_contrasts: Sequence[str] | None = None,
    prediction_suffix: str | None = None,
    allow_missing_raters: bool = False,
    table: str | None = TABLE,
    overwrite: bool = False,
    progress: Callable[[list[bids.LabelSet]], Iterable[bids.LabelSet]] = iter,
) -> Evaluation:
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
        InputError: If nothing can be evaluated; and at the end, when all other images are done and written, with a list
            of the images whose files are missing, do not fit each other or hold impossible values.
    """
    settings = Settings() if settings is None else settings
    nested = nested_target_suffix(target_suffix)
    if predictions_dir is None and not raters_as_predictions:
        raise InputError("There is nothing to evaluate: give --predictions, --raters-as-predictions or both.")
    if raters_as_predictions and len(nested[0]) < 2:
        raise InputError(
            f"Raters can be compared with each other only if there are two or more, got {len(nested[0])}. "
            "List every rater's suffix per class in --target-suffix."
        )
    bids_dirs = [bids_dir] if isinstance(bids_dir, str | Path) else list(bids_dir)
    label_sets = label_sets_of_contrasts(bids_dirs, nested, image_contrasts)
    class_names, _ = names_of_suffixes(nested)
    found = {}
    if predictions_dir is not None:
        stems = [labels.image_stem for labels in label_sets]
        found = files.find_predictions(predictions_dir, stems, class_names, suffix=prediction_suffix)
        label_sets = [labels for labels in label_sets if labels.image_stem in found]
    codings, problems = {}, {}
    with ResultWriter(output_dir, table=table, overwrite=overwrite) as writer:
        for labels in progress(label_sets):
            try:
                present = labels.present(allow_missing=allow_missing_raters, cure=ALLOW_BY_OPTION)
                masks = load_masks(labels.of_raters(present), canonical=True)
                _evaluate_image(writer, labels.of_raters(present), masks, found, settings, raters_as_predictions)
            except InputError as error:
                problems[labels.image_stem] = str(error).removeprefix(f"{labels.image_stem}: ")
            else:
                codings |= masks.codings
        note = coding_note({path.name: coding for path, coding in sorted(codings.items())})
        writer.evaluation.notes += [note] if note else []
        return _finish(writer, problems, len(label_sets))


def _finish(writer: ResultWriter, problems: dict[str, str], n_images: int) -> Evaluation:
    """Write the tables of the images that could be evaluated.

    Raises:
        InputError: If some could not; lists them.
    """
    if len(problems) == n_images == 1:
        raise InputError(next(f"{stem}: {text}" for stem, text in problems.items()))
    if not problems:
        return writer.finish()
    rest = "Nothing was written"
    if len(problems) < n_images:
        writer.finish()
        rest = "The tables hold the others"
    listed = "\n".join(f"{image_stem}: {text}" for image_stem, text in sorted(problems.items()))
    raise InputError(f"{len(problems)} of {n_images} images could not be evaluated. {rest}.\n{listed}")


def _evaluate_image(
    writer: ResultWriter,
    labels: bids.LabelSet,
    masks: RaterMasks,
    found: Mapping[str, Any],
    settings: Settings,
    raters_as_predictions: bool,
) -> None:
    """Evaluate one image and add its results."""
    shared: dict[str, Any] = {
        "class_names": labels.class_names,
        "voxel_size_mm": canonical_voxel_size_mm(masks.like),
        "subject": labels.image_stem,
        "settings": settings,
        "rater_names": labels.rater_names,
    }
    if found:
        prediction = files.load_prediction(found[labels.image_stem], labels.class_names, masks.like)
        image = files.load_background(labels, masks.like) if settings.disagreement_slices else None
        writer.add(evaluate_subject(prediction, masks.masks, image=image, **shared))
    if raters_as_predictions:
        for rater, result in evaluate_raters(masks.masks, **shared):
            writer.add_rater(rater, result)


def evaluate_raters(
    raters: NDArray, *, rater_names: Sequence[str], settings: Settings | None = None, **options: Any
) -> Iterator[tuple[str, SubjectResult]]:
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


def label_sets_of_contrasts(
    bids_dirs: Sequence[str | Path], nested: Sequence[Any], image_contrasts: Sequence[str] | None = None
) -> list[bids.LabelSet]:
    """Return the ``LabelSet`` of every image of some datasets, of the given contrasts only.

    Raises:
        InputError: If no image has one of the contrasts, or two datasets have a subject of one name.
    """
    label_sets = bids.find_label_sets(bids_dirs, nested)
    if image_contrasts is None:
        return label_sets
    kept = [labels for labels in label_sets if any(has_contrast(labels.image_stem, name) for name in image_contrasts)]
    if not kept:
        there = sorted({parse(labels.image_stem).suffix for labels in label_sets})
        raise InputError(
            f"No image has a contrast of {', '.join(image_contrasts)}; the raters' masks belong to {', '.join(there)}."
        )
    return kept
