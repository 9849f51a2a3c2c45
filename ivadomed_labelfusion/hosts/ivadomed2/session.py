"""A process that runs one command of ivadomed after the other: importing it takes longer than testing a small model.

Each line of standard input is a request, ``{"arguments": [...], "log": "path"}``; the answer, on standard output, is
the command's exit status on a line of its own. What ivadomed prints goes into the log. The end of the input ends the
process.
"""

import json
import os
import sys
import traceback


def main():
    """Answer requests until there are no more."""
    # ivadomed, and what it calls, may print: only answers go to the pipe
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        request = json.loads(line)
        _print_into(request["log"])
        answers.write(f"{_run(request['arguments'])}\n")
        answers.flush()


def _print_into(log):
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)


def _run(arguments):
    """Run ``ivadomed`` with these arguments; return its exit status."""
    sys.argv = ["ivadomed", *arguments]
    try:
        import ivadomed.main

        from ivadomed_labelfusion.hosts.ivadomed2 import patches

        patches.enable()
        return ivadomed.main.run_main() or 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    main()
