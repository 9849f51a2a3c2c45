"""Counting the passes that any torch ``DataLoader`` makes over a dataset, with any number of workers.

A loader does not tell its dataset that a pass begins. But every pass has a base seed of its own, which all its workers
know, and which is found on the stack while a sample is asked for.
"""

import sys

import torch

_HASH_BITS = 40
_ITERATORS, _WORKERS = "torch.utils.data.dataloader", "torch.utils.data._utils.worker"


class Passes:
    """Counter of passes over one dataset, shared by all processes that load it.

    Args:
        n_samples (int): Length of the dataset.
    """

    def __init__(self, n_samples):
        # one cell for the passes, then one per sample for workers that live through several passes
        self._cells = torch.zeros(1 + n_samples, dtype=torch.int64).share_memory_()

    def restart(self):
        """Make the next pass number 0 again."""
        self._cells[0] = 0

    def number(self, index):
        """Return the number of the pass in which a sample is being asked for, from 0; 0 outside of any loader.

        Args:
            index (int): The sample's place in the dataset.
        """
        asking = asking_loader()
        if asking is None:
            return 0
        base_seed, workers_live_on = asking
        number = self._advance(0, base_seed) - 1
        # their base seed stays, so that a sample shown again tells of the next pass
        return number + self._advance(1 + index, base_seed, again=True) - 1 if workers_live_on else number

    def _advance(self, cell, base_seed, *, again=False):
        # count and hash lie in one number: workers that meet a new pass at the same time write the same
        mark = base_seed & ((1 << _HASH_BITS) - 1)
        stored = int(self._cells[cell])
        count, known = stored >> _HASH_BITS, stored & ((1 << _HASH_BITS) - 1)
        if count and known == mark and not again:
            return count
        count = 1 if again and known != mark else count + 1
        self._cells[cell] = (count << _HASH_BITS) | mark
        return count


def asking_loader():
    """Return ``(base seed of the pass, whether its workers outlive it)``, or None if no loader is asking."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module == _WORKERS and "persistent_workers" in frame.f_locals:
            return frame.f_locals["base_seed"], frame.f_locals["persistent_workers"]
        if module == _ITERATORS and hasattr(frame.f_locals.get("self"), "_base_seed"):
            return frame.f_locals["self"]._base_seed, False
        frame = frame.f_back
    return None
