"""The ``ivadomed_labelfusion`` command: one module per sub-command, imported only when it is asked for."""

import importlib
import os
import sys

from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.errors import InputError, file_trouble

# name -> one line of help; the module ivadomed_labelfusion.cli.<name> has get_parser() and main(args=None)
COMMANDS = {
    "demo": "train, test and compare the six candidates on a generated dataset",
    "fuse": "fuse several raters' masks into one consensus",
    "evaluate": "evaluate predictions of any tool against several raters",
    "prepare": "turn the raw SCGM, MSSEG-2016 or your own files into an ivadomed-ready BIDS dataset",
    "phantom": "generate a multi-rater phantom dataset in a raw layout",
    "nnunet": "export a dataset with all raters for nnU-Net, and list the trainers that learn from it",
    "study": "train candidates over many splits and make the paper's tables and figures",
    "check": "check an ivadomed configuration file",
    "doctor": "report versions, whether the plugin is active, and what is wrong with a cure for each",
    "completion": "print a completion script for bash, zsh or tcsh",
}

EPILOG = """examples:
  ivadomed_labelfusion demo --quick
  ivadomed_labelfusion fuse rater1.nii.gz rater2.nii.gz rater3.nii.gz --method staple -o consensus.nii.gz
  ivadomed_labelfusion COMMAND --help
"""


def _usage():
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return (
        "usage: ivadomed_labelfusion [--version] COMMAND ...\n\n"
        "Several raters per image in ivadomed: fusion, sampling, SoftSeg and rater-aware evaluation.\n\n"
        "commands:\n" + "\n".join(lines) + "\n\n" + EPILOG
    )


def main(args=None):
    """Run one sub-command.

    Args:
        args (list of str): Arguments without the program name; None takes ``sys.argv``.

    Returns:
        int: Exit status: 0 success, 1 the work found or had problems, 2 bad input.
    """
    args = list(sys.argv[1:] if args is None else args)
    if not args or args[0] in ("-h", "--help"):
        print(_usage(), end="")
        return 0 if args else 2
    if args[0] == "--version":
        print(__version__)
        return 0
    name = args[0]
    if name not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else f" Choose from {', '.join(COMMANDS)}."
        print(f"ivadomed_labelfusion: unknown command {name!r}.{hint}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"ivadomed_labelfusion.cli.{name}")
    try:
        status = module.main(args[1:]) or 0
        if sys.stdout is not None:  # closed with >&-
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        # whoever read our output, such as head, has seen enough; Python would complain again when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except InputError as error:
        print(f"ivadomed_labelfusion {name}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        trouble = file_trouble(error)
        if trouble is None:
            raise
        print(f"ivadomed_labelfusion {name}: {trouble}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
