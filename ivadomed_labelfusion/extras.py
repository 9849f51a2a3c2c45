"""The optional parts of an installation: which are there, and the commands that add what is missing.

Nothing is imported to find out, so a command whose extra is missing can say so at once.
"""

import importlib.metadata
import json
import shlex
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ivadomed_labelfusion.errors import InputError

PACKAGE = "ivadomed_labelfusion"
# the patch table is checked against this series
HOST = "ivadomed>=2.9.10,<3"
# bounds that ivadomed 2.9.10 declares and the plugin lifts
OVERRIDES = ("pandas>=2.2", "pybids>=0.15.5")


@dataclass(frozen=True)
class Extra:
    """An optional part.

    Attributes:
        modules: What it brings, by the names to import; all of them are needed.
        serves: What needs it.
    """

    modules: tuple[str, ...]
    serves: str


EXTRAS = {
    "ivadomed": Extra(("ivadomed", "torch", "bids", "loguru"), "training and testing: demo, study run"),
    "nnunet": Extra(("nnunetv2",), "the trainers that 'nnunet trainers' lists; 'nnunet export' needs no extra"),
    "monai": Extra(("monai", "torch"), "MONAI's transforms, losses and metrics: ivadomed_labelfusion.hosts.monai"),
    "prepare": Extra(("SimpleITK",), "registration: prepare msseg2016 --space raw"),
    "stats": Extra(("statsmodels",), "mixed models: study results --mixed-model"),
    "study": Extra(("snakemake",), "study run"),
    "slurm": Extra(("snakemake", "snakemake_executor_plugin_slurm"), "study run --profile slurm"),
}


def missing_modules(extra: str) -> list[str]:
    """Return the modules of an extra that this environment lacks; imports none of them."""
    return [name for name in EXTRAS[extra].modules if not _is_there(name)]


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # imported without a specification
        return True


def require(*extras: str, what: str) -> None:
    """Check that extras are installed.

    Args:
        *extras: Names in ``EXTRAS``.
        what: Who needs them, for the message: ``study run``.

    Raises:
        InputError: If one is not; one line that names it, what is missing and the commands that install it.
    """
    for extra in extras:
        missing = missing_modules(extra)
        if missing:
            raise InputError(
                f"{what} needs the extra '{extra}': {', '.join(missing)} not installed here. "
                f"Install with: {' && '.join(install_commands(extra))}"
            )


def install_commands(extra: str) -> list[str]:
    """Return the commands that complete an extra in the environment that runs, for a POSIX shell."""
    clone = clone_of_environment()
    if clone is not None:
        return [f"uv sync --project {shlex.quote(str(clone))}"]
    own = f"{PACKAGE}[{extra}]"
    if extra != "ivadomed":
        return [install_command(own)]
    if not has_pip() and shutil.which("uv"):
        lines = "".join(f"{line}\\n" for line in OVERRIDES)
        return [f"printf '{lines}' | {install_command('--override', '-', own, HOST)}"]
    # pip believes ivadomed's bounds on Python, pandas and pybids
    host = install_command("--no-deps", "--ignore-requires-python", HOST)
    needs = [name for name in missing_modules(extra) if name != "ivadomed"]
    return [install_command(own), host] if needs else [host]


def install_command(*arguments: str) -> str:
    """Return a command that installs into the environment that runs: with its own pip, or with uv where it has none.

    Args:
        *arguments: Requirements and options; quoted where the shell needs it.
    """
    python, quoted = shlex.quote(sys.executable), " ".join(map(shlex.quote, arguments))
    if not has_pip() and shutil.which("uv"):
        return f"uv pip install --python {python} {quoted}"
    prefix = "" if has_pip() else f"{python} -m ensurepip && "
    return f"{prefix}{python} -m pip install {quoted}"


def has_pip() -> bool:
    """Tell whether the environment that runs has a pip of its own."""
    return find_spec("pip") is not None


def clone_of_environment() -> Path | None:
    """Return the clone whose ``uv run`` and ``uv sync`` made this environment; None for all other ones."""
    try:
        origin = importlib.metadata.distribution(PACKAGE).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    source = json.loads(origin) if origin else {}
    if not source.get("dir_info", {}).get("editable"):
        return None
    folder = Path(url2pathname(urlsplit(source["url"]).path))
    is_own = (folder / "uv.lock").is_file() and (Path(sys.prefix) / "pyvenv.cfg").is_file()
    return folder if is_own and Path(sys.prefix).resolve() == (folder / ".venv").resolve() else None
