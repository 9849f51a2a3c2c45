"""A study through Snakemake and the real ivadomed: killed in the middle, resumed, extended by a failing candidate."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ivadomed_labelfusion.experiment.jobs import read_losses

pytestmark = [
    # one worker trains the studies that the tests share
    pytest.mark.xdist_group("study"),
    pytest.mark.slow,
    pytest.mark.skipif(sys.version_info < (3, 11), reason="Snakemake needs Python 3.11"),
]
COMMAND = str(Path(sys.executable).with_name("ivadomed_labelfusion"))
EPOCHS = 6


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A phantom of the SCGM challenge, one subject per centre."""
    pytest.importorskip("snakemake", reason="the extra 'study' is not installed")
    root = tmp_path_factory.mktemp("phantom")
    make = ["phantom", "scgm", str(root / "raw"), "--subjects", "4", "--seed", "1", "--size", "small"]
    subprocess.run([COMMAND, *make], check=True, capture_output=True)
    subprocess.run([COMMAND, "prepare", "scgm", str(root / "raw"), str(root / "bids")], check=True, capture_output=True)
    return root / "bids"


def arguments(dataset, output, *extra, candidates="conv_staple,softseg_random"):
    fixed = ["--template", "scgm", "--splits", "2", "--cores", "2", "--gpus", "0", "--epochs", str(EPOCHS)]
    reduced = ["--filters", "4", "--depth", "2", "--batch-size", "4"]
    named = ["--bids", str(dataset), "--output", str(output), "--candidates", candidates]
    return [COMMAND, "study", "run", *named, *fixed, *reduced, *extra]


def run(command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def uninterrupted(dataset, tmp_path_factory):
    output = tmp_path_factory.mktemp("study") / "whole"
    done = run(arguments(dataset, output))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return output


def done_files(output):
    return {path: path.stat().st_mtime_ns for path in output.glob("models/*/*/*.done.json")}


def half_trained(output):
    """Return a model in the first half of its epochs with a checkpoint, once another one has finished training."""
    folders = sorted(output.glob("models/*/split-*"))
    finished = [folder for folder in folders if (folder / "train.done.json").exists()]
    for folder in folders:
        epochs = read_losses(folder / "log")
        early = bool(epochs) and max(epochs) <= EPOCHS // 2 and (folder / "checkpoint.pth.tar").exists()
        if finished and folder not in finished and early:
            return folder
    return None


def kill_tree(process):
    import psutil

    children = psutil.Process(process.pid).children(recursive=True)
    for victim in [process.pid, *(child.pid for child in children)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    process.wait()
    psutil.wait_procs(children, timeout=20)


@pytest.fixture(scope="module")
def resumed(dataset, tmp_path_factory):
    """A study killed with SIGKILL while a model was training, and run again; with what was there after the kill."""
    output = tmp_path_factory.mktemp("study") / "killed"
    process = subprocess.Popen(arguments(dataset, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 300
    while half_trained(output) is None and process.poll() is None and time.time() < deadline:
        time.sleep(0.02)
    model = half_trained(output)
    kill_tree(process)
    assert model is not None, "the study ended before it could be killed"
    before = done_files(output)
    assert model / "train.done.json" not in before
    status = run([COMMAND, "study", "status", str(output)])
    assert "interrupted" in status.stdout
    done = run(arguments(dataset, output))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return output, model, before


def test_killed_and_resumed_does_only_what_is_left(resumed):
    output, model, before = resumed
    assert json.loads((model / "train.done.json").read_text())["resumed"] is True
    assert max(read_losses(model / "log")) == EPOCHS
    # finished work was not done again
    assert {path: stamp for path, stamp in done_files(output).items() if path in before} == before
    assert len(done_files(output)) == 4 * 3


def test_killed_and_resumed_ends_with_the_same_tables(uninterrupted, resumed):
    ours, theirs = resumed[0] / "results", uninterrupted / "results"
    for name in ("losses.csv", "results.csv", "reliability.csv"):
        assert (ours / name).read_text() == (theirs / name).read_text()
    tables = sorted(path.name for path in (theirs / "tables").glob("*.csv"))
    assert tables == ["ece.csv", "entropy.csv", "proper_scores.csv", "table2.csv", "table3.csv", "variability.csv"]
    for name in tables:
        assert (ours / "tables" / name).read_text() == (theirs / "tables" / name).read_text()


def test_results_are_complete_and_say_what_was_reduced(uninterrupted):
    import pandas as pd

    results = pd.read_csv(uninterrupted / "results" / "results.csv")
    assert results.groupby("candidate")["split"].nunique().to_dict() == {"conv_staple": 2, "softseg_random": 2}
    for split in ("split-01", "split-02"):
        expected = json.loads((uninterrupted / "splits" / f"{split}.json").read_text())["subjects"]["test"]
        for candidate in ("conv_staple", "softseg_random"):
            chosen = results[(results["candidate"] == candidate) & (results["split"] == split)]
            assert sorted(chosen["subject"]) == expected
    readme = (uninterrupted / "results" / "README.md").read_text()
    assert f"num_epochs = {EPOCHS} (template: 200)" in readme
    pictures = {path.stem for path in (uninterrupted / "results" / "figures").glob("*.png")}
    assert {"entropy", "composite", "radar", "validation_loss", "comparison", "reliability_exact_roi"} <= pictures
    assert pictures == {path.stem for path in (uninterrupted / "results" / "figures").glob("*.svg")}


def test_results_and_claims_commands_leave_the_models_alone(uninterrupted):
    before = done_files(uninterrupted)
    stored = (uninterrupted / "results" / "results.csv").read_bytes()
    compared = run([COMMAND, "study", "results", str(uninterrupted), "--compare-paper"])
    assert compared.returncode == 0, compared.stderr
    assert (uninterrupted / "results" / "tables" / "table2_vs_paper.md").exists()
    claims = run([COMMAND, "study", "claims", str(uninterrupted)])
    assert claims.returncode == 0, claims.stderr
    verdicts = json.loads((uninterrupted / "results" / "claims.json").read_text())["claims"]
    # two subjects decide nothing
    assert {item["verdict"] for item in verdicts} == {"undecided"}
    assert (uninterrupted / "results" / "results.csv").read_bytes() == stored
    assert done_files(uninterrupted) == before


def test_a_killed_run_whose_engine_lives_on_is_joined_by_no_second_one(dataset, tmp_path):
    import psutil

    command = arguments(dataset, tmp_path / "study", candidates="conv_staple")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    engine, deadline = None, time.time() + 120
    while engine is None and time.time() < deadline:
        time.sleep(0.05)
        started = {}
        for child in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # a short-lived one may be gone already
                started[child] = child.cmdline()
        engine = next(
            (child for child, line in started.items() if "snakemake" in line and "--unlock" not in line), None
        )
    try:
        process.kill()
        process.wait()
        second = run(command)
        assert engine.is_running()
        assert second.returncode == 2
        assert "Another 'study run' works on" in second.stderr
        assert f"'kill -INT -- -{engine.pid}' on {socket.gethostname()} ends it" in second.stderr
    finally:
        victims = [*engine.children(recursive=True), engine]
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        psutil.wait_procs(victims, timeout=20)


@pytest.mark.parametrize("how", ["ctrl-c", "terminal closed", "terminated in the background of a script"])
def test_every_end_stops_every_process_and_says_how_to_go_on(dataset, tmp_path, how):
    import psutil

    output = tmp_path / "interrupted"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    if "script" in how:
        # a shell without job control lets what runs in its background ignore Ctrl-C
        pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = subprocess.Popen(arguments(dataset, output), start_new_session=True, **pipes)
    deadline = time.time() + 300
    while not list(output.glob("models/*/*/checkpoint.pth.tar")) and process.poll() is None and time.time() < deadline:
        time.sleep(0.02)
    started = psutil.Process(process.pid).children(recursive=True)
    if how == "ctrl-c":
        # as a terminal does it: everything in the foreground gets the signal
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGHUP if how == "terminal closed" else signal.SIGTERM)
    shown, _ = process.communicate(timeout=60)
    assert process.returncode == 130, shown
    assert "Interrupted. Repeat the command to go on." in shown
    assert "Traceback" not in shown
    assert started
    assert not [child for child in started if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert not list(output.glob("models/*/*/failed.json"))
    assert "goes on with the next 'study run'" in run([COMMAND, "study", "status", str(output)]).stdout


def test_a_failing_candidate_is_tried_twice_and_stops_nobody(dataset, resumed, tmp_path):
    output, _, _ = resumed
    before = done_files(output)
    own = tmp_path / "own.yaml"
    # there is no such model to start from, which is found out when training starts
    own.write_text(
        "- name: broken\n  base: conv_staple\n"
        "  overrides: {training_parameters: {transfer_learning: {retrain_model: no_such_model.pt}}}\n"
    )
    done = run(arguments(dataset, output, "--candidates-file", str(own), candidates="broken"))
    assert done.returncode == 1
    assert "no_such_model" in done.stdout
    failure = json.loads((output / "models" / "broken" / "split-01" / "failed.json").read_text())
    assert failure["attempts"] == 2
    assert {path: stamp for path, stamp in done_files(output).items() if path in before} == before
    status = run([COMMAND, "study", "status", str(output)])
    assert "broken/split-02: failed: train, 2 times" in status.stdout
    assert "Only 4 of 6 models are finished" in (output / "results" / "README.md").read_text()
