"""One run of the ``ivadomed`` command: checked first, seeded, cleaned up afterwards, errors without a traceback."""

import atexit
import contextvars
import copy
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from loguru import logger

from ivadomed_labelfusion.config.check import is_nested, raise_on_errors, uses_plugin
from ivadomed_labelfusion.errors import InputError, file_trouble
from ivadomed_labelfusion.evaluation import settings_from_config
from ivadomed_labelfusion.host.datasets import RaterPlan
from ivadomed_labelfusion.host.notices import warn_of_ignored_dspace

_context = contextvars.ContextVar("ivadomed_labelfusion_context", default=None)


def get_config(original):
    """Wrap ``ConfigurationManager.get_config``: the user's file is checked before ivadomed's defaults hide mistakes."""

    def wrapped(self):
        for warning in raise_on_errors(self.context_original, source=self.path_context):
            logger.warning(f"{warning.key}: {warning.message}")
        settings_from_config(self.context_original)
        return original(self)

    return wrapped


def run_main(original):
    """Wrap ``ivadomed.main.run_main``: bad input ends with its message and status 2."""

    def wrapped():
        try:
            return original()
        except InputError as error:
            message = str(error)
        except json.JSONDecodeError as error:
            message = f"the configuration is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        except OSError as error:
            message = file_trouble(error)
            if message is None:
                raise
        except KeyboardInterrupt:
            print("\nInterrupted. Add --resume-training to go on from the last checkpoint.", file=sys.stderr)
            return 130
        except (RuntimeError, KeyError, ValueError) as error:
            message = _known_message(error)
            if message is None:
                raise
        print(f"ivadomed: {message}", file=sys.stderr)
        return 2

    return wrapped


def _known_message(error):
    """Return what to do about an error of ivadomed that bad input causes, None for any other error."""
    text = str(error)
    cures = {
        "Derivatives not found": "no image has a label that ends with target_suffix. Check target_suffix, and that the "
        "labels are named after an image of contrast_params.",
        "No subject files found": "no image has a contrast of contrast_params. Check path_data and contrast_params.",
        "configuration file path": text.strip().removeprefix("ERROR: "),
        "participant_id": "the dataset needs a participants.tsv with the column participant_id.",
        "No split_method": f"{text}. Name a column of participants.tsv in split_dataset.split_method.",
    }
    return next((cure for sign, cure in cures.items() if sign in text), None)


def run_command(original):
    """Wrap ``ivadomed.main.run_command``: remember the configuration of the run and seed every generator."""

    def wrapped(context, *args, **kwargs):
        if uses_plugin(context) and context["command"] == "train":
            seed_everything(context["split_dataset"]["random_seed"])
        _context.set(context)
        missing = [path for path in _paths(context) if not Path(path).is_dir()]
        if missing:
            raise InputError(f"path_data (-pd) must be BIDS folders, but {', '.join(missing)} does not exist.")
        for path in _paths(context):
            if not Path(path, "dataset_description.json").is_file():
                raise InputError(f"{path} must be a BIDS dataset, but it has no dataset_description.json.")
        if context["command"] == "test" and not Path(context["path_output"], "best_model.pt").is_file():
            raise InputError(f"{context['path_output']} has no best_model.pt. Train first, or check path_output (-po).")
        column = context["split_dataset"]["split_method"]
        try:
            return original(context, *args, **kwargs)
        except KeyError as error:
            if error.args != (column,) or column == "participant_id":
                raise
            raise InputError(
                f"split_dataset.split_method must be a column of participants.tsv, got {column!r}."
            ) from None
        finally:
            _context.set(None)

    return wrapped


def _paths(context):
    paths = context["loader_parameters"]["path_data"]
    return [paths] if isinstance(paths, str) else paths


def seed_everything(seed):
    """Seed Python, numpy and torch: weights, order of samples and augmentation repeat with ``random_seed``."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  ivadomed's transforms draw from numpy's global generator
    torch.manual_seed(seed)


def current_context():
    """Return the configuration of the running command, or an empty dict outside of one."""
    return _context.get() or {}


def save_config_file(original):
    """Wrap ``ivadomed.main.save_config_file``: ``--segment`` looks for 3D subvolume sizes in one block only."""

    def wrapped(context, path_output):
        model = context["default_model"]
        if not model.get("is_2d", True) and "Modified3DUNet" not in context:
            sizes = {key: model[key] for key in ("length_3D", "stride_3D") if key in model}
            context = {**context, "Modified3DUNet": {"applied": False, **sizes}}
        original(context, path_output)

    return wrapped


def check_multiple_raters(original):
    """Wrap ``ivadomed.main.check_multiple_raters``, which refuses several raters outside training."""

    def wrapped(is_train, loader_params):
        if not is_nested(loader_params["target_suffix"]):
            original(is_train, loader_params)

    return wrapped


def get_subdatasets_subject_files_list(original):
    """Wrap ``ivadomed.loader.utils.get_subdatasets_subject_files_list``: a split file must fit the dataset."""

    def wrapped(split_params, df, *args, **kwargs):
        lists = original(split_params, df, *args, **kwargs)
        known = set(df["filename"])
        absent = sorted({name for names in lists for name in names} - known)
        if absent:
            raise InputError(
                "split_dataset.fname_split names images that are not among those with labels and the contrasts of "
                f"contrast_params: {', '.join(absent[:3])}{' and more' if len(absent) > 3 else ''}. Make it anew."
            )
        return lists

    return wrapped


def load_dataset(original):
    """Wrap ``ivadomed.loader.loader.load_dataset``: attach what is to be done with the raters to the table of files."""

    def wrapped(bids_df, data_list, transforms_params, *args, dataset_type="training", **kwargs):
        own = getattr(bids_df, "nested", None) is not None
        if own:
            bids_df = copy.copy(bids_df)
            bids_df.rater_plan = RaterPlan.from_transforms(transforms_params, dataset_type)
            bids_df.reference_method = settings_from_config(current_context()).reference
        dataset = original(bids_df, data_list, transforms_params, *args, dataset_type=dataset_type, **kwargs)
        if dataset_type != "validation":
            warn_of_ignored_dspace(dataset, transforms_params)
        if own and bids_df.several_raters:
            from ivadomed_labelfusion.host.softness import check_softness

            check_softness(dataset)
        return dataset

    return wrapped


_temporary = []


def create_temp_directory():
    """Create a temporary folder that goes away with the process; ivadomed's own never does."""
    if not _temporary:
        atexit.register(_remove_temporary)
    _temporary.append(tempfile.mkdtemp(prefix="ivadomed_"))
    return _temporary[-1]


def _remove_temporary():
    for folder in _temporary:
        shutil.rmtree(folder, ignore_errors=True)
