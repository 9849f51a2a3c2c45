"""Headers are checked against the file before anything is allocated."""

import gzip
import struct

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ivadomed_labelfusion.data.headers import check_header, check_numbers
from ivadomed_labelfusion.data.volumes import load_image
from ivadomed_labelfusion.errors import InputError
from tests.attack.damage import FIELDS, edit_header

NAN, INF = float("nan"), float("inf")
AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])


def written(path, data=None, *, kind=nibabel.Nifti1Image, affine=AFFINE):
    nibabel.save(kind(np.zeros((5, 4, 3), np.uint8) if data is None else data, affine), path)
    return path


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8", "u2", "i4"])
@pytest.mark.parametrize("shape", [(5,), (5, 4), (5, 4, 3), (5, 4, 1), (5, 4, 3, 2), (1, 1, 1)])
def test_what_nibabel_writes_is_fine(tmp_path, kind, ending, dtype, shape):
    check_header(written(tmp_path / f"a{ending}", np.zeros(shape, dtype), kind=kind))


def test_an_empty_mask_that_packs_a_thousand_to_one_is_fine(tmp_path):
    raw = written(tmp_path / "a.nii", np.zeros((300, 300, 300), np.uint8)).read_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(raw))
    assert 27e6 / path.stat().st_size > 900
    check_header(path)


def test_extensions_big_endian_and_no_place_are_fine(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((5, 4, 3), np.int16), AFFINE)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 100))
    nibabel.save(image, tmp_path / "a.nii.gz")
    check_header(tmp_path / "a.nii.gz")
    swapped = nibabel.Nifti1Image(np.zeros((5, 4, 3), ">i2"), AFFINE, nibabel.Nifti1Header(endianness=">"))
    nibabel.save(swapped, tmp_path / "b.nii")
    check_header(tmp_path / "b.nii")
    nowhere = nibabel.Nifti1Image(np.zeros((5, 4, 3), np.int16), None)
    nibabel.save(nowhere, tmp_path / "c.nii")
    check_header(tmp_path / "c.nii")


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([("datatype", 9999)], "type of the voxels"),
        ([("datatype", 0)], "type of the voxels"),
        ([("datatype", 1)], "type of the voxels"),
        ([("dim0", 0)], "number of axes must be 1 to 7, got 0"),
        ([("dim0", 8)], "number of axes must be 1 to 7, got 8"),
        ([("dim1", 0)], "at least one voxel"),
        ([("dim2", -4)], "at least one voxel"),
        ([("dim1", 30000), ("dim2", 30000), ("dim3", 30000)], "claims 30000 x 30000 x 30000 voxels"),
        ([("dim1", 6)], "claims 6 x 4 x 3 voxels, 424 bytes, but the file has 412 bytes"),
        ([("vox_offset", NAN)], "vox_offset must be 352 or more"),
        ([("vox_offset", 100.0)], "vox_offset must be 352 or more"),
        ([("vox_offset", 1e9)], "but the file has"),
        ([("scl_slope", INF)], "scl_slope"),
        ([("scl_slope", 1e30)], "scl_slope"),
        ([("scl_slope", 1.0), ("scl_inter", NAN)], "scl_slope and scl_inter"),
        ([("pixdim1", NAN)], "voxel size"),
        ([("pixdim1", 0.0)], "voxel size"),
        ([("pixdim3", INF)], "voxel size"),
        ([("srow_x0", NAN)], "affine"),
        ([("srow_x0", 0.0)], "affine"),
        ([("qform_code", 1), ("quatern_b", 3.0)], "qform"),
        ([("qform_code", 1), ("qoffset_x", NAN)], "qform"),
        ([("magic", 0)], "mark is missing"),
        ([("sizeof_hdr", 5)], "does not begin like one"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, edits, message):
    raw = written(tmp_path / "a.nii").read_bytes()
    content = edit_header(raw, edits)
    (tmp_path / "b.nii").write_bytes(content)
    with pytest.raises(InputError, match=message):
        check_header(tmp_path / "b.nii")
    packed = tmp_path / "b.nii.gz"
    packed.write_bytes(gzip.compress(content))
    # a few voxels too many may be in the packed file; reading tells
    if edits != [("dim1", 6)]:
        with pytest.raises(InputError, match=message if "file has 412" not in message else "claims"):
            check_header(packed)


def test_an_extension_that_ends_nowhere_is_refused(tmp_path):
    raw = bytearray(written(tmp_path / "a.nii").read_bytes())
    raw[348] = 1
    struct.pack_into("<f", raw, 108, 384.0)
    raw[352:352] = struct.pack("<ii", 2**30, 6) + bytes(24)
    (tmp_path / "b.nii").write_bytes(bytes(raw))
    with pytest.raises(InputError, match="an extension of the header claims 1073741824 bytes"):
        check_header(tmp_path / "b.nii")


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"text", b"\x5c\x01\x00\x00", gzip.compress(b"x" * 20)])
def test_no_nifti_at_all(tmp_path, content):
    for name in ("a.nii", "a.nii.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            check_header(tmp_path / name)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(FIELDS)),
            st.one_of(st.floats(width=32), st.integers(-(2**15), 2**15 - 1)),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_header_is_refused_or_read_without_large_memory(tmp_path, edits):
    raw = (
        written(tmp_path / "a.nii").read_bytes()
        if not (tmp_path / "a.nii").exists()
        else (tmp_path / "a.nii").read_bytes()
    )
    whole = [
        (name, float(value) if FIELDS[name][1] == "f" else (int(value) if abs(value) < 2**15 else 0))
        for name, value in edits
        if not (FIELDS[name][1] != "f" and isinstance(value, float) and not np.isfinite(value))
    ]
    path = tmp_path / "b.nii"
    path.write_bytes(edit_header(raw, whole))
    try:
        image = load_image(path)
    except InputError as error:
        refused = str(error)
        image = None
    if image is None:
        assert str(path) in refused
        return
    # what is taken can be read, and is no larger than the file
    assert np.asanyarray(image.dataobj).nbytes <= path.stat().st_size * 8
    assert np.isfinite(image.affine).all()


def test_complex_numbers_and_colours_are_no_masks(tmp_path):
    image = load_image(written(tmp_path / "a.nii", np.zeros((5, 4, 3), np.complex64)))
    with pytest.raises(InputError, match=r"a\.nii must hold one number per voxel, got complex numbers"):
        check_numbers(image, tmp_path / "a.nii")
    colours = np.zeros((5, 4, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    image = load_image(written(tmp_path / "b.nii", colours))
    with pytest.raises(InputError, match="got colours"):
        check_numbers(image, tmp_path / "b.nii")
