"""Metrics of soft predictions against all raters, which MONAI accumulates over batches.

Predictions are ``(B, C, *spatial)`` probabilities of the C foreground classes; raters are ``(B, R, C, *spatial)`` masks
of 0 and 1, for example ``torch.stack([batch[key] for key in keys], dim=1)``. Lists without the batch axis work too, and
their items may have different numbers of raters. The values are those of ``ivadomed_labelfusion.metrics``.
"""

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from monai.metrics.utils import do_metric_reduction
from monai.utils import MetricReduction

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics.calibration import expected_calibration_error
from ivadomed_labelfusion.metrics.uncertainty import brier_score, entropy_error

REGIONS = ("image", "roi")


class _RaterMetric(CumulativeIterationMetric):
    """Base: one row of values per image, and their reduction over images (and classes, where there are several)."""

    def __init__(self, reduction: MetricReduction | str = MetricReduction.MEAN):
        super().__init__()
        self.reduction = reduction

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs) -> torch.Tensor:
        if y is None or y.ndim != y_pred.ndim + 1 or y.shape[0] != y_pred.shape[0] or y.shape[2:] != y_pred.shape[1:]:
            shape = None if y is None else tuple(y.shape)
            raise InputError(
                f"y must be the raters' masks (batch, raters, classes, *spatial) of predictions {tuple(y_pred.shape)}, "
                f"got {shape}. Stack them: torch.stack([batch[key] for key in keys], dim=1)."
            )
        rows = [self._values(_array(ours), _array(raters)) for ours, raters in zip(y_pred, y, strict=True)]
        return torch.as_tensor(np.stack(rows), dtype=torch.float64)

    def _values(self, prediction, raters):
        """Return ``(n,)`` values of one image: prediction ``(C, *spatial)``, raters ``(R, C, *spatial)``."""
        raise NotImplementedError

    def aggregate(self, reduction: MetricReduction | str | None = None) -> torch.Tensor:
        """Return the reduced values; images without a value (NaN) do not count."""
        return do_metric_reduction(self.get_buffer(), reduction or self.reduction)[0]


class RaterCalibrationMetric(_RaterMetric):
    """Expected calibration error of each image against the share of raters who chose the predicted class; in [0, 1].

    Args:
        n_bins (int): Bins of equal width.
        region (str): ``image``, or ``roi``: voxels that any rater marked, or where the background is not the most
            probable class.
        reduction (str): MONAI's.
    """

    def __init__(self, n_bins: int = 10, region: str = "roi", reduction: MetricReduction | str = MetricReduction.MEAN):
        super().__init__(reduction)
        if region not in REGIONS:
            raise InputError(f"region must be one of {', '.join(REGIONS)}, got {region!r}.")
        self.n_bins, self.region = n_bins, region

    def _values(self, prediction, raters):
        mask = None
        if self.region == "roi":
            mask = (raters > 0).any(axis=(0, 1)) | (prediction.max(axis=0) > 1 - prediction.sum(axis=0))
        average = raters.mean(axis=0)
        return np.array(
            [
                expected_calibration_error(
                    prediction, average, form="raters", n_bins=self.n_bins, mask=mask, class_axis=0
                )
            ]
        )


class BrierMetric(_RaterMetric):
    """Brier score of each image and class: mean over voxels of the squared distance from the raters' mean; in [0, 1].

    Args:
        reduction (str): MONAI's.
    """

    def _values(self, prediction, raters):
        return brier_score(prediction, raters.mean(axis=0), class_axis=0)


class EntropyMetric(_RaterMetric):
    """Distance of each image's total entropy from that of the raters' mean, in nats; >= 0.

    Args:
        form (str): ``paper`` (foreground classes) or ``shannon`` (and the background).
        reduction (str): MONAI's.
    """

    def __init__(self, form: str = "paper", reduction: MetricReduction | str = MetricReduction.MEAN):
        super().__init__(reduction)
        self.form = form

    def _values(self, prediction, raters):
        return np.array([entropy_error(prediction, raters.mean(axis=0), form=self.form, class_axis=0)])


def _array(tensor):
    return tensor.detach().cpu().double().numpy()
