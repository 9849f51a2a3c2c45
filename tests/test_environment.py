"""The doctor: findings and cures."""

import re
import shlex

import pytest
from packaging.requirements import Requirement

from ivadomed_labelfusion import environment, extras
from ivadomed_labelfusion.cli import main
from ivadomed_labelfusion.config import TEMPLATES_DIR
from ivadomed_labelfusion.extras import EXTRAS

CAN_TRAIN = not extras.missing_modules("ivadomed")


def texts(findings):
    return "\n".join(f"{finding.what}: {finding.state} {finding.cure}" for finding in findings)


@pytest.mark.skipif(not CAN_TRAIN, reason="the extra 'ivadomed' is not installed")
def test_this_environment_is_well(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "All is well." in out
    assert re.search(r"\[ivadomed\] +torch \d", out)
    assert "ivadomed_labelfusion[ivadomed]" not in out
    assert "plugin" in out
    assert "ivadomed " in out


def with_versions(monkeypatch, **versions):
    """Let packages seem to have other versions; None takes one away."""
    real = environment.installed_version
    monkeypatch.setattr(environment, "installed_version", lambda name: versions.get(name, real(name)))


@pytest.mark.skipif(not CAN_TRAIN, reason="the extra 'ivadomed' is not installed")
@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("pandas", "1.5.3"),
        ("pybids", "0.14.0"),
        ("torch", "2.4.1"),
        ("torchio", "2.0.1"),
        ("torchvision", None),
        ("loguru", None),
        ("ivadomed", "2.6.1"),
        ("ivadomed", "3.0.0"),
    ],
)
def test_cures_install_what_the_doctor_then_calls_well(monkeypatch, package, version):
    with_versions(monkeypatch, **{package: version})
    found = [finding for finding in environment.examine() if finding.is_problem and finding.what == package]
    assert found
    assert version is None or version in found[0].state
    asked = [Requirement(word) for word in shlex.split(found[0].cure) if re.match(r"[\w-]+[<>=]", word)]
    (wanted,) = (item for item in asked if item.name == package)
    if version is not None:
        assert not wanted.specifier.contains(version)
    ranges = {item.name: item.specifier for extra in ("", "ivadomed") for item in environment.requirements(extra)}
    for item in asked:
        if item.name == "ivadomed":
            # pip refuses ivadomed otherwise
            assert "--no-deps --ignore-requires-python" in found[0].cure
            assert not {"2.6.1", "3.0.0"} & set(item.specifier.filter(["2.6.1", "2.9.10", "3.0.0"]))
        else:
            assert item.specifier == ranges[item.name]


@pytest.mark.skipif(not CAN_TRAIN, reason="the extra 'ivadomed' is not installed")
def test_torch_and_torchvision_are_cured_together():
    # of a torch that no torchvision was built for
    (found,) = environment._pairs_of_torch("2.6.99", environment.installed_version("torchvision"))
    assert "They must be built for each other" in found.cure
    assert "torch>=2.6" in found.cure
    assert "torchvision>=" in found.cure
    assert found.is_problem


def test_without_ivadomed_the_core_is_well_and_nothing_is_pretended(monkeypatch):
    with_versions(monkeypatch, ivadomed=None)
    for module in (environment, extras):
        monkeypatch.setattr(module, "missing_modules", lambda extra: list(EXTRAS[extra].modules))
    monkeypatch.setattr(extras, "clone_of_environment", lambda: None)
    found = environment.examine()
    text = texts(found)
    assert [finding.what for finding in found if finding.is_problem] == []
    assert "there is no ivadomed in this environment" in text
    assert "the `ivadomed` command of this environment uses it" not in text
    for extra in EXTRAS:
        assert f"[{extra}]: not installed" in text
        assert f"'ivadomed_labelfusion[{extra}]'" in text


def test_the_switch_is_reported(monkeypatch):
    monkeypatch.setenv("IVADOMED_LABELFUSION_DISABLE", "1")
    assert "switched off" in environment._plugin(True).state
    assert not environment._plugin(False).is_problem


@pytest.mark.parametrize(
    ("text", "numbers"), [("2.15.0+cu132", (2, 15, 0)), ("2.9.10.post1", (2, 9, 10)), ("3.0.0rc1", (3, 0))]
)
def test_version_numbers(text, numbers):
    assert environment.version_numbers(text) == numbers


def test_unknown_commands_name_the_nearest(capsys):
    assert main(["docter"]) == 2
    assert "Did you mean 'doctor'?" in capsys.readouterr().err
    assert main(["--version"]) == 0
    assert main([]) == 2


def test_check_reports_and_fails(tmp_path, capsys):
    path = tmp_path / "c.json"
    path.write_text('{"transformation": {"FuseRaters": {}}}')
    assert main(["check", str(path)]) == 1
    assert "needs a list of raters per class" in capsys.readouterr().out
    path.write_text("{")
    good = str(TEMPLATES_DIR / "ms_conv_staple.json")
    assert main(["check", str(path), str(tmp_path / "none.json"), good]) == 1
    out = capsys.readouterr().out
    assert "not valid JSON" in out
    assert "does not exist" in out
    assert f"{good}: OK" in out
