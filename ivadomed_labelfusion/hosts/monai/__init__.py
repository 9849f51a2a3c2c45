"""MONAI (1.6) on all raters: transforms, the losses and activation of SoftSeg, metrics against all raters."""

from ivadomed_labelfusion.activation import NormalisedReLU
from ivadomed_labelfusion.extras import require
from ivadomed_labelfusion.hosts.losses import AdaptiveWingLoss, SoftDiceCrossEntropy

require("monai", what="ivadomed_labelfusion.hosts.monai")

from ivadomed_labelfusion.hosts.monai.metrics import BrierMetric, EntropyMetric, RaterCalibrationMetric  # noqa: E402
from ivadomed_labelfusion.hosts.monai.transforms import FuseRatersd, RandRaterd  # noqa: E402

__all__ = [
    "AdaptiveWingLoss",
    "BrierMetric",
    "EntropyMetric",
    "FuseRatersd",
    "NormalisedReLU",
    "RandRaterd",
    "RaterCalibrationMetric",
    "SoftDiceCrossEntropy",
]
