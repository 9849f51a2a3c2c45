"""Build steps that setup.cfg cannot express: the start-up hook is installed beside the package.

``ivadomed_labelfusion.pth``, and from Python 3.15 on ``ivadomed_labelfusion.start`` (PEP 829), make every interpreter
of the environment run ``ivadomed_labelfusion_hook``, which waits for ivadomed to be imported. The files must lie
directly in site-packages, for wheels and for editable installs.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

HOOK_FILES = [
    Path(__file__).parent / "startup" / f"ivadomed_labelfusion{end}" for end in (".pth", ".start", "_hook.py")
]


class BuildPyWithHook(build_py):
    """Copy the hook into the root of the wheel."""

    def run(self):
        super().run()
        if not self.editable_mode:
            for source in HOOK_FILES:
                self.copy_file(str(source), str(Path(self.build_lib) / source.name))

    def get_outputs(self, include_bytecode=True):
        outputs = super().get_outputs(include_bytecode)
        return outputs + [str(Path(self.build_lib) / source.name) for source in HOOK_FILES]


class EditableWheelWithHook(editable_wheel):
    """Add the hook to the wheel that an editable install unpacks."""

    def _select_strategy(self, *args, **kwargs):
        return _WithHook(super()._select_strategy(*args, **kwargs))


class _WithHook:
    def __init__(self, strategy):
        self.strategy = strategy

    def __enter__(self):
        self.strategy.__enter__()
        return self

    def __exit__(self, *details):
        return self.strategy.__exit__(*details)

    def __call__(self, wheel, files, mapping):
        self.strategy(wheel, files, mapping)
        for source in HOOK_FILES:
            wheel.write(str(source), source.name)


setup(cmdclass={"build_py": BuildPyWithHook, "editable_wheel": EditableWheelWithHook})
