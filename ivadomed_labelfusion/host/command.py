"""Running the ``ivadomed`` command inside this process, with its output led elsewhere."""

import contextlib
import sys

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.host import patches


def run_ivadomed(arguments, output):
    """Run ``ivadomed`` through its own entry point, with the plugin enabled.

    Args:
        arguments (list of str): As on the command line, for example ``["--train", "-c", "config.json"]``.
        output (file object): Takes everything ivadomed prints.

    Raises:
        InputError: If ivadomed refuses its input; the message is its own.
    """
    import ivadomed.main
    from loguru import logger

    patches.enable()
    command_line = sys.argv
    sys.argv = ["ivadomed", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            status = ivadomed.main.run_main()
    finally:
        sys.argv = command_line
        # ivadomed adds a sink for the log file and one for standard output, which must not outlive the run
        logger.remove()
    if status == 2:
        raise InputError(f"ivadomed stopped: {output.last_line()}")
