"""Which rooms are type-checked: each is listed as checked, or as one whose functions are still without types."""

import tomllib
from pathlib import Path

import pytest

import ivadomed_labelfusion

PACKAGE = Path(ivadomed_labelfusion.__file__).parent
PROJECT = PACKAGE.parent / "pyproject.toml"
# no room of the project
LEFT_OUT = {"__init__.py", "__main__.py", "_version.py"}


@pytest.mark.skipif(not PROJECT.is_file(), reason="not run from a clone")
def test_every_room_is_checked_or_known_to_lack_types():
    tools = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]
    checked = {Path(path).name for path in tools["ty"]["src"]["include"]}
    without = {
        name
        for pattern, rules in tools["ruff"]["lint"]["per-file-ignores"].items()
        if "ANN" in rules and pattern.startswith("ivadomed_labelfusion/{")
        for name in pattern.partition("{")[2].partition("}")[0].split(",")
    }
    rooms = {path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))} - LEFT_OUT
    assert checked <= rooms
    assert checked | without == rooms
    assert not checked & without
