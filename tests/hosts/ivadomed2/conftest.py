"""Running the real ivadomed inside the test process."""

import importlib
import sys

import pytest
from loguru import logger

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
    from ivadomed_labelfusion.hosts.ivadomed2 import patches

    # the first import of a module that the plugin touches switches it on
    for module in dict.fromkeys(["main", *(patch.module for patch in patches.PATCHES)]):
        importlib.import_module(f"ivadomed.{module}")
    ivadomed_labelfusion.disable()
    yield
    ivadomed_labelfusion.disable()


@pytest.fixture
def ivadomed(monkeypatch, plugin):
    """A function that runs ``ivadomed`` with arguments in this process, through its own entry point."""

    def run(*arguments):
        import ivadomed.main

        monkeypatch.setattr(sys, "argv", ["ivadomed", *map(str, arguments)])
        return ivadomed.main.run_main()

    yield run
    # ivadomed logs to this test's standard output, which is closed for the next test
    logger.remove()
