"""nnU-Net's probabilities are read in the axes that its reader left them in, or not at all."""

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from ivadomed_labelfusion.data.predictions import PredictionFiles, load_prediction
from ivadomed_labelfusion.errors import InputError

AFFINE = np.diag([0.5, 0.7, 2, 1.0])


def pair(folder, name, classes, codes, *, reoriented, confidence=0.9):
    """Write label map and archive of classes ``(C, *spatial)`` in RAS; return what is found, right, the image."""
    probabilities = np.concatenate([1 - classes.sum(axis=0, keepdims=True), classes]).astype(np.float32)
    probabilities = confidence * probabilities + (1 - confidence) / len(probabilities)
    labels = probabilities.argmax(axis=0).astype(np.uint8)
    turn = ornt_transform(io_orientation(AFFINE), axcodes2ornt(codes))
    image = nibabel.Nifti1Image(labels, AFFINE).as_reoriented(turn)
    nibabel.save(image, folder / f"{name}.nii.gz")
    own = [np.asanyarray(nibabel.Nifti1Image(p, AFFINE).as_reoriented(turn).dataobj) for p in probabilities]
    stored = probabilities if reoriented else np.stack(own)
    np.savez(folder / f"{name}.npz", probabilities=stored.transpose(0, 3, 2, 1))
    return PredictionFiles((folder / f"{name}.nii.gz",), folder / f"{name}.npz"), probabilities[1:], image


def classes(n, shape=(8, 6, 4)):
    rng = np.random.default_rng(n)
    label = rng.integers(0, n + 1, shape)
    return np.stack([label == index + 1 for index in range(n)]).astype(float)


@pytest.mark.parametrize("n_classes", [1, 2])
@pytest.mark.parametrize("reoriented", [False, True])
@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPI", "SAR", "PIR"])
def test_axes_are_those_that_the_label_map_has(tmp_path, codes, reoriented, n_classes):
    found, right, image = pair(tmp_path, "a", classes(n_classes), codes, reoriented=reoriented)
    np.testing.assert_allclose(load_prediction(found, ["x", "y"][:n_classes], image), right, atol=1e-6)


@pytest.mark.parametrize("reoriented", [False, True])
def test_an_empty_label_map_is_read_as_the_other_pairs_of_the_folder(tmp_path, reoriented):
    empty, right, image = pair(tmp_path, "a", classes(1), "LAS", reoriented=reoriented, confidence=0)
    # all probabilities are equal: nothing to tell, and nothing to be wrong
    np.testing.assert_allclose(load_prediction(empty, ["x"], image), right, atol=1e-6)
    faint = 0.3 * classes(1)
    faint[:, :4] = 0
    empty, right, image = pair(tmp_path, "b", faint, "LAS", reoriented=reoriented)
    assert not np.asanyarray(image.dataobj).any()
    with pytest.raises(InputError, match="no other pair in the folder tells"):
        load_prediction(empty, ["x"], image)
    folder = tmp_path / "more"
    folder.mkdir()
    empty, right, image = pair(folder, "b", faint, "LAS", reoriented=reoriented)
    pair(folder, "c", classes(1), "LPI", reoriented=reoriented)
    np.testing.assert_allclose(load_prediction(empty, ["x"], image), right, atol=1e-6)


def test_probabilities_of_another_label_map_are_refused(tmp_path):
    found, _, image = pair(tmp_path, "a", classes(1), "LAS", reoriented=True)
    other = np.roll(np.asanyarray(image.dataobj), 1, 1)
    nibabel.save(nibabel.Nifti1Image(other, image.affine), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match="not that label map"):
        load_prediction(found, ["x"], image)
