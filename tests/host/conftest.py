"""Running the real ivadomed inside the test process."""

import importlib
import sys

import pytest

import ivadomed_labelfusion


@pytest.fixture
def plugin():
    """The plugin switched on, and off again after the test."""
    ivadomed_labelfusion.enable()
    yield
    ivadomed_labelfusion.disable()


@pytest.fixture
def stock():
    """ivadomed as it is, without the plugin."""
    # the first import of this module switches the plugin on
    importlib.import_module("ivadomed.main")
    ivadomed_labelfusion.disable()
    yield
    ivadomed_labelfusion.disable()


@pytest.fixture
def ivadomed(monkeypatch, plugin):
    """Return a function that runs ``ivadomed`` with arguments in this process, through its own entry point."""

    def run(*arguments):
        import ivadomed.main

        monkeypatch.setattr(sys, "argv", ["ivadomed", *map(str, arguments)])
        return ivadomed.main.run_main()

    return run
