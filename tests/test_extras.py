"""Commands whose extra is missing say which one, at once, in one line."""

import importlib.metadata
import json
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ivadomed_labelfusion import extras
from ivadomed_labelfusion.environment import requirements
from ivadomed_labelfusion.errors import InputError

ROOT = Path(__file__).parent.parent

# what an environment without the extra looks like to Python
HIDE = """
    import sys
    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {hidden!r}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    sys.meta_path.insert(0, Hidden())
    sys.path_importer_cache.clear()
    from importlib import util
    real = util.find_spec
    util.find_spec = lambda name, *rest: None if name in {hidden!r} else real(name, *rest)
"""


def run_without(modules, code, cwd):
    """Run code in an interpreter that has not got some modules; return the finished process."""
    program = textwrap.dedent(HIDE.format(hidden=tuple(modules))) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=cwd, check=False)


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["demo", "--quick"], "ivadomed"),
        (["study", "run", "--bids", "none", "--output", "new", "--template", "scgm"], "study"),
        (["study", "run", "--bids", "none", "--output", "new", "--template", "scgm"], "ivadomed"),
        (["study", "run", "--bids", ".", "--output", "new", "--template", "ms", "--profile", "slurm"], "slurm"),
        (["prepare", "msseg2016", "none.zip", "new", "--space", "raw"], "prepare"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_a_command_names_its_missing_extra(tmp_path, command, extra):
    hidden = set(extras.EXTRAS[extra].modules)
    if extra == "ivadomed":
        pytest.importorskip("snakemake", reason="the extra 'study' is not installed")
    if extra == "slurm":
        pytest.importorskip("snakemake", reason="the extra 'study' is not installed")
        pytest.importorskip("ivadomed", reason="the extra 'ivadomed' is not installed")
        hidden -= {"snakemake"}
    result = run_without(hidden, f"from ivadomed_labelfusion.cli import main\nsys.exit(main({command!r}))", tmp_path)
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert f"needs the extra '{extra}'" in line
    assert sorted(hidden)[0] in line
    assert "Install with: " in line
    assert list(tmp_path.iterdir()) == []


def test_enable_names_its_missing_extra(tmp_path):
    code = """
    import ivadomed_labelfusion
    try:
        ivadomed_labelfusion.enable()
    except ivadomed_labelfusion.errors.InputError as error:
        print(error)
    """
    result = run_without({"torch", "ivadomed"}, code, tmp_path)
    assert "ivadomed_labelfusion.enable() needs the extra 'ivadomed': ivadomed, torch" in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        ["study", "run", "--bids", "BIDS", "--output", "new", "--template", "scgm", "--splits", "1", "--dry-run"],
        ["prepare", "msseg2016", "--help"],
        ["check", "--schema"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_the_rest_works_without_any_extra(tmp_path, command):
    every = {name for extra in extras.EXTRAS.values() for name in extra.modules}
    if "BIDS" in command:
        from tests.builders.tiny import make_dataset

        make_dataset(tmp_path / "BIDS", n_raters=4, labels=("GM", "WM"), contrasts=("T2starw",))
    result = run_without(every, f"from ivadomed_labelfusion.cli import main\nsys.exit(main({command!r}))", tmp_path)
    assert result.returncode == 0, result.stderr


def test_nothing_is_missing_where_everything_is_imported(monkeypatch):
    import types

    # a module made by hand has no specification
    monkeypatch.setitem(sys.modules, "snakemake", types.ModuleType("snakemake"))
    assert extras.missing_modules("study") == []


@pytest.mark.parametrize("has_pip", [True, False])
@pytest.mark.parametrize("has_uv", [True, False])
def test_commands_fit_the_tools_at_hand(monkeypatch, has_pip, has_uv):
    monkeypatch.setattr(extras, "has_pip", lambda: has_pip)
    monkeypatch.setattr(extras, "clone_of_environment", lambda: None)
    monkeypatch.setattr(extras, "missing_modules", lambda extra: list(extras.EXTRAS[extra].modules))
    monkeypatch.setattr(extras.shutil, "which", lambda name: "/bin/uv" if has_uv else None)
    (one,) = extras.install_commands("prepare")
    assert one.endswith("'ivadomed_labelfusion[prepare]'")
    assert ("uv pip install --python" in one) == (has_uv and not has_pip)
    assert ("ensurepip" in one) == (not has_uv and not has_pip)
    assert sys.executable in one
    commands = extras.install_commands("ivadomed")
    if has_uv and not has_pip:
        (only,) = commands
        assert "--override - 'ivadomed_labelfusion[ivadomed]' 'ivadomed>=2.9.10,<3'" in only
        assert "pybids" in only
    else:
        assert "'ivadomed_labelfusion[ivadomed]'" in commands[0]
        assert commands[1].endswith("--no-deps --ignore-requires-python 'ivadomed>=2.9.10,<3'")


def test_what_is_there_is_not_installed_again(monkeypatch):
    monkeypatch.setattr(extras, "has_pip", lambda: True)
    monkeypatch.setattr(extras, "clone_of_environment", lambda: None)
    monkeypatch.setattr(extras, "missing_modules", lambda extra: ["ivadomed"])
    (only,) = extras.install_commands("ivadomed")
    assert "--no-deps" in only


@pytest.mark.parametrize("editable", [True, False])
def test_a_clone_is_completed_by_uv_sync(monkeypatch, tmp_path, editable):
    clone = tmp_path / "a clone"
    (clone / ".venv").mkdir(parents=True)
    (clone / "uv.lock").touch()
    (clone / ".venv" / "pyvenv.cfg").touch()
    origin = json.dumps({"url": clone.as_uri(), "dir_info": {"editable": editable}})

    class Installed:
        @staticmethod
        def read_text(name):
            return origin

    monkeypatch.setattr(extras.importlib.metadata, "distribution", lambda name: Installed)
    monkeypatch.setattr(extras.sys, "prefix", str(clone / ".venv"))
    assert extras.clone_of_environment() == (clone if editable else None)
    if editable:
        assert extras.install_commands("study") == [f"uv sync --project '{clone}'"]


def test_require_is_silent_for_what_is_there():
    extras.EXTRAS["nothing"] = extras.Extra(("json",), "nobody")
    try:
        extras.require("nothing", what="this test")
        extras.EXTRAS["nothing"] = extras.Extra(("no_such_module_at_all",), "nobody")
        with pytest.raises(
            InputError, match="this test needs the extra 'nothing': no_such_module_at_all not installed"
        ):
            extras.require("nothing", what="this test")
    finally:
        del extras.EXTRAS["nothing"]


def names(requirements):
    return {canonicalize_name(item.name) for item in requirements}


def test_the_extra_holds_what_ivadomed_itself_asks_for():
    pytest.importorskip("ivadomed", reason="the extra 'ivadomed' is not installed")
    asked = map(Requirement, importlib.metadata.requires("ivadomed"))
    own = [item for item in asked if item.marker is None or item.marker.evaluate({"extra": ""})]
    ours = names(requirements()) | names(requirements("ivadomed"))
    assert names(own) - ours == set()


def test_ivadomeds_bounds_are_lifted_in_the_same_way_everywhere():
    lines = (ROOT / "overrides.txt").read_text().splitlines()
    assert tuple(line for line in lines if not line.startswith("#")) == extras.OVERRIDES
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert tuple(project["tool"]["uv"]["override-dependencies"]) == extras.OVERRIDES
    assert extras.HOST in project["dependency-groups"]["plugin"]
    bounds = {f"{item.name}{item.specifier}" for extra in ("", "ivadomed") for item in requirements(extra)}
    assert set(extras.OVERRIDES) <= bounds
    for page in ("README.md", "docs/install.md"):
        assert f"pip install --no-deps --ignore-requires-python '{extras.HOST}'" in (ROOT / page).read_text()


def test_every_extra_is_known_and_documented():
    provided = importlib.metadata.metadata(extras.PACKAGE).get_all("Provides-Extra")
    assert set(provided) == {*extras.EXTRAS, "all"}
    page = (ROOT / "docs" / "install.md").read_text()
    assert [name for name in provided if f"| `{name}` |" not in page] == []


def test_the_clones_environment_holds_the_extra_all():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "ivadomed_labelfusion[all]" in project["dependency-groups"]["dev"]
