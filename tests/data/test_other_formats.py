"""Volumes that are no .nii or .nii.gz, and pictures: read, or refused in one line before anything is allocated."""

import bz2
import gzip
import os
import struct

import nibabel
import numpy as np
import pytest
from PIL import Image

from ivadomed_labelfusion.data.volumes import load_image, read_picture, read_volume
from ivadomed_labelfusion.errors import InputError

MASK = (np.random.default_rng(0).random((9, 8, 5)) > 0.5).astype(np.uint8)
KINDS = {"a.mgz": nibabel.MGHImage, "a.mgh": nibabel.MGHImage, "a.hdr": nibabel.Nifti1Pair, "a.nii.bz2": None}


def write(folder, name):
    nibabel.save((KINDS[name] or nibabel.Nifti1Image)(MASK, np.eye(4)), folder / name)
    return folder / name


def edit(path, offset, kind, *values):
    """Change fields of a header in a file that may be packed."""
    packer = {".mgz": gzip, ".bz2": bz2}.get(path.suffix)
    content = bytearray(packer.decompress(path.read_bytes()) if packer else path.read_bytes())
    struct.pack_into(kind, content, offset, *values)
    path.write_bytes(packer.compress(bytes(content)) if packer else bytes(content))


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_file_is_read(tmp_path, name):
    path = write(tmp_path, name)
    np.testing.assert_array_equal(read_volume(load_image(path), path), MASK)


@pytest.mark.parametrize(
    ("name", "offset", "kind", "values"),
    [
        ("a.mgz", 4, ">3i", (30000, 30000, 30000)),
        ("a.mgz", 4, ">3i", (-3, 1, 0)),
        ("a.mgz", 20, ">i", (99,)),
        ("a.mgz", 0, ">i", (-7,)),
        ("a.mgz", 42, ">12f", (float("nan"),) * 12),
        ("a.mgh", 4, ">3i", (30000, 30000, 30000)),
        ("a.hdr", 42, "<3h", (30000, 30000, 30000)),
        ("a.hdr", 70, "<h", (9999,)),
        ("a.hdr", 80, "<f", (float("nan"),)),
        ("a.hdr", 108, "<f", (float("nan"),)),
        ("a.nii.bz2", 42, "<3h", (30000, 30000, 30000)),
        ("a.nii.bz2", 70, "<h", (9999,)),
        ("a.nii.bz2", 108, "<f", (float("nan"),)),
    ],
)
def test_a_changed_header_is_refused(tmp_path, name, offset, kind, values):
    path = write(tmp_path, name)
    edit(path, offset, kind, *values)
    with pytest.raises(InputError, match=path.name):
        load_image(path)


def test_a_small_packed_file_does_not_become_a_large_one(tmp_path):
    path = write(tmp_path, "a.nii.bz2")
    edit(path, 42, "<3h", 1000, 1000, 1000)
    with pytest.raises(InputError, match="the header claims"):
        load_image(path)


@pytest.mark.parametrize("name", ["a.mgz", "a.mgh", "a.hdr", "a.nii.bz2", "a.mnc", "a.gii", "a.img", "a.par", "a.head"])
@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n" + bytes(500), b"CDF\x01" + b"\xff" * 500])
def test_what_is_no_image_is_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=path.name):
        load_image(path)


def test_a_surface_is_no_volume(tmp_path):
    path = tmp_path / "a.gii"
    array = nibabel.gifti.GiftiDataArray(np.zeros(10, np.float32), intent="NIFTI_INTENT_SHAPE")
    nibabel.save(nibabel.gifti.GiftiImage(darrays=[array]), path)
    with pytest.raises(InputError, match="must be a volume"):
        load_image(path)


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 8\n", b"P5 9 8 255\n" + bytes(72)])
def test_a_picture_is_of_the_formats_that_its_ending_may_mean(tmp_path, monkeypatch, content):
    """Of a file that only calls itself PNG, Pillow would start Ghostscript on PostScript."""
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("Ghostscript was started"))
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match="PNG, TIFF or JPEG"):
        read_picture(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "a.png"
    os.mkfifo(path)
    with pytest.raises(InputError, match="pipe"):
        load_image(path)


def test_a_tiff_with_damaged_tags_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(MASK[..., 0]).save(path)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(1), 0
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(12):
            content[int(rng.integers(len(content)))] = int(rng.integers(256))
        path.write_bytes(bytes(content))
        try:
            read_picture(path)
        except InputError:
            refused += 1
    assert refused > 10
