"""Repairs of ivadomed's other console scripts. Importing this module imports none of them."""

import inspect
import multiprocessing
import re
import sys
from pathlib import Path

import numpy as np
import pandas
import torch
from ivadomed import config_manager as imed_config_manager
from ivadomed import utils as imed_utils
from ivadomed.loader import utils as imed_loader_utils

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import read_json, write_json
from ivadomed_labelfusion.hosts.ivadomed2 import loading, run


class SeedsOfIterations:
    """Stands in for ``random`` in ``automate_training``: iteration i is split and trained with ``random_seed`` + i."""

    def __init__(self):
        self.next_seed = 0

    def randint(self, low, high):
        """Return the seed of the next iteration; the range is ivadomed's and not kept."""
        self.next_seed += 1
        return self.next_seed - 1


iteration_seeds = SeedsOfIterations()


def automate_training(original):
    """Wrap ``automate_training``: documented seeds, and ``--fixed-split`` works.

    With a fixed split all iterations have the split of ``random_seed``; they differ in their training.
    """
    signature = inspect.signature(original)

    def wrapped(*args, **kwargs):
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        file_config = call.arguments["file_config"]
        config = imed_config_manager.ConfigurationManager(file_config).get_config()
        if call.arguments["path_data"] is not None:
            config["loader_parameters"]["path_data"] = call.arguments["path_data"]
        split = config["split_dataset"]
        iteration_seeds.next_seed = split["random_seed"]
        if call.arguments["fixed_split"]:
            if not split["fname_split"]:
                split = {**split, "fname_split": write_split(config)}
            config = {**read_json(file_config), "split_dataset": split}
            fixed = Path(config["path_output"], "fixed_split.json")
            write_json(fixed, config, overwrite=True)
            # the original's own branch for fixed splits never trains
            call.arguments.update(file_config=str(fixed), fixed_split=False)
        return original(*call.args, **call.kwargs)

    return wrapped


def write_split(config):
    """Draw the split of a configuration with its ``random_seed`` and write it; return the file."""
    # its import enables the plugin, which must be whole by then
    from ivadomed import main as imed_main

    config["loader_parameters"]["path_data"] = imed_utils.format_path_data(config["loader_parameters"]["path_data"])
    output = Path(config["path_output"]).absolute()
    output.mkdir(parents=True, exist_ok=True)
    loader_params = imed_main.set_loader_params(config, True)
    method = config["split_dataset"]["split_method"]
    bids_df = imed_main.BidsDataframe(loader_params, str(output), derivatives=True, split_method=method)
    imed_loader_utils.get_subdatasets_subject_files_list(
        config["split_dataset"], bids_df.df, str(output), loader_params.get("subject_selection")
    )
    return str(output / "split_datasets.joblib")


def _on_own_device(config, command):
    """Prepare the configuration of one process of the pool: each has a device of its own."""
    device = int(multiprocessing.current_process().name.rpartition("-")[-1]) - 1
    return {**config, "gpu_ids": [config["gpu_ids"][device % len(config["gpu_ids"])]], "command": command}


def train_worker(config, thr_incr):
    """Train one model; stands in for ``automate_training.train_worker``, which prints tracebacks of bad input.

    Returns:
        (str, float, float, float, float): Output folder; best soft Dice and loss of the training set, then validation.
    """
    from ivadomed import main as imed_main

    config = _on_own_device(config, "train")
    scores = imed_main.run_command(config, thr_increment=thr_incr)
    imed_main.save_config_file(config, config["path_output"])
    return config["path_output"], *scores


def test_worker(config):
    """Test one model; stands in for ``automate_training.test_worker``, whose ``test_dice`` is a dict of all metrics.

    Returns:
        (str, float, pandas.DataFrame): Output folder, soft Dice of the test set, results per image.
    """
    from ivadomed import main as imed_main

    config = _on_own_device(config, "test")
    results, metrics = imed_main.run_command(config)
    numbers = pandas.DataFrame(results).select_dtypes("number")
    return config["path_output"], metrics["dice_score"], numbers


def format_results(original):
    """Wrap ``format_results``, which with ``--all-logs`` knows the folders of the last iteration only.

    The results of one configuration get one ``path_output``; the folder of each run stands in ``run_folder``.
    """

    def of_configuration(path):
        return re.sub(r"_n=\d+$", "", path)

    def wrapped(results_df, config_list, param_list):
        folders = results_df["path_output"]
        shared = folders.map(of_configuration)
        if not folders.equals(shared):
            results_df = results_df.assign(path_output=shared, run_folder=folders)
        configs = [{**config, "path_output": of_configuration(config["path_output"])} for config in config_list]
        return original(results_df, configs, param_list)

    return wrapped


def compute_statistics(original):
    """Wrap ``compute_statistics``: only columns of numbers have a mean, and the table may come without row numbers."""

    def wrapped(dataframe, n_iterations, run_test=True, csv_out="comparison_models.csv"):
        score = "test_dice" if run_test else "best_validation_dice"
        numbers = dataframe.select_dtypes("number")
        if score not in numbers or "path_output" not in dataframe:
            raise InputError(
                f"The table of results must have the columns path_output and {score} with numbers, as "
                f"ivadomed_automate_training {'--run-test ' if run_test else ''}writes it, got "
                f"{', '.join(dataframe.columns)}."
            )
        table = numbers.assign(path_output=dataframe["path_output"])
        if "Unnamed: 0" not in table:
            table["Unnamed: 0"] = np.arange(len(table))
        return original(table, n_iterations, run_test, csv_out)

    return wrapped


class OldNumpy:
    """Stands in for ``numpy`` where ivadomed uses names that numpy 1.24 removed."""

    object = object

    def __getattr__(self, name):
        return getattr(np, name)


def visualize_and_compare_models(original):
    """Wrap ``visualize_and_compare_models``: ``--metric`` arrives as a list of one name."""

    def wrapped(ofolders, metric="dice_class0", metadata=None):
        return original(ofolders, metric[0] if isinstance(metric, list) else metric, metadata)

    return wrapped


def convert_pytorch_to_onnx(model, dimension, n_channels, gpu_id=0):
    """Write a model as ONNX beside its file; stands in for ``convert_pytorch_to_onnx``.

    ivadomed replaces every ``pt`` in the path of the model, that of its folders included.
    """
    device = f"cuda:{gpu_id}" if torch.cuda.is_available() else "cpu"
    side = torch.zeros(1, n_channels, *[96] * dimension, device=device)
    imed_utils.save_onnx_model(loading.load_model(model, device), side, str(Path(model).with_suffix(".onnx")))


def main(original):
    """Wrap a script's ``main``: bad input ends with its message and status 2, not with a traceback."""
    return run.guarded(original, lambda: Path(sys.argv[0]).name)
