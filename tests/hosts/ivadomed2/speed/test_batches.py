"""Whole batches, against ivadomed's own path sample by sample with the same random parameters."""

import copy

import numpy as np
import pytest
import torch
from ivadomed.loader import utils as imed_loader_utils
from loguru import logger

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2.run import seed_everything
from ivadomed_labelfusion.hosts.ivadomed2.training import EpochDataLoader
from tests.builders.loading import dataset
from tests.builders.tiny import make_config, make_dataset

COLLATE = {"collate_fn": imed_loader_utils.imed_collate}
DRAWN = ("rotation", "scale", "translation", "reverse")


def random_config(rng, data, folder):
    """Return ``(configuration, kind of samples)`` of everything that batches can be made of."""
    kind = rng.choice(["slices", "patches", "subvolumes"])
    template = rng.choice(["softseg_average", "softseg_random", "conv_random", "conv_average", "conv_staple"])
    config = make_config(f"ms_{template}", data, folder / "out", contrasts=("FLAIR", "T1w"), crop=(24, 20))
    steps = config["transformation"]
    del steps["RandomAffine"], steps["NormalizeInstance"]
    if kind == "patches":
        config["default_model"].update(length_2D=[12, 10], stride_2D=[6, 10])
    elif kind == "subvolumes":
        config["default_model"].update(is_2d=False, length_3D=[16, 16, 16], stride_3D=[16, 16, 16])
        steps["CenterCrop"]["size"] = [32, 16, 16]
    wanted = {
        "RandomReverse": {"dataset_type": ["training"]},
        "RandomAffine": {
            "degrees": float(rng.choice([0, 20, 90])),
            "translate": [[0.0] * 2, [0.1, 0.2]][rng.integers(2)],
            "scale": [[0.0] * 2, [0.1, 0.3]][rng.integers(2)],
            "dataset_type": ["training"],
        },
        "NormalizeInstance": {"applied_to": ["im"]},
    }
    if kind == "subvolumes":
        wanted["RandomAffine"].update(translate=[0.1, 0.1, 0.2], scale=[0.1, 0.2, 0.3])
    if rng.integers(2):
        wanted["RandomAffine"]["applied_to"] = ["im", "gt"]
    for name in rng.permutation(list(wanted)):
        if rng.integers(4):
            steps[str(name)] = wanted[name]
    return config, kind


def one_by_one(samples, batch, indices):
    """Return ivadomed's own samples with the random parameters of a batch."""
    items = samples._packed_items()
    for place, index in enumerate(indices):
        pair = items.packed[index if items is samples.indexes else samples.indexes[index]["handler_index"]]
        entries = list(pair.input_metadata)
        before = [entry.metadata for entry in entries]
        drawn = {name: value for name, value in batch["input_metadata"][place][0].items() if name in DRAWN}
        for entry in entries:
            entry.metadata = {**entry.metadata, **drawn}
        yield samples[index]
        for entry, metadata in zip(entries, before, strict=True):
            entry.metadata = metadata


def same_labels(labels, expected, soft_gt):
    if soft_gt:
        np.testing.assert_allclose(labels, expected, atol=1e-5)
    else:
        # a voxel that lies on the threshold to rounding may fall on either side
        assert np.mean(labels != np.asarray(expected)) < 2e-3
        assert set(np.unique(labels)) <= {0, 1}


@pytest.mark.parametrize("seed", range(16))
def test_batches_equal_ivadomeds_samples(plugin, tmp_path, seed):
    rng = np.random.default_rng(seed)
    data = make_dataset(tmp_path / "data", n_subjects=3, contrasts=("FLAIR", "T1w"), shape=(32, 24, 16), seed=seed)
    config, _kind = random_config(rng, data, tmp_path)
    samples = dataset(config, tmp_path)
    assert samples.makes_batches
    samples.start_epoch()
    indices = rng.choice(len(samples), size=4, replace=False).tolist()
    batch = samples.batch(indices)
    for place, sample in enumerate(one_by_one(samples, batch, indices)):
        spread = max(1.0, float(sample["input"].abs().max()))
        np.testing.assert_allclose(batch["input"][place], sample["input"], atol=1e-5 * spread, rtol=0)
        same_labels(batch["gt"][place].numpy(), sample["gt"], config["loader_parameters"]["soft_gt"])
        assert batch["input"].dtype == sample["input"].dtype
        assert batch["gt"].dtype == torch.as_tensor(sample["gt"]).dtype
        for name in ("coord", "input_filenames", "slice_index"):
            assert batch["input_metadata"][place][0][name] == sample["input_metadata"][0][name]
        for ours, theirs in zip(batch["gt_metadata"][place], sample["gt_metadata"], strict=True):
            assert ours["gt_filenames"] == theirs["gt_filenames"]
    at_once = samples._batches._at_once(
        [samples._choose(index) for index in indices],
        [samples._batches._draws_of(samples.epoch, 0)] * len(indices),
        indices,
        None,
    )
    np.testing.assert_allclose(at_once[0], batch["input"], atol=2e-5 * spread, rtol=0)
    same_labels(at_once[1].numpy(), batch["gt"], config["loader_parameters"]["soft_gt"])


def config_of(data, folder, **changes):
    return make_config("ms_softseg_random", data, folder / "out", crop=(24, 20), **changes)


def everything(loader):
    """Return what a pass over a loader shows, by image and slice."""
    shown = {}
    for batch in loader:
        for image, label, metadata in zip(batch["input"], batch["gt"], batch["input_metadata"], strict=True):
            shown[metadata[0]["input_filenames"], metadata[0]["slice_index"]] = image.numpy(), label.numpy()
    return shown


HOST_STEPS = {"ElasticTransform": {"alpha_range": [28, 30], "sigma_range": [3, 5], "p": 0.7}, "RandomGamma": {}}


@pytest.mark.parametrize("other", [None, "ElasticTransform", "AdditiveGaussianNoise"])
def test_batches_workers_and_order_change_nothing(plugin, tmp_path, other):
    options = {"ElasticTransform": HOST_STEPS["ElasticTransform"], "AdditiveGaussianNoise": {"mean": 0, "std": 1}}
    data = make_dataset(tmp_path / "data", n_subjects=3)
    config = config_of(data, tmp_path)
    if other:
        config["transformation"] = {
            other: {**options[other], "applied_to": ["im", "gt"] if other == "ElasticTransform" else ["im"]},
            **config["transformation"],
        }
    samples = dataset(config, tmp_path)
    assert samples.makes_batches
    passes = []
    for options in ({"batch_size": 3}, {"batch_size": 5, "shuffle": True}, {"batch_size": 4, "num_workers": 2}):
        samples.skip_epochs(0)
        loader = EpochDataLoader(samples, **options, **COLLATE)
        passes.append([everything(loader), everything(loader)])
    for first, second in passes[1:]:
        for key, (image, label) in passes[0][0].items():
            np.testing.assert_array_equal(first[key][0], image)
            np.testing.assert_array_equal(first[key][1], label)
            np.testing.assert_array_equal(second[key][0], passes[0][1][key][0])
    assert any(not np.array_equal(passes[0][0][key][0], passes[0][1][key][0]) for key in passes[0][0])


def test_ivadomeds_own_steps_leave_its_generators_alone(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    config = config_of(data, tmp_path)
    config["transformation"]["AdditiveGaussianNoise"] = {"mean": 0, "std": 1, "applied_to": ["im"]}
    samples = dataset(config, tmp_path)
    np.random.seed(1)  # noqa: NPY002
    samples.batch([0, 1])
    after = np.random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert after == np.random.random()  # noqa: NPY002


def test_a_sample_that_is_shown_twice_in_an_epoch_is_augmented_anew(plugin, tmp_path):
    samples = dataset(config_of(make_dataset(tmp_path / "data", n_subjects=2), tmp_path), tmp_path)
    loader = EpochDataLoader(samples, batch_size=2, sampler=[3, 3, 1, 3], **COLLATE)
    first, second = list(loader)
    images = [first["input"][0], first["input"][1], second["input"][1]]
    assert not any(torch.equal(images[a], images[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    slices = [entry[0]["slice_index"] for batch in (first, second) for entry in batch["input_metadata"]]
    assert slices[0] == slices[1] == slices[3]


def test_draws_have_ivadomeds_distributions(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=6)
    config = config_of(data, tmp_path)
    config["transformation"]["RandomAffine"].update(degrees=[-10, 30], translate=[0.2, 0.1], scale=[0.1, 0.3])
    samples = dataset(config, tmp_path)
    found = []
    for _ in range(60):
        samples.start_epoch()
        for (entry,) in samples.batch(list(range(len(samples))))["input_metadata"]:
            found.append([np.degrees(entry["rotation"][0]), *entry["scale"], *entry["translation"]])
    found = np.array(found)
    # uniform: mean and spread of each, over 1440 draws
    for column, (low, high) in enumerate([(-10, 30), (0.9, 1.1), (0.7, 1.3)]):
        values = found[:, column]
        assert low <= values.min()
        assert values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.1 * (high - low)
        assert abs(values.std() - (high - low) / 12**0.5) < 0.05 * (high - low)
    assert (found[:, 3] == 1).all()
    assert (found[:, 6] == 0).all()
    assert set(found[:, 4]) == set(range(-5, 6))
    assert set(found[:, 5]) == set(range(-2, 3))


def test_the_switch_is_byte_identical_to_ivadomeds_own_path(plugin, stock_samples, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=3)
    config = config_of(data, tmp_path, loader_parameters__fast_loader=False)
    samples = dataset(config, tmp_path)
    assert not samples.makes_batches
    assert isinstance(samples.indexes, list)
    config["loader_parameters"]["target_suffix"] = [config["loader_parameters"]["target_suffix"][0][0]]
    del config["transformation"]["SampleRater"], config["evaluation_parameters"]["inter_rater"]
    ours = dataset(config, tmp_path)
    for index, expected in enumerate(stock_samples(config, ours)):
        seed_everything(index)
        sample = ours[index]
        assert torch.equal(sample["input"], expected["input"])
        assert torch.equal(sample["gt"], expected["gt"])


@pytest.fixture
def stock_samples():
    def samples(config, ours):
        from ivadomed.loader.mri2d_segmentation_dataset import MRI2DSegmentationDataset

        for index in range(len(ours)):
            seed_everything(index)
            yield MRI2DSegmentationDataset.__getitem__(copy.copy(ours), index)

    return samples


def test_single_samples_of_packed_data_are_ivadomeds(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=3, contrasts=("FLAIR", "T1w"))
    for template in ("ms_softseg_random", "ms_conv_average"):
        config = make_config(template, data, tmp_path / "out", contrasts=("FLAIR", "T1w"))
        packed = dataset(config, tmp_path)
        config["loader_parameters"]["fast_loader"] = False
        plain = dataset(config, tmp_path)
        assert len(packed) == len(plain)
        for index in range(len(plain)):
            pair, expected = packed.indexes[index][0], plain.indexes[index][0]
            for key in ("input", "gt"):
                np.testing.assert_array_equal(np.asarray(pair[key]), np.asarray(expected[key]))
            for key in ("input_metadata", "gt_metadata"):
                assert str(_plain(pair[key])) == str(_plain(expected[key]))


def _plain(entry):
    return [_plain(part) for part in entry] if isinstance(entry, list) else dict(entry.items())


def test_slices_of_several_sizes_are_named(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    other = make_dataset(tmp_path / "other", n_subjects=3, shape=(28, 20, 4))
    for subject in ("sub-01", "sub-02"):
        for path in [*other.glob(f"{subject}*"), *(other / "derivatives" / "labels").glob(f"{subject}*")]:
            path.rename(tmp_path / f"{path.parent.name}-{path.name}")
    config = config_of(data, tmp_path)
    del config["transformation"]["CenterCrop"]
    config["loader_parameters"]["path_data"] = [str(data), str(other)]
    samples = dataset(config, tmp_path)
    with pytest.raises(InputError, match=r"must have one shape, got .*24, 20.* and .*28, 20.*CenterCrop"):
        list(EpochDataLoader(samples, batch_size=len(samples), **COLLATE))


def test_the_log_says_how_samples_are_made(plugin, tmp_path):
    data = make_dataset(tmp_path / "data", n_subjects=2)
    messages = []
    sink = logger.add(messages.append, format="{message}")
    try:
        config = config_of(data, tmp_path)
        dataset(config, tmp_path)
        config["transformation"]["ElasticTransform"] = HOST_STEPS["ElasticTransform"]
        dataset(config, tmp_path)
        # ivadomed moves slices out of sight with a third scale
        config["transformation"]["RandomAffine"]["scale"] = [0.1, 0.1, 0.1]
        assert not dataset(config, tmp_path).makes_batches
    finally:
        logger.remove(sink)
    said = [text for text in messages if text.startswith("Loader (training)")]
    assert "RandomAffine, NormalizeInstance done batch by batch" in said[0]
    assert "ElasticTransform" not in said[0]
    assert "ElasticTransform sample by sample" in said[1]
    assert "as in ivadomed" in said[2]
