"""What is installed, whether the plugin is active, and what is wrong, found out without importing torch or ivadomed.

What should be installed is read from the metadata of this package, so that no cure installs what is called wrong.
"""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ivadomed_labelfusion.extras import (
    EXTRAS,
    HOST,
    PACKAGE,
    install_command,
    install_commands,
    missing_modules,
)

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

# the patch table is written for this range of ivadomed: first known, first unknown
HOST_RANGE = ((2, 9, 10), (3, 0, 0))

SWITCH = "IVADOMED_LABELFUSION_DISABLE"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        what: What was looked at.
        state: What was found.
        cure: What to do, empty if all is well.
        is_problem: Whether the cure is needed; otherwise it is advice.
    """

    what: str
    state: str
    cure: str = ""
    is_problem: bool = False


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: ``2.15.0+cu132`` -> ``(2, 15, 0)``."""
    numbers = []
    for part in version.split("+")[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def is_supported_host(version: str) -> bool:
    """Tell whether the plugin knows this version of ivadomed."""
    return HOST_RANGE[0] <= version_numbers(version) < HOST_RANGE[1]


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def requirements(extra: str = "") -> list["Requirement"]:
    """Return what this package needs.

    Args:
        extra: What this extra adds; empty for the core's own.

    Returns:
        list: Empty if the package is not installed, only copied.
    """
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    every = [Requirement(line) for line in lines]
    return [
        item
        for item in every
        if item.name != PACKAGE
        and (item.marker is None or item.marker.evaluate({"extra": extra}))
        and (not extra or (item.marker is not None and not item.marker.evaluate({"extra": ""})))
    ]


def examine() -> list[Finding]:
    """Return all findings in the order of the report."""
    if find_spec("packaging") is None:  # with which the report reads what is needed
        return [Finding("packaging", "not installed", install_command("packaging"), True)]
    can_train = installed_version("ivadomed") is not None
    return [
        _python(),
        *(_package(item) for item in requirements()),
        *_extras(can_train),
        _plugin(can_train),
        *_pairs_of_torch(installed_version("torch"), installed_version("torchvision")),
        _gpu(installed_version("torch")),
        *_habits(),
    ]


def _python() -> Finding:
    from packaging.specifiers import SpecifierSet

    version = platform.python_version()
    try:
        wanted = importlib.metadata.metadata(PACKAGE)["Requires-Python"]
    except importlib.metadata.PackageNotFoundError:
        wanted = None
    if wanted and not SpecifierSet(wanted).contains(version, prereleases=True):
        cure = f"Install into an environment of Python {wanted}, for example: uv venv --python 3.13."
        return Finding("Python", version, cure, True)
    return Finding("Python", f"{version} ({sys.executable})")


def _package(requirement: "Requirement") -> Finding:
    """Look at one package; the cure installs what the requirement asks for."""
    name, wanted = requirement.name, str(requirement.specifier)
    version = installed_version(name)
    # torch and torchvision are built for each other
    cure = _install_torch() if name in ("torch", "torchvision") else install_command(f"{name}{wanted}")
    if version is None:
        return Finding(name, "not installed", cure, True)
    if not requirement.specifier.contains(version, prereleases=True):
        return Finding(name, f"{version}, needed is {wanted}", cure, True)
    return Finding(name, version)


def _extras(can_train: bool) -> Iterator[Finding]:
    """Tell of each extra whether it is there; one that is there only in part, or is too old, is a problem."""
    for extra, content in EXTRAS.items():
        title, missing = f"[{extra}]", missing_modules(extra)
        if missing and not (extra == "ivadomed" and can_train):
            cure = f"For {content.serves}: {' && '.join(install_commands(extra))}"
            yield Finding(title, f"not installed ({', '.join(missing)})", cure)
            continue
        versions = {item.name: _package(item) for item in requirements(extra)}
        shown = ("torch", "torchvision", "pybids") if extra == "ivadomed" else tuple(versions)
        if extra == "ivadomed":
            yield _host()
        text = ", ".join(f"{name} {versions[name].state}" for name in shown if name in versions)
        yield Finding(title, text or "installed")
        yield from (finding for finding in versions.values() if finding.is_problem)


def _host() -> Finding:
    version = installed_version("ivadomed")
    if version is None:  # on the path, but not installed
        return Finding("ivadomed", "version unknown", install_commands("ivadomed")[-1], True)
    if not is_supported_host(version):
        cure = install_command("--no-deps", "--ignore-requires-python", HOST)
        return Finding("ivadomed", f"{version}, known are 2.9.10 and later 2.x", cure, True)
    return Finding("ivadomed", version)


def _plugin(can_train: bool) -> Finding:
    if os.environ.get(SWITCH, "") not in ("", "0"):
        return Finding("plugin", f"switched off by {SWITCH}", f"Unset {SWITCH} to use it.", can_train)
    site = Path(sysconfig.get_path("purelib"))
    active = any(type(finder).__module__ == "ivadomed_labelfusion_hook" for finder in sys.meta_path)
    if active and can_train:
        return Finding("plugin", "active: the `ivadomed` command of this environment uses it")
    if active:
        return Finding("plugin", "ready, but there is no ivadomed in this environment to plug into")
    missing = [name for name in (_hook_starter(), f"{PACKAGE}_hook.py") if not (site / name).exists()]
    if missing:
        return Finding(
            "plugin",
            f"not active: {' and '.join(missing)} not in {site}",
            "Reinstall it with pip or uv pip (copying the folder is not enough), or call "
            "ivadomed_labelfusion.enable() in Python.",
            True,
        )
    return Finding(
        "plugin",
        "not active: Python was started without site-packages hooks (-S, -I with another site?)",
        "Start Python without -S, or call ivadomed_labelfusion.enable().",
        True,
    )


def _hook_starter() -> str:
    """Return the file through which this Python runs the hook (PEP 829)."""
    return f"{PACKAGE}.{'start' if sys.version_info >= (3, 15) else 'pth'}"


def _pairs_of_torch(torch: str | None, torchvision: str | None) -> Iterator[Finding]:
    """Find a torch and a torchvision that were not built for each other."""
    if not torch or not torchvision:
        return
    wanted = _torch_of_torchvision()
    if wanted and torch not in wanted:
        yield Finding(
            "torch with torchvision",
            f"torchvision {torchvision} needs torch {wanted}, found {torch}",
            # both anew: what the old torchvision asks for may be too old itself
            f"They must be built for each other: {_install_torch()}",
            True,
        )
    elif "+cpu" in torch and "+" not in torchvision:
        yield Finding(
            "torch with torchvision",
            f"torch {torch} with torchvision {torchvision}",
            "A CPU-only torch does not work with PyPI's torchvision (operator torchvision::nms does not exist). Both "
            f"from PyTorch's CPU index: {_install_torch('--index-url', 'https://download.pytorch.org/whl/cpu')}",
            True,
        )


def _install_torch(*options: str) -> str:
    pair = (item for item in requirements("ivadomed") if item.name in ("torch", "torchvision"))
    return install_command("--upgrade", *options, *(f"{item.name}{item.specifier}" for item in pair))


def _torch_of_torchvision() -> "SpecifierSet | None":
    """Return the versions of torch that the installed torchvision asks for; None if it asks for none."""
    from packaging.requirements import Requirement

    for line in importlib.metadata.requires("torchvision") or []:
        requirement = Requirement(line)
        if requirement.name == "torch":
            return requirement.specifier
    return None


def _gpu(torch: str | None) -> Finding:
    program = shutil.which("nvidia-smi")
    if program is None:
        return Finding("GPU", "none found (no nvidia-smi): training runs on the CPU")
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    result = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    if result.returncode:
        return Finding(
            "GPU", "nvidia-smi fails", f"Repair the driver: {result.stderr.strip() or result.stdout.strip()}", True
        )
    names = "; ".join(line.strip() for line in result.stdout.splitlines() if line.strip())
    if "+cpu" in (torch or ""):
        return Finding(
            "GPU",
            names,
            "The installed torch is a CPU build and ignores it. Build for the GPU, from PyPI: "
            f"{_install_torch('--force-reinstall')}",
            True,
        )
    return Finding("GPU", names)


def _habits() -> Iterator[Finding]:
    if sys.dont_write_bytecode:
        yield Finding(
            "byte code",
            "not cached (PYTHONDONTWRITEBYTECODE is set)",
            "Unset it: every start of ivadomed then takes about half the time.",
        )
    left = [path for path in Path(tempfile.gettempdir()).glob("ivadomed_*") if path.is_dir()]
    if left:
        yield Finding(
            "temporary folders",
            f"{len(left)} ivadomed_* folders in {tempfile.gettempdir()}",
            "Left by ivadomed without this plugin, or by killed runs; delete them when nothing is running.",
        )
