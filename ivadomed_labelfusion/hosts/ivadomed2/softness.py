"""Check that labels that were asked to stay soft do stay soft on their way to the network."""

import copy
import random

import nibabel
import numpy as np

from ivadomed_labelfusion.errors import InputError

# volumes looked at: enough to see a step that binarises, few enough to cost nothing
_MAX_SAMPLES = 5


def is_soft(values):
    """Tell whether an array holds any value that is neither 0 nor 1 (to 1e-3)."""
    values = np.asarray(values)
    return bool(np.any((np.abs(values) > 1e-3) & (np.abs(values - 1) > 1e-3)))


def check_softness(dataset):
    """Follow one soft label through the transformations that the network sees.

    Only labels fused to soft values, in a dataset that keeps soft labels, are followed.

    Args:
        dataset (RaterBidsDataset or RaterBids3DDataset): A loaded dataset.

    Raises:
        InputError: If a step turns a soft label into a binary one; the step is named.
    """
    if not dataset.soft_gt or dataset.plan.fuse is None or dataset.plan.fuse.method != "average":
        return
    soft_files = _soft_files(dataset)
    if not soft_files:
        return
    for index in range(len(dataset)):
        pair = _stored_pair(dataset, index)
        if is_soft(pair["gt"]) and soft_files.intersection(pair["gt_metadata"][0]["gt_filenames"]):
            _follow(dataset, pair)
            return


def _soft_files(dataset):
    soft = set()
    for _, targets, _, _ in dataset.filename_pairs[:_MAX_SAMPLES]:
        soft.update(path for path in targets if is_soft(np.asanyarray(nibabel.load(path).dataobj)))
    return soft


def _stored_pair(dataset, index):
    if hasattr(dataset, "is_2d_patch") and not dataset.is_2d_patch:
        return dataset._load(dataset.indexes[index])[0]
    return dataset._load(dataset.handlers[dataset.indexes[index]["handler_index"]])[0]


def _follow(dataset, pair):
    sample = [np.asarray(label) for label in copy.deepcopy(pair["gt"])]
    metadata = copy.deepcopy(pair["gt_metadata"])
    # looking must not change the draws of the training
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        for step in dataset.transform.transform["gt"].transforms:
            sample, metadata = step(sample, metadata)
            if np.any(sample) and not is_soft(sample):
                raise InputError(
                    f"The transformation {type(step).__name__} binarises the averaged labels, although soft_gt is "
                    'true. Remove it, or leave the labels out of it with "applied_to": ["im"].'
                )
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
