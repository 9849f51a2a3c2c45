"""A wheel, a plain and an editable install each make the unchanged ``ivadomed`` command load the plugin."""

import email
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# one worker builds the wheel once
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("packaging")]


def uv(*arguments, **options):
    """Run uv."""
    program = shutil.which("uv")
    command = [program] if program else [sys.executable, "-m", "uv"]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the tracked files, as a fresh clone would have them."""
    folder = tmp_path_factory.mktemp("checkout") / "project"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in files.decode().split("\0"):
        source = ROOT / name
        if name and source.exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout):
    """The wheel."""
    uv("build", "--wheel", "--out-dir", str(checkout / "dist"), str(checkout))
    (path,) = (checkout / "dist").glob("*.whl")
    return path


def test_the_wheel_holds_hook_templates_and_data(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("ivadomed_labelfusion.pth", "ivadomed_labelfusion.start", "ivadomed_labelfusion_hook.py"):
        assert name in names
    assert "ivadomed_labelfusion/py.typed" in names
    assert "ivadomed_labelfusion/experiment/workflow/Snakefile" in names
    assert any(name.startswith("ivadomed_labelfusion/paper/data/") for name in names)
    templates = [name for name in names if re.fullmatch(r"ivadomed_labelfusion/config_templates/\w+\.json", name)]
    assert len(templates) == 12
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "startup/"))]


def test_the_source_distribution_builds_the_same_wheel_offline(checkout, wheel, tmp_path):
    # looked for and not imported: it refuses to be where distutils was imported before it
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed")
    uv("build", "--sdist", "--out-dir", str(tmp_path), str(checkout))
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(tmp_path, filter="data")
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    # setuptools of this environment, no network
    without = ("--offline", "--no-build-isolation", "--python", sys.executable)
    uv("build", "--wheel", *without, "--out-dir", str(tmp_path), str(folder))
    (again,) = tmp_path.glob("*.whl")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_metadata_are_complete(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Author"]
    assert metadata["License"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert any(url.startswith("Paper, https://") for url in metadata.get_all("Project-URL"))
    extras = {"ivadomed", "nnunet", "monai", "prepare", "stats", "study", "slurm", "all"}
    assert extras == set(metadata.get_all("Provides-Extra"))
    core = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    # an upper bound would keep the core out of other tools' environments
    assert not [line for line in core if "<" in line or "==" in line or ";" in line]
    assert not {"torch", "SimpleITK", "ivadomed"} & {re.match(r"[\w-]+", line).group() for line in core}


@pytest.mark.parametrize("kind", ["wheel", "plain", "editable"])
def test_the_unchanged_command_loads_the_plugin(checkout, wheel, tmp_path, kind):
    pytest.importorskip("ivadomed", reason="the extra 'ivadomed' is not installed")
    environment = tmp_path / "venv"
    uv("venv", "--python", sys.executable, str(environment))
    python = environment / "bin" / "python"
    # the dependencies of the running environment, without installing gigabytes again
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([python, "-c", where], text=True).strip())
    own = Path(sysconfig.get_path("purelib"))
    hidden = tmp_path / "dependencies"
    hidden.mkdir()
    for entry in own.iterdir():
        if "labelfusion" not in entry.name and entry.suffix != ".pth":
            (hidden / entry.name).symlink_to(entry)
    (site / "dependencies.pth").write_text(f"{hidden}\n")
    target = {"wheel": [str(wheel)], "plain": [str(checkout)], "editable": ["-e", str(checkout)]}[kind]
    uv("pip", "install", "--no-deps", "--python", str(python), *target)
    script = environment / "bin" / "ivadomed"
    script.write_text(f"#!{python}\nimport sys\nfrom ivadomed.main import run_main\nsys.exit(run_main())\n")
    script.chmod(0o755)
    config = tmp_path / "config.json"
    config.write_text('{"transformation": {"FuseRaters": {"method": "staple"}}}')
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        [script, "--train", "-c", config], capture_output=True, text=True, cwd=tmp_path, env=clean, check=False
    )
    # only the plugin checks configurations
    assert result.returncode == 2, result.stderr
    assert "FuseRaters needs a list of raters per class" in result.stderr
    assert "Traceback" not in result.stderr
    doctor = subprocess.run(
        [environment / "bin" / "ivadomed_labelfusion", "doctor"], capture_output=True, text=True, env=clean, check=False
    )
    assert "plugin" in doctor.stdout
    assert "active: the `ivadomed` command" in doctor.stdout


def test_the_python_range_is_the_same_in_both_files():
    wanted = re.search(r"python_requires = (.+)", (ROOT / "setup.cfg").read_text()).group(1)
    found = re.search(r'requires-python = "(.+)"', (ROOT / "pyproject.toml").read_text()).group(1)
    assert found == wanted
