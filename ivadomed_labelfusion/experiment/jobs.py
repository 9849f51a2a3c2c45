"""One job of the study: train, test or evaluate one model.

The workflow calls ``python -m ivadomed_labelfusion.experiment.jobs``. What is done is kept beside the model
(``train.done.json``, ``test.done.json``), not in Snakemake's outputs, which Snakemake removes when it was killed: a job
that finds its work done returns at once, and a half-trained model goes on from its checkpoint.
"""

import argparse
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import traceback
import zipfile
import zlib
from pathlib import Path

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.host_process import HostProcess
from ivadomed_labelfusion.experiment.plan import load_study, uses_one_class
from ivadomed_labelfusion.experiment.records import FAILED, SHARE, read_done, read_if_there
from ivadomed_labelfusion.files import read_json, write_json
from ivadomed_labelfusion.locks import try_lock

KINDS = ("train", "test", "evaluate")
MODEL, TRAIN_AND_TEST = "model", ("train", "test")
MARKERS = {"train": "trained.json", "test": "tested.json", "evaluate": "evaluated.json"}
CHECKPOINT = "checkpoint.pth.tar"
# Lemay et al. 2022, Section 2.3.4: one class, thresholds in steps of 0.05
THRESHOLD_INCREMENT = "0.05"


def main(args=None):
    """Run one job; exit status 1 and ``failed.json`` beside the model when it fails, 130 when it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=(*KINDS, MODEL), help=f"{MODEL}: {' and '.join(TRAIN_AND_TEST)}")
    parser.add_argument("model", help="such as conv_staple/split-01")
    parser.add_argument("--study", default=".", help="folder of the study (default: here)")
    parser.add_argument("--log", required=True, help="where the output of ivadomed goes")
    parsed = parser.parse_args(args)
    try:
        study = load_study(parsed.study)
        return run_job(study, parsed.kind, parsed.model, Path(parsed.log).resolve())
    except KeyboardInterrupt:
        return 130
    except InputError as error:
        print(f"{parsed.kind} of {parsed.model} failed: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        # a full disk or missing rights, about which nothing could be written beside the model
        print(f"{parsed.kind} of {parsed.model} failed, and the failure was not recorded: {error}", file=sys.stderr)
        return 1


def run_job(study, kind, model, log):
    """Run one job unless it is done; write its marker.

    Args:
        study (Study): The study.
        kind (str): One of `KINDS`, or ``model``: train and test, in one process.
        model (str): Such as ``conv_staple/split-01`` or ``conv_ensemble/split-01/rater2``.
        log (Path): Output of the commands, appended; that of a test which follows a training goes beside it.

    Returns:
        int: 0 when done, 1 when it failed.
    """
    folder = study.model_folder(model)
    folder.mkdir(parents=True, exist_ok=True)
    kinds = TRAIN_AND_TEST if kind == MODEL else (kind,)
    logs = [log, *(study.folder / "logs" / name / f"{model}.log" for name in kinds[1:])]
    with contextlib.ExitStack() as stack:
        locks = [stack.enter_context(file_lock(folder / f".{name}.lock")) for name in kinds]
        host = stack.enter_context(HostProcess(study, locks))
        return next((1 for step in zip(kinds, logs, strict=True) if _step(study, model, *step, host)), 0)


def _step(study, model, kind, log, host):
    """Run a job whose lock is held, unless it is done; return 0 when done, 1 when it failed."""
    folder = study.model_folder(model)
    done = folder / f"{kind}.done.json"
    log.parent.mkdir(parents=True, exist_ok=True)
    if not done.exists():
        started = time.time()
        log.touch()
        machine = socket.gethostname()
        # where this attempt begins in ivadomed's log, from which its pace is told
        log_start = (folder / "log").stat().st_size if (folder / "log").exists() else 0
        running = {"kind": kind, "host": machine, "log": str(log), "started": started, "log_start": log_start}
        write_json(folder / "running.json", running, overwrite=True)
        try:
            details = _WORK[kind](study, model, log, host)
        except (subprocess.CalledProcessError, InputError, OSError) as error:
            _record_failure(folder, kind, error, log)
            return 1
        except Exception as error:
            _record_failure(folder, kind, error, log)
            raise
        (folder / "running.json").unlink(missing_ok=True)
        seconds = time.time() - started
        where = {"host": machine, "slurm_job": os.environ.get("SLURM_JOB_ID")}
        write_json(done, {"kind": kind, "seconds": round(seconds, 1), **where, **details})
        _forget_failure(folder, kind)
        print(f"{kind} of {model}: done in {seconds:.0f} s", flush=True)
    shutil.copyfile(done, folder / MARKERS[kind])
    return 0


@contextlib.contextmanager
def file_lock(path):
    """Hold an exclusive lock on a file, waiting for it; yields the open file.

    The lock is inherited by child processes that get the file passed, so it lasts as long as any of them: a training
    that outlives its killed parent is never joined by a second one.
    """
    import fcntl

    with open(path, "a", encoding="utf-8") as stream:
        if not try_lock(stream):
            print(f"{path.parent} is still being worked on by an earlier run: waiting for it.", flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield stream


def is_locked(path):
    """Whether a process holds the lock of `file_lock` on a file."""
    if not path.exists():
        return False
    # a shared lock needs no more than reading, also on NFS and where nothing may be written
    with open(path, encoding="utf-8") as stream:
        return not try_lock(stream, shared=True)


def train(study, model, log, host):
    """Train a model, from its checkpoint if there is a whole one."""
    folder = study.model_folder(model)
    resumed = has_whole_checkpoint(folder)
    arguments = ["--train", "-c", str(folder / "train.json")]
    if uses_one_class(study):
        arguments += ["-t", THRESHOLD_INCREMENT]
    host.run([*arguments, *(["--resume-training"] if resumed else [])], log)
    if not (folder / "best_model.pt").exists():
        raise InputError(f"ivadomed ended without a model in {folder}. Read {log}.")
    curve = read_losses(folder / "log")
    return {
        "resumed": resumed,
        "threshold": read_threshold(study, folder),
        "epochs": max(curve, default=0),
        "best_validation_loss": min(curve.values(), default=None),
    }


def has_whole_checkpoint(folder):
    """Whether a training can go on from ``folder``; a checkpoint cut off while it was written is removed."""
    path = folder / CHECKPOINT
    if not path.exists():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            whole = archive.testzip() is None
    # whatever a damaged archive makes Python say: it is not whole
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, NotImplementedError, zlib.error):
        whole = False
    if not whole:
        path.unlink()
    return whole


def read_threshold(study, folder):
    """Return the threshold that ivadomed's search on training and validation subjects found, None if it made none."""
    saved = folder / "config_file.json"
    # for several classes it makes none: a threshold in the file is then the user's own
    if not saved.exists() or not uses_one_class(study):
        return None
    threshold = read_json(saved)
    for key in ("postprocessing", "binarize_prediction", "thr"):
        threshold = threshold.get(key) if isinstance(threshold, dict) else None
    if threshold is not None and not SHARE[1](threshold):
        raise InputError(f"{saved}: postprocessing.binarize_prediction.thr must be {SHARE[0]}, got {threshold!r}.")
    # ivadomed counts up in steps of 0.05 and ends at 0.9500000000000001
    return None if threshold is None else round(threshold, 6)


def read_losses(path, *, start=0):
    """Return ``{epoch: validation loss}`` from ivadomed's log; what was redone after a resume replaces the first.

    Args:
        path (Path): The log; it may be missing.
        start (int): Byte at which to begin, such as the end of an earlier attempt.
    """
    if not path.exists():
        return {}
    with open(path, "rb") as stream:
        stream.seek(start)
        text = stream.read().decode("utf-8", "replace")
    found = re.findall(r"Epoch (\d{1,9}) validation loss: (-?\d+(?:\.\d+)?)\.", text)
    losses = {}
    for epoch, loss in found:
        for redone in [known for known in losses if known >= int(epoch)]:
            del losses[redone]
        losses[int(epoch)] = float(loss)
    return losses


def test(study, model, log, host):
    """Predict the test subjects; the soft outputs stay in ``pred_soft/``."""
    folder = study.model_folder(model)
    host.run(["--test", "-c", str(folder / "test.json")], log)
    predictions = sorted((folder / "pred_soft").glob("*_pred.nii.gz"))
    if not predictions:
        raise InputError(f"ivadomed ended without a prediction in {folder / 'pred_soft'}. Read {log}.")
    return {"predictions": len(predictions)}


def evaluate(study, model, log, host):
    """Evaluate a candidate's predictions on a split against all raters, after averaging an ensemble's members."""
    import dataclasses

    from ivadomed_labelfusion.evaluation import evaluate_dataset, settings_from_config

    name, split = model.split("/")
    candidate = study.candidate(name)
    members = study.members(candidate, split)
    folder = study.model_folder(model)
    trained = [read_done(study.model_folder(member), "train", "threshold") for member in members]
    thresholds = [entry["threshold"] for entry in trained if entry["threshold"] is not None]
    # of an ensemble, the mean of its members' thresholds
    threshold = sum(thresholds) / len(thresholds) if thresholds else None
    if candidate.ensemble:
        average_predictions([study.model_folder(member) / "pred_soft" for member in members], folder / "pred_soft")
    config = study.config(candidate)
    settings = dataclasses.replace(settings_from_config(config), threshold=threshold)
    evaluation = evaluate_dataset(
        bids_dir=study.bids,
        target_suffix=config["loader_parameters"]["target_suffix"],
        predictions_dir=folder / "pred_soft",
        output_dir=folder / "evaluation",
        settings=settings,
        allow_missing_raters=bool(config["loader_parameters"].get("allow_missing_raters")),
        overwrite=True,
    )
    check_only_test_subjects(study, split, evaluation.rows)
    return {"threshold": threshold, "images": len(evaluation.rows), "models": len(members)}


def check_only_test_subjects(study, split, images):
    """Refuse results of subjects that the models of this split were trained on, and missing test subjects.

    Raises:
        InputError: Names the subjects.
    """
    from ivadomed_labelfusion.experiment.splits import read_split

    expected = set(read_split(study.folder / "splits", split)["subjects"]["test"])
    found = {image.split("_")[0] for image in images}
    if found != expected:
        raise InputError(
            f"The predictions of {split} must be of its test subjects {', '.join(sorted(expected))}, "
            f"got {', '.join(sorted(found))}."
        )


def average_predictions(folders, target):
    """Write the mean of several models' predictions of each image (float32, on their grid).

    Args:
        folders (list of Path): ``pred_soft`` of the members.
        target (Path): Folder for the means.

    Raises:
        InputError: If the members predicted different images.
    """
    import numpy as np

    from ivadomed_labelfusion.data.volumes import load_image, readable, save_nifti

    names = [{path.name for path in folder.glob("*_pred.nii.gz")} for folder in folders]
    if any(found != names[0] for found in names):
        odd = sorted(set.union(*names) - set.intersection(*names))
        raise InputError(
            f"Every member of an ensemble must have predicted the same images, {odd[0]} is missing in some."
        )
    for name in sorted(names[0]):
        images = [load_image(folder / name) for folder in folders]
        shapes = {image.shape for image in images}
        if len(shapes) > 1:
            raise InputError(f"Every member of an ensemble must predict {name} on one grid, got the shapes {shapes}.")
        total = np.zeros(images[0].shape, np.float32)
        for image, folder in zip(images, folders, strict=True):
            with readable(folder / name):
                total += np.asanyarray(image.dataobj, dtype=np.float32)
        mean = total / np.float32(len(images))
        save_nifti(target / name, mean, images[0], overwrite=True)


_WORK = {"train": train, "test": test, "evaluate": evaluate}


def _record_failure(folder, kind, error, log):
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, InputError):
        reason = str(error)
    elif isinstance(error, subprocess.CalledProcessError):
        killed = f"ivadomed was killed by signal {-error.returncode} (9: often too little memory)"
        reason = killed if error.returncode < 0 else _last_words(log) or str(error)
    print(f"{kind} of {folder} failed: {reason}", file=sys.stderr, flush=True)
    earlier = _earlier_failure(folder) or {}
    attempts = earlier.get("attempts", 0) + 1 if earlier.get("kind") == kind else 1
    content = {"kind": kind, "reason": reason, "attempts": attempts, "log": str(log), "time": time.time()}
    write_json(folder / "failed.json", content, overwrite=True)
    (folder / "running.json").unlink(missing_ok=True)
    with open(log, "a", encoding="utf-8") as stream:
        traceback.print_exception(error, file=stream)


def _last_words(log):
    """Return the last line of a log that is no progress bar: with Python, the error's own message."""
    if not log.exists():
        return ""
    with open(log, "rb") as stream:
        stream.seek(max(0, log.stat().st_size - 20_000))
        lines = stream.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
    # nor the line with which Python points at the place of an error
    words = [line.strip() for line in lines if re.search(r"\w", line) and "it/s]" not in line and "%|" not in line]
    return words[-1][:500] if words else ""


def _forget_failure(folder, kind):
    earlier = _earlier_failure(folder)
    if earlier and earlier["kind"] == kind:
        (folder / "failed.json").unlink()


def _earlier_failure(folder):
    """Return what ``failed.json`` says, None if there is none; a damaged one says nothing and goes."""
    try:
        return read_if_there(folder / "failed.json", FAILED)
    except InputError:
        (folder / "failed.json").unlink()
        return None


if __name__ == "__main__":
    sys.exit(main())
