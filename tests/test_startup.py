"""The start-up hook: what it costs, what it changes, and that it can never break an interpreter."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import pytest

from ivadomed_labelfusion.cli import COMMANDS

ROOT = Path(__file__).parent.parent
HOOK = ROOT / "startup" / "ivadomed_labelfusion_hook.py"


def run(code, *flags, **environment):
    """Run Python code in a fresh interpreter; return ``(stdout, stderr)``."""
    result = subprocess.run(
        [sys.executable, *flags, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=True,
    )
    return result.stdout.strip(), result.stderr.strip()


def fake_environment(folder, plugin):
    """Write a stand-in for ivadomed.main and for the plugin, so that only the hook itself is real.

    Returns:
        str: Code that puts them and the hook of this checkout in place.
    """
    (folder / "ivadomed").mkdir()
    (folder / "ivadomed" / "__init__.py").write_text("")
    (folder / "ivadomed" / "main.py").write_text("value = 42\n")
    (folder / "ivadomed_labelfusion.py").write_text(plugin)
    return textwrap.dedent(f"""
        import sys
        sys.path[:0] = [{str(folder)!r}, {str(HOOK.parent)!r}]
        sys.meta_path[:] = [f for f in sys.meta_path if "labelfusion" not in type(f).__module__ + str(f)]
        sys.modules.pop("ivadomed_labelfusion_hook", None)
        import ivadomed_labelfusion_hook
        ivadomed_labelfusion_hook.start()
    """)


def test_the_hook_is_installed_and_is_the_one_of_this_checkout():
    site = Path(sysconfig.get_path("purelib"))
    for name in ("ivadomed_labelfusion.pth", "ivadomed_labelfusion.start", "ivadomed_labelfusion_hook.py"):
        assert (site / name).read_text() == (HOOK.parent / name).read_text()


def test_the_hook_imports_nothing_new():
    out, _ = run(
        f"""
        import sys
        before = set(sys.modules)
        sys.path.insert(0, {str(HOOK.parent)!r})
        sys.modules.pop("ivadomed_labelfusion_hook", None)
        import ivadomed_labelfusion_hook
        ivadomed_labelfusion_hook.start()
        print(sorted(set(sys.modules) - before - {{"ivadomed_labelfusion_hook"}}))
        """
    )
    assert out == "[]"


def test_the_hook_waits_once_however_often_it_is_started():
    out, _ = run(
        f"""
        import sys
        sys.path.insert(0, {str(HOOK.parent)!r})
        import ivadomed_labelfusion_hook as hook
        hook.start(), hook.start()
        print(sum(type(finder).__name__ == "IvadomedWatcher" for finder in sys.meta_path))
        """
    )
    assert out == "1"


def python_with_start_files():
    """Return an interpreter of Python 3.15 or later, or None."""
    if sys.version_info >= (3, 15):
        return sys.executable
    return next(filter(None, (shutil.which(f"python3.{minor}") for minor in range(15, 20))), None)


@pytest.mark.parametrize("kind", ["pth", "start"])
def test_each_file_starts_the_hook_by_itself(tmp_path, kind):
    python = sys.executable if kind == "pth" else python_with_start_files()
    if python is None:
        pytest.skip("no Python 3.15 here, which is the first that reads .start files")
    site = tmp_path / "site"
    site.mkdir()
    for name in (f"ivadomed_labelfusion.{kind}", "ivadomed_labelfusion_hook.py"):
        shutil.copy(HOOK.parent / name, site / name)
    (tmp_path / "stand_in").mkdir()
    code = fake_environment(tmp_path / "stand_in", "def enable(): print('enabled')").replace(
        "import ivadomed_labelfusion_hook\nivadomed_labelfusion_hook.start()",
        f"import site; site.addsitedir({str(site)!r})",
    )
    assert "addsitedir" in code
    result = subprocess.run([python, "-c", code + "import ivadomed.main\n"], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "enabled"


def test_the_start_file_names_the_function():
    module, _, function = (HOOK.parent / "ivadomed_labelfusion.start").read_text().strip().partition(":")
    specification = importlib.util.spec_from_file_location(module, HOOK)
    hook = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(hook)
    assert module == HOOK.stem
    assert callable(getattr(hook, function))


def test_a_bare_interpreter_imports_neither_the_plugin_nor_ivadomed():
    out, _ = run(
        """
        import sys
        print([name for name in sys.modules if name.split(".")[0] in ("ivadomed_labelfusion", "ivadomed", "torch")])
        """
    )
    assert out == "[]"


def test_importing_the_main_module_enables_the_plugin(tmp_path):
    out, err = run(fake_environment(tmp_path, "def enable(): print('enabled')") + "import ivadomed.main\n")
    assert (out, err) == ("enabled", "")


def test_a_broken_plugin_warns_and_ivadomed_goes_on(tmp_path):
    setup = fake_environment(tmp_path, "raise RuntimeError('broken install')")
    out, err = run(setup + "import ivadomed.main\nprint(ivadomed.main.value)\n")
    assert out == "42"
    assert "ivadomed_labelfusion could not be enabled" in err
    assert "RuntimeError: broken install" in err
    assert "doctor" in err


def test_the_environment_variable_switches_the_plugin_off(tmp_path):
    code = fake_environment(tmp_path, "def enable(): print('enabled')") + "import ivadomed.main\nprint('done')\n"
    assert run(code, IVADOMED_LABELFUSION_DISABLE="1")[0] == "done"
    assert run(code, IVADOMED_LABELFUSION_DISABLE="0")[0] == "enabled\ndone"


ANOTHER_FINDER = """
import importlib.machinery
class Other:
    def find_spec(self, name, path=None, target=None):
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and {slots}:
            spec.loader = Slotted(spec.loader)
        return spec
class Slotted:
    __slots__ = ("inner",)
    def __init__(self, inner):
        self.inner = inner
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        self.inner.exec_module(module)
sys.meta_path.insert(0, Other())
"""


@pytest.mark.parametrize("slots", [False, True])
def test_the_hook_works_behind_other_finders_and_loaders(tmp_path, slots):
    code = fake_environment(tmp_path, "def enable(): print('enabled')") + ANOTHER_FINDER.format(slots=slots)
    out, err = run(code + "import ivadomed.main\nprint(type(ivadomed.main.__loader__).__name__, ivadomed.main.value)\n")
    assert (out, err) == (f"enabled\n{'Slotted' if slots else 'SourceFileLoader'} 42", "")


ASKING_FINDER = """
class Asking:
    def find_spec(self, name, path=None, target=None):
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        return next((spec for spec in found if spec is not None), None)
sys.meta_path.insert({place}, Asking())
"""


@pytest.mark.parametrize("place", [0, 1])
def test_the_hook_and_another_finder_that_asks_all_do_not_ask_in_a_circle(tmp_path, place):
    code = fake_environment(tmp_path, "def enable(): print('enabled')") + ASKING_FINDER.format(place=place)
    out, err = run(code + "import ivadomed.main\nprint(ivadomed.main.value)\n")
    assert (out, err) == ("enabled\n42", "")


def test_a_reload_enables_again(tmp_path):
    code = fake_environment(tmp_path, "def enable(): print('enabled')")
    out, _ = run(
        code + "import ivadomed.main, importlib\nimportlib.reload(ivadomed.main)\nprint(ivadomed.main.value)\n"
    )
    assert out == "enabled\nenabled\n42"


def test_a_broken_plugin_stops_nothing_where_warnings_are_errors(tmp_path):
    setup = fake_environment(tmp_path, "raise RuntimeError('broken install')")
    out, err = run(setup + "import ivadomed.main\nprint(ivadomed.main.value)\n", "-W", "error")
    assert out == "42"
    assert "ivadomed_labelfusion could not be enabled" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["ivadomed", "ivadomed.training", "numpy", "ivadomedx.main"])
def test_other_modules_pass_through(name):
    specification = importlib.util.spec_from_file_location("hook_under_test", HOOK)
    hook = importlib.util.module_from_spec(specification)
    before = list(sys.meta_path)
    try:
        specification.loader.exec_module(hook)
        hook.start()
        assert hook.IvadomedWatcher().find_spec(name) is None
    finally:
        sys.meta_path[:] = before


def test_the_package_imports_nothing_heavy():
    out, _ = run(
        """
        import sys
        import ivadomed_labelfusion
        print(ivadomed_labelfusion.is_enabled())
        heavy = ("torch", "ivadomed", "numpy", "pandas", "matplotlib", "nibabel")
        print([name for name in heavy if name in sys.modules])
        """
    )
    assert out == "False\n[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_needs_neither_torch_nor_ivadomed(command):
    out, _ = run(
        f"""
        import sys
        from ivadomed_labelfusion.cli import main
        try:
            main([{command!r}, "--help"])
        except SystemExit as end:
            assert not end.code, end.code
        print([name for name in ("torch", "ivadomed") if name in sys.modules])
        """
    )
    assert "example" in out
    assert out.endswith("[]")
