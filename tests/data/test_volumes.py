"""Volumes on a known grid: reading several, comparing, writing whole and in slabs."""

import gzip

import nibabel
import numpy as np
import pytest

from ivadomed_labelfusion.data.grid import spatial_shape
from ivadomed_labelfusion.data.masks import open_masks
from ivadomed_labelfusion.data.volumes import load_image, save_nifti, slab_writer, voxel_size_mm
from ivadomed_labelfusion.errors import InputError

AFFINE = np.array([[-0.5, 0.1, 0, 10], [0.1, 0.6, 0.02, -20], [0, -0.03, 5, 30], [0, 0, 0, 1.0]])


def volume(dtype=np.uint8, shape=(7, 8, 5), seed=0):
    return np.random.default_rng(seed).integers(0, 2, shape).astype(dtype)


def image_of(data, affine=AFFINE):
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    return image


def write(path, data, affine=AFFINE):
    image_of(data, affine).to_filename(path)
    return path


class TestSaveNifti:
    @pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
    def test_keeps_grid_and_values(self, tmp_path, extension):
        like = image_of(volume())
        like.header["descrip"], like.header["cal_max"] = b"something else", 9
        like.header.set_slope_inter(3, 1)
        data = volume(np.float32) * 0.25
        save_nifti(tmp_path / f"out{extension}", data, like)
        image = nibabel.load(tmp_path / f"out{extension}")
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), data)
        assert image.get_data_dtype() == np.float32
        np.testing.assert_allclose(image.affine, like.affine, atol=1e-5)
        assert image.header.get_xyzt_units() == ("mm", "sec")
        assert image.header["descrip"] == b""
        assert image.header["cal_max"] == 0

    def test_equal_input_gives_equal_bytes(self, tmp_path):
        for name in ("a", "b"):
            save_nifti(tmp_path / f"{name}.nii.gz", volume(), image_of(volume()))
        assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()

    def test_refuses_to_overwrite_and_other_names(self, tmp_path):
        path = write(tmp_path / "a.nii", volume())
        before = path.read_bytes()
        with pytest.raises(InputError, match="--overwrite"):
            save_nifti(path, volume(), image_of(volume()))
        assert path.read_bytes() == before
        with pytest.raises(InputError, match=r"\.nii or \.nii\.gz"):
            save_nifti(tmp_path / "a.mgz", volume(), image_of(volume()))

    def test_bool_becomes_uint8(self, tmp_path):
        save_nifti(tmp_path / "a.nii", volume(bool), image_of(volume()))
        assert nibabel.load(tmp_path / "a.nii").get_data_dtype() == np.uint8


class TestSlabWriter:
    @pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    @pytest.mark.parametrize("shape", [(7, 8, 5), (7, 8), (7, 8, 5, 3)])
    def test_writes_what_save_nifti_writes(self, tmp_path, extension, dtype, shape):
        data, like = volume(dtype, shape), image_of(volume())
        save_nifti(tmp_path / f"whole{extension}", data, like)
        with slab_writer(tmp_path / f"slabs{extension}", shape, dtype, like) as append:
            for start in range(0, shape[-1], 2):
                append(data[..., start : start + 2])
        written = [(tmp_path / f"{name}{extension}").read_bytes() for name in ("whole", "slabs")]
        if extension == ".nii.gz":
            written = [gzip.decompress(content) for content in written]
        assert written[0] == written[1]

    def test_leaves_nothing_when_it_fails(self, tmp_path):
        with (
            pytest.raises(RuntimeError, match="stop"),
            slab_writer(tmp_path / "a.nii", (2, 2), np.uint8, image_of(volume())),
        ):
            raise RuntimeError("stop")
        assert list(tmp_path.iterdir()) == []


class TestGrids:
    def test_spatial_shape_and_voxel_size(self):
        assert spatial_shape(image_of(volume(shape=(7, 8, 1, 1, 1)))) == (7, 8, 1)
        assert spatial_shape(image_of(volume(shape=(7, 8)))) == (7, 8)
        np.testing.assert_allclose(voxel_size_mm(image_of(volume())), np.linalg.norm(AFFINE[:3, :3], axis=0), rtol=1e-6)


class TestOpenMasks:
    @pytest.mark.parametrize("lazy", [False, True])
    def test_dtype_on_disk_and_scaling(self, tmp_path, lazy):
        plain = write(tmp_path / "plain.nii.gz", volume(np.int16))
        scaled = image_of(volume(np.int16) * 1000)
        scaled.header.set_slope_inter(0.001, 0)
        raw = image_of(volume(np.int16) * 1000)
        scaled = nibabel.Nifti1Image(raw.dataobj, AFFINE)
        scaled.header.set_data_dtype(np.int16)
        scaled.header.set_slope_inter(0.001, 0)
        with open(tmp_path / "scaled.nii", "wb") as file:
            header = scaled.header.copy()
            header["scl_slope"], header["scl_inter"], header["vox_offset"] = 0.001, 0, 352
            header.write_to(file)
            file.write((volume(np.int16) * 1000).tobytes(order="F"))
        _, arrays = open_masks([plain, tmp_path / "scaled.nii"], lazy=lazy)
        assert arrays[0].dtype == np.int16
        assert np.dtype(arrays[1].dtype).kind == "f"
        for array in arrays:
            np.testing.assert_allclose(array[..., 0:5], volume())

    @pytest.mark.parametrize("codes", ["LPS", "PIR", "SAL"])
    def test_other_orientations_are_turned_without_resampling(self, tmp_path, codes):
        from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

        first = image_of(volume())
        first.to_filename(tmp_path / "first.nii")
        turn = ornt_transform(io_orientation(AFFINE), axcodes2ornt(codes))
        first.as_reoriented(turn).to_filename(tmp_path / "turned.nii")
        image, arrays = open_masks([tmp_path / "first.nii", tmp_path / "turned.nii"])
        np.testing.assert_array_equal(arrays[1], volume())
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
        with pytest.raises(InputError, match="slab by slab"):
            open_masks([tmp_path / "first.nii", tmp_path / "turned.nii"], lazy=True)

    def test_flipped_without_its_affine_is_another_grid(self, tmp_path):
        write(tmp_path / "a.nii", volume())
        write(tmp_path / "b.nii", volume(), AFFINE @ np.diag([-1, 1, 1, 1]))
        with pytest.raises(InputError, match=r"a\.nii(.|\n)*b\.nii"):
            open_masks([tmp_path / "a.nii", tmp_path / "b.nii"])

    def test_other_formats(self, tmp_path):
        nibabel.MGHImage(volume(), AFFINE.astype(np.float32)).to_filename(tmp_path / "a.mgz")
        nibabel.Nifti2Image(volume(), AFFINE).to_filename(tmp_path / "b.nii")
        image, arrays = open_masks([tmp_path / "a.mgz", tmp_path / "b.nii"])
        np.testing.assert_array_equal(arrays[0], arrays[1])
        save_nifti(tmp_path / "c.nii", volume(), image)
        np.testing.assert_allclose(nibabel.load(tmp_path / "c.nii").affine, AFFINE, atol=1e-5)

    def test_trailing_axes_of_length_one(self, tmp_path):
        write(tmp_path / "a.nii", volume())
        write(tmp_path / "b.nii", volume()[..., None])
        for lazy in (False, True):
            arrays = open_masks([tmp_path / "a.nii", tmp_path / "b.nii"], lazy=lazy)[1]
            np.testing.assert_array_equal(arrays[1][..., 1:4], volume()[..., 1:4])

    def test_bad_files(self, tmp_path):
        with pytest.raises(InputError, match="does not exist"):
            open_masks([tmp_path / "none.nii"])
        (tmp_path / "text.nii").write_text("no image")
        with pytest.raises(InputError, match=r"text\.nii"):
            load_image(tmp_path / "text.nii")
        write(tmp_path / "several.nii", volume(shape=(4, 4, 4, 3)))
        with pytest.raises(InputError, match="one volume"):
            open_masks([tmp_path / "several.nii"])
        whole = write(tmp_path / "whole.nii.gz", volume(shape=(40, 40, 40))).read_bytes()
        (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match="damaged"):
            open_masks([tmp_path / "cut.nii.gz"])
        with pytest.raises(InputError, match="damaged"):
            open_masks([tmp_path / "cut.nii.gz"], lazy=True)[1][0][..., 30:40]
