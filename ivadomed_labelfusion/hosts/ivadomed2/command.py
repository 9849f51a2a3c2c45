"""Running the ``ivadomed`` command inside this process, with its output led elsewhere."""

import contextlib
import sys

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2 import patches


def run_ivadomed(arguments, output, *, threads=None):
    """Run ``ivadomed`` through its own entry point, with the plugin enabled.

    Args:
        arguments (list of str): As on the command line, for example ``["--train", "-c", "config.json"]``.
        output (file object): Takes everything ivadomed prints; ``last_line()`` gives its last line.
        threads (int): Threads for torch; None leaves torch's choice. Small networks are fastest with one, and much
            slower with several where other programs run.

    Raises:
        InputError: If ivadomed refuses its input; the message is its own.
    """
    import ivadomed.main
    import torch
    from loguru import logger

    patches.enable()
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads or threads_before)
    command_line = sys.argv
    sys.argv = ["ivadomed", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            status = ivadomed.main.run_main()
    finally:
        sys.argv = command_line
        torch.set_num_threads(threads_before)
        # ivadomed adds a sink for the log file and one for standard output, which must not outlive the run
        logger.remove()
    if status == 2:
        raise InputError(f"ivadomed stopped: {output.last_line()}")
