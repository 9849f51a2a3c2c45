"""Several classes, given as one binary mask per rater and class."""

import warnings

import numpy as np
import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion import METHODS, consensus_classes, fuse, fuse_classes, multilabel_staple, staple
from tests.builders.oracle import random_label_maps, random_masks

MAPS = random_label_maps(1, 4, (9, 10, 5), 3)
MASKS = np.stack([MAPS == 1, MAPS == 2], axis=1)  # (R, C, *spatial)


@pytest.mark.parametrize("method", ["staple", "majority", "intersection", "simple"])
def test_joint_is_the_fusion_of_label_maps(method):
    expected = fuse(MAPS, method)
    fused = fuse_classes(MASKS, method)
    assert fused.shape == (2, 9, 10, 5)
    assert fused.dtype == np.uint8
    np.testing.assert_array_equal(fused, [expected == 1, expected == 2])
    np.testing.assert_array_equal(fuse_classes(MASKS, method, soft=True), fuse(MAPS, method, soft=True)[1:])
    assert fused.sum(axis=0).max() <= 1


@pytest.mark.parametrize("method", METHODS)
def test_per_class_is_every_class_by_itself(method):
    fused = fuse_classes(MASKS, method, multiclass="per_class")
    np.testing.assert_array_equal(fused, [fuse(MASKS[:, c], method) for c in range(2)])


@pytest.mark.parametrize("method", ["average", "union"])
def test_average_and_union_are_per_class_even_jointly(method):
    np.testing.assert_array_equal(fuse_classes(MASKS, method), fuse_classes(MASKS, method, multiclass="per_class"))


@pytest.mark.parametrize("method", METHODS)
def test_one_class_is_binary_fusion(method):
    masks = random_masks(2, 3, (7, 8, 3))
    for multiclass in ("joint", "per_class"):
        np.testing.assert_array_equal(
            fuse_classes(masks[:, None], method, multiclass=multiclass)[0], fuse(masks, method)
        )


def test_overlapping_classes_count_for_the_first_with_a_warning():
    masks = MASKS.copy()
    masks[1, 0, :2, 0, 0] = masks[1, 1, :2, 0, 0] = True
    maps = MAPS.copy()
    maps[1, :2, 0, 0] = 1
    with pytest.warns(UserWarning, match="class listed first: second 2"):
        fused = fuse_classes(masks, names=["first", "second", "third", "fourth"])
    expected = multilabel_staple(maps).labels()
    np.testing.assert_array_equal(fused, [expected == 1, expected == 2])
    with pytest.warns(UserWarning, match="listed first"):
        result = consensus_classes(masks)
    assert result.n_overlap.tolist() == [0, 2, 0, 0]
    assert result.notes
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fuse_classes(masks, multiclass="per_class")


@pytest.mark.parametrize("method", METHODS)
def test_empty_and_absent_classes(method):
    empty = np.zeros((3, 2, 4, 5))
    assert not fuse_classes(empty, method).any()
    first_only = empty.copy()
    first_only[:, 0, 1:3] = 1
    fused = fuse_classes(first_only, method)
    np.testing.assert_array_equal(fused[0], first_only[0, 0])
    assert not fused[1].any()
    second_only = first_only[:, ::-1]
    np.testing.assert_array_equal(fuse_classes(second_only, method), fused[::-1])
    assert fuse_classes(second_only, method, soft=True).shape == (2, 4, 5)


def test_dtypes_orders_and_nested_sequences():
    expected = fuse_classes(MASKS)
    nested = [[np.asfortranarray(mask.astype(np.float64)) for mask in of_rater] for of_rater in MASKS]
    np.testing.assert_array_equal(fuse_classes(nested), expected)
    nested[0][1] = np.ascontiguousarray(nested[0][1])
    np.testing.assert_array_equal(fuse_classes(nested), expected)
    with pytest.warns(UserWarning, match="0 and 255"):
        np.testing.assert_array_equal(fuse_classes(MASKS * np.uint8(255)), expected)


def test_regions_and_weights():
    union = MASKS.any(axis=(0, 1))
    np.testing.assert_array_equal(fuse_classes(MASKS, region="union")[:, union], fuse_classes(MASKS[..., union]))
    np.testing.assert_array_equal(fuse_classes(MASKS, weights=[1, 2, 1, 1]), fuse_classes(MASKS[[0, 1, 1, 2, 3]]))


def test_per_class_results_tell_each_raters_performance():
    result = consensus_classes(MASKS, multiclass="per_class")
    assert not result.is_joint
    np.testing.assert_array_equal(result.results[1].sensitivity, staple(MASKS[:, 1]).sensitivity)
    assert consensus_classes(MASKS).results[0].confusion.shape == (4, 3, 3)


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="multiclass must be one of"):
        fuse_classes(MASKS, multiclass="both")
    with pytest.raises(InputError, match="same classes"):
        fuse_classes([list(MASKS[0]), list(MASKS[1][:1])])
    with pytest.raises(InputError, match="0, 1, 2"):
        fuse_classes(np.stack([MAPS, MAPS], axis=1))
    with pytest.raises(InputError, match="must be binary"):
        fuse_classes(MAPS[:, None])
    with pytest.raises(InputError, match="one shape"):
        fuse_classes([[MASKS[0, 0], MASKS[0, 1]], [MASKS[1, 0], MASKS[1, 1, :3]]])
