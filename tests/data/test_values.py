"""One reading of a mask's values, whatever its dtype, coding and rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.coding import coding_note, coding_of
from ivadomed_labelfusion.data.values import read_mask
from ivadomed_labelfusion.errors import InputError

MASK = (np.random.default_rng(0).random((6, 5, 4)) > 0.6).astype(np.uint8)
DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">i2", ">f4"]
ACCEPTED = {
    "0/255": MASK * np.uint8(255),
    "0/255 signed": MASK * np.int16(255),
    "0/1000": MASK * np.int16(1000),
    "0/65535": MASK * np.uint16(65535),
    "0/100 percent": MASK * np.float32(100),
    "0/1.5": MASK * 1.5,
    "a scale factor of 1/255": MASK * (1 / 255),
    "rounding up": MASK * np.float32(1.0000076),
    "rounding down": MASK * 0.9999999,
    "re-saved many times": MASK * 0.99993 - 3e-8,
    "noise of a resampling": MASK + np.random.default_rng(1).uniform(-9e-5, 9e-5, MASK.shape),
    "an offset": MASK * 254.999 + 0.004,
    "full": np.ones_like(MASK) * np.uint8(255),
}
REFUSED = {
    "-1/1": (MASK * np.int16(2) - 1, "negative"),
    "0/2": (MASK * np.uint8(2), "number of a class"),
    "0/3.0": (MASK * 3.0, "number of a class"),
    "0/9": (MASK * np.int32(9), "number of a class"),
    "1/2": (MASK + np.uint8(1), "label map"),
    "0/1/2": (MASK + (np.arange(MASK.size).reshape(MASK.shape) % 7 == 0), "label map"),
    "0/1/255": (np.where(np.arange(MASK.size).reshape(MASK.shape) == 3, 255, MASK), "label map"),
    "0/-1": (-MASK.astype(np.int8), "negative"),
    "NaN": (np.where(MASK > 0, np.nan, 0.0), "NaN"),
    "infinity": (np.where(MASK > 0, np.inf, 0.0), "infinity"),
    "complex": (MASK.astype(np.complex64), "complex"),
    "RGB": (MASK.astype([("R", "u1"), ("G", "u1"), ("B", "u1")]), "RGB"),
    "soft": (MASK * np.float32(0.7), "soft mask"),
    "an image": (np.random.default_rng(2).normal(100, 30, MASK.shape) * MASK + 0.3, "no mask"),
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_and_one_of_any_dtype(dtype):
    data, coding = read_mask(MASK.astype(dtype), "m")
    assert data.dtype == np.uint8
    np.testing.assert_array_equal(data, MASK)
    assert coding.exact
    assert coding_note({"m": coding}) == ""


@pytest.mark.parametrize("name", ACCEPTED)
def test_one_mask_in_many_codings(name):
    expected = np.ones_like(MASK) if name == "full" else MASK
    for soft in (False, True):
        data, coding = read_mask(ACCEPTED[name], "m", soft=soft)
        assert data.dtype == np.uint8
        np.testing.assert_array_equal(data, expected)
        assert not coding.exact


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_mask_is_refused_by_name(name):
    data, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as caught:
        read_mask(data, "rater1's mask of lesion (a.nii.gz)")
    assert "rater1's mask of lesion (a.nii.gz)" in str(caught.value)


def test_soft_values_where_they_are_allowed():
    soft = np.linspace(0, 1, MASK.size).reshape(MASK.shape)
    data, _ = read_mask(soft + 5e-5, "m", soft=True)
    assert data.dtype == np.float32
    assert data.max() == 1
    np.testing.assert_allclose(data, soft, atol=1e-4)
    with pytest.raises(InputError, match="soft mask"):
        read_mask(soft, "m")


def test_without_voxels_and_empty():
    assert read_mask(np.zeros((0, 3)), "m")[0].shape == (0, 3)
    np.testing.assert_array_equal(read_mask(np.full((2, 2), 3e-5), "m")[0], 0)


@settings(deadline=None, max_examples=100)
@given(
    mask=arrays.arrays(bool, (3, 4)),
    scale=st.one_of(st.just(1.0), st.floats(10, 1e5), st.floats(1e-6, 0.04)),
    noise=st.floats(-0.9e-4, 0.9e-4),
)
def test_a_constant_times_a_mask_is_that_mask(mask, scale, noise):
    data = mask * scale * (1 + noise)
    if not mask.any() or not scale > 1e-4:
        return
    np.testing.assert_array_equal(read_mask(data, "m")[0], mask)


@pytest.mark.parametrize("name", ACCEPTED)
def test_arrays_are_fused_by_the_same_rule(name):
    if name == "full":
        return
    others = [np.roll(MASK, 1, axis) for axis in range(2)]
    expected = fusion.fuse([MASK, *others])
    with pytest.warns(UserWarning, match=r"read as 0 and 1: rater 1\."):
        np.testing.assert_array_equal(fusion.fuse([ACCEPTED[name], *others]), expected)
    np.testing.assert_allclose(
        fusion.consensus([ACCEPTED[name], others[0] * np.float32(0.5)], "average").posterior,
        (MASK + others[0] * 0.5) / 2,
    )


@pytest.mark.parametrize("name", ["-1/1", "NaN", "infinity", "complex", "RGB", "0/-1"])
def test_arrays_that_are_no_masks_are_refused_when_fused(name):
    for method in ("staple", "average", "majority"):
        with pytest.raises(InputError, match="rater 1"):
            fusion.fuse([REFUSED[name][0], MASK.astype(np.float32)], method)


def test_label_maps_with_rounding():
    labels = np.arange(24).reshape(2, 3, 4) % 3
    np.testing.assert_array_equal(fusion.fuse([labels * 1.0000153, labels, labels]), labels)


def test_one_note_for_many_masks():
    codings = {f"m{index}": coding_of(lambda: (MASK * np.uint8(255),), "m") for index in range(40)}
    codings["odd"] = coding_of(lambda: (MASK * np.float32(1.0000076),), "odd")
    note = coding_note(codings)
    assert note.count("read as 0 and 1") == 2
    assert "35 more" in note
    assert "odd" in note
    assert len(note) < 200
