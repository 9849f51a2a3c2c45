"""ivadomed's other console scripts, each tried with the plugin."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import onnxruntime
import pandas
import pytest
from scipy.stats import ttest_ind

from ivadomed_labelfusion.hosts.ivadomed2 import loading
from tests.builders.tiny import make_config, make_dataset, write_config


def script(name, *arguments, folder):
    """Run a console script in a folder; return ``(exit status, output)``."""
    command = [str(Path(sys.executable).parent / f"ivadomed_{name}"), *map(str, arguments)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with a dataset, a configuration and two values of a hyperparameter, trained and tested twice each."""
    folder = tmp_path_factory.mktemp("automated")
    data = make_dataset(folder / "data")
    # the path must not tempt anybody to replace parts of it
    config = make_config("ms_softseg_random", data, folder / "opt" / "out", split_dataset__random_seed=5)
    write_config(folder / "config.json", config)
    (folder / "hyper.json").write_text(json.dumps({"training_parameters": {"batch_size": [2, 4]}}))
    arguments = ("-c", "config.json", "-ch", "hyper.json", "-n", "2", "--fixed-split", "-l", "--run-test")
    status, text = script("automate_training", *arguments, folder=folder)
    assert status == 0, text
    return folder


def runs(folder):
    """Return the folders of the runs."""
    return sorted((folder / "opt").glob("out-*_n=*"))


def test_a_fixed_split_gives_trainings_that_differ_on_one_split(study):
    seeds, splits = [], []
    for run in runs(study):
        config = json.loads((run / "config_file.json").read_text())
        seeds.append(config["split_dataset"]["random_seed"])
        splits.append(joblib.load(config["split_dataset"]["fname_split"]))
    # documented: random_seed for the first iteration, one more for each that follows
    assert sorted(seeds) == [5, 5, 6, 6]
    assert all(split == splits[0] for split in splits)
    results = pandas.read_csv(study / "detailed_results.csv")
    assert len(results) == 4
    for _, rows in results.groupby("path_output"):
        assert len(rows) == 2
        assert rows["best_validation_loss"].nunique() == 2
    assert results["test_dice"].between(0, 1).all()


def test_the_statistics_are_those_of_the_table(study):
    results = pandas.read_csv(study / "detailed_results.csv")
    statistics = pandas.read_csv(study / "comparison_models.csv", index_col=0)
    grouped = results.groupby("path_output")["test_dice"]
    np.testing.assert_allclose(statistics["avg_test_dice"], grouped.mean())
    np.testing.assert_allclose(statistics["std_test_dice"], grouped.std())
    p_values = statistics.filter(like="p-value_").to_numpy()
    scores = [rows.to_numpy() for _, rows in grouped]
    with warnings.catch_warnings():
        # equal scores of all iterations have no t-test, and their p-value is no number on both sides
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = [[ttest_ind(ours, theirs).pvalue for theirs in scores] for ours in scores]
    np.testing.assert_allclose(p_values, expected)
    assert 0 < p_values[0, 1] < 1


@pytest.mark.parametrize("flags", [[], ["--run_test"]])
def test_the_table_can_be_compared_again(study, flags):
    status, text = script(
        "compare_models", "-df", "detailed_results.csv", "-n", 2, "-o", "again.csv", *flags, folder=study
    )
    assert status == 0, text
    again = pandas.read_csv(study / "again.csv", index_col=0)
    assert {"avg_test_dice", "std_best_validation_dice"} <= set(again)


def test_a_table_without_scores_is_one_message(study):
    (study / "empty.csv").write_text("path_output,x\na,1\n")
    status, text = script("compare_models", "-df", "empty.csv", "-n", 2, folder=study)
    assert status == 2
    assert "Traceback" not in text
    assert "must have the columns path_output and best_validation_dice" in text


def test_bad_input_of_automate_training_is_one_message(study):
    config = json.loads((study / "config.json").read_text())
    config["loader_parameters"]["target_suffix"] = [["_x", "_y"]]
    write_config(study / "bad.json", config)
    status, text = script("automate_training", "-c", "bad.json", "-ch", "hyper.json", folder=study)
    assert status == 2
    assert "Traceback" not in text
    assert "no image has a label that ends with target_suffix" in text


def test_the_violin_plots(study):
    status, text = script(
        "visualize_and_compare_testing_models",
        *("--ofolders", *runs(study)[:2], "--metric", "dice_class0"),
        folder=study,
    )
    assert status == 0, text


def test_a_model_is_converted_beside_its_file(study):
    run = runs(study)[0]
    status, text = script("convert_to_onnx", "-m", run / "best_model.pt", "-d", 2, folder=study)
    assert status == 0, text
    session = onnxruntime.InferenceSession(run / "best_model.onnx")
    assert session.get_inputs()[0].shape[1] == 1
    assert type(loading.load(run / "best_model.pt")).__name__ == "SoftSegUnet"


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("training_curve", ("-i", "{run}", "-o", "curves", "--lr"), "curves/losses.png"),
        ("segment_image", ("-i", "{image}", "-m", "{run}/model"), "sub-01_FLAIR_pred.nii.gz"),
        ("extract_small_dataset", ("-i", "data", "-o", "small", "-n", "2", "-c", "FLAIR", "-d", "1"), "small"),
        (
            "visualize_transforms",
            ("-i", "{image}", "-c", "config.json", "-n", "1", "-o", "shown", "-r", "{image}"),
            "shown",
        ),
    ],
)
def test_the_other_scripts_do_their_work(study, name, arguments, result):
    named = {"run": runs(study)[0], "image": study / "data/sub-01/anat/sub-01_FLAIR.nii.gz"}
    status, text = script(name, *(argument.format(**named) for argument in arguments), folder=study)
    assert status == 0, text
    assert (study / result).exists()
