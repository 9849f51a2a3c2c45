"""Links and pipes where a program would write: refused in one line, none written through, none waited for."""

import os

import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import check_stays_inside
from ivadomed_labelfusion.locks import only_one


@pytest.mark.parametrize("kind", ["link to nothing", "link to a file", "link to a device", "pipe", "folder"])
def test_a_lock_is_a_plain_file(tmp_path, kind):
    lock, other = tmp_path / ".lock", tmp_path / "other"
    if kind == "link to a file":
        other.write_text("mine")
    if kind == "pipe":
        os.mkfifo(lock)
    elif kind == "folder":
        lock.mkdir()
    else:
        lock.symlink_to("/dev/null" if "device" in kind else other)
    with pytest.raises(InputError, match="must be a plain file"), only_one(lock, busy="busy"):
        pass
    assert other.exists() == (kind == "link to a file")
    assert not other.exists() or other.read_text() == "mine"


def test_a_lock_is_taken_and_goes_away(tmp_path):
    lock = tmp_path / ".lock"
    lock.write_text("left behind")
    with only_one(lock, busy="busy") as found:
        assert found
        with pytest.raises(InputError, match="busy"), only_one(lock, busy="busy"):
            pass
    assert not lock.exists()


def test_links_within_a_folder_stay(tmp_path):
    (tmp_path / "home/models").mkdir(parents=True)
    (tmp_path / "home/latest").symlink_to("models")
    (tmp_path / "link").symlink_to("home")
    check_stays_inside(tmp_path / "home")
    # the folder itself may be reached through a link
    check_stays_inside(tmp_path / "link")
    check_stays_inside(tmp_path / "not there")


@pytest.mark.parametrize("name", ["results", "models/a/log", "models/a/best_model.pt"])
def test_links_out_of_a_folder_are_refused(tmp_path, name):
    (tmp_path / "home/models/a").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "home" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link out of"):
        check_stays_inside(tmp_path / "home", spared=(".pt",))
    (tmp_path / "elsewhere").rmdir()
    (tmp_path / "elsewhere").write_text("a file")
    # what is renamed onto a link replaces it
    if name.endswith(".pt"):
        check_stays_inside(tmp_path / "home", spared=(".pt",))
    with pytest.raises(InputError, match="is a link out of"):
        check_stays_inside(tmp_path / "home")


def test_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "log")
    with pytest.raises(InputError, match="pipe"):
        check_stays_inside(tmp_path)
