"""Where a study stands: which models are done, running, failed (and why), to go, and how long it will take."""

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
        detail (str): What runs, or why it failed.
        jobs (int): Jobs of this model (an ensemble has two per member).
        jobs_done (int): Of these, finished ones.
    """

    candidate: str
    split: str
    state: str
    detail: str
    jobs: int
    jobs_done: int


def model_statuses(study):
    """Return the ModelStatus of every candidate and split of a study, split by split."""
    return [_status(study, model, members) for model, members in study.models().items()]


def _status(study, model, members):
    candidate, split = model.split("/")
    jobs = [(study.model_folder(member), kind) for member in members for kind in ("train", "test")]
    jobs.append((study.model_folder(model), "evaluate"))
    done = sum((folder / f"{kind}.done.json").exists() for folder, kind in jobs)
    folders = list(dict.fromkeys(folder for folder, _ in jobs))
    state, detail = TO_GO, ""
    if done == len(jobs):
        state = DONE
    else:
        started = [folder for folder in folders if (folder / "running.json").exists()]
        active = [read_json(folder / "running.json") for folder in started if is_alive(folder)]
        failures = [read_json(folder / "failed.json") for folder in folders if (folder / "failed.json").exists()]
        if active:
            state, detail = RUNNING, f"{active[0]['kind']} on {active[0]['host']}"
        elif failures:
            worst = failures[0]
            state, detail = FAILED, f"{worst['kind']}, {worst['attempts']} times: {worst['reason']} ({worst['log']})"
        elif started or done:
            state, detail = HALF, "goes on with the next 'study run'"
    return ModelStatus(candidate, split, state, detail, len(jobs), done)


def is_alive(folder):
    """Whether the job that ``running.json`` in ``folder`` speaks of still runs.

    On this machine its lock tells, which lasts as long as any process of it; elsewhere its log's last sign of life.
    """
    running = read_json(folder / "running.json")
    if running["host"] == socket.gethostname():
        return is_locked(folder / f".{running['kind']}.lock")
    try:
        return time.time() - os.stat(running["log"]).st_mtime < SILENT_SECONDS
    except FileNotFoundError:
        return False


def seconds_left(study):
    """Estimate the time that is left in seconds; None before the first training has finished.

    Each kind of job is taken to last as long as it did on average, on as many workers as the study may use.
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
    workers = study.gpus or max(1, study.cores // study.threads)
    return total / workers
