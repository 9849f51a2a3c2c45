"""What the loader feeds to the network, against the files it was made from."""

import nibabel
import numpy as np
import pytest
from ivadomed.loader import utils as imed_loader_utils

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2.training import EpochDataLoader
from tests.builders.loading import dataset
from tests.builders.tiny import make_config, make_dataset, suffix

SHAPE = (24, 20, 4)
PATCHES = {"default_model__length_2D": [8, 8], "default_model__stride_2D": [8, 8]}


def plain(template, data, folder, **changes):
    """Return a configuration without augmentation and with a crop that keeps the whole slice."""
    config = make_config(template, data, folder / "out", crop=SHAPE[:2], **changes)
    del config["transformation"]["RandomAffine"]
    return config


def volume_config(template, data, folder, **changes):
    """Return a configuration for 3D subvolumes."""
    config = plain(template, data, folder, **changes)
    config["default_model"].update(
        name="SoftSegModified3DUNet" if config["loader_parameters"]["soft_gt"] else "Unet",
        is_2d=False,
        length_3D=[32, 16, 16],
        stride_3D=[32, 16, 16],
    )
    config["transformation"]["CenterCrop"]["size"] = [32, 16, 16]
    return config


def raters_of(folder, subject, label="lesion", contrast="FLAIR", n_raters=3):
    """Read a subject's masks, (R, *spatial)."""
    anat = folder / "derivatives" / "labels" / subject / "anat"
    return np.stack(
        [
            np.asanyarray(nibabel.load(anat / f"{subject}_{contrast}{suffix(rater, label)}.nii.gz").dataobj)
            for rater in range(1, n_raters + 1)
        ]
    )


def where(sample):
    """Return (subject, slice index, coordinates) of a sample."""
    metadata = sample["input_metadata"][0]
    return metadata["input_filenames"].split("/")[-3], metadata["slice_index"], metadata["coord"]


@pytest.mark.parametrize("method", ["staple", "average", "majority", "intersection", "union"])
@pytest.mark.parametrize("changes", [{}, PATCHES], ids=["slices", "patches"])
def test_fused_slices_and_patches_equal_the_offline_fusion(plugin, tmp_path, method, changes):
    data = make_dataset(tmp_path / "data", n_subjects=3)
    config = plain("ms_softseg_average", data, tmp_path, transformation__FuseRaters={"method": method}, **changes)
    samples = dataset(config, tmp_path)
    assert len(samples) == 3 * SHAPE[2] * (9 if changes else 1)
    for index in range(len(samples)):
        sample = samples[index]
        subject, z, (x0, x1, y0, y1) = where(sample)
        expected = fusion.fuse(raters_of(data, subject), method)[x0:x1, y0:y1, z]
        np.testing.assert_allclose(sample["gt"][0].numpy(), expected, atol=1e-6)


def test_fused_subvolumes_equal_the_offline_fusion(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2, shape=(32, 32, 16))
    config = volume_config("ms_softseg_average", data, tmp_path)
    config["transformation"]["CenterCrop"]["size"] = [32, 32, 16]
    samples = dataset(config, tmp_path)
    assert len(samples) == 4
    for index in range(len(samples)):
        sample = samples[index]
        subject, _, (x0, x1, y0, y1, z0, z1) = where(sample)
        expected = raters_of(data, subject).mean(0)[x0:x1, y0:y1, z0:z1]
        np.testing.assert_allclose(sample["gt"][0].numpy(), expected, atol=1e-6)


def test_several_classes_are_fused_jointly(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2, labels=("GM", "WM"), contrasts=("T2starw",))
    config = plain("scgm_softseg_staple", data, tmp_path, labels=("GM", "WM"), contrasts=("T2starw",))
    samples = dataset(config, tmp_path)
    masks = np.stack([raters_of(data, "sub-01", label, "T2starw") for label in ("GM", "WM")], axis=1)
    expected = fusion.fuse_classes(masks, "staple")
    sample = samples[1]
    assert where(sample)[:2] == ("sub-01", 1)
    np.testing.assert_array_equal(sample["gt"].numpy(), expected[..., 1])


def rater_code(subject, rater, label_index, shape):
    """Fill a mask so that the number of its first column's voxels is the rater."""
    mask = np.zeros(shape)
    mask[4, 4 : 4 + rater] = 1
    return mask


def coded(tmp_path, template="scgm_softseg_random", n_raters=4, n_subjects=4, **changes):
    """Return a dataset in which every mask tells its rater."""
    data = make_dataset(
        tmp_path / "data",
        n_subjects=n_subjects,
        n_raters=n_raters,
        labels=("GM", "WM"),
        contrasts=("T2starw",),
        rater_value=rater_code,
    )
    return plain(template, data, tmp_path, n_raters=n_raters, labels=("GM", "WM"), contrasts=("T2starw",), **changes)


def drawn(samples):
    """Return the rater of each class of each sample, (samples, classes)."""
    return np.array([samples[index]["gt"].numpy().sum(axis=(1, 2)) for index in range(len(samples))]).astype(int)


@pytest.mark.parametrize("changes", [{}, {"default_model__length_2D": [24, 20], "default_model__stride_2D": [8, 8]}])
def test_a_draw_is_one_person_for_every_class(plugin, tmp_path, changes):
    samples = dataset(coded(tmp_path, **changes), tmp_path)
    for _ in range(5):
        samples.start_epoch()
        raters = drawn(samples)
        assert (raters[:, 0] == raters[:, 1]).all()
        assert set(raters[:, 0]) <= {1, 2, 3, 4}


def test_a_draw_is_one_person_in_subvolumes(plugin, tmp_path):
    data = make_dataset(
        tmp_path / "data", labels=("GM", "WM"), contrasts=("T2starw",), shape=(32, 16, 16), rater_value=rater_code
    )
    config = volume_config("scgm_softseg_random", data, tmp_path, labels=("GM", "WM"), contrasts=("T2starw",))
    samples = dataset(config, tmp_path)
    raters = np.array([samples[index]["gt"].numpy()[..., 0].sum(axis=(1, 2)) for index in range(len(samples))])
    assert (raters[:, 0] == raters[:, 1]).all()


def test_training_draws_change_with_the_epoch_and_cover_all_raters(plugin, tmp_path):
    samples = dataset(coded(tmp_path), tmp_path)
    seen = []
    for _ in range(30):
        samples.start_epoch()
        seen.append(drawn(samples)[:, 0])
    assert not (np.array(seen) == seen[0]).all()
    counts = np.bincount(np.concatenate(seen), minlength=5)[1:]
    # 480 uniform draws of 4: 120 each, standard deviation 9.5
    assert (np.abs(counts - 120) < 45).all()


def test_validation_draws_are_the_same_in_every_epoch(plugin, tmp_path):
    samples = dataset(coded(tmp_path), tmp_path, "validation")
    first = drawn(samples)
    for _ in range(3):
        samples.start_epoch()
        np.testing.assert_array_equal(drawn(samples), first)


def test_validation_can_be_the_average(plugin, tmp_path):
    config = coded(tmp_path, transformation__SampleRater={"seed": 1, "validation": "average"})
    samples = dataset(config, tmp_path, "validation")
    np.testing.assert_allclose(samples[0]["gt"][0, 4, 4:8], [1, 0.75, 0.5, 0.25])


def test_the_same_seed_gives_the_same_raters_and_another_seed_others(plugin, tmp_path):
    config = coded(tmp_path)
    first = drawn(dataset(config, tmp_path))
    np.testing.assert_array_equal(drawn(dataset(config, tmp_path)), first)
    config["transformation"]["SampleRater"]["seed"] = 2
    assert not np.array_equal(drawn(dataset(config, tmp_path)), first)


@pytest.mark.parametrize("workers", [1, 2])
def test_draws_do_not_depend_on_the_number_of_workers(plugin, tmp_path, workers):
    config = coded(tmp_path)

    def epochs(n_workers):
        loader = EpochDataLoader(
            dataset(config, tmp_path), batch_size=3, collate_fn=imed_loader_utils.imed_collate, num_workers=n_workers
        )
        return [np.concatenate([batch["gt"].sum(dim=(2, 3)).numpy() for batch in loader]) for _ in range(3)]

    for alone, shared in zip(epochs(0), epochs(workers), strict=True):
        np.testing.assert_array_equal(alone, shared)


def test_unit_volume_shares_a_draw_among_the_slices(plugin, tmp_path):
    config = coded(tmp_path, transformation__SampleRater={"unit": "volume", "seed": 1})
    samples = dataset(config, tmp_path)
    volumes = []
    for _ in range(10):
        samples.start_epoch()
        raters = drawn(samples)[:, 0].reshape(-1, SHAPE[2])
        assert (raters == raters[:, :1]).all()
        volumes.append(raters[:, 0])
    assert len(np.unique(np.concatenate(volumes))) == 4


def test_balanced_shows_every_rater_once_before_any_repeats(plugin, tmp_path):
    config = coded(tmp_path, transformation__SampleRater={"policy": "balanced", "seed": 1})
    samples = dataset(config, tmp_path)
    samples.plan.epoch = 3
    seen = []
    for _ in range(4):
        samples.start_epoch()
        seen.append(drawn(samples)[:, 0])
    np.testing.assert_array_equal(np.sort(seen, axis=0), np.tile([[1], [2], [3], [4]], len(samples)))


def test_weights_of_zero_are_never_drawn(plugin, tmp_path):
    config = coded(tmp_path, transformation__SampleRater={"policy": "weighted", "weights": [0, 1, 0, 3], "seed": 1})
    samples = dataset(config, tmp_path)
    raters = []
    for _ in range(10):
        samples.start_epoch()
        raters.append(drawn(samples)[:, 0])
    counts = np.bincount(np.concatenate(raters), minlength=5)
    assert counts[1] == counts[3] == 0
    assert 2 < counts[4] / counts[2] < 4.5


def test_staple_weights_follow_youdens_index(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    config = plain(
        "ms_softseg_random", data, tmp_path, transformation__SampleRater={"policy": "weighted", "weights": "staple"}
    )
    samples = dataset(config, tmp_path)
    result = fusion.staple(raters_of(data, "sub-01"))
    expected = result.sensitivity + result.specificity - 1
    np.testing.assert_allclose(samples._weights_of(0), expected, atol=1e-9)


def test_without_either_transform_raters_are_sampled_uniformly(plugin, tmp_path):
    config = coded(tmp_path)
    del config["transformation"]["SampleRater"]
    samples = dataset(config, tmp_path)
    seen = set()
    for _ in range(10):
        samples.start_epoch()
        raters = drawn(samples)
        assert (raters[:, 0] == raters[:, 1]).all()
        seen.update(raters[:, 0])
    assert seen == {1, 2, 3, 4}


def test_a_missing_mask_names_subject_class_and_rater(plugin, tmp_path):
    config = coded(tmp_path)
    lost = f"sub-02_T2starw{suffix(3, 'WM')}"
    (tmp_path / "data/derivatives/labels/sub-02/anat" / f"{lost}.nii.gz").unlink()
    with pytest.raises(InputError, match=r"sub-02.*WM.*rater3.*allow_missing_raters"):
        dataset(config, tmp_path)


def test_an_allowed_missing_rater_is_left_out_for_all_classes(plugin, tmp_path):
    config = coded(tmp_path, loader_parameters__allow_missing_raters=True)
    (tmp_path / f"data/derivatives/labels/sub-02/anat/sub-02_T2starw{suffix(3, 'WM')}.nii.gz").unlink()
    samples = dataset(config, tmp_path)
    seen = {subject: set() for subject in ("sub-01", "sub-02")}
    for _ in range(20):
        samples.start_epoch()
        for index, raters in enumerate(drawn(samples)):
            assert raters[0] == raters[1]
            seen.setdefault(where(samples[index])[0], set()).add(int(raters[0]))
    assert seen["sub-02"] == {1, 2, 4}
    assert seen["sub-01"] == {1, 2, 3, 4}


def test_a_rater_missing_everywhere_for_a_subject_still_leaves_weights_aligned(plugin, tmp_path):
    config = coded(
        tmp_path,
        loader_parameters__allow_missing_raters=True,
        transformation__SampleRater={"policy": "weighted", "weights": [1, 0, 0, 1], "seed": 1},
    )
    for label in ("GM", "WM"):
        (tmp_path / f"data/derivatives/labels/sub-02/anat/sub-02_T2starw{suffix(1, label)}.nii.gz").unlink()
    samples = dataset(config, tmp_path, subjects=["sub-02"])
    for _ in range(5):
        samples.start_epoch()
        assert set(drawn(samples)[:, 0]) == {4}


def test_patch_filters_see_the_union_of_the_raters(plugin, tmp_path):
    config = coded(
        tmp_path,
        default_model__length_2D=[8, 10],
        default_model__stride_2D=[8, 10],
        loader_parameters__patch_filter_params={"filter_empty_mask": True, "filter_empty_input": False},
    )
    samples = dataset(config, tmp_path)
    # the coded row of voxels lies in the first of six patches of a slice
    assert len(samples) == 4 * SHAPE[2]
    assert {tuple(samples[index]["input_metadata"][0]["coord"]) for index in range(len(samples))} == {(0, 8, 0, 10)}


def test_testing_uses_the_reference_label(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    samples = dataset(plain("ms_conv_random", data, tmp_path), tmp_path, "testing")
    np.testing.assert_array_equal(samples[1]["gt"][0], fusion.fuse(raters_of(data, "sub-01"), "staple")[..., 1])


def test_fused_labels_are_refused_when_a_mask_lies_elsewhere(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    path = data / f"derivatives/labels/sub-01/anat/sub-01_FLAIR{suffix(2, 'lesion')}.nii.gz"
    mask = nibabel.load(path)
    affine = mask.affine.copy()
    affine[0, 3] += 5
    nibabel.save(nibabel.Nifti1Image(np.asanyarray(mask.dataobj), affine), path)
    with pytest.raises(InputError, match=r"(?s)FLAIR_desc-rater2.*sub-01_FLAIR.nii.gz.*up to 5 mm apart"):
        dataset(plain("ms_conv_staple", data, tmp_path), tmp_path)
    with pytest.raises(InputError, match=r"(?s)FLAIR_desc-rater2.*sub-01_FLAIR.nii.gz.*up to 5 mm apart"):
        dataset(plain("ms_conv_random", data, tmp_path), tmp_path)


def test_a_changed_mask_is_fused_anew(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    config = plain("ms_softseg_average", data, tmp_path)
    dataset(config, tmp_path)
    path = data / f"derivatives/labels/sub-01/anat/sub-01_FLAIR{suffix(2, 'lesion')}.nii.gz"
    mask = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.ones(SHAPE, np.uint8), mask.affine), path)
    sample = dataset(config, tmp_path)[0]
    np.testing.assert_allclose(sample["gt"][0].numpy(), raters_of(data, "sub-01").mean(0)[..., 0], atol=1e-6)


def test_channels_are_told_apart_by_their_entities(plugin, tmp_path):
    contrasts = ("FLAIR", "ce-gadolinium_T1w", "T1w")
    data = make_dataset(tmp_path / "data", n_subjects=2, contrasts=contrasts)
    config = plain("ms_softseg_average", data, tmp_path, contrasts=contrasts)
    del config["transformation"]["NormalizeInstance"]
    sample = dataset(config, tmp_path)[0]
    for channel, contrast in enumerate(contrasts):
        image = nibabel.load(data / f"sub-01/anat/sub-01_{contrast}.nii.gz").get_fdata()
        np.testing.assert_allclose(sample["input"][channel].numpy(), image[..., 0], rtol=1e-5)


def test_a_step_that_binarises_soft_labels_stops_the_run(plugin, tmp_path, monkeypatch):
    from ivadomed import transforms

    class Harden(transforms.ImedTransform):
        def __call__(self, sample, metadata=None):
            return [np.round(label) for label in sample], metadata

    monkeypatch.setattr(transforms, "AdditiveGaussianNoise", Harden)
    data = make_dataset(tmp_path / "data", n_subjects=2)
    config = plain("ms_softseg_average", data, tmp_path, transformation__AdditiveGaussianNoise={"applied_to": ["gt"]})
    with pytest.raises(InputError, match="Harden binarises the averaged labels"):
        dataset(config, tmp_path)


def test_a_region_of_interest_moves_the_crop(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    for number in (1, 2):
        subject = f"sub-{number:02d}"
        anat = data / "derivatives" / "labels" / subject / "anat"
        grid = nibabel.load(anat / f"{subject}_FLAIR{suffix(1, 'lesion')}.nii.gz")
        region = np.zeros(SHAPE, np.uint8)
        region[14:17, 5:8] = 1
        nibabel.save(nibabel.Nifti1Image(region, grid.affine), anat / f"{subject}_FLAIR_desc-roi_mask.nii.gz")
    config = plain("ms_softseg_average", data, tmp_path)
    config["loader_parameters"]["roi_params"]["suffix"] = "_desc-roi_mask"
    config["transformation"]["ROICrop"] = {"size": [8, 8]}
    del config["transformation"]["CenterCrop"]
    sample = dataset(config, tmp_path)[1]
    expected = raters_of(data, "sub-01").mean(0)[11:19, 2:10, 1]
    np.testing.assert_allclose(sample["gt"][0].numpy(), expected, atol=1e-6)
