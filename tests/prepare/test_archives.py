"""Archives: nothing is written outside, the disk is not filled unnoticed, damage is named."""

import stat
import struct
import zipfile

import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.prepare import prepare_scgm
from ivadomed_labelfusion.prepare._source import open_source


def archive(path, members):
    """Write a zip from name -> bytes."""
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return path


def refused(path, tmp_path, match):
    """Check that the archive is refused and that nothing was written."""
    (tmp_path / "data").mkdir(exist_ok=True)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=match):
        prepare_scgm(path, tmp_path / "data" / "out")
    assert set(tmp_path.rglob("*")) == before


IMAGE = "site1-sc01-image.nii.gz"


@pytest.mark.parametrize(
    "name", [f"../{IMAGE}", f"a/../../{IMAGE}", f"/tmp/{IMAGE}", f"..\\{IMAGE}", f"C:\\{IMAGE}", "../evil.sh"]
)
def test_members_cannot_leave_the_target(tmp_path, name):
    refused(archive(tmp_path / "raw.zip", {name: b"x"}), tmp_path, "outside its folder. Refused")


def test_links_are_refused(tmp_path):
    path = tmp_path / "raw.zip"
    with zipfile.ZipFile(path, "w") as packed:
        info = zipfile.ZipInfo(IMAGE)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(info, "/etc/passwd")
    refused(path, tmp_path, "holds the link")


def _patch_directory(path, offset, value):
    """Overwrite a field of every entry in the central directory of a zip."""
    content = bytearray(path.read_bytes())
    position = content.find(b"PK\x01\x02")
    while position >= 0:
        content[position + offset : position + offset + len(value)] = value
        position = content.find(b"PK\x01\x02", position + 4)
    path.write_bytes(content)


def test_an_archive_larger_than_the_disk_is_refused_before_anything_is_written(tmp_path):
    """Two thousand members that each claim 4 GB: 8 TB."""
    path = archive(tmp_path / "raw.zip", {f"{index}/site1-sc01-mask-r1.nii": b"x" for index in range(2000)})
    _patch_directory(path, 24, struct.pack("<I", 0xFFFFFFF0))
    refused(path, tmp_path, r"needs 8\d+\.\d GB in .*are free")


def test_a_member_larger_than_it_claims_is_damage(tmp_path):
    path = archive(tmp_path / "raw.zip", {IMAGE: b"x" * 100_000})
    _patch_directory(path, 24, struct.pack("<I", 10))
    refused(path, tmp_path, "is damaged at 'site1")


def test_encrypted_archive(tmp_path):
    path = archive(tmp_path / "raw.zip", {IMAGE: b"x"})
    _patch_directory(path, 8, struct.pack("<H", 1))
    refused(path, tmp_path, "is encrypted")


def test_damaged_archives(tmp_path):
    path = archive(tmp_path / "raw.zip", {IMAGE: bytes(range(256)) * 40})
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + b"\xff\xff" + whole[62:])
    refused(path, tmp_path, "is damaged at .*Download it again")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "cut.zip").write_bytes(whole[:-40])
    path.unlink()
    refused(folder, tmp_path, r"cut.zip is damaged")


def test_the_same_member_twice(tmp_path):
    path = tmp_path / "raw.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(IMAGE, b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            packed.writestr(IMAGE, b"two")
    refused(path, tmp_path, "twice")


def test_size_is_announced_and_the_copy_removed(tmp_path):
    path = archive(tmp_path / "raw.zip", {IMAGE: b"x" * 1500, "notes.pdf": b"x" * 10_000})
    lines = []
    with open_source(path, scratch=tmp_path, announce=lines.append) as files:
        assert [file.place for file in files] == [f"raw/{IMAGE}"]
        assert files[0].path.read_bytes() == b"x" * 1500
    assert lines
    assert lines[0].startswith("Extracting 1 files, 2 kB, to a temporary folder in")
    assert list(tmp_path.iterdir()) == [path]


def test_raw_that_is_no_download(tmp_path):
    refused(tmp_path / "nothing", tmp_path, "which does not exist")
    (tmp_path / "raw.tar").write_bytes(b"x")
    refused(tmp_path / "raw.tar", tmp_path, "must be a zip or a folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", tmp_path, "no usable subject")
