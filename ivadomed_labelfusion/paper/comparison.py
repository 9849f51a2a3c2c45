"""The slice on which the candidates are compared by eye: the one where the raters disagree most."""

import numpy as np

from ivadomed_labelfusion.data import predictions as files
from ivadomed_labelfusion.data.bids import find_label_sets
from ivadomed_labelfusion.data.grid import canonical_voxel_size_mm
from ivadomed_labelfusion.data.masks import load_masks
from ivadomed_labelfusion.data.raters import nested_target_suffix
from ivadomed_labelfusion.evaluation import settings_from_config
from ivadomed_labelfusion.evaluation.reference import reference_consensus, reference_name
from ivadomed_labelfusion.experiment.collect import finished_models
from ivadomed_labelfusion.experiment.columns import ENTROPY_RATERS
from ivadomed_labelfusion.experiment.plan import class_names
from ivadomed_labelfusion.paper.figures import candidate_label
from ivadomed_labelfusion.plots.panels import maps_figure
from ivadomed_labelfusion.plots.slices import crop_around, most_disagreement_slices, slice_axis


def choose_image(results):
    """Return ``(split, image)`` to show: of the images that most candidates tested, the one with most disagreement.

    Args:
        results (DataFrame): One row per candidate, split and image.
    """
    disagreement = ENTROPY_RATERS if ENTROPY_RATERS in results else None
    groups = results.groupby(["split", "image_id"])
    order = groups["candidate"].nunique().to_frame("candidates")
    order["disagreement"] = groups[disagreement].first() if disagreement else 0.0
    return order.sort_values(["candidates", "disagreement"], ascending=False, kind="stable").index[0]


def visual_comparison(study, results):
    """Return the figure of image, consensus, average and every candidate's prediction on one slice.

    Args:
        study (Study): The study.
        results (DataFrame): One row per candidate, split and image.

    Returns:
        Figure
    """
    split, image_id = choose_image(results)
    names = class_names(study)
    config = study.config(study.candidates[0])
    loader = config["loader_parameters"]
    nested = nested_target_suffix(loader["target_suffix"])
    labels = next(labels for labels in find_label_sets(study.bids, nested) if labels.image_stem == image_id)
    present = labels.present(allow_missing=bool(loader.get("allow_missing_raters")))
    loaded = load_masks(labels.of_raters(present), canonical=True)
    raters, like = loaded.masks, loaded.like
    settings = settings_from_config(config)
    reference, _ = reference_consensus(raters, settings)
    average = raters.mean(axis=0, dtype=np.float32)
    image = files.load_background(labels, like)
    spacing = canonical_voxel_size_mm(like)
    axis = slice_axis(spacing)
    (index,) = most_disagreement_slices(np.moveaxis(average, 0, -1), 1, axis)

    def cut(volume):
        return np.take(volume, index, axis=axis - 3)

    box = crop_around(cut(average).max(axis=0) > 0, margin=12)
    shown = None if image is None else cut(image)[box].astype(np.float32)
    background = np.zeros(cut(average)[0][box].shape, np.float32) if shown is None else shown
    panels = [
        ("Image", background, None),
        (
            f"GT {reference_name(settings.reference)}",
            background,
            cut(reference)[(slice(None), *box)].astype(np.float32),
        ),
        ("GT average", background, cut(average)[(slice(None), *box)]),
    ]
    for candidate, done_split, folder in finished_models(study):
        if done_split == split:
            found = files.find_predictions(folder / "pred_soft", [image_id], names)
            prediction = files.load_prediction(found[image_id], names, like)
            panels.append(
                (candidate_label(candidate), background, cut(prediction)[(slice(None), *box)].astype(np.float32))
            )
    in_plane = tuple(size for number, size in enumerate(spacing) if number != axis)
    return maps_figure(
        panels, class_names=names, spacing_mm=in_plane, title=f"{image_id}, slice {index}, models of {split}"
    )
