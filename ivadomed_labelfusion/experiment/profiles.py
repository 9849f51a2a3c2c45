"""The Snakemake profile that lies in a study: options for a cluster, and nothing that Snakemake would run.

Snakemake takes the values of a profile for Python and for words of a shell command. A folder that a user names with
``--profile`` is the user's own; the one in the study may have come with the study.
"""

import re

from ivadomed_labelfusion.config.yaml_files import read_yaml
from ivadomed_labelfusion.errors import InputError

_KEYS = {
    "executor",
    "jobs",
    "local-cores",
    "latency-wait",
    "retries",
    "max-jobs-per-second",
    "max-status-checks-per-second",
    "seconds-between-status-checks",
    "default-resources",
    "set-resources",
    "set-threads",
    "keep-going",
    "printshellcmds",
    "slurm-status-command",
    "slurm-init-seconds-before-status-checks",
    "slurm-requeue",
    "slurm-logdir",
    "slurm-keep-successful-logs",
    "slurm-delete-logfiles-older-than",
}
# no brackets to call or look up anything with, nothing that a shell understands
_PLAIN = r"[\w.,:/@%+= '\"-]*"


def check_study_profile(path):
    """Check the ``config.yaml`` of the profile in a study.

    Args:
        path (Path): The file.

    Raises:
        InputError: If it has another key than a cluster's options, or a value that is more than a word or a number.
    """
    content = read_yaml(path, cure="Delete it to get a new one")
    cure = "Delete it, or name your own folder with --profile."
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold options of Snakemake, got {type(content).__name__}. {cure}")
    for key, value in content.items():
        if key not in _KEYS or (key == "executor" and value != "slurm"):
            raise InputError(f"{path} must hold options of a SLURM cluster, got {key!r}: {str(value)[:60]!r}. {cure}")
        for leaf in _leaves(value):
            if not isinstance(leaf, bool | int | float | None) and not re.fullmatch(_PLAIN, str(leaf)):
                raise InputError(f"{path}: {key} must hold plain words and numbers, got {str(leaf)[:60]!r}. {cure}")


def _leaves(value):
    """Yield every key and value below a value."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield key
            yield from _leaves(below)
    elif isinstance(value, list):
        for below in value:
            yield from _leaves(below)
    else:
        yield value
