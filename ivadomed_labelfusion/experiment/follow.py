"""What a person sees while the workflow runs: the engine's messages, and below them how far the study is."""

import contextlib
import os
import signal
import time

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.status import duration_text, progress

# looking at every model's files costs time on a shared file system
SECONDS_BETWEEN_LOOKS = 5
_SECONDS_BETWEEN_MESSAGES = 0.2


def follow(study, process, log, *, start=0):
    """Print what the engine writes until it ends; on a terminal, a bar of the study's jobs stays below it.

    The engine writes to a file and not to a pipe, so that it goes on when whoever follows it is killed.

    Args:
        study (Study): The study.
        process (subprocess.Popen): The engine, which leads a process group. Ctrl-C, or whatever else ends the
            following, is passed on to the group, and the engine is waited for: it cancels a cluster's jobs.
        log (Path): What it writes.
        start (int): Where in ``log`` its messages begin, in bytes.

    Returns:
        int: Its exit status.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("jobs, {task.description}"))
    with (
        open(log, encoding="utf-8", errors="replace") as stream,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        stream.seek(start)
        task = bar.add_task("starting", total=None)
        unfinished_line, next_look = "", 0.0
        try:
            while process.poll() is None:
                unfinished_line = _print_lines(console, unfinished_line + stream.read())
                if not bar.disable and time.monotonic() >= next_look:
                    bar.update(task, **_state(study))
                    next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
                time.sleep(_SECONDS_BETWEEN_MESSAGES)
        except BaseException:
            end_group(process)
            raise
        finally:
            status = process.wait()
            rest = f"{unfinished_line}{stream.read()}"
            _print_lines(console, rest if rest.endswith("\n") else f"{rest}\n")
    return status


def end_group(process):
    """Send what Ctrl-C sends to the process group that a process leads."""
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        os.killpg(process.pid, signal.SIGINT)


def _state(study):
    try:
        now = progress(study)
    except InputError as error:
        # a damaged file is no reason to stop what runs
        return {"description": f"state unknown: {error}"}
    left = "" if now.seconds_left is None else f", about {duration_text(now.seconds_left)} left"
    return {"completed": now.jobs_done, "total": now.n_jobs, "description": f"{now.running} running{left}"}


def _print_lines(console, text):
    """Print the whole lines of a text, unchanged; return what follows them."""
    lines, _, rest = text.rpartition("\n")
    if lines.strip():
        console.print(lines, markup=False, highlight=False, emoji=False, soft_wrap=True)
    return rest
