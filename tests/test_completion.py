"""The completion scripts work in a real shell."""

import shutil
import subprocess

import pytest

from ivadomed_labelfusion.cli import COMMANDS, main


def complete(script, *words, cwd):
    """Return what bash offers for the last word."""
    ask = """
        source "$1"; shift
        function=$(complete -p ivadomed_labelfusion | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        $function
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    command = ["bash", "-c", ask, "bash", str(script), "ivadomed_labelfusion", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_commands_options_choices_and_files(tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "my_config.json").touch()
    assert set(complete(script, "", cwd=tmp_path)) >= set(COMMANDS)
    assert complete(script, "eva", cwd=tmp_path) == ["evaluate"]
    assert complete(script, "prepare", "ms", cwd=tmp_path) == ["msseg2016"]
    assert complete(script, "fuse", "--meth", cwd=tmp_path) == ["--method"]
    assert complete(script, "prepare", "msseg2016", "--space", "r", cwd=tmp_path) == ["raw"]
    assert complete(script, "check", "my", cwd=tmp_path) == ["my_config.json"]
    assert complete(script, "study", "run", "--bids", "my", cwd=tmp_path) == ["my_config.json"]


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_get_a_script_of_theirs(shell, capsys, tmp_path):
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)
    if shutil.which(shell):
        (tmp_path / "script").write_text(text)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_an_unknown_shell_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        main(["completion", "fish"])
    assert end.value.code == 2
    assert "bash" in capsys.readouterr().err
