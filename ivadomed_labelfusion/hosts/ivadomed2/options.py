"""What a command of ivadomed is given: options of the command line, and the files and folders that a run needs."""

from pathlib import Path

from ivadomed_labelfusion.config.networks import uses_subvolumes
from ivadomed_labelfusion.data import texts
from ivadomed_labelfusion.errors import InputError


def check_options(context, thr_increment=None, n_gif=0, overlap_2d=None, **_others):
    """Refuse options of the command line that ivadomed would meet after hours of training, or work on for ever."""
    # 0.001: a thousand thresholds are searched
    if thr_increment is not None and not 0.001 <= thr_increment < 1:
        raise InputError(f"--thr-increment (-t) must be a number from 0.001 to 1, got {thr_increment}.")
    if not 0 <= n_gif <= 1000:
        raise InputError(f"--gif (-g) must be a whole number from 0 to 1000, got {n_gif}.")
    if n_gif and uses_subvolumes(context):
        raise InputError("--gif (-g) shows slices of 2D models. Leave it out for a 3D model.")
    if overlap_2d is not None and (len(overlap_2d) != 2 or min(overlap_2d) < 0):
        raise InputError(f"--overlap-2d must be two whole numbers of at least 0, got {overlap_2d}.")


def check_files(context):
    """Refuse a run whose files are not there, before anything is loaded.

    Args:
        context (dict): The configuration of the run, with ivadomed's defaults.

    Raises:
        InputError: If a file or folder is missing; the message names its key.
    """
    missing = [path for path in _paths(context) if not Path(path).is_dir()]
    if missing:
        raise InputError(f"path_data (-pd) must be BIDS folders, but {', '.join(missing)} does not exist.")
    for path in _paths(context):
        if not Path(path, "dataset_description.json").is_file():
            raise InputError(f"{path} must be a BIDS dataset, but it has no dataset_description.json.")
    if context["command"] == "test" and not Path(context["path_output"], "best_model.pt").is_file():
        raise InputError(f"{context['path_output']} has no best_model.pt. Train first, or check path_output (-po).")
    old_model = context["training_parameters"].get("transfer_learning", {}).get("retrain_model")
    if context["command"] == "train" and old_model and not Path(old_model).is_file():
        raise InputError(
            f"training_parameters.transfer_learning.retrain_model must be a model's file, got {old_model!r}."
        )
    for path in _paths(context):
        texts.check_participants(path)
    _check_output(context)
    for key, path in _models(context):
        if path and not Path(path).exists():
            raise InputError(f"{key} must be a model, but {path} does not exist.")


def _check_output(context):
    """Refuse a folder whose path ivadomed would cut in two: predictions would be written elsewhere, over each other."""
    folder = str(context["path_output"])
    suffixes = [suffix for suffix in context["loader_parameters"]["target_suffix"][:1] if isinstance(suffix, str)]
    for part in (*suffixes, ".nii.gz"):
        if context["command"] != "segment" and part in folder:
            raise InputError(
                f"path_output (-po) must not hold {part!r}, by which ivadomed names predictions, got {folder}."
            )


def _models(context):
    """Yield ``(key, path)`` of the models that a run takes beside its own."""
    detection = context.get("object_detection_params") or {}
    yield "object_detection_params.object_detection_path", detection.get("object_detection_path")
    slices = context["loader_parameters"].get("slice_filter_params") or {}
    if slices.get("filter_classification"):
        yield "loader_parameters.slice_filter_params.classifier_path", slices.get("classifier_path")


def _paths(context):
    paths = context["loader_parameters"]["path_data"]
    return [paths] if isinstance(paths, str) else paths
