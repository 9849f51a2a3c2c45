"""Averaging soft masks, which have no vote patterns."""

import numpy as np

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.patterns import check_region, inside_region
from ivadomed_labelfusion.fusion.source import Source, check_weights


def is_soft(masks, names=None):
    """Return whether a float mask holds a value between 0 and 1."""
    source = Source(masks, names)
    for mask in source.masks:
        if np.dtype(getattr(mask, "dtype", np.float64)).kind != "f":
            continue
        for planes, _, _ in source.blocks():
            values = source.read(mask, planes)
            if ((values > 0) & (values < 1)).any():
                return True
    return False


class SoftAverage:
    """The mean of soft masks; like a `Consensus` without patterns and hard labels.

    Attributes:
        method (str): ``average``.
        parameters (dict): The weights.
        raters (list of str): The raters' names.
        axis (int): The axis along which `posterior_slabs` follow each other.
    """

    method = "average"
    is_multilabel = False
    notes = ()

    def __init__(self, masks, *, weights=None, region="image", margin=10, names=None):
        self._source = Source(masks, names)
        self._weights = check_weights(weights, len(self._source))
        self._region = check_region(region, margin, self._source)
        if isinstance(region, str) and region != "image":
            raise InputError(f"region must be image or a mask for soft masks, got {region!r}: they have no outline.")
        self.parameters = {"weights": self._weights.tolist()}
        self.raters = self._source.names
        self.axis = self._source.axis

    @property
    def posterior(self):
        """The mean, ``(*spatial)`` float32 in [0, 1], 0 outside the region."""
        flat, shaped = self._source.empty(np.float32)
        for planes, start, stop in self._source.blocks():
            flat[start:stop] = self._mean(planes, stop - start)
        return shaped

    def posterior_slabs(self):
        """Yield ``(slice along axis, slab)`` of `posterior`."""
        for planes, start, stop in self._source.blocks():
            shape = list(self._source.shape)
            shape[self.axis] = planes.stop - planes.start
            yield planes, self._mean(planes, stop - start).reshape(shape, order=self._source.order)

    def _mean(self, planes, size):
        mean = np.zeros(size)
        for mask, weight, name in zip(self._source.masks, self._weights, self._source.names, strict=True):
            values = self._source.read(mask, planes)
            # written so that NaN fails too
            if not ((values >= 0) & (values <= 1)).all():
                raise InputError(
                    f"Soft masks must lie in [0, 1], {name} spans {np.min(values):g} to {np.max(values):g}. "
                    "Divide it by its maximum, or threshold it."
                )
            mean += weight * values
        mean /= self._weights.sum()
        inside = inside_region(self._region, self._source, planes)
        if inside is not None:
            mean[~inside] = 0
        return mean.astype(np.float32)
