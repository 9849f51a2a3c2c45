"""Where a study stands: which models are done, running, failed (and why), to go, and how long it will take."""

import os
import socket
import statistics
import time
from dataclasses import dataclass

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.jobs import KINDS, is_locked, read_losses
from ivadomed_labelfusion.experiment.records import FAILED as FAILED_FIELDS
from ivadomed_labelfusion.experiment.records import RUNNING as RUNNING_FIELDS
from ivadomed_labelfusion.experiment.records import read_done, read_if_there
from ivadomed_labelfusion.files import read_json

# a running job elsewhere whose log was silent for this long counts as interrupted
SILENT_SECONDS = 1800
DONE, RUNNING, FAILED, HALF, TO_GO = "done", "running", "failed", "interrupted", "to go"
STATES = (DONE, RUNNING, FAILED, HALF, TO_GO)


@dataclass(frozen=True)
class ModelStatus:
    """One candidate on one split.

    Attributes:
        candidate (str): Name.
        split (str): Name.
        state (str): One of `STATES`.
        detail (str): What runs, why it failed, or how many jobs are done.
    """

    candidate: str
    split: str
    state: str
    detail: str


def model_statuses(study):
    """Return the ModelStatus of every candidate and split of a study, split by split."""
    return [_status(study, model, members) for model, members in study.models().items()]


def _jobs(study, model, members):
    """Return ``(folder, kind)`` of every job that a candidate and split consist of."""
    jobs = [(study.model_folder(member), kind) for member in members for kind in ("train", "test")]
    return [*jobs, (study.model_folder(model), "evaluate")]


def _status(study, model, members):
    candidate, split = model.split("/")
    jobs = _jobs(study, model, members)
    done = sum((folder / f"{kind}.done.json").exists() for folder, kind in jobs)
    folders = list(dict.fromkeys(folder for folder, _ in jobs))
    if done == len(jobs):
        return ModelStatus(candidate, split, DONE, "")
    started = {folder: entry for folder in folders if (entry := read_if_there(folder / "running.json", RUNNING_FIELDS))}
    active = [(folder, entry) for folder, entry in started.items() if is_alive(folder, entry)]
    failures = [entry for folder in folders if (entry := read_if_there(folder / "failed.json", FAILED_FIELDS))]
    state, detail = TO_GO, f"{done} of {len(jobs)} jobs done" if done else ""
    if active:
        state, detail = RUNNING, ", ".join(_describe(study, model, *job) for job in active)
    elif failures:
        worst = failures[0]
        state, detail = FAILED, f"{worst['kind']}, {worst['attempts']} times: {worst['reason']} ({worst['log']})"
    elif started:
        state, detail = HALF, "goes on with the next 'study run'"
    return ModelStatus(candidate, split, state, detail)


def _describe(study, model, folder, running):
    member = "" if folder == study.model_folder(model) else f" {folder.name}"
    text = f"{running['kind']}{member} on {running['host']}"
    epochs = _epochs(folder, running)
    return f"{text}, epoch {epochs[1]} of {epochs[2]}" if epochs else text


def _epochs(folder, running):
    """Return ``(first epoch of this attempt, last epoch, epochs planned)`` of a training; None before there are any."""
    if running["kind"] != "train":
        return None
    planned = _planned_epochs(folder / "train.json")
    done = read_losses(folder / "log", start=running["log_start"])
    return (min(done), max(done), planned) if done and planned else None


def _planned_epochs(path):
    """Return the number of epochs of a model's configuration, None if ivadomed's default is taken."""
    times = read_json(path)
    for key in ("training_parameters", "training_time"):
        times = times.get(key, {}) if isinstance(times, dict) else times
    planned = times.get("num_epochs") if isinstance(times, dict) else times
    if not isinstance(planned, int | None) or (planned is not None and planned < 1):
        raise InputError(f"{path} must hold training_parameters.training_time.num_epochs, got {planned!r}. Restore it.")
    return planned


def is_alive(folder, running):
    """Whether the job that ``running.json`` in ``folder`` speaks of still runs.

    On this machine its lock tells, which lasts as long as any process of it; elsewhere its log's last sign of life.

    Args:
        folder (Path): Of the model.
        running (dict): Content of ``running.json``.
    """
    if running["host"] == socket.gethostname():
        return is_locked(folder / f".{running['kind']}.lock")
    try:
        return time.time() - os.stat(running["log"]).st_mtime < SILENT_SECONDS
    except FileNotFoundError:
        return False


def _running(folder, kind):
    """Return what a running job says of itself, None if it does not run."""
    running = read_if_there(folder / "running.json", RUNNING_FIELDS)
    return running if running and running["kind"] == kind and is_alive(folder, running) else None


def _pace(folder, running):
    """Return ``(share done, seconds of the whole)`` of a running training after its first epoch, else None."""
    epochs = _epochs(folder, running)
    if epochs is None:
        return None
    first, last, planned = epochs
    return last / planned, planned * (time.time() - running["started"]) / (last - first + 1)


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        jobs_done (float): Finished jobs; a running training counts by its share of epochs.
        n_jobs (int): All jobs: train, test, and evaluate of every model.
        running (int): Jobs at work.
        seconds_left (float or None): Estimate; None before any training has done an epoch.
    """

    jobs_done: float
    n_jobs: int
    running: int
    seconds_left: float | None


def progress(study):
    """Return the Progress of a study.

    Each kind of job is taken to last as long as it did on average, on as many workers as the study may use; on one in a
    cluster, where their number is not known. Before the first training has finished, those that run are extrapolated.
    """
    seconds, waiting, extrapolated, n_running = {kind: [] for kind in KINDS}, dict.fromkeys(KINDS, 0.0), [], 0
    jobs = [job for model, members in study.models().items() for job in _jobs(study, model, members)]
    for folder, kind in jobs:
        done = folder / f"{kind}.done.json"
        if done.exists():
            seconds[kind].append(read_done(folder, kind, "seconds")["seconds"])
            continue
        running = _running(folder, kind)
        n_running += running is not None
        pace = _pace(folder, running) if running else None
        waiting[kind] += 1 - (pace[0] if pace else 0)
        extrapolated += [pace[1]] if pace else []
    seconds["train"] = seconds["train"] or extrapolated
    left = sum(waiting[kind] * statistics.fmean(known) for kind, known in seconds.items() if known)
    workers = 1 if study.scheduled else study.gpu_slots or max(1, study.cores // study.threads)
    known_left = left / workers if seconds["train"] else None
    return Progress(len(jobs) - sum(waiting.values()), len(jobs), n_running, known_left)


def duration_text(seconds):
    """Return a duration in words, to the minute: ``1 d 3 h 20 min``."""
    minutes = max(1, round(seconds / 60))
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"))
    return " ".join(f"{value} {unit}" for value, unit in parts if value)
