"""Evaluation against several raters inside ``ivadomed --test``, on soft outputs in native space."""

import contextlib
import contextvars
import dataclasses
from pathlib import Path

import numpy as np
import pandas
from loguru import logger
from tqdm import tqdm

from ivadomed_labelfusion.data import predictions as prediction_files
from ivadomed_labelfusion.data.entities import stem
from ivadomed_labelfusion.data.grid import canonical_voxel_size_mm
from ivadomed_labelfusion.data.masks import load_masks
from ivadomed_labelfusion.data.raters import names_of_suffixes, nested_target_suffix
from ivadomed_labelfusion.data.volumes import save_nifti
from ivadomed_labelfusion.evaluation import ResultWriter, evaluate_subject, settings_from_config, validation_functions
from ivadomed_labelfusion.files import read_json
from ivadomed_labelfusion.hosts.ivadomed2.context import current_context

SOFT_FOLDER = "pred_soft"
SOFT_SUFFIX = "_pred"

_soft_folder = contextvars.ContextVar("ivadomed_labelfusion_soft_folder", default=None)


@contextlib.contextmanager
def soft_predictions(folder):
    """Within the block, keep every prediction that ivadomed writes also soft in ``folder``, which is emptied first."""
    folder = Path(folder)
    for stale in folder.glob(f"*{SOFT_SUFFIX}.nii.gz"):
        stale.unlink()
    token = _soft_folder.set(folder)
    try:
        yield
    finally:
        _soft_folder.reset(token)


def pred_to_nib(original):
    """Wrap ``ivadomed.inference.pred_to_nib``.

    ivadomed sets outputs up to 0.01 to zero, applies the postprocessing and stores the rest in the integer type of the
    label, in 256 steps. The soft output is kept beside that as it is, float32.
    """

    def wrapped(data_lst, z_lst, fname_ref, fname_out, slice_axis, **options):
        folder = _soft_folder.get()
        if folder is not None and fname_out is not None and fname_out.endswith("_pred.nii.gz"):
            soft_options = {**options, "postprocessing": None, "discard_noise": False}
            soft = original(data_lst, z_lst, fname_ref, None, slice_axis, **soft_options)
            name = Path(fname_out).name.removesuffix("_pred.nii.gz")
            # averaging and resampling may leave the range by a rounding error
            data = np.clip(np.asarray(soft.dataobj, dtype=np.float32), 0.0, 1.0)
            save_nifti(folder / f"{name}{SOFT_SUFFIX}.nii.gz", data, soft, overwrite=True)
        return original(data_lst, z_lst, fname_ref, fname_out, slice_axis, **options)

    return wrapped


def settings_of(context):
    """Return the evaluation settings of a run, with the threshold that ``-t`` found, if there is one.

    The threshold is taken from ``inter_rater.threshold``, else from this run's postprocessing, else from the
    configuration that training saved in the output folder. Several classes are binarised by argmax.
    """
    settings = settings_from_config(context)
    if settings.threshold is not None or len(context["loader_parameters"]["target_suffix"]) > 1:
        return settings
    threshold = _threshold(context)
    saved = Path(context["path_output"], "config_file.json")
    if threshold is None and saved.exists():
        threshold = _threshold(read_json(saved))
    return settings if threshold is None else dataclasses.replace(settings, threshold=float(threshold))


def _threshold(context):
    threshold = (context.get("postprocessing", {}).get("binarize_prediction") or {}).get("thr")
    # below 0, ivadomed keeps the soft values
    return None if threshold is not None and threshold < 0 else threshold


def evaluate(bids_df, context):
    """Evaluate the soft predictions of a test run; write tables, JSON and pictures into ``results_eval/``.

    Args:
        bids_df (RaterBidsDataframe): The table of files.
        context (dict): The configuration of the run.

    Returns:
        pandas.DataFrame: One row per image (``image_id``), one column per metric (``ir_...``).
    """
    settings = settings_of(context)
    output = Path(context["path_output"])
    images = dict(zip(bids_df.df["filename"].map(stem), bids_df.df["filename"], strict=True))
    folder = output / SOFT_FOLDER
    predicted = sorted(stem(path).removesuffix(SOFT_SUFFIX) for path in folder.glob(f"*{SOFT_SUFFIX}.nii.gz"))
    nested = nested_target_suffix(context["loader_parameters"]["target_suffix"])
    class_names, _ = names_of_suffixes(nested)
    found = prediction_files.find_predictions(folder, predicted, class_names, suffix=SOFT_SUFFIX)
    with ResultWriter(output / "results_eval", table=None, overwrite=True) as writer:
        for image_stem in tqdm([name for name in predicted if name in images], desc="Inter-rater evaluation"):
            labels = bids_df.marked_image([images[image_stem]]).labels
            masks = load_masks(labels, canonical=True)
            background = prediction_files.load_background(labels, masks.like)
            writer.add(
                evaluate_subject(
                    prediction_files.load_prediction(found[image_stem], class_names, masks.like),
                    masks.masks,
                    class_names=class_names,
                    voxel_size_mm=canonical_voxel_size_mm(masks.like),
                    settings=settings,
                    subject=image_stem,
                    image=background if settings.disagreement_slices else None,
                    rater_names=labels.rater_names,
                )
            )
        evaluation = writer.finish()
    for (subject, metric), reason in evaluation.errors.items():
        logger.warning(f"The metric {metric!r} failed for {subject}: {reason}")
    table = pandas.DataFrame.from_dict(evaluation.rows, orient="index")
    table.index.name = "image_id"
    return table


def get_metric_fns(original):
    """Wrap ``ivadomed.metrics.get_metric_fns``: the rater-aware metrics are shown in validation epochs, too."""

    def wrapped(task, eval_params=None):
        functions = original(task, eval_params)
        context = current_context()
        if context.get("command") == "train" and wants_evaluation(context):
            functions = functions + validation_functions(settings_from_config(context))
        return functions

    return wrapped


def get_results(original):
    """Wrap ``MetricManager.get_results``: an undefined metric is NaN, which TensorBoard takes, not None."""

    def wrapped(self):
        return {name: float("nan") if value is None else value for name, value in original(self).items()}

    return wrapped


def wants_evaluation(context):
    """Tell whether a configuration asks for the evaluation against several raters."""
    return "inter_rater" in context.get("evaluation_parameters", {})
