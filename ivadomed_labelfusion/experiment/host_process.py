"""The process in which the commands of a job's model run, and the GPU it runs on."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

from ivadomed_labelfusion.locks import try_lock

# what torch, CUDA and a small network need before the first batch
ROOM_MB = 2000
_SESSION = "ivadomed_labelfusion.hosts.ivadomed2.session"


@contextlib.contextmanager
def gpu_slot(study):
    """Take a place on a GPU of this machine; yields ``(CUDA_VISIBLE_DEVICES or None, lock or None)``.

    Every GPU takes one training before any takes a second; a further one waits until the GPU's free memory is at least
    what the average training on it uses. Without GPUs for the study, none is visible. A cluster's scheduler has chosen
    already, and its choice is kept.
    """
    if study.scheduled:
        yield None, None
        return
    if not study.gpus:
        yield "", None
        return
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    names = (visible or [str(index) for index in range(study.gpus)])[: study.gpus]
    while True:
        for place in range(study.models_per_gpu):
            for name in names:
                # the folder may be shared with other machines, which have GPUs of the same names
                path = study.folder / f".gpu-{socket.gethostname()}-{name}{f'-{place}' if place else ''}.lock"
                with open(path, "a", encoding="utf-8") as stream:
                    if try_lock(stream) and (place == 0 or has_room(name, place)):
                        yield name, stream
                        return
        time.sleep(1)


def has_room(name: str, running: int) -> bool:
    """Tell whether a GPU's free memory takes one more training beside ``running`` ones.

    A training that has just started uses little yet, so at least `ROOM_MB` must be free as well. Where nvidia-smi says
    nothing, the user's number of models per GPU is taken as it is.
    """
    command = ["nvidia-smi", f"--id={name}", "--query-gpu=memory.used,memory.free", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
        used, free = map(float, found.split(","))
    except (OSError, subprocess.SubprocessError, ValueError):
        return True
    return free >= max(used / running, ROOM_MB)


class HostProcess(contextlib.ExitStack):
    """Runs ``ivadomed`` commands in one process of their own, which starts with the first and ends with the block.

    Args:
        study (Study): The study.
        locks (list of file object): Held by the process, too, for as long as it lives.
    """

    def __init__(self, study, locks):
        super().__init__()
        self._study, self._locks = study, locks
        self._process = None

    def run(self, arguments, log):
        """Run ``ivadomed`` with its output in ``log``.

        Raises:
            subprocess.CalledProcessError: If it fails, or the process is killed.
        """
        with open(log, "a", encoding="utf-8") as stream:
            stream.write(f"\n$ ivadomed {' '.join(arguments)}\n")
        if self._process is None:
            self._process = self._started(log)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"arguments": arguments, "log": str(log)}) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        status = int(answer) if answer else self._process.wait()
        if status:
            raise subprocess.CalledProcessError(status, ["ivadomed", *arguments])

    def _started(self, log):
        device, gpu_lock = self.enter_context(gpu_slot(self._study))
        environment = dict(os.environ)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[name] = str(self._study.threads)
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = device
        locks = [lock for lock in (*self._locks, gpu_lock) if lock is not None]
        with open(log, "a", encoding="utf-8") as stream:
            process = subprocess.Popen(
                # -P: the study's folder is the working directory, and Python files in it are no modules
                [sys.executable, "-P", "-m", _SESSION],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                env=environment,
                pass_fds=[lock.fileno() for lock in locks],
            )
        self.callback(_end, process)
        return process


def _end(process):
    """End the process: by the end of its input, or where an interruption left it at work, by force."""
    interrupted = sys.exc_info()[0] is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    if interrupted and process.poll() is None:
        process.kill()
    process.wait()
    process.stdout.close()
