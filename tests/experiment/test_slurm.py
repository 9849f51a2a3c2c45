"""The SLURM profile against a real SLURM on this machine: every job goes through sbatch and finishes."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("study")]
SCRIPT = Path(__file__).with_name("slurm_loopback.sh")
COMMAND = str(Path(sys.executable).with_name("ivadomed_labelfusion"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """One node on loopback; skipped with the script's reason where it cannot run."""
    pytest.importorskip("snakemake", reason="the extra 'study' is not installed")
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="snakemake-executor-plugin-slurm is not installed")
    folder = tmp_path_factory.mktemp("slurm")
    # the daemons would keep a pipe open, so that reading it would never end
    with open(folder / "start.log", "w+", encoding="utf-8") as log:
        started = subprocess.run(["bash", str(SCRIPT), "start", str(folder)], stdout=log, stderr=log, check=False)
        log.seek(0)
        said = log.read()
    if started.returncode == 3:
        pytest.skip(said.strip().splitlines()[-1])
    assert started.returncode == 0, said
    yield folder
    subprocess.run(["bash", str(SCRIPT), "stop", str(folder)], check=True)


@pytest.fixture
def study_run(cluster, tmp_path):
    """Return ``(folder of the study, command)`` of one model, with a profile for a machine as small as this one."""
    for make in (
        ["phantom", "scgm", str(tmp_path / "raw"), "--subjects", "4", "--seed", "1", "--size", "small"],
        ["prepare", "scgm", str(tmp_path / "raw"), str(tmp_path / "bids")],
    ):
        subprocess.run([COMMAND, *make], check=True, capture_output=True)
    study = tmp_path / "study"
    shipped = resources.files("ivadomed_labelfusion.experiment").joinpath("workflow/slurm.yaml").read_text()
    # what a user edits in the copied profile: this machine is smaller than a cluster's node
    small = "\n".join(f"  {kind}: {{mem_mb: 2000, runtime: 20m}}" for kind in ("train", "test", "evaluate"))
    profile = study / "profile-slurm" / "config.yaml"
    profile.parent.mkdir(parents=True)
    quick = "slurm-init-seconds-before-status-checks: 2\nseconds-between-status-checks: 2\n"
    profile.write_text(f"{shipped}{quick}set-resources:\n{small}\n")
    options = ["--template", "scgm", "--candidates", "conv_staple", "--splits", "1", "--gpus", "1"]
    options += ["--filters", "4", "--depth", "2", "--profile", "slurm"]
    return study, [COMMAND, "study", "run", "--bids", str(tmp_path / "bids"), "--output", str(study), *options]


def remembered(number):
    """Return what SLURM itself knows of a job."""
    return subprocess.run(["scontrol", "show", "job", number], capture_output=True, text=True, check=True).stdout


def test_a_study_goes_through_sbatch_and_finishes(study_run):
    study, command = study_run
    done = subprocess.run([*command, "--epochs", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    folder = study / "models" / "conv_staple" / "split-01"
    kinds = ("train", "test", "evaluate")
    numbers = {kind: json.loads((folder / f"{kind}.done.json").read_text())["slurm_job"] for kind in kinds}
    assert all(numbers.values())
    # a model is trained and tested by one job
    assert numbers["train"] == numbers["test"] != numbers["evaluate"]
    for kind, number in numbers.items():
        shown = remembered(number)
        assert "JobState=COMPLETED" in shown
        assert "TimeLimit=00:20:00" in shown
        assert "mem=2000M" in shown or "MinMemoryNode=2000M" in shown
        assert ("gpu:1" in shown) == (kind != "evaluate")
    assert (study / "results" / "tables" / "table2.csv").exists()


def test_ctrl_c_cancels_the_jobs_of_the_cluster(study_run):
    study, command = study_run
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([*command, "--epochs", "500"], start_new_session=True, **pipes)
    training = study / "models" / "conv_staple" / "split-01" / "checkpoint.pth.tar"
    deadline = time.time() + 300
    while not training.exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.1)
    queued = subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, text=True, check=True).stdout.split()
    os.killpg(process.pid, signal.SIGINT)
    shown, _ = process.communicate(timeout=120)
    assert process.returncode == 130, shown
    assert len(queued) == 1, shown
    deadline = time.time() + 60
    while "JobState=COMPLETING" in remembered(queued[0]) and time.time() < deadline:
        time.sleep(0.5)
    assert "JobState=CANCELLED" in remembered(queued[0])
