"""Uncertainty from random passes (dropout, augmentation), which ends in a plain pass."""

import re

from ivadomed import transforms as imed_transforms

from ivadomed_labelfusion.hosts.ivadomed2 import film
from ivadomed_labelfusion.hosts.ivadomed2.context import current_context
from ivadomed_labelfusion.hosts.ivadomed2.reconstruction import VolumeDataLoader
from ivadomed_labelfusion.hosts.ivadomed2.run import seed_everything

# what a test writes into pred_masks; --segment's own files are named _class-0_pred
_OF_A_TEST = re.compile(r"_(pred|pred_\d+|pred_TP-FP-FN|soft|unc-\w+)\.nii\.gz$")
SEGMENTED = re.compile(r"_class-\d+_pred\.nii\.gz$")


def prepare(settings, folder):
    """Make a test start from nothing: no predictions or samples of an earlier one, and seeded random passes.

    Args:
        settings (dict): The block ``uncertainty``.
        folder (Path): The folder of the predictions, which need not exist.
    """
    for path in folder.glob("*.nii.gz"):
        if _OF_A_TEST.search(path.name) and not SEGMENTED.search(path.name):
            path.unlink()
    if settings["n_it"] and (settings["epistemic"] or settings["aleatoric"]):
        seed_everything(current_context().get("split_dataset", {}).get("random_seed", 0))


def is_augmented(settings):
    """Tell whether the test images are loaded with the random augmentation of training."""
    return bool(settings["aleatoric"] and settings["n_it"])


def plain(loader, testing_params):
    """Return the loader and parameters of the pass without randomness.

    Args:
        loader (VolumeDataLoader): Of the random passes.
        testing_params (dict): ivadomed's.

    Returns:
        (VolumeDataLoader, dict): The same where nothing is augmented, else of the images as a plain test loads them.
    """
    if not is_augmented(testing_params["uncertainty"]):
        return loader, testing_params
    testing_params = with_plain_undo(testing_params)
    if not hasattr(loader.dataset, "reload"):
        return loader, testing_params
    dataset = loader.dataset.reload(_test_transforms())
    if isinstance(loader.dataset, film.FilmSamples):
        dataset = film.FilmSamples(dataset, loader.dataset.encoder)
    return VolumeDataLoader(dataset, loader.batch_size, collate_fn=loader.collate_fn), testing_params


def with_plain_undo(testing_params):
    """Return the parameters with the inverse of the transformations of a plain test."""
    undo = imed_transforms.UndoCompose(imed_transforms.Compose(_test_transforms(), requires_undo=True))
    return {**testing_params, "undo_transforms": undo}


def _test_transforms():
    _, _, test = imed_transforms.get_subdatasets_transforms(current_context()["transformation"])
    return test
