"""A training loop of one's own: any loader shows new raters in every pass, the same in every run."""

import numpy as np
import pytest
import torch
from ivadomed.loader import utils as imed_loader_utils
from torch.utils.data import BatchSampler, ConcatDataset, DataLoader, RandomSampler, Subset

from ivadomed_labelfusion.hosts.ivadomed2.training import EpochDataLoader
from tests.builders.loading import dataset
from tests.builders.tiny import make_dataset
from tests.hosts.ivadomed2.test_loader import SHAPE, coded, drawn, volume_config

COLLATE = {"collate_fn": imed_loader_utils.imed_collate}


class Wrapped(torch.utils.data.Dataset):
    """Somebody's own dataset around ours."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


LOADERS = {
    "plain": lambda samples: DataLoader(samples, batch_size=3, **COLLATE),
    "1 worker": lambda samples: DataLoader(samples, batch_size=3, num_workers=1, **COLLATE),
    "2 workers": lambda samples: DataLoader(samples, batch_size=3, num_workers=2, **COLLATE),
    "workers that stay": lambda samples: DataLoader(
        samples, batch_size=3, num_workers=2, persistent_workers=True, **COLLATE
    ),
    "spawned": lambda samples: DataLoader(
        samples, batch_size=3, num_workers=1, multiprocessing_context="spawn", **COLLATE
    ),
    "single samples": lambda samples: DataLoader(samples, batch_size=None),
    "part": lambda samples: DataLoader(Subset(samples, range(len(samples))), batch_size=4, **COLLATE),
    "joined": lambda samples: DataLoader(ConcatDataset([samples]), batch_size=4, **COLLATE),
    "wrapped": lambda samples: DataLoader(Wrapped(samples), batch_size=4, **COLLATE),
    "batch sampler": lambda samples: DataLoader(
        samples, batch_sampler=BatchSampler(RandomSampler(samples), 5, drop_last=False), **COLLATE
    ),
    "ivadomed's": lambda samples: EpochDataLoader(samples, batch_size=3, **COLLATE),
}


def in_order(batch):
    """Return ``{(subject, slice): rater}`` of a batch or sample."""
    several = isinstance(batch["input_metadata"][0], list)
    metadata = [row[0] for row in batch["input_metadata"]] if several else batch["input_metadata"]
    labels = batch["gt"] if several else batch["gt"][None]
    return {
        (entry["input_filenames"], entry["slice_index"]): int(label[0].sum())
        for entry, label in zip(metadata, labels, strict=False)
    }


def passes(samples, make, n_passes):
    """Return the raters shown in each pass, in the order of the dataset."""
    loader = make(samples)
    shown = []
    for _ in range(n_passes):
        raters = {}
        for batch in loader:
            raters.update(in_order(batch))
        shown.append([raters[key] for key in sorted(raters)])
    return np.array(shown)


@pytest.fixture
def epochs(plugin, tmp_path):
    """The draws of six epochs, as the epoch-counting loader starts them, from the first."""
    samples = dataset(coded(tmp_path), tmp_path)
    shown = [drawn(samples)[:, 0]]
    for _ in range(5):
        samples.start_epoch()
        shown.append(drawn(samples)[:, 0])
    return np.array(shown)


@pytest.mark.parametrize("name", LOADERS)
def test_every_pass_draws_anew_and_reproducibly(epochs, tmp_path, name):
    if name == "spawned":
        # a new interpreter per pass takes long
        epochs = epochs[:2]
    samples = dataset(coded_again(tmp_path), tmp_path)
    n_passes = len(epochs) if name != "ivadomed's" else len(epochs) - 1
    expected = epochs if name != "ivadomed's" else epochs[1:]
    np.testing.assert_array_equal(passes(samples, LOADERS[name], n_passes), expected)
    assert len({tuple(row) for row in expected.tolist()}) == len(expected)


def coded_again(folder):
    """Return the configuration of the dataset that the fixture wrote."""
    import json

    return json.loads((folder / "config.json").read_text())


def test_a_pass_that_is_broken_off_and_samples_left_out_keep_volumes_together(plugin, tmp_path):
    config = coded(tmp_path, transformation__SampleRater={"unit": "volume", "seed": 1})
    samples = dataset(config, tmp_path)
    loader = DataLoader(samples, batch_size=3, shuffle=True, drop_last=True, **COLLATE)
    seen = set()
    for number in range(12):
        by_volume = {}
        for count, batch in enumerate(loader):
            for (image, _), rater in in_order(batch).items():
                by_volume.setdefault(image, set()).add(rater)
            if number % 3 == 0 and count == 1:
                break
        assert all(len(raters) == 1 for raters in by_volume.values())
        seen.add(tuple(sorted((image, *raters) for image, raters in by_volume.items())))
    assert len(seen) > 8


def test_looking_at_samples_does_not_count(plugin, tmp_path):
    samples = dataset(coded(tmp_path), tmp_path)
    first = drawn(samples)
    np.testing.assert_array_equal(drawn(samples), first)
    np.testing.assert_array_equal(passes(samples, LOADERS["plain"], 1)[0], first[:, 0])
    np.testing.assert_array_equal(drawn(samples), first)


def test_balanced_passes_show_every_rater_once_before_any_repeats(plugin, tmp_path):
    samples = dataset(coded(tmp_path, transformation__SampleRater={"policy": "balanced", "seed": 1}), tmp_path)
    shown = passes(samples, LOADERS["2 workers"], 4)
    np.testing.assert_array_equal(np.sort(shown, axis=0), np.tile([[1], [2], [3], [4]], len(samples)))


def test_starting_an_epoch_by_hand_goes_together_with_a_plain_loader(plugin, tmp_path):
    samples = dataset(coded(tmp_path, transformation__SampleRater={"policy": "balanced", "seed": 1}), tmp_path)
    samples.plan.epoch = 3
    shown = []
    for _ in range(4):
        samples.start_epoch()
        shown.append(passes(samples, LOADERS["plain"], 1)[0])
    np.testing.assert_array_equal(np.sort(shown, axis=0), np.tile([[1], [2], [3], [4]], len(samples)))


@pytest.mark.parametrize("name", ["plain", "2 workers"])
def test_validation_shows_the_same_raters_in_every_pass(plugin, tmp_path, name):
    samples = dataset(coded(tmp_path), tmp_path, "validation")
    shown = passes(samples, LOADERS[name], 3)
    np.testing.assert_array_equal(shown, shown[:1].repeat(3, axis=0))


@pytest.mark.parametrize("kind", ["patches", "subvolumes"])
def test_patches_and_subvolumes_are_drawn_anew(plugin, tmp_path, kind):
    if kind == "patches":
        patches = {"default_model__length_2D": list(SHAPE[:2]), "default_model__stride_2D": [8, 8]}
        samples = dataset(coded(tmp_path, **patches), tmp_path)
    else:
        data = make_dataset(
            tmp_path / "data",
            labels=("GM",),
            contrasts=("T2starw",),
            shape=(16, 16, 16),
            rater_value=lambda subject, rater, label, shape: np.arange(np.prod(shape)).reshape(shape) < rater,
        )
        config = volume_config("scgm_softseg_random", data, tmp_path, labels=("GM",), contrasts=("T2starw",))
        samples = dataset(config, tmp_path)
    shown = passes(samples, LOADERS["2 workers"], 5)
    assert len({tuple(row) for row in shown.tolist()}) > 3
    assert set(shown.ravel()) <= {1, 2, 3, 4}
