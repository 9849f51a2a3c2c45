"""The sum of losses without ``eval``: ivadomed runs the names in ``losses_list`` as code."""

import torch
from ivadomed import losses as imed_losses

from ivadomed_labelfusion.config.keys import LOSSES
from ivadomed_labelfusion.errors import InputError

_STOCK = imed_losses.LossCombination


class LossCombination(_STOCK):
    """Sum of losses by name; stands in for ``ivadomed.losses.LossCombination``.

    Args:
        losses_list (list of str): Names of ivadomed's losses.
        params_list (list): Parameters of each, an object or None; None takes the defaults of all.

    Raises:
        InputError: If an entry is no name of a loss.
    """

    def __init__(self, losses_list, params_list=None):
        for name in losses_list:
            if name not in LOSSES or name == _STOCK.__name__:
                raise InputError(f"training_parameters.loss.losses_list must hold names of losses, got {name!r}.")
        # ivadomed's own initialiser asks for the name in its module, which is this class
        torch.nn.Module.__init__(self)
        self.losses_list, self.params_list = losses_list, params_list

    def forward(self, input, target):
        """Return the sum of the losses of ``input`` and ``target``, a scalar."""
        parameters = self.params_list or [None] * len(self.losses_list)
        losses = [
            getattr(imed_losses, name)(**(options or {}))(input, target)
            for name, options in zip(self.losses_list, parameters, strict=True)
        ]
        return torch.stack(losses).sum()
