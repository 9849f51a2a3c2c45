"""Averaging soft masks, which have no vote patterns."""

import numpy as np

from ivadomed_labelfusion.coding import BINARY, SOFT, coding_note
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.patterns import check_region, inside_region
from ivadomed_labelfusion.fusion.source import Source, check_weights, coding_of_mask


def is_soft(masks, names=None):
    """Return whether a float mask holds soft values, i.e. values between 0 and 1 that are no rounding of these."""
    source = Source(masks, names)
    for index, mask in enumerate(source.masks):
        if np.dtype(getattr(mask, "dtype", np.float64)).kind != "f" or not _has_fractions(source, mask):
            continue
        if coding_of_mask(source, index).kind == SOFT:
            return True
    return False


def _has_fractions(source, mask):
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
        notes (tuple of str): What was noticed in the masks.
    """

    method = "average"
    is_multilabel = False

    def __init__(self, masks, *, weights=None, region="image", margin=10, names=None):
        self._source = Source(masks, names)
        self._weights = check_weights(weights, len(self._source))
        self._region = check_region(region, margin, self._source)
        if isinstance(region, str) and region != "image":
            raise InputError(f"region must be image or a mask for soft masks, got {region!r}: they have no outline.")
        self._codings = [coding_of_mask(self._source, index) for index in range(len(self._source))]
        for coding, name in zip(self._codings, self._source.names, strict=True):
            if coding.kind not in (BINARY, SOFT):
                raise InputError(
                    f"Soft masks must lie in [0, 1], {name} spans {coding.low:g} to {coding.high:g}. "
                    "Divide it by its maximum, or threshold it."
                )
        note = coding_note(dict(zip(self._source.names, self._codings, strict=True)))
        self.notes = (note,) if note else ()
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
        for mask, weight, coding in zip(self._source.masks, self._weights, self._codings, strict=True):
            mean += weight * coding.soft(self._source.read(mask, planes))
        mean /= self._weights.sum()
        inside = inside_region(self._region, self._source, planes)
        if inside is not None:
            mean[~inside] = 0
        return mean.astype(np.float32)
