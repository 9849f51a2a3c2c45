"""The doctor: findings and cures."""

import pytest

from ivadomed_labelfusion import environment
from ivadomed_labelfusion.cli import main
from ivadomed_labelfusion.config import TEMPLATES_DIR


def texts(findings):
    return "\n".join(f"{finding.what}: {finding.state} {finding.cure}" for finding in findings)


def test_this_environment_is_well(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "All is well." in out
    assert "plugin" in out
    assert "ivadomed " in out


@pytest.mark.parametrize(
    ("versions", "cure"),
    [
        ({"pybids": "0.16.3"}, "pybids<0.15.6"),
        ({"pandas": "1.5.3", "numpy": "2.1.0"}, "numpy<2"),
        ({"torch": "2.4.1"}, "torch>=2.6"),
        ({"torch": "2.6.0"}, "They must be built for each other"),
    ],
)
def test_conflicts_have_cures(versions, cure):
    everything = {package: environment.installed_version(package) for package in environment.PACKAGES}
    found = list(environment._compatibility({**everything, **versions}))
    assert cure in texts(found)
    assert all(finding.is_problem for finding in found)


def test_a_foreign_ivadomed_and_a_missing_package_are_problems():
    assert environment._package("ivadomed", {"ivadomed": "2.6.1"}).is_problem
    assert environment._package("torch", {"torch": None}).is_problem
    assert not environment._package("snakemake", {"snakemake": None}).is_problem


def test_the_switch_is_reported(monkeypatch):
    monkeypatch.setenv("IVADOMED_LABELFUSION_DISABLE", "1")
    assert "switched off" in environment._plugin().state


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
