"""Transfer learning: the weights of an old model in the model that the configuration asks for."""

import contextlib
import contextvars
import itertools

from ivadomed import models as imed_models
from loguru import logger
from torch import nn

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2 import loading

_asked = contextvars.ContextVar("ivadomed_labelfusion_asked_model", default=None)


@contextlib.contextmanager
def asking_for(model_params):
    """Within the block, transfer learning builds this model (ivadomed's parameters, with its ``name``)."""
    token = _asked.set(model_params)
    try:
        yield
    finally:
        _asked.reset(token)


def set_model_for_retrain(original):
    """Wrap ``ivadomed.models.set_model_for_retrain``, which takes the old model whole, of whatever kind it is."""

    def wrapped(model_path, retrain_fraction, map_location, reset=True):
        model_params = _asked.get()
        if model_params is None:
            return original(model_path, retrain_fraction, map_location, reset=reset)
        old = loading.load(model_path, map_location)
        if not isinstance(old, nn.Module):
            raise InputError(
                "training_parameters.transfer_learning.retrain_model must be a model such as best_model.pt, but "
                f"{model_path} holds a {type(old).__name__}."
            )
        model = getattr(imed_models, model_params["name"])(**model_params)
        layers = [name for name, layer in model.named_modules() if hasattr(layer, "reset_parameters")]
        n_frozen = min(round(len(layers) * (1 - retrain_fraction)), len(layers) - 1)
        redrawn = layers[n_frozen:] if reset else []
        take_weights(model, old, model_path, except_layers=redrawn)
        # by name, as ivadomed does
        first_free = layers[n_frozen]
        for _, parameter in itertools.takewhile(
            lambda named: not named[0].startswith(first_free), model.named_parameters()
        ):
            parameter.requires_grad = False
        logger.info(
            f"{type(model).__name__} starts from the {type(old).__name__} of {model_path}: of {len(layers)} layers the "
            f"first {n_frozen} are frozen and {f'the last {len(redrawn)}' if redrawn else 'none'} drawn anew."
        )
        return model

    return wrapped


def take_weights(model, old, source, *, except_layers):
    """Copy an old model's weights, in place.

    Args:
        model (torch.nn.Module): Takes the weights.
        old (torch.nn.Module): Gives them.
        source (str or Path): Its file, for the message.
        except_layers (list of str): Names of layers that keep their fresh weights.

    Raises:
        InputError: If the old model lacks a weight of the new one, or has another shape for it.
    """
    given, fresh = old.state_dict(), model.state_dict()
    needed = {
        name: value
        for name, value in fresh.items()
        if name.rpartition(".")[0] not in except_layers and "running_peak" not in name and "has_peak" not in name
    }
    misfits = [name for name, value in needed.items() if name not in given or given[name].shape != value.shape]
    if misfits:
        shapes = [tuple(weights[misfits[0]].shape) if misfits[0] in weights else "none" for weights in (given, fresh)]
        raise InputError(
            f"The {type(old).__name__} of {source} (training_parameters.transfer_learning.retrain_model) does not fit "
            f"the {type(model).__name__} of this configuration: {misfits[0]} is {shapes[0]} there and {shapes[1]} here"
            f"{f', and {len(misfits) - 1} more differ' if len(misfits) > 1 else ''}. Use the old model's channels, "
            "classes, depth and n_filters, or another retrain_model."
        )
    model.load_state_dict({name: given[name] if name in needed else value for name, value in fresh.items()})
