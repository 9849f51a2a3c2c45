"""Every example in the docstrings of the core gives what it shows."""

import doctest
import importlib
from pathlib import Path

import pytest

import ivadomed_labelfusion
from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.metrics import registry

ROOT = Path(ivadomed_labelfusion.__file__).parent
# what needs torch or a training program
LEFT_OUT = ("hosts", "activation")
MODULES = sorted(
    ".".join((ROOT.name, *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if ">>>" in path.read_text(encoding="utf-8") and path.relative_to(ROOT).with_suffix("").parts[0] not in LEFT_OUT
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name, monkeypatch):
    # examples that register a metric or a method leave none behind
    for book in ("_registered", "_built_in"):
        monkeypatch.setattr(registry, book, dict(getattr(registry, book)))
    methods = dict(fusion.METHODS)
    try:
        result = doctest.testmod(importlib.import_module(name))
    finally:
        fusion.METHODS.clear()
        fusion.METHODS.update(methods)
    assert result.attempted
    assert not result.failed


def test_examples_were_found():
    assert len(MODULES) > 30
