"""Everything this plugin touches in ivadomed: one table, and the switch that applies and removes it.

Each row names a module, a name in it, what it becomes, and why. ``disable`` puts every original back. A contract test
checks every row against the installed ivadomed.
"""

import importlib
import importlib.metadata
import warnings
from dataclasses import dataclass

from ivadomed_labelfusion.environment import is_supported_host
from ivadomed_labelfusion.host import (
    datasets,
    inter_rater,
    layouts,
    loading,
    models,
    run,
    segment,
    testing,
    training,
    transforms,
)
from ivadomed_labelfusion.host.dataframe import RaterBidsDataframe


@dataclass(frozen=True)
class Patch:
    """One touched name.

    Attributes:
        module (str): Module of ivadomed.
        name (str): Name in it; ``Class.method`` for a method.
        value (object): The replacement, or with ``wraps`` a function that makes it from the original.
        reason (str): Why.
        wraps (bool): Whether ``value`` is called with the original.
        is_new (bool): Whether the name is added to ivadomed rather than replaced.
    """

    module: str
    name: str
    value: object
    reason: str
    wraps: bool = False
    is_new: bool = False


_UNSAFE = "torch.load without an allow-list fails on torch >= 2.6, or would run code from a file"
_OUTSIDE_TRAINING = "several raters per class are refused or misread outside training"

PATCHES = (
    Patch("transforms", "FuseRaters", transforms.FuseRaters, "loader transform: fused labels", is_new=True),
    Patch("transforms", "SampleRater", transforms.SampleRater, "loader transform: one rater at a time", is_new=True),
    Patch("models", "SoftSegUnet", models.SoftSegUnet, "U-Net with normalised ReLU", is_new=True),
    Patch(
        "models", "SoftSegModified3DUNet", models.SoftSegModified3DUNet, "3D U-Net with normalised ReLU", is_new=True
    ),
    Patch("models", "torch", loading.SafeTorch(), _UNSAFE),
    Patch("testing", "torch", loading.SafeTorch(), _UNSAFE),
    Patch("inference", "torch", loading.SafeTorch(), _UNSAFE),
    Patch("loader.slice_filter", "torch", loading.SafeTorch(), _UNSAFE),
    Patch("scripts.convert_to_onnx", "torch", loading.SafeTorch(), _UNSAFE),
    Patch("training", "torch", loading.TrainingTorch(), _UNSAFE + "; checkpoints with GIF frames never load"),
    Patch("training", "load_checkpoint", loading.load_checkpoint, "swallows errors and detaches the scheduler"),
    Patch(
        "training", "train", training.train, "a resumed training repeats all epochs and forgets its best", wraps=True
    ),
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
    Patch("loader.bids_dataframe", "pybids", layouts.LenientBids(), "pybids >= 0.15.6 drops labels by their names"),
    Patch("utils", "__get_commit", layouts.get_commit, "nothing can be trained where git is not installed", wraps=True),
    Patch("main", "check_multiple_raters", run.check_multiple_raters, _OUTSIDE_TRAINING, wraps=True),
    Patch("main", "save_config_file", run.save_config_file, "--segment fails for 3D models by name", wraps=True),
    Patch("main", "run_segment_command", segment.run_segment_command, "finds channels by suffix only", wraps=True),
    Patch("main", "run_command", run.run_command, "training is unseeded", wraps=True),
    Patch("main", "run_main", run.run_main, "bad input ends in a traceback", wraps=True),
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
    Patch("inference", "pred_to_nib", inter_rater.pred_to_nib, "keeps no soft output", wraps=True),
    Patch("metrics", "get_metric_fns", inter_rater.get_metric_fns, "knows no rater-aware metrics", wraps=True),
    Patch(
        "metrics",
        "MetricManager.get_results",
        inter_rater.get_results,
        "a metric that is undefined everywhere stops the training",
        wraps=True,
    ),
    Patch("testing", "test", testing.test, _OUTSIDE_TRAINING, wraps=True),
    Patch("testing", "threshold_analysis", testing.threshold_analysis, _OUTSIDE_TRAINING, wraps=True),
    Patch("testing", "DataLoader", training.EpochDataLoader, "pins memory without a GPU, which only warns"),
    Patch("inference", "DataLoader", training.EpochDataLoader, "pins memory without a GPU, which only warns"),
    Patch("evaluation", "pd", testing.AppendingPandas(), "uses DataFrame.append, gone in pandas 2"),
    Patch("evaluation", "evaluate", testing.evaluate, _OUTSIDE_TRAINING, wraps=True),
)

_MISSING = object()
_originals = []
_resolving = False


def resolve(patch):
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
    """Apply the table. Does nothing if it is applied; changes nothing if any row does not fit this ivadomed."""
    global _resolving
    # resolving imports modules whose import would enable the plugin once more
    if _originals or _resolving:
        return
    version = importlib.metadata.version("ivadomed")
    if not is_supported_host(version):
        warnings.warn(
            f"ivadomed_labelfusion knows ivadomed >= 2.9.10 and < 3, found {version}. ivadomed runs without the "
            "plugin. Install a known version: pip install 'ivadomed>=2.9.10,<3'.",
            stacklevel=3,
        )
        return
    _resolving = True
    try:
        resolved = [(patch, *resolve(patch)) for patch in PATCHES]
    finally:
        _resolving = False
    for patch, owner, attribute in resolved:
        original = getattr(owner, attribute, _MISSING)
        _originals.append((owner, attribute, original))
        setattr(owner, attribute, patch.value(original) if patch.wraps else patch.value)


def disable():
    """Put every original back. Does nothing if the table is not applied."""
    while _originals:
        owner, attribute, original = _originals.pop()
        if original is _MISSING:
            delattr(owner, attribute)
        else:
            setattr(owner, attribute, original)


def is_enabled():
    """Tell whether the table is applied."""
    return bool(_originals)
