"""A disk that fills up during a training ends in one line, and what was there before stays whole."""

import subprocess

import pytest

from tests.attack.outcome import REFUSED, ivadomed, observe
from tests.attack.world import World
from tests.builders.tiny import write_config


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 kB, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("taken", [0, 150_000, 330_000])
def test_a_full_disk_is_one_line(tmp_path, small_disk, taken):
    world = World(tmp_path / "world")
    config = write_config(tmp_path / "config.json", world.config)
    (small_disk / "taken").write_bytes(bytes(taken))
    outcome = observe(ivadomed("--train", "-c", config, "-po", small_disk / "out"))
    assert outcome.kind == REFUSED, outcome.text
    assert outcome.text.strip().splitlines()[-1].endswith("No space left on device. Free some, and repeat the command.")
    assert not list(small_disk.rglob(".tmp-*"))
