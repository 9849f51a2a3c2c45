"""Safe loading and saving of ivadomed's models and checkpoints.

ivadomed stores whole pickled modules. PyTorch >= 2.6 refuses them by default. Here they load with
``weights_only=True`` through an explicit list of classes, so that a file can never run code.
"""

import os
import pickle
import random
import re
from pathlib import Path

import numpy as np
import torch
from ivadomed import models as imed_models
from loguru import logger

from ivadomed_labelfusion.activation import NormalisedReLU
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import atomic_path
from ivadomed_labelfusion.host.models import SoftSegModified3DUNet, SoftSegUnet


def _module_classes(namespace):
    return [
        value for value in vars(namespace).values() if isinstance(value, type) and issubclass(value, torch.nn.Module)
    ]


def _plain_dict(_factory=None):
    """Stand in for ``defaultdict`` in old checkpoints: the unpickler fills plain dicts only."""
    return {}


def _attention_method(owner, name):
    """Stand in for ``getattr`` in models with attention, which store one of their own methods as an attribute."""
    if not isinstance(owner, imed_models.GridAttentionBlockND) or name != "_concatenation":
        raise pickle.UnpicklingError(f"Unsupported global: GLOBAL builtins.getattr of {type(owner).__name__}.{name}")
    return getattr(owner, name)


def allowed_classes():
    """Return the classes a model or checkpoint file may hold, beside tensors and plain containers."""
    from torchvision.models import densenet, resnet

    return [
        dict,
        set,
        (_plain_dict, "collections.defaultdict"),
        (_attention_method, "builtins.getattr"),
        (_attention_method, "getattr"),
        *_module_classes(torch.nn),
        *_module_classes(imed_models),
        *_module_classes(resnet),
        *_module_classes(densenet),
        SoftSegUnet,
        SoftSegModified3DUNet,
        NormalisedReLU,
        # checkpoints hold the scheduler, which holds the optimiser
        torch.optim.Adam,
        torch.optim.lr_scheduler.CosineAnnealingLR,
        torch.optim.lr_scheduler.CosineAnnealingWarmRestarts,
        torch.optim.lr_scheduler.CyclicLR,
    ]


def load(f, map_location=None, **_ignored):
    """Load a model or checkpoint without running anything it contains.

    Args:
        f (str, Path or file object): The file.
        map_location: As for ``torch.load``.

    Returns:
        The stored object.

    Raises:
        InputError: If the file holds any class outside ``allowed_classes()``, or is damaged.
        FileNotFoundError: If it does not exist.
    """
    if map_location is None and not torch.cuda.is_available():
        map_location = "cpu"
    try:
        with torch.serialization.safe_globals(allowed_classes()):
            return torch.load(f, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{f} was refused: {_reason(error)}") from None
    except (RuntimeError, EOFError) as error:
        if "PytorchStreamReader" in str(error) or isinstance(error, EOFError):
            raise InputError(f"{f} is damaged, probably by an interrupted write. Delete it and train again.") from None
        raise


def _reason(error):
    found = sorted(set(re.findall(r"GLOBAL ([\w.]+)", str(error))))
    if found:
        return (
            f"it holds {', '.join(found)}, which a model or checkpoint of ivadomed never needs. It was not loaded, and "
            "nothing in it was run. Use a file you trained yourself."
        )
    detail = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    return (
        "it is not a model or checkpoint of ivadomed, or it is damaged "
        f"({detail.group(1) if detail else type(error).__name__}). Restore it, or train again."
    )


def save(obj, f, **kwargs):
    """Save as ``torch.save`` does, through a temporary file, so that an interruption leaves the old file whole."""
    if not isinstance(f, str | os.PathLike):
        torch.save(obj, f, **kwargs)
        return
    with atomic_path(f, overwrite=True) as temporary:
        torch.save(obj, temporary, **kwargs)


class SafeTorch:
    """Stands in for ``torch`` in ivadomed's modules: everything is torch's own but ``load`` and ``save``."""

    load = staticmethod(load)
    save = staticmethod(save)

    def __getattr__(self, name):
        return getattr(torch, name)


class TrainingTorch(SafeTorch):
    """``torch`` for ``ivadomed.training``: saves checkpoints that can be loaded again, and keeps the best one.

    Attributes:
        best_validation_loss (float): While a resumed training has not beaten this loss, its checkpoint is kept.
        best_epoch (int): The epoch that it is from; 0 before the first.
    """

    best_validation_loss = float("inf")
    best_epoch = 0

    def save(self, obj, f, **kwargs):
        """Save a model or a checkpoint.

        A checkpoint leaves out the GIF frames, which hold matplotlib objects, holds the state of the scheduler instead
        of the object, which holds a second optimiser, and the states of the random generators.
        """
        if isinstance(obj, dict) and "gif_dict" in obj:
            if obj["validation_loss"] >= self.best_validation_loss:
                return
            self.best_validation_loss, self.best_epoch = obj["validation_loss"], obj["epoch"] - 1
            no_frames = {"image_path": [], "slice_id": [], "gif": []}
            obj = {**obj, "gif_dict": no_frames, "scheduler": obj["scheduler"].state_dict(), "random": random_state()}
        save(obj, f, **kwargs)


def random_state():
    """Return the state of every generator that training draws from, as tensors and plain values."""
    version, state, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002  ivadomed draws from it
    return {
        "python": (version, list(state), gauss),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(stored):
    """Continue the generators where ``random_state`` was taken."""
    version, state, gauss = stored["python"]
    random.setstate((version, tuple(state), gauss))
    kind, keys, position, has_gauss, cached = stored["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(stored["torch"].cpu())
    if len(stored["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in stored["cuda"]])


def load_checkpoint(model, optimizer, gif_dict, scheduler, fname):
    """Restore a training from its checkpoint; stands in for ``ivadomed.training.load_checkpoint``.

    ivadomed's own swallows every error and starts from scratch, and restores a scheduler that drives a copy of the
    optimiser. Here a missing file starts from scratch with a warning, and any other trouble stops.

    Returns:
        tuple: model, optimizer, gif_dict, start_epoch, validation_loss, scheduler, patience_count.

    Raises:
        InputError: If the file is refused or does not fit the model.
    """
    if not Path(fname).is_file():
        logger.warning(f"No checkpoint found at {fname}, training starts from scratch.")
        return model, optimizer, gif_dict, 1, 0, scheduler, 0
    checkpoint = load(fname)
    try:
        model.load_state_dict(checkpoint["state_dict"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        stored = checkpoint["scheduler"]
        # ivadomed itself stores the scheduler object
        scheduler.load_state_dict(stored if isinstance(stored, dict) else stored.state_dict())
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"{fname} does not fit the model of this configuration ({type(error).__name__}: {error}). Resume with the "
            "configuration it was trained with, or train into another --path-output."
        ) from None
    # an uninterrupted training would have drawn on from here; checkpoints of plain ivadomed have no state
    if "random" in checkpoint:
        restore_random_state(checkpoint["random"])
    logger.info(f"Resuming training from epoch {checkpoint['epoch']} of {fname}.")
    return (
        model,
        optimizer,
        gif_dict,
        checkpoint["epoch"],
        checkpoint["validation_loss"],
        scheduler,
        checkpoint["patience_count"],
    )
