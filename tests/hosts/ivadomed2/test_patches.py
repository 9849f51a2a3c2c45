"""The patch table against the installed ivadomed, and the switch."""

import importlib
import warnings

import pytest

import ivadomed_labelfusion
from ivadomed_labelfusion.environment import is_supported_host
from ivadomed_labelfusion.hosts.ivadomed2 import patches


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Some of ivadomed's scripts write a log file into the working folder when they are imported."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("patch", patches.PATCHES, ids=lambda patch: f"{patch.module}.{patch.name}")
def test_the_installed_ivadomed_has_every_touched_name(stock, patch):
    owner, attribute = patches.locate(patch)
    assert patch.is_new != hasattr(owner, attribute)
    assert patch.reason


def test_a_changed_host_is_reported_with_the_name_and_the_reason(stock):
    gone = patches.Patch("training", "no_such_function", None, "draws count epochs")
    with pytest.raises(LookupError, match=r"ivadomed\.training\.no_such_function is gone.*draws count epochs"):
        patches.locate(gone)
    with pytest.raises(LookupError, match=r"ivadomed\.no_such_module\.x is gone"):
        patches.locate(patches.Patch("no_such_module", "x", None, "reason"))
    taken = patches.Patch("transforms", "Resample", None, "reason", is_new=True)
    with pytest.raises(LookupError, match="exists in ivadomed now"):
        patches.locate(taken)


def snapshot():
    """Return every attribute of every touched module and class."""
    state = {}
    for patch in patches.PATCHES:
        owner = importlib.import_module(f"ivadomed.{patch.module}")
        state[patch.module] = dict(vars(owner))
        for name in patch.name.split(".")[:-1]:
            state[f"{patch.module}.{name}"] = dict(vars(getattr(owner, name)))
    return state


def test_disable_restores_every_original(stock):
    before = snapshot()
    ivadomed_labelfusion.enable()
    assert ivadomed_labelfusion.is_enabled()
    changed = snapshot()
    for patch in patches.PATCHES:
        key = ".".join([patch.module, *patch.name.split(".")[:-1]])
        assert changed[key][patch.name.split(".")[-1]] is not before[key].get(patch.name.split(".")[-1])
    ivadomed_labelfusion.disable()
    assert not ivadomed_labelfusion.is_enabled()
    assert snapshot() == before


def test_enable_and_disable_are_idempotent(stock):
    before = snapshot()
    ivadomed_labelfusion.enable()
    once = snapshot()
    ivadomed_labelfusion.enable()
    assert snapshot() == once
    ivadomed_labelfusion.disable()
    ivadomed_labelfusion.disable()
    assert snapshot() == before


def test_an_unknown_ivadomed_gives_one_warning_and_stays_as_it_is(stock, monkeypatch):
    before = snapshot()
    monkeypatch.setattr("importlib.metadata.version", lambda package: "3.0.0")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ivadomed_labelfusion.enable()
    assert [str(warning.message).split(",")[0] for warning in caught] == [
        "ivadomed_labelfusion knows ivadomed >= 2.9.10 and < 3"
    ]
    assert not ivadomed_labelfusion.is_enabled()
    assert snapshot() == before


@pytest.mark.parametrize(
    ("version", "supported"),
    [("2.9.9", False), ("2.9.10", True), ("2.10", True), ("2.9.10.post1", True), ("3.0.0", False), ("2.6.1", False)],
)
def test_supported_versions(version, supported):
    assert is_supported_host(version) == supported


def test_a_reload_of_ivadomed_is_noticed_and_repaired(stock):
    import ivadomed.config_manager
    import ivadomed.testing

    ivadomed_labelfusion.enable()
    for module in (ivadomed.testing, ivadomed.config_manager):
        importlib.reload(module)
        assert not ivadomed_labelfusion.is_enabled()
        ivadomed_labelfusion.enable()
        assert ivadomed_labelfusion.is_enabled()
    ivadomed_labelfusion.disable()
    assert not ivadomed_labelfusion.is_enabled()
    assert not any(
        patch.name in vars(importlib.import_module(f"ivadomed.{patch.module}"))
        for patch in patches.PATCHES
        if patch.is_new
    )


def test_a_reload_of_the_plugin_keeps_the_truth(stock):
    from ivadomed_labelfusion.hosts import ivadomed2 as host

    ivadomed_labelfusion.enable()
    for module in (patches, host, ivadomed_labelfusion):
        importlib.reload(module)
        assert ivadomed_labelfusion.is_enabled()
    ivadomed_labelfusion.disable()
    assert not ivadomed_labelfusion.is_enabled()
    for module in (patches, host, ivadomed_labelfusion):
        importlib.reload(module)
        assert not ivadomed_labelfusion.is_enabled()
    # what was put back lets the plugin be switched on again
    ivadomed_labelfusion.enable()
    assert ivadomed_labelfusion.is_enabled()


def test_rows_are_for_versions_of_ivadomed(stock, monkeypatch):
    later = patches.Patch("losses", "old_name", object, "a name of ivadomed 2.10", is_new=True, since="2.10")
    gone = patches.Patch("losses", "older_name", object, "mended in 2.9.10", is_new=True, since="2.9", until="2.9.10")
    assert [row.fits("2.9.10") for row in (later, gone)] == [False, False]
    assert [row.fits("2.9.9") for row in (later, gone)] == [False, True]
    assert [row.fits("2.10.0") for row in (later, gone)] == [True, False]
    monkeypatch.setattr(patches, "PATCHES", (*patches.PATCHES, later, gone))
    ivadomed_labelfusion.enable()
    import ivadomed.losses

    assert not hasattr(ivadomed.losses, "old_name")
    assert not hasattr(ivadomed.losses, "older_name")
