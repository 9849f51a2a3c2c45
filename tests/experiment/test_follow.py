"""Following the engine: its messages come through whole, a terminal gets a bar, and Ctrl-C waits for the engine."""

import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

from ivadomed_labelfusion.experiment.candidates import resolve_candidates
from ivadomed_labelfusion.experiment.follow import follow
from ivadomed_labelfusion.experiment.prepare import prepare_study
from ivadomed_labelfusion.experiment.run import every_end_like_ctrl_c
from tests.builders.study_files import make_study

# writes a line in two halves, so that one look sees only the first
ENGINE = "import sys, time; print('[1] sub', end='', flush=True); time.sleep(0.5); print('mitted', flush=True); {rest}"
FOLLOWER = (
    "import subprocess, sys\n"
    "from pathlib import Path\n"
    "from ivadomed_labelfusion.experiment.follow import follow\n"
    "from ivadomed_labelfusion.experiment.plan import load_study\n"
    "log = Path(sys.argv[2])\n"
    "with open(log, 'ab') as stream:\n"
    "    engine = subprocess.Popen([sys.executable, '-c', sys.argv[3]], stdout=stream, start_new_session=True)\n"
    "sys.exit(follow(load_study(sys.argv[1]), engine, log))\n"
)


@pytest.fixture
def study(dataset, tmp_path):
    return prepare_study(make_study(dataset, tmp_path, candidates=tuple(resolve_candidates("conv_staple")), n_splits=1))


def test_messages_of_this_run_come_through_whole_and_so_does_the_status(study, tmp_path, capfd):
    log = tmp_path / "engine.log"
    log.write_text("of an earlier run\n")
    start = log.stat().st_size
    with open(log, "ab") as stream:
        engine = subprocess.Popen([sys.executable, "-c", ENGINE.format(rest="sys.exit(3)")], stdout=stream)
    assert follow(study, engine, log, start=start) == 3
    assert capfd.readouterr().out == "[1] submitted\n"


def test_a_damaged_file_of_a_model_does_not_end_the_following(study, tmp_path, capfd, monkeypatch):
    (study.model_folder("conv_staple/split-01") / "running.json").write_text("{")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    log = tmp_path / "engine.log"
    with open(log, "ab") as stream:
        engine = subprocess.Popen([sys.executable, "-c", ENGINE.format(rest="")], stdout=stream)
    assert follow(study, engine, log) == 0
    assert "state unknown" in re.sub(r"\s+", " ", capfd.readouterr().out)


def test_whatever_ends_the_following_ends_the_engine(study, tmp_path, monkeypatch):
    log = tmp_path / "engine.log"
    with open(log, "ab") as stream:
        waits = [sys.executable, "-c", ENGINE.format(rest="time.sleep(60)")]
        engine = subprocess.Popen(waits, stdout=stream, stderr=subprocess.DEVNULL, start_new_session=True)
    with open(os.devnull, encoding="utf-8") as nobody_reads:
        monkeypatch.setattr(sys, "stdout", nobody_reads)
        with pytest.raises(OSError, match="not writable"):
            follow(study, engine, log)
    assert engine.poll() == -signal.SIGINT


def test_signals_are_held_back_until_the_engine_can_be_ended():
    with every_end_like_ctrl_c() as release:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            release()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_end_of_the_terminal_is_ignored_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with every_end_like_ctrl_c() as release:
            release()
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_shows_how_far_the_study_is(study, tmp_path):
    command = [sys.executable, "-c", FOLLOWER, str(study.folder), str(tmp_path / "engine.log")]
    main, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    process = subprocess.Popen([*command, ENGINE.format(rest="")], stdout=terminal, env=environment)
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(main, 10_000)
        except OSError:  # Linux: the other side was closed
            break
        if not part:
            break
        shown += part
    os.close(main)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", shown.decode())
    assert "0/3 jobs, 0 running" in text
    assert "[1] submitted" in text


def test_ctrl_c_lets_the_engine_end_and_prints_its_last_words(study, tmp_path):
    rest = "\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    time.sleep(1); print('cancelled', flush=True)"
    command = [sys.executable, "-c", FOLLOWER, str(study.folder), str(tmp_path / "engine.log")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    process = subprocess.Popen([*command, ENGINE.format(rest=rest)], **pipes)
    assert process.stdout.readline() == "[1] submitted\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[0] == "cancelled\n"
