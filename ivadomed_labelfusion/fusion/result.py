"""What every fusion method returns: values per vote pattern, looked up per voxel when asked."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ivadomed_labelfusion.fusion.patterns import Patterns


@dataclass(eq=False)
class Consensus:
    """The outcome of a fusion method.

    Attributes:
        patterns (Patterns): The vote patterns it was computed on.
        pattern_labels (ndarray): ``(P,)`` label index per pattern, kept as uint8.
        pattern_posterior (ndarray): ``(P,)`` probability (or share) of foreground per pattern, float64; ``(P, K)`` for
            label maps.
        per_rater (dict): What the method found out about the raters, by name: arrays with R first, such as
            ``sensitivity``, ``score``, ``kept`` ``(R,)``, ``confusion`` ``(R, K, K)``. Each is also an attribute:
            ``result.sensitivity``.
        prior (float or ndarray): P(truth), of label maps ``(K,)``; None if the method has none.
        n_iter (int): Iterations done; None if the method does not iterate.
        converged (bool): Whether its stopping rule was met.
        parameters (dict): What it was run with, ready for JSON; the registry fills it in from the arguments if empty.
        method (str): Its name in `fusion.METHODS`, filled in by the registry.

    >>> from ivadomed_labelfusion.fusion import consensus
    >>> result = consensus([[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 1]], "majority")
    >>> result.labels().tolist(), result.posterior.round(2).tolist()
    ([0, 1, 1, 0], [0.0, 0.6700000166893005, 1.0, 0.33000001311302185])
    """

    patterns: Patterns = field(repr=False)
    pattern_labels: NDArray[Any] = field(repr=False)
    pattern_posterior: NDArray[np.float64] = field(repr=False)
    per_rater: dict[str, NDArray[Any]] = field(default_factory=dict)
    prior: float | NDArray[np.float64] | None = None
    n_iter: int | None = None
    converged: bool | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    method: str = ""

    # whether the masks were votes (masks, label maps) with patterns, volumes and a report; False: soft masks
    has_votes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.pattern_labels = np.asarray(self.pattern_labels).astype(np.uint8)

    def __getattr__(self, name: str) -> NDArray[Any]:
        """Return what the method found out about the raters; only asked for what is no attribute."""
        per_rater = self.__dict__.get("per_rater", {})
        if name in per_rater:
            return per_rater[name]
        raise AttributeError(f"The result of {self.__dict__.get('method')!r} has no {name!r}, only {list(per_rater)}.")

    @property
    def raters(self) -> list[str]:
        """The raters' names."""
        return self.patterns.names

    @property
    def notes(self) -> list[str]:
        """What was noticed in the masks, such as a coding of 0 and 255."""
        return list(self.patterns.notes)

    @property
    def label_values(self) -> NDArray[Any]:
        """``(K,)`` integer label values, in the order of the last axis of `pattern_posterior`; 0 first."""
        return self.patterns.labels

    @property
    def is_multilabel(self) -> bool:
        """Whether the raters gave label maps instead of binary masks."""
        return self.pattern_posterior.ndim == 2

    @property
    def axis(self) -> int:
        """The axis along which `label_slabs` and `posterior_slabs` follow each other."""
        return self.patterns.axis

    @property
    def label_dtype(self) -> DTypeLike:
        """The dtype of `labels`: uint8, or the smallest unsigned integer that holds all label values."""
        return np.min_scalar_type(int(self.label_values.max()))

    def labels(self) -> NDArray[Any]:
        """Return the hard consensus.

        Returns:
            ndarray: ``(*spatial)``, 0 and 1 as uint8, or label values; 0 outside the region.
        """
        return self.patterns.expand(self.label_values[self.pattern_labels], self.label_dtype)

    @cached_property
    def posterior(self) -> NDArray[np.float32]:
        """Probability of foreground, ``(*spatial)`` float32 in [0, 1], 0 outside the region.

        For label maps ``(K, *spatial)``, one map per label value, background first (1 outside the region).
        ``posterior > 0.5`` equals `labels` of STAPLE exactly.
        """
        values = as_float32(self.pattern_posterior)
        if not self.is_multilabel:
            return self.patterns.expand(values, np.float32)
        maps = [self.patterns.expand(column, np.float32, outside=k == 0) for k, column in enumerate(values.T)]
        return np.stack(maps)

    def label_slabs(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield ``(slice along patterns.axis, slab)`` of `labels`, for volumes that do not fit in memory."""
        yield from self.patterns.slabs(self.label_values[self.pattern_labels], self.label_dtype)

    def posterior_slabs(self, label: int = 1) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield ``(slice along patterns.axis, slab)`` of the posterior of one label index (1: foreground)."""
        values = self.pattern_posterior[:, label] if self.is_multilabel else self.pattern_posterior
        yield from self.patterns.slabs(as_float32(values), np.float32)

    def volume(self, label: int = 1) -> int:
        """Return the voxels of one label index in the hard consensus."""
        return int(self.patterns.counts[self.pattern_labels == label].sum())

    def of_raters(self, label: int) -> dict[str, NDArray[Any]]:
        """Return what the method found out as one number ``(R,)`` per rater, on one label value.

        A confusion matrix is told as the raters' sensitivity for the label, and left out where nobody gave the label.

        >>> from ivadomed_labelfusion.fusion import multilabel_staple
        >>> result = multilabel_staple([[0, 1, 2, 2], [0, 1, 2, 2], [0, 1, 1, 2]])
        >>> {name: values.round(2).tolist() for name, values in result.of_raters(2).items()}
        {'sensitivity': [1.0, 1.0, 0.5]}
        """
        found = {name: values for name, values in self.per_rater.items() if values.ndim == 1}
        index = np.flatnonzero(self.label_values == label)
        if "confusion" in self.per_rater and index.size:
            found["sensitivity"] = self.per_rater["confusion"][:, index[0], index[0]]
        return found


def as_float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to float32, but never across 0.5: the result selects at > 0.5 what the float64 values select.

    >>> bool(as_float32(np.array([np.nextafter(0.5, 1)]))[0] > 0.5)
    True
    """
    rounded = values.astype(np.float32)
    half = np.float32(0.5)
    rounded[(values > 0.5) & (rounded <= half)] = np.nextafter(half, np.float32(1))
    rounded[(values <= 0.5) & (rounded > half)] = half
    return rounded


def log_or_zero(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log(values) with -1e6 for log(0): no sum of real terms outweighs it, and 0 times it is 0.

    >>> log_or_zero(np.array([1.0, 0.0])).tolist()
    [0.0, -1000000.0]
    """
    return np.log(values, out=np.full(values.shape, -1e6), where=values > 0)
