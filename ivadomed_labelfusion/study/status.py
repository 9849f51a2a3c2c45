"""Where a study stands: which models are done, running, failed (and why), to go, and how long it will take."""

import json
import os
import socket
import time
from dataclasses import dataclass

from ivadomed_labelfusion.files import read_json
from ivadomed_labelfusion.study.jobs import KINDS, is_locked

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


def _status(study, model, members):
    candidate, split = model.split("/")
    jobs = [(study.model_folder(member), kind) for member in members for kind in ("train", "test")]
    jobs.append((study.model_folder(model), "evaluate"))
    done = sum((folder / f"{kind}.done.json").exists() for folder, kind in jobs)
    folders = list(dict.fromkeys(folder for folder, _ in jobs))
    if done == len(jobs):
        return ModelStatus(candidate, split, DONE, "")
    started = {folder: entry for folder in folders if (entry := _read(folder / "running.json"))}
    active = [entry for folder, entry in started.items() if is_alive(folder, entry)]
    failures = [entry for folder in folders if (entry := _read(folder / "failed.json"))]
    state, detail = TO_GO, f"{done} of {len(jobs)} jobs done" if done else ""
    if active:
        state, detail = RUNNING, f"{active[0]['kind']} on {active[0]['host']}"
    elif failures:
        worst = failures[0]
        state, detail = FAILED, f"{worst['kind']}, {worst['attempts']} times: {worst['reason']} ({worst['log']})"
    elif started:
        state, detail = HALF, "goes on with the next 'study run'"
    return ModelStatus(candidate, split, state, detail)


def _read(path):
    """Return the content of a file that a job may remove at any moment, None if it is not there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


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


def seconds_left(study):
    """Estimate the time that is left in seconds; None before the first training has finished.

    Each kind of job is taken to last as long as it did on average, on as many workers as the study may use; on one in a
    cluster, where their number is not known.
    """
    total, jobs = 0.0, {kind: [0, 0, 0.0] for kind in KINDS}
    for model, members in study.models().items():
        for folder, kind in [
            *((study.model_folder(member), kind) for member in members for kind in ("train", "test")),
            (study.model_folder(model), "evaluate"),
        ]:
            counts, done = jobs[kind], folder / f"{kind}.done.json"
            counts[0] += 1
            if done.exists():
                counts[1] += 1
                counts[2] += read_json(done)["seconds"]
    if not jobs["train"][1]:
        return None
    for count, finished, seconds in jobs.values():
        if finished:
            total += (count - finished) * seconds / finished
    workers = 1 if study.scheduled else study.gpus or max(1, study.cores // study.threads)
    return total / workers
