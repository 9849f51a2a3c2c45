"""Lesion-wise detection and surface distances on hand-made masks and against SimpleITK."""

import numpy as np
import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics import lesion_detection, surface_distances


def blocks(*corners, size=4, shape=(30, 30, 10)):
    mask = np.zeros((1, *shape), bool)
    for corner in corners:
        mask[(0, *(slice(start, start + size) for start in corner))] = True
    return mask


def test_detected_missed_and_false_lesions():
    reference = blocks((1, 1, 1), (10, 10, 1), (20, 20, 1))
    prediction = blocks((1, 1, 1), (10, 11, 1), (20, 1, 1))
    (found,) = lesion_detection(prediction, reference, class_axis=0)
    assert (found.n_reference, found.n_prediction) == (3, 3)
    assert found.true_positive_rate == pytest.approx(2 / 3)
    assert found.false_detection_rate == pytest.approx(1 / 3)


def test_overlap_rule():
    reference, prediction = blocks((1, 1, 1)), blocks((4, 1, 1))  # a quarter of each is shared
    for needed, rate in ((0.25, 1.0), (0.26, 0.0)):
        (found,) = lesion_detection(prediction, reference, min_overlap=needed, class_axis=0)
        assert (found.true_positive_rate, found.false_detection_rate) == (rate, 1 - rate)
    (found,) = lesion_detection(blocks((10, 10, 1)), reference, min_overlap=0, class_axis=0)
    assert found.true_positive_rate == 0  # a fraction of 0 still asks for one voxel


def test_lesions_connect_over_edges_not_corners():
    edge, corner = np.zeros((1, 4, 4, 4), bool), np.zeros((1, 4, 4, 4), bool)
    edge[0, 1, 1, 1] = edge[0, 2, 2, 1] = True
    corner[0, 1, 1, 1] = corner[0, 2, 2, 2] = True
    assert lesion_detection(edge, edge, class_axis=0)[0].n_reference == 1
    assert lesion_detection(corner, corner, class_axis=0)[0].n_reference == 2


def test_no_lesions():
    empty, some = blocks(), blocks((1, 1, 1))
    values = [
        (found.true_positive_rate, found.false_detection_rate)
        for prediction, reference in ((empty, empty), (empty, some), (some, empty))
        for found in lesion_detection(prediction, reference, class_axis=0)
    ]
    assert values == [(1, 0), (0, 0), (0, 1)]
    with pytest.raises(InputError, match="min_overlap"):
        lesion_detection(empty, empty, min_overlap=1.5, class_axis=0)


def itk_distances(first, second, spacing):
    """Surface to surface distances as in SimpleITK's own notebook on segmentation evaluation."""
    sitk = pytest.importorskip("SimpleITK")
    images = []
    for mask in (first, second):
        image = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
        image.SetSpacing(spacing[::-1])
        images.append(image)
    surfaces = [sitk.GetArrayFromImage(sitk.LabelContour(image, fullyConnected=False)) > 0 for image in images]
    maps = []
    for surface in surfaces:
        image = sitk.GetImageFromArray(surface.astype(np.uint8))
        image.SetSpacing(spacing[::-1])
        distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
        maps.append(np.abs(sitk.GetArrayFromImage(distance)))
    return maps[1][surfaces[0]], maps[0][surfaces[1]]


def test_surfaces_agree_with_simple_itk():
    ndimage = pytest.importorskip("scipy.ndimage")
    spacing = (0.5, 1.0, 2.5)
    rng = np.random.default_rng(0)
    for _ in range(3):
        first, second = (ndimage.gaussian_filter(rng.standard_normal((20, 22, 18)), 2.5) > 0.03 for _ in range(2))
        to_second, to_first = itk_distances(first, second, spacing)
        (ours,) = surface_distances(first[None], second[None], voxel_size_mm=spacing, tolerance_mm=1.0, class_axis=0)
        both = np.concatenate([to_second, to_first])
        expected = max(np.percentile(to_second, 95), np.percentile(to_first, 95))
        assert ours.hausdorff_95_mm == pytest.approx(expected, abs=1e-5)
        assert ours.average_mm == pytest.approx(both.mean(), abs=1e-5)
        assert ours.surface_dice == pytest.approx((both <= 1.0).mean(), abs=1e-9)


def test_shifted_voxel_is_one_voxel_size_away():
    first, second = np.zeros((2, 1, 5, 5, 5), bool)
    first[0, 2, 2, 2] = second[0, 2, 2, 3] = True
    (found,) = surface_distances(first, second, voxel_size_mm=(1, 1, 3), tolerance_mm=2.9, class_axis=0)
    assert (found.hausdorff_95_mm, found.average_mm, found.surface_dice) == (3, 3, 0)
    (found,) = surface_distances(first, second, voxel_size_mm=(1, 1, 3), tolerance_mm=3, class_axis=0)
    assert found.surface_dice == 1


def test_empty_surfaces_and_bad_voxel_sizes():
    empty, full = np.zeros((1, 3, 3), bool), np.ones((1, 3, 3), bool)
    (found,) = surface_distances(empty, empty, voxel_size_mm=(1, 1), class_axis=0)
    assert (found.hausdorff_95_mm, found.average_mm, found.surface_dice) == (0, 0, 1)
    for pair in ((empty, full), (full, empty)):
        (found,) = surface_distances(*pair, voxel_size_mm=(1, 1), class_axis=0)
        assert np.isnan(found.hausdorff_95_mm)
        assert np.isnan(found.average_mm)
        assert found.surface_dice == 0
    for size in ((1,), (1, 0), (1, np.nan)):
        with pytest.raises(InputError, match="voxel_size_mm"):
            surface_distances(full, full, voxel_size_mm=size, class_axis=0)
    with pytest.raises(InputError, match="tolerance"):
        surface_distances(full, full, voxel_size_mm=(1, 1), tolerance_mm=-1, class_axis=0)
