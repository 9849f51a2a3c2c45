"""One run of the ``ivadomed`` command: checked first, seeded, cleaned up afterwards, errors without a traceback."""

import atexit
import contextlib
import copy
import random
import shutil
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import torch
from loguru import logger

from ivadomed_labelfusion.config.check import is_nested, raise_on_errors, uses_plugin
from ivadomed_labelfusion.config.networks import uses_subvolumes
from ivadomed_labelfusion.data import texts
from ivadomed_labelfusion.errors import InputError, file_trouble
from ivadomed_labelfusion.evaluation import settings_from_config
from ivadomed_labelfusion.files import check_stays_inside, read_json
from ivadomed_labelfusion.hosts.ivadomed2.context import current_context, running
from ivadomed_labelfusion.hosts.ivadomed2.notices import warn_of_ignored_dspace
from ivadomed_labelfusion.hosts.ivadomed2.options import check_files, check_options
from ivadomed_labelfusion.hosts.ivadomed2.parts import failure_of_loaded
from ivadomed_labelfusion.hosts.ivadomed2.plan import RaterPlan
from ivadomed_labelfusion.hosts.ivadomed2.speed.samples import Speed
from ivadomed_labelfusion.locks import only_one


def load_json(config_path):
    """Read a configuration strictly and check it; stands in for ``ivadomed.config_manager.load_json``.

    ivadomed merges a file into its defaults while it is loaded, before anything could be checked.

    Raises:
        InputError: If the file is no JSON, or the configuration has errors.
    """
    config = read_json(config_path)
    raise_on_errors(config, source=config_path)
    settings_from_config(config)
    return config


def get_config(original):
    """Wrap ``ConfigurationManager.get_config``: the user's file is checked before ivadomed's defaults hide mistakes."""

    def wrapped(self):
        for warning in raise_on_errors(self.context_original, source=self.path_context):
            logger.warning(f"{warning.key}: {warning.message}")
        return original(self)

    return wrapped


def run_main(original):
    """Wrap ``ivadomed.main.run_main``: bad input ends with its message and status 2."""
    return guarded(original, lambda: "ivadomed")


def guarded(original, name):
    """Wrap the entry point of a command, so that bad input ends with its message and status 2.

    Args:
        original (callable): The entry point.
        name (callable): Returns the name of the command.
    """

    def wrapped(*args, **kwargs):
        try:
            with _explained_threads():
                return original(*args, **kwargs)
        except InputError as error:
            message = str(error)
        except OSError as error:
            message = file_trouble(error)
            if message is None:
                raise
        except KeyboardInterrupt:
            print("\nInterrupted. Add --resume-training to go on from the last checkpoint.", file=sys.stderr)
            return 130
        except Exception as error:
            message = _known_message(error) or failure_of_loaded(error)
            if message is None:
                raise
        print(f"{name()}: {message}", file=sys.stderr)
        return 2

    return wrapped


@contextlib.contextmanager
def _explained_threads():
    """Let threads, such as TensorBoard's writer, say in one line that a disk is full; the main thread stops then."""
    before = threading.excepthook

    def explain(arguments):
        trouble = file_trouble(arguments.exc_value) if isinstance(arguments.exc_value, OSError) else None
        if trouble is None:
            before(arguments)
        else:
            print(f"ivadomed: {trouble}", file=sys.stderr)

    threading.excepthook = explain
    try:
        yield
    finally:
        threading.excepthook = before


class StrictLogger:
    """Stands in for ``logger`` in ``ivadomed.main``: a log file that cannot be written stops the run."""

    @staticmethod
    def add(sink, **options):
        """Add a sink; errors of a file are raised, where loguru would print a traceback for every line."""
        return logger.add(sink, **({"catch": False} if isinstance(sink, str) else {}), **options)

    def __getattr__(self, name):
        return getattr(logger, name)


def _known_message(error):
    """Return what to do about an error of ivadomed that bad input causes, None for any other error."""
    if not isinstance(error, RuntimeError | KeyError | ValueError):
        return None
    text = str(error)
    first = text.strip().split("\n")[0]
    cures = {
        "Derivatives not found": "no image has a label that ends with target_suffix. Check target_suffix, and that the "
        "labels are named after an image of contrast_params.",
        "No subject files found": "no image has a contrast of contrast_params. Check path_data and contrast_params.",
        "configuration file path": text.strip().removeprefix("ERROR: "),
        "multiple of length plus": "the images do not fit the subvolumes: length_3D must be multiples of 16, and size "
        "less length_3D a multiple of stride_3D on every axis. Set transformation.CenterCrop.size to such a size.",
        '"length_2D" must be': "length_2D must not be larger than the images. Use smaller patches, or a larger "
        "transformation.CenterCrop.size.",
        "Output size is too small": "the images are too small for the network: default_model.depth halves them to "
        "nothing. Use a smaller depth or a larger transformation.CenterCrop.size.",
        "more than 1 spatial element": "the network halves its input to one voxel. Use a smaller default_model.depth, "
        "or larger images or subvolumes.",
        "metadata cannot be found": f"{text} FiLMedUnet.metadata, training_parameters.balance_samples.type and "
        "loader_parameters.metadata_type must be contrasts, or a column of participants.tsv that has values.",
        "BIDSValidationError": f"a dataset of path_data is not valid BIDS: {first}",
        "BIDSDerivativesValidationError": f"the derivatives of a dataset of path_data are not valid BIDS: {first}",
        "channels, but got": f"the model does not fit the images of this configuration: {text}",
        "out of memory": f"{text.splitlines()[0] if text else text} Use a smaller batch_size, crop or network.",
    }
    return next((cure for sign, cure in cures.items() if sign in f"{type(error).__name__}: {text}"), None)


def run_command(original):
    """Wrap ``ivadomed.main.run_command``: remember the configuration of the run and seed every generator."""

    def wrapped(context, *args, **kwargs):
        check_options(context, **kwargs)
        if uses_plugin(context) and context["command"] == "train":
            seed_everything(context["split_dataset"]["random_seed"])
        running.set(context)
        check_files(context)
        column = context["split_dataset"]["split_method"]
        try:
            with texts.reading_over_marks(), _alone_in(Path(context["path_output"]), context["command"]):
                return original(context, *args, **kwargs)
        except KeyError as error:
            if error.args not in ((column,), ("participant_id",)):
                raise
            if column == "participant_id" or error.args != (column,):
                raise InputError("the dataset needs a participants.tsv with the column participant_id.") from None
            raise InputError(
                f"split_dataset.split_method must be a column of participants.tsv, got {column!r}."
            ) from None
        finally:
            running.set(None)

    return wrapped


def _alone_in(folder, command):
    """Let no second training or test write into the same folder at the same time."""
    if command == "segment":
        return contextlib.nullcontext()
    folder.mkdir(parents=True, exist_ok=True)
    # models and checkpoints may be links: they are written beside and renamed onto the link
    check_stays_inside(folder, spared=(".pt", ".pth.tar"))
    busy = f"Another training or test is writing into {folder} (path_output). Wait for it, or choose another."
    return only_one(folder / ".writing", busy=busy)


def seed_everything(seed):
    """Seed Python, numpy and torch: weights, order of samples and augmentation repeat with ``random_seed``."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  ivadomed's transforms draw from numpy's global generator
    torch.manual_seed(seed)


def save_config_file(original):
    """Wrap ``ivadomed.main.save_config_file``: ``--segment`` looks for 3D subvolume sizes in one block only."""

    def wrapped(context, path_output):
        model = context["default_model"]
        if uses_subvolumes(context):
            sizes = {key: model[key] for key in ("length_3D", "stride_3D") if key in model}
            context = {**context, "Modified3DUNet": {"applied": False, **sizes, **context.get("Modified3DUNet", {})}}
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

    def wrapped(split_params, df, path_output, subject_selection=None):
        _check_selection(subject_selection or {}, df)
        if not split_params.get("fname_split"):
            _check_test_column(split_params, df)
        try:
            lists = original(split_params, df, path_output, subject_selection)
        except KeyError as error:
            # a missing split_method is explained by the command
            if split_params["split_method"] in map(str, error.args) or split_params["split_method"] not in df:
                raise
            raise InputError(
                f"split_dataset and subject_selection must name columns of participants.tsv, got {error}."
            ) from None
        except (ZeroDivisionError, ValueError, RuntimeError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"split_dataset cannot divide the {df['participant_id'].nunique()} subjects into training, validation "
                f"and testing: {error}. Change train_fraction, test_fraction, data_testing or subject_selection."
            ) from None
        known = set(df["filename"])
        absent = sorted({name for names in lists for name in names} - known)
        if absent:
            raise InputError(
                "split_dataset.fname_split names images that are not among those with labels and the contrasts of "
                f"contrast_params: {', '.join(absent[:3])}{' and more' if len(absent) > 3 else ''}. Make it anew."
            )
        return lists

    return wrapped


def _check_test_column(split_params, df):
    """Refuse a column of test subjects that the dataset lacks; ivadomed would test on others and only log it."""
    column = split_params["data_testing"]["data_type"]
    if column and column not in df:
        raise InputError(
            f"split_dataset.data_testing.data_type must be a column of participants.tsv, got {column!r}. "
            "Set it to null to test on subjects at random."
        )


def _check_selection(selection, df):
    """Check that a table has the subjects that ``loader_parameters.subject_selection`` asks for."""
    key = "loader_parameters.subject_selection"
    columns, counts, values = (selection.get(name) or [] for name in ("metadata", "n", "value"))
    if not len(columns) == len(counts) == len(values):
        raise InputError(f"{key} must have as many entries in n as in metadata and value.")
    for column, count, value in zip(columns, counts, values, strict=True):
        if column not in df:
            raise InputError(f"{key}.metadata must hold columns of participants.tsv, got {column!r}.")
        available = df[df[column] == value]["participant_id"].nunique()
        if count > available:
            raise InputError(
                f"{key}.n must be at most {available}, the subjects with {value!r} in {column}, got {count}."
            )


def load_dataset(original):
    """Wrap ``ivadomed.loader.loader.load_dataset``: attach what is to be done with the raters to the table of files."""

    def wrapped(bids_df, data_list, transforms_params, *args, dataset_type="training", **kwargs):
        own = getattr(bids_df, "nested", None) is not None
        bids_df = copy.copy(bids_df)
        bids_df.speed = Speed.asked_for(kwargs, current_context(), dataset_type)
        if own:
            bids_df.rater_plan = RaterPlan.from_transforms(transforms_params, dataset_type)
            bids_df.reference_method = settings_from_config(current_context()).reference
        dataset = original(bids_df, data_list, transforms_params, *args, dataset_type=dataset_type, **kwargs)
        if dataset_type != "validation":
            warn_of_ignored_dspace(dataset, transforms_params)
        if own and bids_df.several_raters:
            from ivadomed_labelfusion.hosts.ivadomed2.softness import check_softness

            check_softness(dataset)
            dataset.count_passes()
        if dataset_type == "testing":
            settings = current_context().get("uncertainty", {})
            if settings.get("aleatoric"):
                # the plain pass of a test needs the images without the augmentation of the random ones
                dataset.reload = lambda plain: wrapped(
                    bids_df, data_list, plain, *args, dataset_type="testing", **kwargs
                )
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
