"""One grid: the same rule and tolerance for axes in any order, tilted slices and rounded headers."""

import math

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from ivadomed_labelfusion.data.grid import GRID_TOLERANCE_MM, canonical_voxel_size_mm, check_on_grid, onto
from ivadomed_labelfusion.errors import InputError

AFFINE = np.array([[-0.5, 0.1, 0, 10], [0.1, 0.6, 0.02, -20], [0, -0.03, 5, 30], [0, 0, 0, 1.0]])
SHAPE = (7, 8, 5)


def image_of(affine=AFFINE, shape=SHAPE):
    data = np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)
    return nibabel.Nifti1Image(data, affine)


def shifted(distance, affine=AFFINE):
    moved = affine.copy()
    moved[0, 3] += distance
    return moved


def tilted(angle):
    affine = np.eye(4)
    affine[1, 1] = affine[2, 2] = math.cos(angle)
    affine[1, 2], affine[2, 1] = -math.sin(angle), math.sin(angle)
    return affine


def test_distance_is_that_of_the_worst_corner():
    assert onto(image_of(shifted(0.3)), image_of()).distance_mm == pytest.approx(0.3)
    turned = AFFINE.copy()
    turned[1, 2] += 0.1  # the farthest corner is 4.5 voxels along the third axis, the nearest -0.5
    assert onto(image_of(turned), image_of()).distance_mm == pytest.approx(0.45)


@pytest.mark.parametrize(("distance", "accepted"), [(0.9, True), (1.1, False)])
def test_the_tolerance_is_in_mm_whatever_the_voxel_size(distance, accepted):
    for size in (0.1, 1, 10):
        affine = np.diag([size, size, size, 1.0])
        image, like = image_of(shifted(distance * GRID_TOLERANCE_MM, affine)), image_of(affine)
        if accepted:
            check_on_grid(image, "a", like, "b")
        else:
            with pytest.raises(InputError):
                check_on_grid(image, "a", like, "b")


def test_refusal_shows_both_affines_names_and_advice():
    with pytest.raises(InputError) as caught:
        check_on_grid(image_of(shifted(0.3)), "rater2's mask", image_of(), "its image", advice="Do this.")
    for part in ("rater2's mask", "its image", "0.3 mm apart", " 10. ", " 10.3 ", "affine", "Do this."):
        assert part in str(caught.value)
    assert "prediction" not in str(caught.value)
    check_on_grid(image_of(shifted(0.3)), "a", image_of(), "b", tolerance_mm=0.31)
    with pytest.raises(InputError, match=r"\(7, 8, 6\) and \(7, 8, 5\)"):
        check_on_grid(image_of(shape=(7, 8, 6)), "a", image_of(), "b")


@pytest.mark.parametrize("rounding", [1e-4, -1e-4])
@pytest.mark.parametrize("angle", [45, -45, 135, 44.999, 30])
def test_slices_tilted_by_45_degrees_are_one_grid(angle, rounding):
    angle = math.radians(angle)
    image, like = image_of(tilted(angle + rounding)), image_of(tilted(angle - rounding))
    found = onto(image, like)
    assert found.is_same_axes
    assert found.distance_mm <= GRID_TOLERANCE_MM


@pytest.mark.parametrize("codes", ["LPS", "PIR", "SAL", "RAS", "IPL"])
@pytest.mark.parametrize("affine", [AFFINE, tilted(math.radians(45))])
def test_other_orientations_are_turned_without_resampling(codes, affine):
    like = image_of(affine)
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(codes))
    image = like.as_reoriented(turn)
    found = onto(image, like)
    assert found.distance_mm < 1e-5
    np.testing.assert_array_equal(found.turn(np.asanyarray(image.dataobj)), np.asanyarray(like.dataobj))


@settings(deadline=None, max_examples=60)
@given(
    order=st.permutations([0, 1, 2]),
    flips=st.tuples(*[st.sampled_from([1, -1])] * 3),
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 8)] * 3),
)
def test_any_order_of_axes_is_found_for_any_affine(order, flips, angles, spacing):
    affine = np.eye(4)
    affine[:3, :3] = nibabel.eulerangles.euler2mat(*angles) @ np.diag(spacing)
    like = image_of(affine)
    image = like.as_reoriented(np.column_stack([order, flips]))
    found = onto(image, like)
    assert found.distance_mm < 1e-4
    np.testing.assert_array_equal(found.turn(np.asanyarray(image.dataobj)), np.asanyarray(like.dataobj))


def test_flipped_without_its_affine_is_another_grid():
    assert onto(image_of(AFFINE @ np.diag([-1, 1, 1, 1])), image_of()).distance_mm > 1


def test_two_axes():
    assert onto(image_of(shape=(7, 8)), image_of(shape=(7, 8))).distance_mm == 0
    assert onto(image_of(shape=(8, 7)), image_of(shape=(7, 8))) is None


def test_canonical_voxel_size():
    affine = np.array([[0, 0, 3.0, 0], [0.5, 0, 0, 0], [0, -0.7, 0, 0], [0, 0, 0, 1]])
    assert canonical_voxel_size_mm(image_of(affine)) == pytest.approx((3, 0.5, 0.7))
