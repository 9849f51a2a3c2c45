"""Following the engine: its messages come through whole, a terminal gets a bar, and Ctrl-C waits for the engine."""

import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest
from study_files import make_study

from ivadomed_labelfusion.study.candidates import resolve_candidates
from ivadomed_labelfusion.study.follow import follow
from ivadomed_labelfusion.study.prepare import prepare_study

# writes a line in two halves, so that one look sees only the first
ENGINE = "import sys, time; print('[1] sub', end='', flush=True); time.sleep(0.5); print('mitted', flush=True); {rest}"
FOLLOWER = (
    "import subprocess, sys\n"
    "from pathlib import Path\n"
    "from ivadomed_labelfusion.study.follow import follow\n"
    "from ivadomed_labelfusion.study.plan import load_study\n"
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
