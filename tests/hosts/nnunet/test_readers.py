"""What nnU-Net's own readers and writers leave behind is read in the image's axes."""

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

pytest.importorskip("nnunetv2")

from ivadomed_labelfusion.data.masks import to_canonical
from ivadomed_labelfusion.data.predictions import PredictionFiles, load_prediction

AFFINE = np.diag([0.8, 1.0, 2.0, 1.0])


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR"])
@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO", "NibabelIOWithReorient"])
def test_predictions_written_by_nnunet_lie_on_the_image(tmp_path, reader, codes):
    from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name

    rng = np.random.default_rng(0)
    image = nibabel.Nifti1Image(rng.random((9, 7, 5)).astype(np.float32), AFFINE)
    image = image.as_reoriented(ornt_transform(io_orientation(AFFINE), axcodes2ornt(codes)))
    path = tmp_path / "image.nii.gz"
    nibabel.save(image, path)
    rw = recursive_find_reader_writer_by_name(reader)()
    data, properties = rw.read_images([str(path)])
    # a network that answers with the image itself
    probabilities = np.concatenate([1 - data, data])
    np.savez(tmp_path / "case.npz", probabilities=probabilities)
    rw.write_seg(probabilities.argmax(axis=0).astype(np.uint8), str(tmp_path / "case.nii.gz"), properties)
    found = PredictionFiles((tmp_path / "case.nii.gz",), tmp_path / "case.npz")
    like = nibabel.load(path)
    expected = to_canonical(np.asanyarray(like.dataobj)[None], like)
    np.testing.assert_allclose(load_prediction(found, ["lesion"], like), expected, atol=1e-6)
    # the label map alone
    labels = load_prediction(PredictionFiles((tmp_path / "case.nii.gz",)), ["lesion"], like)
    np.testing.assert_array_equal(labels, expected > 0.5)
