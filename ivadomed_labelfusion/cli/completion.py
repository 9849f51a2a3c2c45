"""``ivadomed_labelfusion completion``: a script that lets the shell complete commands, options and file names."""

import argparse
import importlib

SHELLS = ("bash", "zsh", "tcsh")


def get_parser():
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="ivadomed_labelfusion completion",
        description="Print a script that lets your shell complete commands, options and file names.",
        epilog="examples:\n"
        "  for this bash:  source <(ivadomed_labelfusion completion bash)\n"
        "  for every bash: ivadomed_labelfusion completion bash >> ~/.bash_completion\n"
        '  for every zsh:  ivadomed_labelfusion completion zsh > "${fpath[1]}/_ivadomed_labelfusion"',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell that shall read the script")
    return parser


def main(args=None):
    """Print the script."""
    arguments = get_parser().parse_args(args)
    import shtab

    print(shtab.complete(_whole_parser(), shell=arguments.shell))
    return 0


def _whole_parser():
    """Return one parser of all commands, which the command itself never builds, to start fast."""
    from ivadomed_labelfusion.cli import COMMANDS

    whole = argparse.ArgumentParser(prog="ivadomed_labelfusion")
    whole.add_argument("--version", action="store_true", help="print the version")
    commands = whole.add_subparsers(metavar="COMMAND")
    for name, text in COMMANDS.items():
        own = importlib.import_module(f"ivadomed_labelfusion.cli.{name}").get_parser()
        _complete_file_names(commands.add_parser(name, help=text, parents=[own], add_help=False))
    return whole


def _complete_file_names(parser):
    """Mark every free text as a file name, in nested commands too."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for nested in action.choices.values():
                _complete_file_names(nested)
        elif action.nargs != 0 and action.choices is None and action.type is None:
            action.complete = shtab.FILE
