"""Ties of even panels in averages that are binarised: two classes, four raters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.ties import settle_ties


def masks_of(labels):
    """``(R, voxels)`` labels 0, 1 (GM), 2 (WM) to ``(R, 2, voxels)`` masks."""
    labels = np.asarray(labels)
    return np.stack([labels == 1, labels == 2], axis=1).astype(np.uint8)


# columns: GM:WM 2:2, GM:background 2:2, WM:background 2:2, GM 2 with 1:1, GM 3, all background, WM 4
CASES = np.array([[1, 1, 2, 1, 1, 0, 2], [1, 1, 2, 1, 1, 0, 2], [2, 0, 0, 2, 1, 0, 2], [2, 0, 0, 0, 0, 0, 2]])


@pytest.mark.parametrize(
    ("ties", "expected"),
    [
        ("background", [0, 0, 0, 1, 1, 0, 2]),
        ("lowest", [1, 0, 0, 1, 1, 0, 2]),
        ("foreground", [1, 1, 2, 1, 1, 0, 2]),
    ],
)
def test_two_to_two_goes_to_one_label(ties, expected):
    average = fusion.fuse_classes(masks_of(CASES), "average")
    # what ivadomed does with them
    both = (average >= 0.5).all(axis=0)
    assert both.tolist() == [True] + [False] * 6
    binary = settle_ties(average, ties) >= 0.5
    assert (binary[0] + 2 * binary[1]).tolist() == expected
    # the paper's "majority"
    majority = fusion.fuse_classes(masks_of(CASES), "majority", ties=ties)
    np.testing.assert_array_equal(binary, majority)


@given(st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=12))
def test_a_settled_average_is_the_majority_of_four_raters(columns):
    masks = masks_of(np.array(columns).T)
    average = fusion.fuse_classes(masks, "average")
    settled = settle_ties(average)
    np.testing.assert_array_equal(settled >= 0.5, fusion.fuse_classes(masks, "majority", ties="background"))
    assert np.abs(settled - average).max() < 1e-7


def test_one_class_and_odd_panels():
    average = np.array([[0.0, 0.25, 0.5, 0.75, 1.0]], np.float32)
    assert (settle_ties(average) >= 0.5).tolist() == [[False, False, False, True, True]]
    assert (settle_ties(average, "foreground") >= 0.5).tolist() == [[False, False, True, True, True]]
    odd = np.array([[0, 1 / 3, 2 / 3, 1]], np.float32)
    np.testing.assert_array_equal(settle_ties(odd), odd)
    assert average[0, 2] == 0.5  # the argument is not touched


def test_errors_and_unknown_rules():
    average = np.array([[0.5, 0.5, 1.0]], np.float32)
    with pytest.raises(InputError, match="2 voxels have equally many votes"):
        settle_ties(average, "error")
    np.testing.assert_array_equal(settle_ties(average[:, 2:], "error"), average[:, 2:])
    with pytest.raises(InputError, match="ties must be one of"):
        settle_ties(average, "coin")
