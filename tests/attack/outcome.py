"""Running one command inside this process and telling how it ended."""

import contextlib
import dataclasses
import io
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

# a refusal takes well under a second; a machine that is shared may be slow
LIMIT_SECONDS = 60
LIMIT_BYTES = 1.5 * 2**30
ACCEPTED, REFUSED, TRACEBACK, HANG, EXECUTED, MEMORY = "accepted", "refused", "traceback", "hang", "executed", "memory"
BAD = (TRACEBACK, HANG, EXECUTED, MEMORY)


class _Hang(BaseException):
    """The command took longer than allowed."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        kind (str): ``accepted`` (status 0 or 1), ``refused`` (a message and status 2), or one of `BAD`.
        text (str): What it printed, or the traceback.
        seconds (float): How long it took.
    """

    kind: str
    text: str
    seconds: float


def observe(command, *, executed=None, limit=LIMIT_SECONDS):
    """Run a command and return its Outcome.

    Args:
        command (callable): Returns the exit status.
        executed (Path): A file that a payload would make.
        limit (float): Seconds after which the command counts as hanging.
    """

    def ring(number, frame):
        raise _Hang

    output, started, before = io.StringIO(), time.monotonic(), peak_bytes()
    handler = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            kind = _kind_of(command())
    except SystemExit as end:
        kind = _kind_of(end.code)
    except _Hang:
        kind = HANG
        output.write(traceback.format_exc())
    except BaseException:
        kind = TRACEBACK
        output.write(traceback.format_exc())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    text = output.getvalue()
    if kind in (ACCEPTED, REFUSED) and "Traceback (most recent call last)" in text:
        kind = TRACEBACK
    if kind == REFUSED and not text.strip():
        kind, text = TRACEBACK, "refused without a word"
    if peak_bytes() - before > LIMIT_BYTES:
        kind = MEMORY
    if executed is not None and Path(executed).exists():
        kind = EXECUTED
    return Outcome(kind, text, time.monotonic() - started)


def _kind_of(status):
    if status in (None, 0, 1) or not isinstance(status, int):
        return ACCEPTED
    return REFUSED if status == 2 else TRACEBACK


def peak_bytes():
    """Return the most memory that this process has had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def ours(*arguments):
    """Return a function that runs ``ivadomed_labelfusion`` in this process."""
    from ivadomed_labelfusion import cli

    return lambda: cli.main([str(argument) for argument in arguments])


def ivadomed(*arguments):
    """Return a function that runs ``ivadomed`` with the plugin in this process, through its own entry point."""

    def run():
        import ivadomed.main
        from loguru import logger

        import ivadomed_labelfusion

        ivadomed_labelfusion.enable()
        before = sys.argv
        sys.argv = ["ivadomed", *map(str, arguments)]
        try:
            status = ivadomed.main.run_main()
            # it returns its results where it worked
            return status if isinstance(status, int) else 0
        finally:
            sys.argv = before
            # its sinks write to output that is gone
            logger.remove()
            ivadomed_labelfusion.disable()

    return run
