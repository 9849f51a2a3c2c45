"""``ivadomed_labelfusion study``: arguments, messages, and that looking at a study needs no training."""

import os
import subprocess
import sys

import pytest

from ivadomed_labelfusion.cli import main as command
from ivadomed_labelfusion.cli.study import _overrides, _study_from_arguments
from ivadomed_labelfusion.cli.study_options import get_parser
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment import run
from ivadomed_labelfusion.experiment.prepare import prepare_study
from ivadomed_labelfusion.experiment.splits import PAPER_SPLITS
from tests.builders.study_files import SUBJECTS


def parse(dataset, tmp_path, *options):
    fixed = ["run", "--bids", str(dataset), "--output", str(tmp_path / "study"), "--gpus", "0"]
    return get_parser().parse_args([*fixed, *options])


def test_paper_splits_follow_the_template(dataset, tmp_path):
    scgm = _study_from_arguments(parse(dataset, tmp_path, "--template", "scgm"))
    assert (scgm.design, scgm.n_splits, len(scgm.candidates)) == ("centre", PAPER_SPLITS["centre"], 6)
    ms = _study_from_arguments(parse(dataset, tmp_path, "--template", "ms", "--splits", "5"))
    assert (ms.design, ms.n_splits, ms.threads) == ("random", 5, 1)
    other = _study_from_arguments(parse(dataset, tmp_path, "--template", "ms", "--design", "centre", "--splits", "2"))
    assert other.design == "centre"


def test_overrides_come_from_the_options(dataset, tmp_path):
    options = ["--template", "ms", "--epochs", "3", "--filters", "8", "--depth", "2", "--batch-size", "4"]
    options += ["--set", "training_parameters.scheduler.initial_lr=0.01", "--set", "loader_parameters.slice_axis=axial"]
    options += ["--set", 'split_dataset={"balance": "sex"}']
    assert _overrides(parse(dataset, tmp_path, *options)) == {
        "training_parameters": {
            "training_time": {"num_epochs": 3},
            "batch_size": 4,
            "scheduler": {"initial_lr": 0.01},
        },
        "default_model": {"n_filters": 8, "depth": 2},
        "loader_parameters": {"slice_axis": "axial"},
        "split_dataset": {"balance": "sex"},
    }
    with pytest.raises(InputError, match="KEY=VALUE"):
        _overrides(parse(dataset, tmp_path, "--template", "ms", "--set", "epochs"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--template", "brain"], "--template must be scgm, ms or a configuration file, got brain"),
        (["--template", "scgm", "--splits", "0"], "paper or a number of at least 1, got 0"),
        (["--template", "scgm", "--splits", "many"], "paper or a number of at least 1, got many"),
        (["--template", "scgm", "--candidates", "conv"], "Candidates must be among all"),
        (["--template", __file__], "A template of your own needs the number of splits"),
        (["--template", "scgm", "--splits", "²"], "paper or a number of at least 1, got ²"),
        (["--template", "scgm", "--set", "default_model.depth=null"], "--set gives keys a value"),
        (["--template", "scgm", "--set", "split_dataset.random_seed=3"], "Use --seed"),
        (["--template", "scgm", "--set", 'loader_parameters={"path_data": ["x"]}'], "Use --bids"),
        (["--template", "scgm", "--set", "default_model.bn_momentum=NaN"], "numbers that JSON knows, got NaN"),
        (["--template", "scgm", "--set", "loader_parameters.multichannel=False"], "must be true or false, got 'False'"),
        (["--template", "scgm", "--set", "loader_parameters.contrast_params.testing=3"], "must be a list of names"),
        (["--template", "scgm", "--set", "transformation=5"], "transformation: must be a JSON object"),
        (["--template", "scgm", "--profile", "nowhere"], "--profile must be slurm, or a folder"),
    ],
)
def test_wrong_options_are_explained(dataset, tmp_path, options, message, capsys):
    # what is missing is said before anything else
    pytest.importorskip("snakemake", reason="the extra 'study' is not installed")
    pytest.importorskip("ivadomed", reason="the extra 'ivadomed' is not installed")
    fixed = ["study", "run", "--bids", str(dataset), "--output", str(tmp_path / "study")]
    assert command([*fixed, *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_a_dry_run_prints_the_plan_and_writes_nothing(dataset, tmp_path, capsys):
    fixed = ["study", "run", "--bids", str(dataset), "--output", str(tmp_path / "study"), "--template", "scgm"]
    assert command([*fixed, "--splits", "4", "--candidates", "all,conv_ensemble", "--epochs", "3", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert f"{len(SUBJECTS)} subjects, 4 splits" in shown
    assert "40 trainings" in shown
    assert "num_epochs = 3 (template: 200)" in shown
    assert command([*fixed, "--splits", "4", "--set", "default_model.n_filter=3", "--dry-run"]) == 2
    assert "n_filters" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_status_results_and_claims_before_anything_is_done(dataset, tmp_path, capsys):
    study = prepare_study(_study_from_arguments(parse(dataset, tmp_path, "--template", "scgm", "--splits", "2")))
    assert command(["study", "status", str(study.folder), "--models"]) == 0
    shown = capsys.readouterr().out
    assert "conv_staple/split-01: to go" in shown
    assert "not known before the first epoch" in shown
    assert command(["study", "results", str(study.folder)]) == 2
    assert "No model in" in capsys.readouterr().err
    assert command(["study", "claims", str(study.folder)]) == 2
    assert "study results' first" in capsys.readouterr().err
    assert command(["study", "status", str(tmp_path)]) == 2
    assert "must hold a study" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["status", "--models"], ["run", "--dry-run"]])
def test_a_reader_who_has_seen_enough_makes_no_traceback(dataset, tmp_path, options):
    study = prepare_study(_study_from_arguments(parse(dataset, tmp_path, "--template", "scgm", "--splits", "2")))
    read_end, write_end = os.pipe()
    os.close(read_end)
    where = [str(study.folder)]
    if "run" in options:
        where = ["--bids", str(dataset), "--output", *where, "--template", "scgm", "--splits", "2", "--gpus", "0"]
    command = [sys.executable, "-m", "ivadomed_labelfusion", "study", options[0], *where, options[1]]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write_end)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("redirection", [">&-", "> /dev/full"])
def test_a_closed_or_full_output_makes_no_traceback(dataset, tmp_path, redirection):
    study = prepare_study(_study_from_arguments(parse(dataset, tmp_path, "--template", "scgm", "--splits", "2")))
    command = f"'{sys.executable}' -m ivadomed_labelfusion study status '{study.folder}' {redirection}"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_only_one_run_works_on_a_study(tmp_path):
    with (
        run.only_run(tmp_path),
        pytest.raises(InputError, match="Another 'study run' works on"),
        run.only_run(tmp_path),
    ):
        pass
    with run.only_run(tmp_path):
        pass


def test_profiles(dataset, tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="snakemake-executor-plugin-slurm is not installed")
    study = prepare_study(_study_from_arguments(parse(dataset, tmp_path, "--template", "scgm", "--splits", "1")))
    folder = run.profile_folder(study, "slurm")
    config = folder / "config.yaml"
    assert "executor: slurm" in config.read_text()
    config.write_text("executor: slurm\njobs: 7\n")
    assert run.profile_folder(study, "slurm") == folder
    assert "jobs: 7" in config.read_text()
    assert run.profile_folder(study, str(folder)) == folder
    assert "--profile" in run.snakemake_command(study, profile=folder)
    with pytest.raises(InputError, match="--profile must be slurm, or a folder"):
        run.check_profile(str(tmp_path / "none"))


def test_a_cluster_without_gpus_on_its_login_node_is_told(dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").touch()
    fixed = ["study", "run", "--bids", str(dataset), "--output", str(tmp_path / "study"), "--template", "scgm"]
    fixed += ["--splits", "1", "--dry-run", "--profile", str(tmp_path / "profile")]
    for options, warned in ([], True), (["--gpus", "0"], False), (["--gpus", "1"], False):
        assert command([*fixed, *options]) == 0
        assert ("Add --gpus 1" in capsys.readouterr().err) is warned


def test_gpus_are_counted_without_torch(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert run.count_gpus() == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert run.count_gpus() == 0


def test_planning_imports_neither_torch_nor_ivadomed(dataset, tmp_path):
    code = (
        "import sys\n"
        "from ivadomed_labelfusion.cli import main\n"
        f"main(['study', 'run', '--bids', {str(dataset)!r}, '--output', {str(tmp_path / 'study')!r}, "
        "'--template', 'scgm', '--splits', '2', '--dry-run'])\n"
        "assert not {'torch', 'ivadomed', 'matplotlib', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
