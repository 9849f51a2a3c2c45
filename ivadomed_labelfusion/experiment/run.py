"""Starting the workflow engine on a study."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from importlib import resources
from pathlib import Path

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.follow import end_group, follow
from ivadomed_labelfusion.experiment.profiles import check_study_profile
from ivadomed_labelfusion.extras import require
from ivadomed_labelfusion.files import resolve, write_text
from ivadomed_labelfusion.locks import try_lock

SHIPPED_PROFILES = ("slurm",)


def count_gpus():
    """Return the number of NVIDIA GPUs that this process may use, without starting torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


@contextlib.contextmanager
def only_run(folder):
    """Make sure that no other ``study run`` works on the folder; yields the lock, which Snakemake must inherit.

    Raises:
        InputError: If one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".run.lock", "a", encoding="utf-8") as stream:
        if not try_lock(stream):
            words = Path(stream.name).read_text(encoding="utf-8").split()
            known = len(words) == 2 and words[1].isdecimal() and re.fullmatch(r"[\w.-]+", words[0])
            ends_it = f" 'kill -INT -- -{words[1]}' on {words[0]} ends it." if known else ""
            raise InputError(
                f"Another 'study run' works on {folder}. Wait for it, or see how far it is with "
                f"'ivadomed_labelfusion study status {folder}'.{ends_it}"
            )
        # an earlier run's number may be another process by now
        stream.truncate(0)
        yield stream


def check_profile(profile):
    """Check a Snakemake profile.

    Raises:
        InputError: If ``profile`` is neither shipped nor a folder with a ``config.yaml``, or lacks its plugin.
    """
    if profile == "slurm":
        require("slurm", what="study run --profile slurm")
    if profile not in SHIPPED_PROFILES and not (Path(profile) / "config.yaml").exists():
        raise InputError(
            f"--profile must be {' or '.join(SHIPPED_PROFILES)}, or a folder with Snakemake's config.yaml, "
            f"got {profile}."
        )


def profile_folder(study, profile):
    """Return the folder of a Snakemake profile; a shipped one is copied into the study, where it may be edited."""
    check_profile(profile)
    if profile in SHIPPED_PROFILES:
        target = study.folder / f"profile-{profile}"
        if not (target / "config.yaml").exists():
            shipped = resources.files("ivadomed_labelfusion.experiment").joinpath(f"workflow/{profile}.yaml")
            write_text(target / "config.yaml", shipped.read_text(encoding="utf-8"))
        check_study_profile(target / "config.yaml")
        return target
    return resolve(profile)


def snakemake_command(study, *, profile=None):
    """Return the command that does what is left of a study.

    Args:
        study (Study): Prepared on disk.
        profile (Path): Folder of a Snakemake profile; None runs on this machine.

    Returns:
        list of str
    """
    snakefile = resources.files("ivadomed_labelfusion.experiment").joinpath("workflow/Snakefile")
    # -P and no profile of the folder: what lies in the working directory is neither imported nor taken for options
    command = [
        sys.executable,
        "-P",
        "-m",
        "snakemake",
        "--workflow-profile",
        "none",
        "--snakefile",
        str(snakefile),
        "--directory",
        str(study.folder),
    ]
    # a failed model must not stop the others; nothing is redone because a file or a rule looks newer
    command += ["--keep-going", "--rerun-incomplete", "--rerun-triggers", "mtime", "--quiet", "rules", "host"]
    if profile is not None:
        return [*command, "--profile", str(profile)]
    command += ["--cores", str(study.cores)]
    if study.gpus:
        command += ["--resources", f"gpu={study.gpu_slots}"]
    return command


def run_workflow(study, lock, *, profile=None):
    """Run the workflow until nothing more can be done.

    Args:
        study (Study): Prepared on disk.
        lock (file object): From `only_run`. Snakemake inherits it, so that a run whose parent was killed still counts.
        profile (str): ``slurm`` or a folder; None runs on this machine.

    Returns:
        int: Snakemake's exit status; not 0 when models failed. What it says is kept in ``logs/snakemake.log``.
    """
    folder = profile_folder(study, profile) if profile else None
    command = snakemake_command(study, profile=folder)
    # jobs that a cluster starts begin in the study's folder, too
    inherited = {"pass_fds": [lock.fileno()], "env": {**os.environ, "PYTHONSAFEPATH": "1"}}
    # a run that was killed leaves Snakemake's own lock behind; `only_run` is the one that counts
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*command, "--unlock"], check=False, **inherited, **silent)
    log = study.folder / "logs" / "snakemake.log"
    log.parent.mkdir(exist_ok=True)
    with every_end_like_ctrl_c() as release, open(log, "ab") as stream:
        start = stream.tell()
        # a group of its own, so that one signal reaches all that works for the study and nothing else
        options = {"stdin": subprocess.DEVNULL, "stdout": stream, "stderr": subprocess.STDOUT, "process_group": 0}
        process = subprocess.Popen(command, **options, **inherited)
        try:
            release()
            lock.write(f"{socket.gethostname()} {process.pid}\n")
            lock.flush()
            return follow(study, process, log, start=start)
        except BaseException:
            # whatever ended the following, a second Ctrl-C among it: nothing goes on unseen
            end_group(process)
            raise


@contextlib.contextmanager
def every_end_like_ctrl_c():
    """Let SIGTERM and the end of the terminal (unless ignored, as under nohup) raise KeyboardInterrupt, as Ctrl-C does.

    Children start with SIGINT at work even where it is ignored, as in the background of a script: it is what ends them.

    Yields:
        callable: Until it is called, signals are held back: whoever starts a process can first see to its end.
    """
    released, held_back = False, False

    def interrupt(number, frame):
        nonlocal held_back
        if released:
            raise KeyboardInterrupt
        held_back = True

    def release():
        nonlocal released
        released = True
        if held_back:
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    for number, handler in before.items():
        if number == signal.SIGINT or handler != signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield release
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
