"""Losses for soft targets, for any program that trains with torch.

What a loss elicits: the output that minimises its expectation. `SoftDiceCrossEntropy` and `AdaptiveWingLoss` elicit a
soft target exactly. Of raters who are drawn one at a time only the cross entropy elicits the share of votes.
"""

import torch
from torch import nn


class AdaptiveWingLoss(nn.Module):
    """Adaptive Wing loss of probabilities and soft targets, as ivadomed computes it.

    Args:
        theta (float): Error at which the logarithm goes over into a straight line.
        alpha (float): Exponent, above the largest target.
        omega (float): Height.
        epsilon (float): Curvature.

    References:
        Wang X, Bo L, Fuxin L. Adaptive Wing loss for robust face alignment via heatmap regression. ICCV 2019,
        doi 10.1109/ICCV.2019.00707. SoftSeg: Gros et al. 2021, doi 10.1016/j.media.2021.102038.
    """

    def __init__(self, theta: float = 0.5, alpha: float = 2.1, omega: float = 14.0, epsilon: float = 1.0):
        super().__init__()
        self.theta, self.alpha, self.omega, self.epsilon = theta, alpha, omega, epsilon

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean loss.

        Args:
            input (Tensor): Probabilities ``(N, C, *spatial)`` in [0, 1], any floating dtype.
            target (Tensor): Same shape, in [0, 1], any dtype.

        Returns:
            Tensor: Scalar, float32 or wider; NaN if there are no voxels.
        """
        if input.shape != target.shape:
            raise ValueError(f"input and target must have one shape, got {tuple(input.shape)}, {tuple(target.shape)}.")
        input = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        target = target.to(input.dtype)
        ratio, power = self.theta / self.epsilon, self.alpha - target
        slope = self.omega / (1 + ratio**power) * power * ratio ** (power - 1) / self.epsilon
        offset = self.theta * slope - self.omega * torch.log1p(ratio**power)
        error = (target - input).abs()
        curved = self.omega * torch.log1p((error / self.epsilon) ** power)
        return torch.where(error < self.theta, curved, slope * error - offset).mean()


class SoftDiceCrossEntropy(nn.Module):
    """Cross entropy and a Dice loss that soft targets do not deceive.

    The usual soft Dice is smallest for outputs sharper than the target (1/3 is answered by 0.16, or 0). This one is
    1 - (|x| + |y| - |x - y|) / (|x| + |y|), which is smallest where output and target agree, and is the usual one for
    targets of 0 and 1.

    Args:
        dice (bool): False leaves the Dice out: against targets of 0 and 1 that are drawn at random, every Dice elicits
            the majority, the cross entropy elicits the probability.
        batch_dice (bool): Take the Dice over the whole batch, as nnU-Net's plans say, not per image.

    References:
        Wang Z, Popordanoska T, Bertels J, Lemmens R, Blaschko MB. Dice semimetric losses: optimizing the Dice
        score with soft labels. MICCAI 2023, doi 10.1007/978-3-031-43898-1_46.
    """

    def __init__(self, *, dice: bool = True, batch_dice: bool = False):
        super().__init__()
        self.dice, self.batch_dice = dice, batch_dice

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss.

        Args:
            logits (Tensor): ``(N, C, *spatial)``, channel 0 the background.
            target (Tensor): Probabilities of the same shape, which sum to 1 over the channels.

        Returns:
            Tensor: Scalar float32. An empty class that is not predicted costs nothing.
        """
        if logits.shape != target.shape:
            raise ValueError(
                f"logits and target must have one shape, got {tuple(logits.shape)}, {tuple(target.shape)}."
            )
        logits, target = logits.float(), target.float()
        entropy = -(target * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
        if not self.dice:
            return entropy
        output, target = torch.softmax(logits, dim=1)[:, 1:], target[:, 1:]
        axes = ([0] if self.batch_dice else []) + list(range(2, logits.ndim))
        total = (output + target).sum(dim=axes)
        difference = (output - target).abs().sum(dim=axes)
        # 1e-5 as in nnU-Net: nothing over nothing is agreement
        return entropy + (difference / (total + 1e-5)).mean()
