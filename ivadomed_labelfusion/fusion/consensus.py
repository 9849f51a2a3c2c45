"""What every fusion method returns: values per vote pattern, looked up per voxel when asked."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ivadomed_labelfusion.fusion.patterns import Patterns


@dataclass(eq=False)
class Consensus:
    """The outcome of a fusion method.

    Attributes:
        method (str): Its name in `fusion.METHODS`.
        parameters (dict): What it was run with, ready for JSON.
        patterns (Patterns): The vote patterns it was computed on.
        pattern_labels (ndarray): ``(P,)`` label index per pattern.
        pattern_posterior (ndarray): ``(P,)`` probability (or share) of foreground per pattern, float64; ``(P, K)`` for
            label maps.
    """

    method: str
    parameters: dict
    patterns: Patterns = field(repr=False)
    pattern_labels: np.ndarray = field(repr=False)
    pattern_posterior: np.ndarray = field(repr=False)

    @property
    def raters(self):
        """The raters' names."""
        return self.patterns.names

    @property
    def notes(self):
        """What was noticed in the masks, such as a coding of 0 and 255."""
        return list(self.patterns.notes)

    @property
    def label_values(self):
        """``(K,)`` integer label values, in the order of the last axis of `pattern_posterior`; 0 first."""
        return self.patterns.labels

    @property
    def is_multilabel(self):
        """Whether the raters gave label maps instead of binary masks."""
        return self.pattern_posterior.ndim == 2

    @property
    def axis(self):
        """The axis along which `label_slabs` and `posterior_slabs` follow each other."""
        return self.patterns.axis

    @property
    def label_dtype(self):
        """The dtype of `labels`: uint8, or the smallest unsigned integer that holds all label values."""
        return np.min_scalar_type(int(self.label_values.max()))

    def labels(self):
        """Return the hard consensus.

        Returns:
            ndarray: ``(*spatial)``, 0 and 1 as uint8, or label values; 0 outside the region.
        """
        return self.patterns.expand(self.label_values[self.pattern_labels], self.label_dtype)

    @cached_property
    def posterior(self):
        """Probability of foreground, ``(*spatial)`` float32 in [0, 1], 0 outside the region.

        For label maps ``(K, *spatial)``, one map per label value, background first (1 outside the region).
        ``posterior > 0.5`` equals `labels` of STAPLE exactly.
        """
        if not self.is_multilabel:
            return self.patterns.expand(as_float32(self.pattern_posterior), np.float32)
        values = as_float32(self.pattern_posterior)
        maps = [self.patterns.expand(column, np.float32, outside=k == 0) for k, column in enumerate(values.T)]
        return np.stack(maps)

    def label_slabs(self):
        """Yield ``(slice along patterns.axis, slab)`` of `labels`, for volumes that do not fit in memory."""
        yield from self.patterns.slabs(self.label_values[self.pattern_labels], self.label_dtype)

    def posterior_slabs(self, label=1):
        """Yield ``(slice along patterns.axis, slab)`` of the posterior of one label index (1: foreground)."""
        values = self.pattern_posterior[:, label] if self.is_multilabel else self.pattern_posterior
        yield from self.patterns.slabs(as_float32(values), np.float32)

    def volume(self, label=1):
        """Return the voxels of one label index in the hard consensus."""
        return int(self.patterns.counts[self.pattern_labels == label].sum())


def as_float32(values):
    """Round to float32, but never across 0.5: the result selects at > 0.5 what the float64 values select."""
    rounded = values.astype(np.float32)
    half = np.float32(0.5)
    rounded[(values > 0.5) & (rounded <= half)] = np.nextafter(half, np.float32(1))
    rounded[(values <= 0.5) & (rounded > half)] = half
    return rounded


def log_or_zero(values):
    """Return log(values) with -1e6 for log(0): no sum of real terms outweighs it, and 0 times it is 0."""
    return np.log(values, out=np.full(values.shape, -1e6), where=values > 0)
