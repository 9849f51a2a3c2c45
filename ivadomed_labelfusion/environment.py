"""What is installed, whether the plugin is active, and what is wrong, found out without importing torch or ivadomed."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

# the patch table is written for this range of ivadomed: first known, first unknown
HOST_RANGE = ((2, 9, 10), (3, 0, 0))

PYTHON_RANGE = ((3, 10), (3, 13))

PACKAGES = (
    "ivadomed",
    "torch",
    "torchvision",
    "numpy",
    "pandas",
    "pybids",
    "nibabel",
    "SimpleITK",
    "scipy",
    "matplotlib",
    "onnxscript",
    "snakemake",
)

OPTIONAL = ("snakemake",)

SWITCH = "IVADOMED_LABELFUSION_DISABLE"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        what (str): What was looked at.
        state (str): What was found.
        cure (str): What to do, empty if all is well.
        is_problem (bool): Whether the cure is needed; otherwise it is advice.
    """

    what: str
    state: str
    cure: str = ""
    is_problem: bool = False


def version_numbers(version):
    """Return the leading numbers of a version: ``2.15.0+cu132`` -> ``(2, 15, 0)``."""
    numbers = []
    for part in version.split("+")[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def is_supported_host(version):
    """Tell whether the plugin knows this version of ivadomed."""
    return HOST_RANGE[0] <= version_numbers(version) < HOST_RANGE[1]


def installed_version(package):
    """Return the version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def examine():
    """Return all findings, as a list of Finding in the order of the report."""
    versions = {package: installed_version(package) for package in PACKAGES}
    return [
        _python(),
        *(_package(package, versions) for package in PACKAGES),
        _plugin(),
        *_compatibility(versions),
        _gpu(versions),
        *_habits(),
    ]


def _python():
    version = platform.python_version()
    if not PYTHON_RANGE[0] <= sys.version_info[:2] < PYTHON_RANGE[1]:
        return Finding("Python", version, "Use Python 3.10, 3.11 or 3.12, for example: uv venv --python 3.11.", True)
    return Finding("Python", f"{version} ({sys.executable})")


def _package(package, versions):
    version = versions[package]
    if version is None:
        cure = f"Install it: uv pip install {package}."
        if package == "snakemake":
            cure = "Needed by `study` only: uv pip install 'ivadomed_labelfusion[study]' (Python >= 3.11)."
        elif package == "ivadomed":
            cure = "See 'Add the plugin to an existing environment' in the README."
        return Finding(package, "not installed", cure, package not in OPTIONAL)
    if package == "ivadomed" and not is_supported_host(version):
        return Finding(
            package, version, "The plugin knows 2.9.10 and later 2.x: uv pip install 'ivadomed>=2.9.10,<3'.", True
        )
    return Finding(package, version)


def _plugin():
    if os.environ.get(SWITCH, "") not in ("", "0"):
        return Finding("plugin", f"switched off by {SWITCH}", f"Unset {SWITCH} to use it.", True)
    site = Path(sysconfig.get_path("purelib"))
    active = any(type(finder).__module__ == "ivadomed_labelfusion_hook" for finder in sys.meta_path)
    if active:
        return Finding("plugin", "active: the `ivadomed` command of this environment uses it")
    missing = [
        name for name in ("ivadomed_labelfusion.pth", "ivadomed_labelfusion_hook.py") if not (site / name).exists()
    ]
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


def _compatibility(versions):
    if versions["pybids"] and version_numbers(versions["pybids"]) >= (0, 15, 6):
        yield Finding(
            "pybids for ivadomed",
            versions["pybids"],
            "From 0.15.6 on, label files are no longer found: uv pip install 'pybids<0.15.6'.",
            True,
        )
    pandas, numpy = versions["pandas"], versions["numpy"]
    if pandas and numpy and version_numbers(pandas) < (2,) and version_numbers(numpy) >= (2,):
        yield Finding(
            "pandas with numpy",
            f"pandas {pandas} with numpy {numpy}",
            "pandas 1 does not import with numpy 2: uv pip install 'numpy<2', or 'pandas>=2.2,<3'.",
            True,
        )
    torch, torchvision = versions["torch"], versions["torchvision"]
    if torch and version_numbers(torch) < (2, 6):
        yield Finding("torch", torch, "Safe loading needs torch >= 2.6: uv pip install 'torch>=2.6'.", True)
    if torch and torchvision:
        wanted = _torch_of_torchvision()
        if wanted and torch not in wanted:
            yield Finding(
                "torch with torchvision",
                f"torchvision {torchvision} needs torch {wanted}, found {torch}",
                f"They must be built for each other: uv pip install 'torch{wanted}' torchvision=={torchvision}.",
                True,
            )
        elif "+cpu" in torch and "+" not in torchvision:
            yield Finding(
                "torch with torchvision",
                f"torch {torch} with torchvision {torchvision}",
                "A CPU-only torch does not work with PyPI's torchvision (operator torchvision::nms does not exist): "
                "install both from PyPI, or both from PyTorch's CPU index.",
                True,
            )


def _torch_of_torchvision():
    """Return the versions of torch that the installed torchvision asks for, as a specifier set."""
    from packaging.requirements import Requirement

    for line in importlib.metadata.requires("torchvision") or []:
        requirement = Requirement(line)
        if requirement.name == "torch":
            return requirement.specifier
    return None


def _gpu(versions):
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
    if "+cpu" in (versions["torch"] or ""):
        return Finding(
            "GPU", names, "The installed torch is a CPU build and ignores it: install torch from PyPI.", True
        )
    return Finding("GPU", names)


def _habits():
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
