"""How the network of a training computes: mixed precision, channels last, ``torch.compile``; off by default.

ivadomed makes the model within its training loop and saves it whole. So the model's class is given another ``forward``
for the time of the training, and the model itself stays as it is.
"""

import contextlib
import contextvars
import functools
import math

import torch
from ivadomed import models as imed_models
from loguru import logger

from ivadomed_labelfusion.activation import NormalisedReLU

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_loss_scale = contextvars.ContextVar("ivadomed_labelfusion_loss_scale", default=None)


class LossScale:
    """Keeps gradients within the range of float16: they are multiplied in the network, and divided before each step.

    A step whose gradients are not finite is left out, and the factor halved; after many good ones it is doubled.
    """

    def __init__(self, factor=2.0**16, patience=2000):
        self.factor, self._patience, self._good = factor, patience, 0

    def scaled(self, output):
        """Let the gradient of the network's output be multiplied on its way into the network."""
        if output.requires_grad:
            output.register_hook(lambda gradient, factor=self.factor: gradient * factor)
        return output

    def before_step(self, optimiser, *_):
        """Divide the gradients of an optimiser's parameters, or drop them all."""
        parameters = [entry for group in optimiser.param_groups for entry in group["params"] if entry.grad is not None]
        total = sum(entry.grad.abs().sum(dtype=torch.float64) for entry in parameters)
        if parameters and not math.isfinite(float(total)):
            self.factor, self._good = self.factor / 2, 0
            for entry in parameters:
                entry.grad = None
            return
        for entry in parameters:
            entry.grad /= self.factor
        self._good += 1
        if self._good % self._patience == 0:
            self.factor *= 2


def watch_steps(optimiser):
    """Let the loss scale of the running training see each step of its optimiser."""
    scale = _loss_scale.get()
    if scale is not None:
        optimiser.register_step_pre_hook(scale.before_step)


@contextlib.contextmanager
def computing_as_asked(model_params, training_params, device):
    """Within the block, models of this kind compute as ``amp``, ``channels_last`` and ``compile`` ask for.

    Args:
        model_params (dict): ivadomed's, with ``name``.
        training_params (dict): The block ``training_parameters``.
        device (torch.device): Of the model.
    """
    amp, last, is_compiled = (training_params.get(name) for name in ("amp", "channels_last", "compile"))
    if not (amp or last or is_compiled):
        yield
        return
    logger.info(
        f"The network computes with amp {amp or False}, channels_last {bool(last)}, compile {bool(is_compiled)}."
    )
    kind = getattr(imed_models, model_params["name"])
    scale = LossScale() if amp == "fp16" else None
    token = _loss_scale.set(scale)
    forward = kind.forward
    forward = _compiled(forward) if is_compiled else forward
    forward = _in_precision(forward, _DTYPES[amp], device.type, scale) if amp else forward
    forward = _channels_last(forward) if last else forward
    with _replaced(kind, forward), _replaced(NormalisedReLU, _in_float32(NormalisedReLU.forward, device.type)):
        try:
            yield
        finally:
            _loss_scale.reset(token)


@contextlib.contextmanager
def _replaced(kind, forward):
    own = vars(kind).get("forward")
    kind.forward = forward
    try:
        yield
    finally:
        if own is None:
            del kind.forward
        else:
            kind.forward = own


def _compiled(forward):
    compiled = {}

    @functools.wraps(forward)
    def wrapped(self, *inputs):
        if id(self) not in compiled:
            compiled[id(self)] = torch.compile(functools.partial(forward, self))
        return compiled[id(self)](*inputs)

    return wrapped


def _in_precision(forward, dtype, device_type, scale):
    @functools.wraps(forward)
    def wrapped(self, *inputs):
        with torch.autocast(device_type, dtype=dtype):
            output = forward(self, *inputs)
        # losses and metrics are computed in float32
        output = output.float()
        return output if scale is None else scale.scaled(output)

    return wrapped


def _in_float32(forward, device_type):
    @functools.wraps(forward)
    def wrapped(self, x):
        # its maximum and its quotient are the output's precision
        with torch.autocast(device_type, enabled=False):
            return forward(self, x.float())

    return wrapped


def _channels_last(forward):
    @functools.wraps(forward)
    def wrapped(self, images, *others):
        layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(images.dim(), torch.preserve_format)
        if images.dim() in (4, 5):
            self.to(memory_format=layout)
        return forward(self, images.contiguous(memory_format=layout), *others).contiguous()

    return wrapped
