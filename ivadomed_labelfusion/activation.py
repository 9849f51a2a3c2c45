"""Normalised ReLU, the final activation of SoftSeg, for one and for several classes.

Source: Gros et al. 2021 (SoftSeg, doi 10.1016/j.media.2021.102038) for one class; Lemay et al. 2022 (MELBA 2022:031),
Section 2.1.2, for several.
"""

import torch
from torch import Tensor, nn

NORMALIZATIONS = ("batch", "sample", "running")

# below this a maximum or class sum counts as zero: 1 / EPSILON ** 2 still fits float32, so gradients stay finite
EPSILON = 1e-12


def scale_by_peak(activated: Tensor, peak: Tensor) -> Tensor:
    """Divide rectified scores by their peak.

    Args:
        activated: ``(N, 1, *spatial)``, >= 0.
        peak: Broadcastable to ``activated``, >= 0.

    Returns:
        Tensor: ``activated / peak`` clipped to [0, 1]; 0 wherever the peak is zero.
    """
    positive = peak > EPSILON
    return torch.where(positive, activated / torch.where(positive, peak, torch.ones_like(peak)), 0.0).clamp(max=1.0)


def share_of_classes(activated: Tensor) -> Tensor:
    """Divide rectified scores by their sum over the classes, background included.

    Args:
        activated: ``(N, C, *spatial)`` with C >= 2, channel 0 the background, >= 0.

    Returns:
        Tensor: Same shape, summing to 1 over the classes; a voxel with all zeros is background with probability 1.
    """
    total = activated.sum(dim=1, keepdim=True)
    positive = total > EPSILON
    shares = activated / torch.where(positive, total, torch.ones_like(total))
    background = torch.zeros_like(activated)
    background[:, :1] = 1.0
    return torch.where(positive, shares, background)


class NormalisedReLU(nn.Module):
    """Normalised ReLU.

    One channel: ``ReLU(x) / peak``. Several channels: additionally divided by the sum over the classes, background
    included. The peak cancels out of that ratio, so several classes never depend on ``normalization``.

    Args:
        normalization: Where the peak comes from. ``batch``: the maximum of the whole batch (the paper; a
            prediction depends on its batch mates). ``sample``: each image's own maximum (an empty slice is blown up to
            1). ``running``: the batch maximum while training, its running average at inference (independent of batch
            mates, deterministic, clipped at 1).
        momentum: Weight of the newest batch in the running average, as in batch normalisation.

    Raises:
        ValueError: If ``normalization`` is unknown.
    """

    running_peak: Tensor
    has_peak: Tensor

    def __init__(self, normalization: str = "batch", momentum: float = 0.1) -> None:
        super().__init__()
        if normalization not in NORMALIZATIONS:
            raise ValueError(f"normalization must be one of {NORMALIZATIONS}, got {normalization!r}.")
        self.normalization = normalization
        self.momentum = momentum
        if normalization == "running":
            self.register_buffer("running_peak", torch.zeros(()))
            self.register_buffer("has_peak", torch.zeros((), dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities of the same shape ``(N, C, *spatial)``, float32 or wider, in [0, 1], never NaN."""
        # half precision has too little range for the sums and the ratio
        activated = torch.relu(x.float() if x.dtype in (torch.float16, torch.bfloat16) else x)
        if activated.shape[1] > 1:
            return share_of_classes(activated)
        return scale_by_peak(activated, self._peak(activated))

    def _peak(self, activated: Tensor) -> Tensor:
        if self.normalization == "sample":
            return activated.amax(dim=tuple(range(1, activated.dim())), keepdim=True)
        if self.normalization == "running" and not self.training:
            return self.running_peak.to(activated.dtype)
        peak = activated.max()
        if self.normalization == "running":
            self._update(peak.detach())
        return peak

    def _update(self, peak: Tensor) -> None:
        # the first batch sets the average, so that it does not start from an arbitrary value
        weight = torch.where(self.has_peak, self.momentum, 1.0)
        self.running_peak.lerp_(peak.to(self.running_peak.dtype), weight.to(self.running_peak.dtype))
        self.has_peak.fill_(True)

    def extra_repr(self) -> str:
        """Return the settings, for ``print(model)``."""
        return f"normalization={self.normalization!r}"
