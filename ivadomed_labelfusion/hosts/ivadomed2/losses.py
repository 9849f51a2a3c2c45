"""Losses: their sum without ``eval``, which ivadomed runs on names, and Adaptive Wing where the model is."""

import math

import torch
from ivadomed import losses as imed_losses

from ivadomed_labelfusion.config.keys import LOSSES
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2.context import is_fast

_STOCK = imed_losses.LossCombination
_STOCK_WING = imed_losses.AdapWingLoss


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


class AdapWingLoss(torch.nn.Module):
    """Adaptive Wing loss (Wang et al. 2019), summed; stands in for ``ivadomed.losses.AdapWingLoss``.

    The values are ivadomed's to rounding. It multiplies by a mask made on the CPU, by a morphological opening of each
    label, which is meant to weigh the foreground by 1 + omega. But the opening returns booleans, none of which reaches
    the mask's threshold of 51, so that the mask is always 1. Here there is none.

    Args:
        theta (float): Difference at which the loss becomes linear.
        alpha (float): Exponent at a label of 0; slightly above 2.
        omega (float): Factor of the part that is not linear.
        epsilon (float): Scale of differences.
    """

    def __init__(self, theta=0.5, alpha=2.1, omega=14, epsilon=1):
        super().__init__()
        self.theta, self.alpha, self.omega, self.epsilon = theta, alpha, omega, epsilon

    def forward(self, input, target):
        """Return the loss of predictions and labels of one shape, a scalar."""
        if not is_fast():
            return _STOCK_WING.forward(self, input, target)
        return _AdaptiveWing.apply(input.float(), target.float(), self.theta, self.alpha, self.omega, self.epsilon)


class _AdaptiveWing(torch.autograd.Function):
    """The formula, with its derivative found on the way: both need the same powers, which cost most of the time."""

    @staticmethod
    def forward(ctx, input, target, theta, alpha, omega, epsilon):
        parameters = theta, alpha, omega, epsilon
        if input.device.type != "cpu":
            loss, derivative = _adaptive_wing(input, target, *parameters)
        else:
            # sample by sample, so that what is in between stays in the processor's cache
            parts = [_adaptive_wing(*sample, *parameters) for sample in zip(input, target, strict=True)]
            loss, derivative = (torch.stack(part) for part in zip(*parts, strict=True))
        ctx.save_for_backward(derivative)
        return loss.sum()

    @staticmethod
    def backward(ctx, gradient):
        (derivative,) = ctx.saved_tensors
        return derivative * gradient, None, None, None, None, None


def _adaptive_wing(input, target, theta, alpha, omega, epsilon):
    """Return the sum over all voxels, and the derivative by each voxel of ``input``."""
    exponent = alpha - target
    at_theta = torch.exp(exponent * math.log(theta / epsilon))
    slope = exponent * at_theta
    slope *= omega / theta
    at_theta += 1
    slope /= at_theta
    signed = input - target
    difference = signed.abs()
    power = torch.pow(difference / epsilon, exponent)
    more = power + 1
    linear = slope * (difference - theta) + omega * torch.log(at_theta)
    # 1 where the difference is below theta, else 0; with it lerp chooses exactly, and faster than comparisons do
    curved = (theta - difference).sign_().clamp_(min=0)
    loss = torch.lerp(linear, omega * torch.log(more), curved)
    # at 0 the derivative is 0, whatever the quotient
    steepness = exponent * power
    steepness *= omega
    steepness /= more.mul_(difference.clamp_(min=torch.finfo(difference.dtype).tiny))
    return loss.sum(), torch.lerp(slope, steepness, curved).mul_(signed.sign_())
