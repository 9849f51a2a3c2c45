"""Everything this plugin touches in ivadomed: one table, and the switch that applies and removes it.

Each row names a module, a name in it, what it becomes, and why. ``disable`` puts every original back. A contract test
checks every row against the installed ivadomed.
"""

import importlib
import importlib.metadata
import sys
import warnings

from ivadomed_labelfusion.environment import is_supported_host
from ivadomed_labelfusion.hosts.ivadomed2 import (
    datasets,
    film,
    images,
    inter_rater,
    layouts,
    loading,
    losses,
    models,
    reconstruction,
    restricted,
    run,
    scripts,
    segment,
    tables,
    testing,
    training,
    transfer,
    transforms,
    volumes,
)
from ivadomed_labelfusion.hosts.ivadomed2.dataframe import RaterBidsDataframe
from ivadomed_labelfusion.hosts.ivadomed2.patch_row import Patch
from ivadomed_labelfusion.hosts.ivadomed2.speed import metrics as speed_metrics
from ivadomed_labelfusion.hosts.ivadomed2.speed import resample
from ivadomed_labelfusion.hosts.ivadomed2.steps import STEPS

_UNSAFE = "torch.load without an allow-list fails on torch >= 2.6, or would run code from a file"
_ENDS = "a volume ends where its last slice or patch arrives, so that filtered ones run into one another"
_SEGMENTED = "takes predictions of --segment in the same folder for those of the test"
_MEANS = "takes means over columns that hold no numbers"
_FILM = "FiLM fails with scikit-learn >= 1.4, and freezes raters and augmentation"
_PICKLE = "a joblib file is a pickle, which runs what a stranger put into it"
_OUTSIDE_TRAINING = "several raters per class are refused or misread outside training"

PATCHES = (
    Patch("transforms", "FuseRaters", transforms.FuseRaters, "loader transform: fused labels", is_new=True),
    Patch("transforms", "SampleRater", transforms.SampleRater, "loader transform: one rater at a time", is_new=True),
    *STEPS,
    Patch("transforms", "zoom", resample.zoom, "weighs all neighbours of each voxel anew, slowly", wraps=True),
    Patch("models", "SoftSegUnet", models.SoftSegUnet, "U-Net with normalised ReLU", is_new=True),
    Patch(
        "models", "SoftSegModified3DUNet", models.SoftSegModified3DUNet, "3D U-Net with normalised ReLU", is_new=True
    ),
    Patch("models", "torch", loading.SafeTorch(), _UNSAFE),
    Patch(
        "models",
        "set_model_for_retrain",
        transfer.set_model_for_retrain,
        "takes the old model whole, whatever model is asked for",
        wraps=True,
    ),
    Patch("testing", "torch", loading.SafeTorch(), _UNSAFE),
    Patch("inference", "torch", loading.SafeTorch(), _UNSAFE),
    Patch("loader.slice_filter", "torch", loading.SafeTorch(), _UNSAFE),
    Patch("training", "torch", loading.TrainingTorch(), _UNSAFE + "; checkpoints with GIF frames never load"),
    Patch("main", "joblib", restricted.FilmJoblib(), _PICKLE),
    Patch("inference", "joblib", restricted.FilmJoblib(), _PICKLE),
    Patch("loader.utils", "joblib", restricted.SplitJoblib(), _PICKLE + "; reads splits as JSON, too"),
    Patch("losses", "LossCombination", losses.LossCombination, "evaluates the names of its losses as code"),
    Patch("losses", "AdapWingLoss", losses.AdapWingLoss, "makes a mask that is always 1 on the CPU, slowly"),
    Patch("training", "load_checkpoint", loading.load_checkpoint, "swallows errors and detaches the scheduler"),
    Patch(
        "training", "train", training.train, "a resumed training repeats all epochs and forgets its best", wraps=True
    ),
    Patch("training", "get_scheduler", training.get_scheduler, "CosineAnnealingWarmRestarts never starts", wraps=True),
    Patch("training", "DataLoader", training.EpochDataLoader, "rater draws count epochs"),
    Patch(
        "utils",
        "save_onnx_model",
        training.save_onnx_model,
        "its operator set is too old for torch >= 2.9, which then prints tracebacks",
        wraps=True,
    ),
    Patch(
        "main", "BidsDataframe", RaterBidsDataframe, "suffixes match anywhere in a path; one channel per suffix only"
    ),
    Patch(
        "loader.bids_dataframe",
        "BidsDataframe.add_tsv_metadata",
        tables.add_tsv_metadata,
        "tables of subjects end in tracebacks, or are taken for empty",
        wraps=True,
    ),
    Patch("loader.utils", "split_dataset", tables.split_dataset, "too few values end in a traceback", wraps=True),
    Patch(
        "loader.segmentation_pair",
        "SegmentationPair.read_file",
        images.read_file,
        "refuses 4-D files of one volume",
        wraps=True,
    ),
    Patch("loader.bids_dataframe", "pybids", layouts.LenientBids(), "pybids >= 0.15.6 drops labels by their names"),
    Patch("utils", "__get_commit", layouts.get_commit, "nothing can be trained where git is not installed", wraps=True),
    Patch("main", "check_multiple_raters", run.check_multiple_raters, _OUTSIDE_TRAINING, wraps=True),
    Patch("main", "save_config_file", run.save_config_file, "--segment fails for 3D models by name", wraps=True),
    Patch("main", "run_segment_command", segment.run_segment_command, "finds channels by suffix only", wraps=True),
    Patch("main", "run_command", run.run_command, "training is unseeded", wraps=True),
    Patch("main", "logger", run.StrictLogger(), "a full disk prints a traceback for every line of the log"),
    Patch("main", "run_main", run.run_main, "bad input ends in a traceback", wraps=True),
    Patch(
        "config_manager",
        "load_json",
        run.load_json,
        "refuses a byte-order mark; a configuration that is no object ends in a traceback",
    ),
    Patch(
        "config_manager",
        "ConfigurationManager.get_config",
        run.get_config,
        "unknown keys and contradictions pass silently",
        wraps=True,
    ),
    Patch(
        "loader.utils",
        "get_subdatasets_subject_files_list",
        run.get_subdatasets_subject_files_list,
        "a split file of other images ends in a traceback",
        wraps=True,
    ),
    Patch("loader.loader", "load_dataset", run.load_dataset, "passes on what to do with the raters", wraps=True),
    Patch("loader.loader", "BidsDataset", datasets.RaterBidsDataset, "raters are mixed across classes"),
    Patch("loader.loader", "Bids3DDataset", datasets.RaterBids3DDataset, "raters are mixed across classes"),
    Patch(
        "loader.mri2d_segmentation_dataset",
        "create_temp_directory",
        run.create_temp_directory,
        "leaves one folder per subject and run in the temp directory",
    ),
    Patch(
        "loader.mri3d_subvolume_segmentation_dataset",
        "create_temp_directory",
        run.create_temp_directory,
        "leaves its cache in the temp directory",
    ),
    *(
        Patch(module, "nib", volumes.NamedNibabel(), "a damaged volume ends in a traceback that names no file")
        for module in ("loader.segmentation_pair", "evaluation", "inference", "testing", "uncertainty", "visualize")
    ),
    Patch(
        "loader.segmentation_pair",
        "SegmentationPair.__init__",
        volumes.pair_init,
        "unfit images and labels end in a traceback that names no file",
        wraps=True,
    ),
    Patch("inference", "pred_to_nib", inter_rater.pred_to_nib, "keeps no soft output", wraps=True),
    Patch("metrics", "get_metric_fns", inter_rater.get_metric_fns, "knows no rater-aware metrics", wraps=True),
    Patch("metrics", "MetricManager.__call__", speed_metrics.metric_manager, "measures sample by sample", wraps=True),
    Patch(
        "metrics",
        "MetricManager.get_results",
        inter_rater.get_results,
        "a metric that is undefined everywhere stops the training",
        wraps=True,
    ),
    Patch("testing", "test", testing.test, _OUTSIDE_TRAINING, wraps=True),
    Patch("testing", "threshold_analysis", testing.threshold_analysis, _OUTSIDE_TRAINING, wraps=True),
    Patch("testing", "run_inference", testing.run_inference, _ENDS + "; dropout is never switched off", wraps=True),
    Patch("testing", "DataLoader", reconstruction.VolumeDataLoader, _ENDS),
    Patch("inference", "DataLoader", reconstruction.SegmentDataLoader, _ENDS),
    Patch("inference", "image_reconstruction", reconstruction.average_of_parts, _ENDS, wraps=True),
    Patch("inference", "volume_reconstruction", reconstruction.average_of_parts, _ENDS, wraps=True),
    Patch("inference", "segment_volume", reconstruction.segment_volume, "fails where no slice is left", wraps=True),
    Patch("main", "film_normalize_data", film.film_normalize_data, _FILM),
    Patch("main", "create_path_model", film.create_path_model, "keeps the FiLM code of an earlier training"),
    Patch("main", "update_film_model_params", film.update_film_model_params, _FILM, wraps=True),
    Patch("inference", "get_onehotencoder", film.get_onehotencoder, _FILM, wraps=True),
    Patch("testing", "store_film_params", film.store_film_params, "does not find the contrast of an image", wraps=True),
    Patch("testing", "save_film_params", film.save_film_params, "fails on a smaller last batch"),
    Patch("evaluation", "Path", testing.TestPath, _SEGMENTED),
    Patch("uncertainty", "Path", testing.TestPath, _SEGMENTED),
    Patch("evaluation", "pd", testing.AppendingPandas(), "uses DataFrame.append, gone in pandas 2"),
    Patch("evaluation", "evaluate", testing.evaluate, _OUTSIDE_TRAINING, wraps=True),
    Patch(
        "scripts.automate_training",
        "automate_training",
        scripts.automate_training,
        "--fixed-split never trains; seeds are not repeatable",
        wraps=True,
    ),
    Patch("scripts.automate_training", "random", scripts.iteration_seeds, "seeds are not repeatable"),
    Patch("scripts.automate_training", "train_worker", scripts.train_worker, "prints tracebacks of bad input"),
    Patch("scripts.automate_training", "test_worker", scripts.test_worker, "test_dice is a dict of all metrics"),
    Patch(
        "scripts.automate_training",
        "format_results",
        scripts.format_results,
        "loses all iterations but the last with --all-logs",
        wraps=True,
    ),
    Patch("scripts.automate_training", "compute_statistics", scripts.compute_statistics, _MEANS, wraps=True),
    Patch("scripts.compare_models", "compute_statistics", scripts.compute_statistics, _MEANS, wraps=True),
    Patch("scripts.convert_to_onnx", "torch", loading.SafeTorch(), _UNSAFE),
    Patch(
        "scripts.convert_to_onnx",
        "convert_pytorch_to_onnx",
        scripts.convert_pytorch_to_onnx,
        "replaces every pt in the path of the model",
    ),
    Patch(
        "scripts.visualize_and_compare_testing_models", "np", scripts.OldNumpy(), "uses np.object, gone in numpy 1.24"
    ),
    Patch(
        "scripts.visualize_and_compare_testing_models",
        "pd",
        testing.AppendingPandas(),
        "uses DataFrame.append, gone in pandas 2",
    ),
    Patch(
        "scripts.visualize_and_compare_testing_models",
        "visualize_and_compare_models",
        scripts.visualize_and_compare_models,
        "--metric arrives as a list",
        wraps=True,
    ),
    *(
        Patch(f"scripts.{name}", "main", scripts.main, "bad input ends in a traceback", wraps=True)
        for name in (
            "automate_training",
            "compare_models",
            "convert_to_onnx",
            "extract_small_dataset",
            "segment_image",
            "training_curve",
            "visualize_and_compare_testing_models",
            "visualize_transforms",
        )
    ),
)

# both outlive a reload of this module
_MISSING = globals().get("_MISSING", object())
# (module, name) -> (owner, attribute, original, installed)
_applied = globals().get("_applied", {})
_resolving = False


def locate(patch):
    """Return ``(owner, attribute)`` of a row in the installed ivadomed.

    Raises:
        LookupError: If ivadomed has no such module, class or name; the message names the row.
    """
    where = f"ivadomed.{patch.module}.{patch.name}"
    try:
        owner = importlib.import_module(f"ivadomed.{patch.module}")
        *classes, attribute = patch.name.split(".")
        for name in classes:
            owner = getattr(owner, name)
    except (ImportError, AttributeError) as error:
        raise LookupError(
            f"{where} is gone from ivadomed ({error}). It was touched because: {patch.reason}."
        ) from error
    if not patch.is_new and not hasattr(owner, attribute):
        raise LookupError(f"{where} is gone from ivadomed. It was touched because: {patch.reason}.")
    if patch.is_new and hasattr(owner, attribute):
        raise LookupError(f"{where} exists in ivadomed now; the plugin's {patch.name} would hide it.")
    return owner, attribute


def enable():
    """Apply the rows of the table that are not applied; changes nothing if any of them does not fit this ivadomed.

    Rows of ivadomed's scripts are applied once their script is imported, rows of a module that was reloaded anew.
    """
    global _resolving
    # resolving imports modules whose import would enable the plugin once more
    if _resolving:
        return
    version = importlib.metadata.version("ivadomed")
    if not _applied and not _is_known(version):
        return
    _resolving = True
    try:
        pending = [
            (patch, *locate(patch))
            for patch in PATCHES
            if patch.fits(version) and patch.is_due and not _is_in_place(patch.module, patch.name)
        ]
    finally:
        _resolving = False
    for patch, owner, attribute in pending:
        original = getattr(owner, attribute, _MISSING)
        installed = patch.value(original) if patch.wraps else patch.value
        _applied[patch.module, patch.name] = owner, attribute, original, installed
        setattr(owner, attribute, installed)


def _is_known(version):
    if is_supported_host(version):
        return True
    warnings.warn(
        f"ivadomed_labelfusion knows ivadomed >= 2.9.10 and < 3, found {version}. ivadomed runs without the "
        "plugin. Install a known version: pip install 'ivadomed>=2.9.10,<3'.",
        stacklevel=4,
    )
    return False


def _is_in_place(module, name):
    # looked up anew, because a reload makes new classes
    value = sys.modules.get(f"ivadomed.{module}")
    for part in name.split("."):
        value = getattr(value, part, _MISSING)
    return (module, name) in _applied and value is _applied[module, name][-1]


def disable():
    """Put every original back. Does nothing if the table is not applied."""
    for row in reversed(list(_applied)):
        is_in_place = _is_in_place(*row)
        owner, attribute, original, _ = _applied.pop(row)
        # what a reload has put there is an original already
        if not is_in_place:
            continue
        if original is _MISSING:
            delattr(owner, attribute)
        else:
            setattr(owner, attribute, original)


def is_enabled():
    """Tell whether the table is applied, and nothing (a reload of ivadomed's modules) has undone any of it."""
    return bool(_applied) and all(_is_in_place(*row) for row in _applied)
