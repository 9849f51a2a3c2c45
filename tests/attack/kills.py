"""Killing commands where they rename a file: nothing is lost, nothing is half, and the next run ends as if undisturbed.

Each command runs in a fork of this process, which is killed just before or just after its n-th rename, as a power cut
would; then it runs again, and what it leaves is compared with an undisturbed run.
"""

import contextlib
import csv
import hashlib
import json
import os
import pathlib
import shutil
import signal
import sys

from ivadomed_labelfusion.prepare._source import EXTRACTED_PREFIX
from tests.attack.outcome import ivadomed, ours
from tests.attack.world import SUFFIXES
from tests.builders.tiny import write_config

LEFTOVERS = (".fusing", ".tmp-", EXTRACTED_PREFIX, ".partial-", ".replaced-", ".preparing-", ".unfinished", ".writing")


def run_forked(command, *, kill_at=None, after=False):
    """Run a command in a fork.

    Args:
        command (callable): Returns the exit status.
        kill_at (int): Kill the fork at this rename, counted from 1; None lets it run to its end.
        after (bool): After the rename rather than before it.

    Returns:
        tuple: ``(status, renames)``: -9 if it was killed; the number of renames it reached.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.close(reading)
            _count_renames(writing, kill_at, after)
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
                sys.stdout = sys.stderr = nowhere
                status = command() or 0
        finally:
            os._exit(status if isinstance(status, int) else 0)
    os.close(writing)
    with open(reading, "rb") as stream:
        renames = len(stream.read())
    _, ended = os.waitpid(child, 0)
    return (-os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else os.WEXITSTATUS(ended)), renames


def _count_renames(descriptor, kill_at, after):
    """Report every rename of this process through a pipe, and kill it at the one asked for."""
    count = 0
    originals = {name: getattr(os, name) for name in ("rename", "replace")}

    def counting(original):
        def rename(*arguments, **options):
            nonlocal count
            count += 1
            os.write(descriptor, b".")
            if count == kill_at and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            original(*arguments, **options)
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        return rename

    for name, original in originals.items():
        setattr(os, name, counting(original))
    # pathlib of Python 3.10 keeps its own reference
    accessor = getattr(pathlib, "_NormalAccessor", None)
    for name in originals:
        if accessor is not None and hasattr(accessor, name):
            setattr(accessor, name, staticmethod(getattr(os, name)))


def tree(folder, *, ignore=()):
    """Return ``{path: digest of its content}`` of the files below a folder, but for times and the like in JSON."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part in name for part in ignore):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def leftovers(folder):
    """Return what a killed run left and the next did not remove."""
    return [path.name for path in folder.rglob(".*") if path.name.startswith(LEFTOVERS)]


class Target:
    """A command to kill, in a folder of its own each time.

    Args:
        name (str): For messages.
        make (callable): Takes an empty folder, returns ``(command, command of the next run, folder of the output)``.
        ignore (tuple): Parts of names of files that differ between two undisturbed runs.
        compare (callable): Takes the output folder, returns what must be equal; None compares all files.
    """

    def __init__(self, name, make, *, ignore=(), compare=None):
        self.name, self.make, self.ignore, self.compare = name, make, ignore, compare
        self.renames, self.reference = None, None

    def result(self, output):
        """Return what is compared of an output folder."""
        return self.compare(output) if self.compare else tree(output, ignore=self.ignore)

    def prepare(self, folder):
        """Run once undisturbed, for the number of renames and what comes out."""
        folder.mkdir(parents=True)
        command, _, output = self.make(folder)
        status, self.renames = run_forked(command)
        assert status in (0, 1), f"{self.name}: the undisturbed run ended with {status}"
        self.reference = self.result(output)
        shutil.rmtree(folder)

    def kill(self, folder, rng):
        """Kill the command once and run it again; return what is wrong, an empty text if nothing is."""
        if self.reference is None:
            # the same folder each time: paths are part of what is written
            self.prepare(folder)
        folder.mkdir(parents=True)
        try:
            command, again, output = self.make(folder)
            at, after = int(rng.integers(1, self.renames + 1)), bool(rng.integers(2))
            where = f"{self.name}, {'after' if after else 'before'} rename {at} of {self.renames}"
            status, _ = run_forked(command, kill_at=at, after=after)
            if status != -signal.SIGKILL:
                return f"{where}: ended with {status} instead of being killed"
            status, _ = run_forked(again)
            if status not in (0, 1):
                return f"{where}: the next run ended with {status}"
            found = self.result(output)
            if found != self.reference:
                changed = [key for key in {*found, *self.reference} if found.get(key) != self.reference.get(key)]
                return f"{where}: other results: {sorted(changed)[:5]}"
            left = leftovers(folder)
            return f"{where}: left {left}" if left else ""
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def targets(world):
    """Return the commands to kill, by name."""
    before = tree(world.data)

    def checked(function):
        def compare(output):
            assert tree(world.data) == before, "the raw data were changed"
            return function(output)

        return compare

    def convert(folder):
        raw, out = world.scgm(), folder / "bids"
        arguments = ["prepare", "scgm", raw, out, "--quiet", "--fuse", "staple"]
        # a dataset that was complete is replaced when asked for
        return ours(*arguments), ours(*arguments, "--overwrite"), out

    def fuse(folder):
        data = world.copy_data(folder)
        command = ours("fuse", "--bids", data, "--target-suffix", *SUFFIXES, "--method", "staple")
        return command, command, data

    def evaluate(folder):
        arguments = [
            "evaluate",
            "--predictions",
            world.predictions(folder),
            "--bids",
            world.data,
            "-o",
            folder / "results",
        ]
        command = ours(*arguments, "--target-suffix", *SUFFIXES)
        # what was complete is not replaced without being asked
        return command, lambda: command() if not _is_complete(folder / "results") else 0, folder / "results"

    def train(folder):
        config = json.loads(json.dumps(world.config))
        config["training_parameters"]["training_time"]["num_epochs"] = 3
        path, out = write_config(folder / "config.json", config), folder / "out"
        command = ivadomed("--train", "-c", path, "-po", out)
        return command, ivadomed("--train", "-c", path, "-po", out, "--resume-training"), out

    def study(folder):
        own = folder / "study"
        shutil.copytree(world.study(), own)
        for name in ("evaluate.done.json", "evaluated.json"):
            for path in own.glob(f"models/*/*/{name}"):
                path.unlink()
        shutil.rmtree(own / "results")
        return lambda: _finish_study(own), lambda: _finish_study(own), own / "results"

    names = {
        "prepare": Target("prepare", convert),
        "fuse": Target("fuse", fuse),
        "evaluate": Target("evaluate", evaluate, compare=checked(lambda output: tree(output, ignore=(".png",)))),
        "train": Target("train", train, compare=_weights),
        "study": Target("study", study, compare=_study_tables),
    }
    return names


def _is_complete(folder):
    return (folder / "summary.csv").exists() and not (folder / ".unfinished").exists()


def _weights(output):
    """Return the losses per epoch and the digest of the best weights of a training."""
    import torch

    from ivadomed_labelfusion.hosts.ivadomed2.loading import load

    state = load(output / "best_model.pt").state_dict()
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(state[name].to(torch.float64).numpy().tobytes())
    return {"weights": digest.hexdigest()}


def _finish_study(folder):
    """Do what is left of a study whose models are trained and tested, as its jobs would."""
    from ivadomed_labelfusion.experiment.jobs import run_job
    from ivadomed_labelfusion.experiment.plan import load_study
    from ivadomed_labelfusion.paper.results import write_study_results

    study = load_study(folder)
    for model in study.models():
        if run_job(study, "evaluate", model, folder / "logs" / "x.log"):
            return 70
    write_study_results(study)
    return 0


def _study_tables(output):
    with contextlib.ExitStack() as stack:
        tables = [stack.enter_context(open(path, newline="")) for path in sorted(output.glob("*.csv"))]
        return {os.path.basename(table.name): list(csv.reader(table)) for table in tables}
