"""nnU-Net's data loading with all raters' label maps, and with every batch a function of the seed alone."""

import contextlib
import random
from pathlib import Path

import blosc2
import numpy as np
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

ROLES = {"training": 0, "validation": 1}


class RaterDataset(nnUNetDatasetBlosc2):
    """Preprocessed cases whose label map has nnU-Net's own as channel 0 and the raters' as the following ones.

    Args:
        folder (str): The preprocessed images.
        prepared (Path): The raters' label maps, from `preparation.prepare_raters`.
        identifiers (list of str): Cases.
    """

    def __init__(self, folder: str, prepared: Path, identifiers: list[str]):
        super().__init__(folder, list(identifiers))
        self.prepared = Path(prepared)

    def load_case(self, identifier):
        """Return image, label maps ``(1 + R, *spatial)``, None and properties, as nnU-Net's loader expects them."""
        data, _, previous, properties = super().load_case(identifier)
        path = str(self.prepared / f"{identifier}.b2nd")
        seg = blosc2.open(urlpath=path, mode="r", dparams={"nthreads": 1}, **self.mmap_kwargs)
        with np.load(self.prepared / f"{identifier}.npz") as locations:
            # nnU-Net centres patches on voxels of a class, here on those that any rater gave to it
            properties["class_locations"] = {int(label): locations[label] for label in locations.files}
        return data, seg, previous, properties


class SeededLoader(nnUNetDataLoader):
    """nnU-Net's loader, in which batch number n is the same whatever worker makes it.

    Args:
        *args, **kwargs: As for ``nnUNetDataLoader``.
        key (tuple of int): Seed, fold and role.
        n_workers (int): Workers that take turns; 0 or 1 means that one makes all batches.
        start (int): Number of the first batch.
        cycle (int): Begin again after so many batches, so that every epoch validates on the same; 0 never does.
    """

    def __init__(self, *args, key: tuple, n_workers: int, start: int = 0, cycle: int = 0, **kwargs):
        super().__init__(*args, **kwargs)
        self.key, self.n_workers, self.start, self.cycle = key, max(1, n_workers), start, cycle
        self.n_made = 0

    def generate_train_batch(self):
        """Return nnU-Net's batch and, as ``number``, which one it is."""
        number = self.start + self.thread_id + self.n_workers * self.n_made
        self.n_made += 1
        if self.cycle:
            number %= self.cycle
        with seeded(*self.key, number):
            batch = super().generate_train_batch()
        return {**batch, "number": number}


@contextlib.contextmanager
def seeded(*key):
    """Seed the global generators that nnU-Net's transforms draw from, and put them back afterwards.

    Args:
        *key (int): Whole numbers >= 0.
    """
    words = np.random.SeedSequence(key).generate_state(3)
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        np.random.seed(words[0])  # noqa: NPY002 - batchgenerators knows no other generator
        torch.manual_seed(int(words[1]))
        random.seed(int(words[2]))
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
