"""Packed samples are the samples, in memory and on disk."""

import numpy as np
import pytest

from ivadomed_labelfusion.hosts.ivadomed2.speed.compact import PackedItems


def pair(rng, shape=(7, 5)):
    """Return what ivadomed loads for one slice: two channels, a binary mask of two raters and a soft one."""
    binary = [(rng.random(shape) > 0.8).astype(np.uint8) for _ in range(2)]
    images = [rng.random(shape).astype(np.float32) for _ in range(2)]
    return {"input": images, "gt": [binary, rng.random(shape)], "input_metadata": [1, 2], "gt_metadata": [3]}


@pytest.mark.parametrize("limit", [None, 0, 600])
def test_items_come_back_as_they_were_added(limit):
    rng = np.random.default_rng(0)
    added = [pair(rng) for _ in range(4)]
    items = PackedItems(limit)
    for number, entry in enumerate(added):
        region = {**entry, "gt": [np.ones((7, 5))]} if number % 2 else None
        items.append((entry, region))
    for number, ((found, region), entry) in enumerate(zip(items, added, strict=True)):
        for ours, theirs in zip(found["input"], entry["input"], strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
            assert isinstance(ours, np.memmap) == (limit == 0 or (limit == 600 and number >= 2))
        np.testing.assert_array_equal(found["gt"][0], entry["gt"][0])
        np.testing.assert_array_equal(found["gt"][1], entry["gt"][1])
        assert (region is not None) == bool(number % 2)


def test_what_is_written_to_an_image_does_not_reach_the_file():
    items = PackedItems(0)
    items.append((pair(np.random.default_rng(1)), None))
    before = items[0][0]["input"][0].copy()
    copied = np.memmap(items._file, np.float32, "r", 0, before.shape)
    items[0][0]["input"][0][:] = 7
    np.testing.assert_array_equal(copied, before)
