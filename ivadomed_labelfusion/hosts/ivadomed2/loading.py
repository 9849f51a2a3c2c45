"""Safe loading and saving of ivadomed's models and checkpoints.

ivadomed stores whole pickled modules. PyTorch >= 2.6 refuses them by default. Here they load with
``weights_only=True`` through an explicit list of classes, so that a file can never run code.
"""

import errno
import math
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
from ivadomed_labelfusion.config.keys import MODELS, PLUGIN_MODELS
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import atomic_path
from ivadomed_labelfusion.hosts.ivadomed2.models import SoftSegModified3DUNet, SoftSegUnet
from ivadomed_labelfusion.hosts.ivadomed2.parts import check_parts, check_training_state, nothing_constructed


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


def network_classes():
    """Return the classes of whole networks."""
    from torchvision.models import DenseNet, ResNet

    names = (*MODELS, *PLUGIN_MODELS)
    own = [getattr(imed_models, name, None) for name in names]
    return [kind for kind in own if isinstance(kind, type)] + [SoftSegUnet, SoftSegModified3DUNet, ResNet, DenseNet]


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
        with torch.serialization.safe_globals(allowed_classes()), nothing_constructed():
            return torch.load(f, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{f} was refused: {_reason(error)}") from None
    except FileNotFoundError:
        raise
    # an unpickler reads a program; a damaged one can fail in any way, also deep inside the classes that it names
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise InputError(
            f"{f} is damaged, probably by an interrupted write ({type(error).__name__}). Delete it and train again."
        ) from None


def load_model(f, map_location=None, **_ignored):
    """Load a model as ``load`` does, and make sure that it is one.

    Raises:
        InputError: Also if the file holds anything but a network with parameters, or one whose parts were exchanged.
    """
    model = load(f, map_location=map_location)
    try:
        n_parameters = len(model.state_dict()) if isinstance(model, torch.nn.Module) else 0
        # a part of a network, or a layer, would fail on the first image
        n_parameters = n_parameters if isinstance(model, tuple(network_classes())) else 0
    # a network whose parts were exchanged
    except (AttributeError, TypeError, ValueError, KeyError, RuntimeError):
        n_parameters = 0
    if not n_parameters:
        raise InputError(
            f"{f} must be a model of ivadomed, but it holds {_described(model)}. Restore it, or train again."
        )
    check_parts(model, f)
    return model


def _described(value):
    return f"a {type(value).__name__}" + (
        ", part of a network or damaged" if isinstance(value, torch.nn.Module) else ""
    )


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
    try:
        with atomic_path(f, overwrite=True) as temporary:
            torch.save(obj, temporary, **kwargs)
    except RuntimeError as error:
        # torch hides what the system said; a disk that is full or a limit on the size of files
        if any(sign in str(error) for sign in ("inline_container", "PytorchStreamWriter", "iostream error")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(f)) from None
        raise


def _is_a_number(value):
    if isinstance(value, torch.Tensor) and value.numel() != 1:
        return False
    return isinstance(value, float | int | np.floating | torch.Tensor) and math.isfinite(value)


def read_checkpoint(fname):
    """Return a checkpoint after checking what training counts with.

    Raises:
        InputError: If the file is refused, or is no checkpoint; the message names the wrong part.
    """
    checkpoint = load(fname)
    whole = "a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0
    parts = {
        "epoch": whole,
        "patience_count": whole,
        "validation_loss": (
            "a number",
            _is_a_number,
        ),
        "state_dict": ("a dictionary", lambda value: isinstance(value, dict)),
        "optimizer": ("a dictionary", lambda value: isinstance(value, dict)),
    }
    for name, (expected, is_right) in parts.items():
        value = checkpoint.get(name) if isinstance(checkpoint, dict) else None
        if not is_right(value):
            raise InputError(
                f"{fname} must be a checkpoint of ivadomed with {name} as {expected}, got {type(value).__name__}. "
                "Delete it and train without --resume-training."
            )
    return checkpoint


class SafeTorch:
    """Stands in for ``torch`` in ivadomed's modules: all is torch's own but ``load`` (of models) and ``save``."""

    load = staticmethod(load_model)
    save = staticmethod(save)

    def __getattr__(self, name):
        return getattr(torch, name)


class TrainingTorch(SafeTorch):
    """``torch`` for ``ivadomed.training``: saves checkpoints that can be loaded again, and keeps the best one.

    Attributes:
        best_validation_loss (float): While a resumed training has not beaten this loss, its checkpoint is kept.
        best_epoch (int): The epoch that it is from; 0 before the first.
    """

    load = staticmethod(read_checkpoint)
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
    checkpoint = read_checkpoint(fname)
    try:
        model.load_state_dict(checkpoint["state_dict"])
        if not all(torch.isfinite(value).all() for value in model.state_dict().values()):
            raise ValueError("weights must be finite, got NaN or infinity")
        before = optimizer.state_dict()["param_groups"]
        for stored, fresh in zip(checkpoint["optimizer"]["param_groups"], before, strict=True):
            check_training_state(stored, fresh, optimizer)
        optimizer.load_state_dict(checkpoint["optimizer"])
        stored = checkpoint["scheduler"]
        # ivadomed itself stores the scheduler object
        stored = stored if isinstance(stored, dict) else stored.state_dict()
        check_training_state(stored, scheduler.state_dict(), scheduler)
        scheduler.load_state_dict(stored)
        # an uninterrupted training would have drawn on from here; checkpoints of plain ivadomed have no state
        if "random" in checkpoint:
            restore_random_state(checkpoint["random"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError, OverflowError) as error:
        raise InputError(
            f"{fname} does not fit the model of this configuration ({type(error).__name__}: {error}). Resume with the "
            "configuration it was trained with, or train into another --path-output."
        ) from None
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
