"""Jobs: checkpoints, logs, ensembles, failures and locks, with real files and processes."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import zipfile

import nibabel
import numpy as np
import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.candidates import resolve_candidates
from ivadomed_labelfusion.experiment.host_process import ROOM_MB, HostProcess, gpu_slot, has_room
from ivadomed_labelfusion.experiment.jobs import (
    CHECKPOINT,
    _last_words,
    average_predictions,
    check_only_test_subjects,
    file_lock,
    has_whole_checkpoint,
    main,
    read_losses,
    read_threshold,
)
from ivadomed_labelfusion.experiment.plan import load_study
from ivadomed_labelfusion.experiment.prepare import prepare_study
from tests.builders.study_files import make_study


def test_a_cut_off_checkpoint_is_removed(tmp_path):
    path = tmp_path / CHECKPOINT
    assert not has_whole_checkpoint(tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", os.urandom(5000))
    whole = path.read_bytes()
    assert has_whole_checkpoint(tmp_path)
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert not has_whole_checkpoint(tmp_path)
        assert not path.exists()


def test_losses_are_read_from_ivadomeds_log(tmp_path):
    log = tmp_path / "log"
    assert read_losses(log) == {}
    log.write_text(
        "2026-01-01 | INFO | ivadomed.training:train:305 - Epoch 1 validation loss: -0.0711.\n"
        "2026-01-01 | INFO | Epoch 2 training loss: 5.0000.\n"
        "2026-01-01 | INFO | Epoch 2 validation loss: 3.5000.\tDice validation loss: -0.2000.\n"
        "2026-01-01 | INFO | Epoch 3 validation loss: 3.4000.\tDice validation loss: -0.2000.\n"
        "resumed\n2026-01-01 | INFO | Epoch 2 validation loss: 3.2500.\tDice validation loss: -0.2000.\n"
    )
    assert read_losses(log) == {1: -0.0711, 2: 3.25}


def test_threshold_is_read_from_the_saved_configuration(study, tmp_path):
    one_class = dataclasses.replace(study, template="ms", overrides={})
    assert read_threshold(one_class, tmp_path) is None
    (tmp_path / "config_file.json").write_text(json.dumps({"postprocessing": {}}))
    assert read_threshold(one_class, tmp_path) is None
    (tmp_path / "config_file.json").write_text(json.dumps({"postprocessing": {"binarize_prediction": {"thr": 0.35}}}))
    assert read_threshold(one_class, tmp_path) == 0.35
    # two classes: none was searched, this one is the user's own, and the most probable class is taken
    assert read_threshold(study, tmp_path) is None


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data.astype(np.float32), np.diag([1, 2, 3, 1])), path)


def test_ensembles_average_their_members(tmp_path):
    rng = np.random.default_rng(0)
    outputs = rng.uniform(size=(3, 4, 5, 6, 2))
    folders = [tmp_path / f"rater{index}" / "pred_soft" for index in range(3)]
    for folder, output in zip(folders, outputs, strict=True):
        save(folder / "sub-01_T2starw_pred.nii.gz", output)
    average_predictions(folders, tmp_path / "pred_soft")
    mean = nibabel.load(tmp_path / "pred_soft" / "sub-01_T2starw_pred.nii.gz")
    np.testing.assert_allclose(mean.get_fdata(), outputs.mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(mean.affine, np.diag([1, 2, 3, 1]))
    save(folders[1] / "sub-02_T2starw_pred.nii.gz", outputs[0])
    with pytest.raises(InputError, match=r"sub-02_T2starw_pred.nii.gz is missing in some"):
        average_predictions(folders, tmp_path / "pred_soft")


@pytest.fixture
def study(dataset, tmp_path):
    return prepare_study(make_study(dataset, tmp_path, candidates=tuple(resolve_candidates("conv_staple")), n_splits=1))


def test_results_of_training_subjects_are_refused(study):
    split = json.loads((study.folder / "splits" / "split-01.json").read_text())["subjects"]
    check_only_test_subjects(study, "split-01", [f"{subject}_T2starw" for subject in split["test"]])
    leaked = [*split["test"], split["train"][0]]
    with pytest.raises(InputError, match="must be of its test subjects"):
        check_only_test_subjects(study, "split-01", [f"{subject}_T2starw" for subject in leaked])
    with pytest.raises(InputError, match="must be of its test subjects"):
        check_only_test_subjects(study, "split-01", [f"{split['test'][0]}_T2starw"])


def run(study, kind, model="conv_staple/split-01"):
    return main([kind, model, "--study", str(study.folder), "--log", str(study.folder / "logs" / "x.log")])


def test_a_failed_job_says_why_and_counts_its_attempts(study, capsys):
    folder = study.model_folder("conv_staple/split-01")
    (folder / "train.done.json").write_text(json.dumps({"threshold": None}))
    for attempt in (1, 2):
        assert run(study, "evaluate") == 1
        failure = json.loads((folder / "failed.json").read_text())
        assert (failure["kind"], failure["attempts"]) == ("evaluate", attempt)
        assert "pred_soft" in failure["reason"]
    assert not (folder / "running.json").exists()
    assert not (folder / "evaluated.json").exists()
    assert "failed:" in capsys.readouterr().err


def test_the_reason_is_the_error_and_not_pythons_arrow(tmp_path):
    log = tmp_path / "x.log"
    log.write_text("Traceback\n  f(x)\nOSError: [Errno 28] No space left on device\n     ^^^^^~~~\n")
    assert _last_words(log) == "OSError: [Errno 28] No space left on device"


def test_a_job_that_may_not_write_says_so_in_one_line(study, capsys):
    folder = study.model_folder("conv_staple/split-01")
    # not even root may write here
    (folder / ".train.lock").mkdir()
    assert run(study, "train") == 1
    assert "train of conv_staple/split-01 failed, and the failure was not recorded" in capsys.readouterr().err


def test_finished_work_is_never_done_again(study):
    folder = study.model_folder("conv_staple/split-01")
    done = {"kind": "train", "seconds": 1, "threshold": None}
    (folder / "train.done.json").write_text(json.dumps(done))
    # Snakemake removes its marker after a kill; the training itself is still there
    assert run(study, "train") == 0
    assert json.loads((folder / "trained.json").read_text()) == done


def test_a_second_process_waits_for_the_first(study):
    folder = study.model_folder("conv_staple/split-01")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys, time\n"
            "stream = open(sys.argv[1], 'a')\n"
            "fcntl.flock(stream, fcntl.LOCK_EX)\n"
            "print('held', flush=True)\n"
            "time.sleep(60)\n",
            str(folder / ".train.lock"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    (folder / "train.done.json").write_text("{}")
    command = [sys.executable, "-m", "ivadomed_labelfusion.experiment.jobs", "train", "conv_staple/split-01"]
    waiting = subprocess.Popen(
        [*command, "--log", "x.log"], cwd=study.folder, stdout=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert "still being worked on" in waiting.stdout.readline()
        assert waiting.poll() is None
        holder.kill()
        assert waiting.wait(timeout=20) == 0
    finally:
        holder.kill()
        holder.wait()
        waiting.kill()
        waiting.wait()
    assert (folder / "trained.json").exists()


def test_each_gpu_serves_one_training_at_a_time(study, monkeypatch):
    # a plain run inside an allocation shares out the allocation's GPUs
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    two = dataclasses.replace(study, gpus=2)
    with gpu_slot(two) as (first, _), gpu_slot(two) as (second, _):
        assert {first, second} == {"4", "7"}
    with gpu_slot(study) as (hidden, _):
        assert hidden == ""
    with gpu_slot(dataclasses.replace(two, scheduled=True)) as (chosen_by_the_scheduler, _):
        assert chosen_by_the_scheduler is None


def test_gpus_take_further_trainings_when_all_have_one_and_memory_is_left(study, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")

    def memory(used, free):
        tool.write_text(f"#!/bin/sh\necho '{used}, {free}'\n")
        tool.chmod(0o755)

    shared = dataclasses.replace(study, gpus=2, models_per_gpu=2)
    assert shared.gpu_slots == 4
    memory(3000, 5000)
    with contextlib.ExitStack() as stack:
        names = [stack.enter_context(gpu_slot(shared))[0] for _ in range(4)]
        assert sorted(names[:2]) == sorted(names[2:]) == ["0", "1"]
    assert has_room("0", 1)
    memory(5000, 3000)
    assert not has_room("0", 1)
    assert has_room("0", 2)
    memory(10, ROOM_MB - 1)
    assert not has_room("0", 1)
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert has_room("0", 1)


def test_a_study_of_before_goes_on_with_one_model_per_gpu(study):
    prepare_study(study)
    content = json.loads((study.folder / "study.json").read_text())
    del content["models_per_gpu"]
    (study.folder / "study.json").write_text(json.dumps(content))
    assert load_study(study.folder).models_per_gpu == 1
    assert prepare_study(dataclasses.replace(study, models_per_gpu=3)).models_per_gpu == 3


def test_one_process_runs_several_commands_and_keeps_the_locks(study, tmp_path):
    pytest.importorskip("ivadomed", reason="the extra 'ivadomed' is not installed")
    log, other = tmp_path / "x.log", tmp_path / "y.log"
    with file_lock(tmp_path / "lock") as lock, HostProcess(study, [lock]) as host:
        with pytest.raises(subprocess.CalledProcessError):
            host.run(["--train", "-c", "missing.json"], log)
        first = host._process.pid
        with pytest.raises(subprocess.CalledProcessError):
            host.run(["--test", "-c", str(study.model_folder("conv_staple/split-01") / "test.json")], other)
        assert host._process.pid == first
        held = {os.path.realpath(f"/proc/{first}/fd/{name}") for name in os.listdir(f"/proc/{first}/fd")}
        assert str(tmp_path / "lock") in held
    assert host._process.returncode == 0
    assert "missing.json" in _last_words(log)
    assert "dataset_description.json" in _last_words(other)


def test_a_killed_process_is_told_from_one_that_failed(study, tmp_path):
    with HostProcess(study, []) as host:
        with pytest.raises(subprocess.CalledProcessError):
            host.run(["--train", "-c", "missing.json"], tmp_path / "x.log")
        os.kill(host._process.pid, signal.SIGKILL)
        with pytest.raises(subprocess.CalledProcessError) as caught:
            host.run(["--train", "-c", "missing.json"], tmp_path / "x.log")
    assert caught.value.returncode == -signal.SIGKILL


def test_an_interruption_ends_the_process(study, tmp_path):
    host = HostProcess(study, [])
    host.__enter__()
    with pytest.raises(subprocess.CalledProcessError):
        host.run(["--train", "-c", "missing.json"], tmp_path / "x.log")
    assert host._process.poll() is None
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as interruption:
        host.__exit__(KeyboardInterrupt, interruption, None)
    assert host._process.returncode is not None
