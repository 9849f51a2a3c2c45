"""Models from files, part by part: nothing constructed, called, allocated or run that a network of ivadomed does not.

A list of classes says which layers a file may hold, not how they are put together. Here the layers are looked at, and
what a network does wrong on the first image is said in one line.
"""

import contextlib
import math
import numbers
import pickle
import types
import weakref

import torch
from ivadomed import models as imed_models

from ivadomed_labelfusion.errors import InputError

# the largest kernel, stride, padding, dilation and scale that any network has is far below; memory grows with them
_LARGEST_SIZE = 128
_SIZES = ("kernel_size", "stride", "padding", "output_padding", "dilation", "scale_factor", "output_size", "size")
# layers that a network makes others from
_CLASSES = ("_norm_layer",)
# the halves of a network of which the first gives the second a list of feature maps
_HALVES = {"encoder": imed_models.Encoder, "decoder": imed_models.Decoder}
# networks that were loaded -> their files
_loaded = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def nothing_constructed():
    """Refuse files that call a layer's constructor: whole modules are stored by their state.

    Constructors allocate what their arguments ask for; a file of 200 bytes could claim any memory.

    Raises:
        UnpicklingError: From the constructor, within the block.
    """

    def refuse(self, *_arguments, **_options):
        raise pickle.UnpicklingError(f"it constructs {type(self).__name__}")

    original = torch.nn.Module.__init__
    torch.nn.Module.__init__ = refuse
    try:
        yield
    finally:
        torch.nn.Module.__init__ = original


def check_parts(model, f):
    """Check the layers of a network that was read from a file, and remember which file that is.

    Args:
        model (torch.nn.Module): With parameters.
        f (str or Path): The file, for messages, now and in `failure_of_loaded`.

    Raises:
        InputError: If a layer has hooks, a method of its own, weights that are no numbers in memory, or huge sizes.
    """
    for name, part in model.named_modules():
        kind = _HALVES.get(name)
        wrong = _what_is_wrong(part) or (f"is no {kind.__name__}" if kind and not isinstance(part, kind) else None)
        if wrong:
            raise InputError(
                f"{f} must be a model of ivadomed, but {name or 'the network'} ({type(part).__name__}) {wrong}, which "
                "no training writes. Nothing in it was run. Restore it, or train again."
            )
    _loaded[model] = str(f)


def _what_is_wrong(part):
    """Return what a layer holds that ivadomed never stores, None if there is no such thing."""
    for key, value in vars(part).items():
        if "hook" in key and value and not isinstance(value, bool):
            return f"has hooks ({key})"
        own = isinstance(value, types.MethodType) and value.__self__ is part
        if callable(getattr(type(part), key, None)) and not own:
            return f"has a {key} of its own"
        if callable(value) and not own and key not in _CLASSES:
            return f"holds a class as {key}"
        if key in _SIZES and not _is_small(value):
            return f"has the {key} {str(value)[:40]}"
    for key, tensor in (*part._parameters.items(), *part._buffers.items()):
        if tensor is not None and not _is_in_memory(tensor):
            return f"has a {key} of other numbers than single precision, or not in the file"
    return None


def _is_small(value):
    if isinstance(value, list | tuple):
        return all(map(_is_small, value))
    # "same" and "valid" are paddings, and sizes that are not used are None
    return value is None or isinstance(value, str) or (isinstance(value, numbers.Real) and 0 <= value <= _LARGEST_SIZE)


def _is_in_memory(tensor):
    """Whether a tensor holds each of its numbers, in a type that ivadomed stores (weights, counters, marks)."""
    if tensor.dtype not in (torch.float32, torch.int64, torch.bool) or tensor.is_meta or tensor.layout != torch.strided:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def failure_of_loaded(error):
    """Return one line about an error from within a network that was read from a file, None for any other error.

    Args:
        error (Exception): With its traceback.
    """
    step = error.__traceback__
    while step is not None:
        network = step.tb_frame.f_locals.get("self")
        if isinstance(network, torch.nn.Module) and network in _loaded:
            reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            return (
                f"{_loaded[network]} fails on the images of this configuration ({reason}). It was trained with another "
                "one, or its parts were exchanged. Restore it, or train again."
            )
        step = step.tb_next
    return None


def check_training_state(stored, fresh, what):
    """Check the state of an optimiser or scheduler from a file against the state of the one that shall continue it.

    Args:
        stored (dict): From the file: an entry of ``param_groups``, or the state of a scheduler.
        fresh (dict): Of the same kind, from the training that begins.
        what (object): The optimiser or scheduler, which the state may not replace a method of.

    Raises:
        ValueError: Names the first entry that is of another kind than its counterpart.
    """
    for key, value in stored.items():
        if key == "optimizer" or callable(getattr(type(what), str(key), None)):
            raise ValueError(f"{key} must not be stored")
        if key in fresh and not _is_of_kind(value, fresh[key]):
            raise ValueError(f"{key} must be like {fresh[key]!r}, got {str(value)[:40]!r}")


def _is_of_kind(value, like):
    """Whether a stored value can stand for another: a finite number for a number, lists entry by entry."""
    switches = bool | types.NoneType
    if isinstance(like, switches) or isinstance(value, switches):
        return isinstance(like, switches) and isinstance(value, switches)
    if isinstance(like, numbers.Real):
        is_number = isinstance(value, numbers.Real) and math.isfinite(value)
        # such as the length of a schedule, which is divided by
        return is_number and (value > 0 or not (isinstance(like, int) and like > 0))
    if isinstance(like, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(like)
            and all(_is_of_kind(one, other) for one, other in zip(value, like, strict=True))
        )
    return isinstance(value, type(like))
