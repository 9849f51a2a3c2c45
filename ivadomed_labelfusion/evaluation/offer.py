"""What an evaluation offers to metrics: the arrays of a subject, the sums of one pass over them, and settings."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.evaluation.settings import Settings
from ivadomed_labelfusion.metrics.kinds import ClassMasks, Metric, Options
from ivadomed_labelfusion.metrics.overlap import Overlap
from ivadomed_labelfusion.metrics.streaming import SubjectSums, collect
from ivadomed_labelfusion.metrics.surface import bounding_box


class Offer:
    """A subject as metrics see it; what not every metric needs is made when it is first asked for.

    Args:
        prediction (ndarray): ``(C, *spatial)`` in [0, 1].
        raters (ndarray): ``(R, C, *spatial)``.
        reference (ndarray): ``(C, *spatial)`` bool, the consensus.
        settings (Settings): What to compute.
        subject (dict): ``voxel_size_mm``, ``class_names`` and ``subject``.
    """

    def __init__(
        self, prediction: NDArray, raters: NDArray, reference: NDArray, *, settings: Settings, subject: dict[str, Any]
    ) -> None:
        self._made: dict[Any, Any] = {
            **subject,
            "prediction": _read_only(prediction),
            "raters": _read_only(raters),
            "reference": _read_only(reference),
            Options: settings,
        }
        self._makers: dict[Any, Callable[[], Any]] = {
            SubjectSums: partial(
                collect, prediction, raters, reference, threshold=settings.threshold, n_bins=settings.n_bins
            ),
            Overlap: lambda: Overlap(*self.sums.overlap, self.sums.n_voxels),
            "average": lambda: _read_only(raters.mean(axis=0, dtype=np.float32)),
            "binarized": lambda: _read_only(np.stack([self._binarized(index) for index in range(len(reference))])),
        }

    @property
    def sums(self) -> SubjectSums:
        """The sums of the one pass over the subject."""
        return self[SubjectSums]

    def __getitem__(self, need: Any) -> Any:
        """Return one of `registry.ARGUMENTS` or `kinds.OFFERED`; arrays are read-only."""
        if need not in self._made:
            self._made[need] = self._makers[need]()
        return self._made[need]

    def _binarized(self, index: int) -> NDArray:
        labels = self.sums.labels
        return labels.view(bool) if len(self["reference"]) == 1 else labels == index + 1

    def columns(self, metrics: Iterable[Metric], class_names: Sequence[str]) -> dict[str, float]:
        """Return the columns of some metrics; those that are called once for each class follow the others.

        Args:
            metrics (iterable of Metric): In the order of their columns.
            class_names (sequence of str): C names, which end the columns' names.
        """
        metrics = list(metrics)
        columns: dict[str, float] = {}
        for metric in metrics:
            if not metric.by_class:
                columns |= metric.values(metric(self), class_names)
        by_class = [metric for metric in metrics if metric.by_class]
        for index, name in enumerate(class_names if by_class else ()):
            # class by class, so that the masks of one class are in memory at a time
            self._made[ClassMasks] = self._masks_of(index)
            for metric in by_class:
                columns |= metric.values(metric(self), [name])
        self._made.pop(ClassMasks, None)
        return columns

    def _masks_of(self, index: int) -> ClassMasks:
        ours, theirs = self._binarized(index), self["reference"][index]
        box = bounding_box(ours | theirs)
        box = tuple(slice(0, 1) for _ in ours.shape) if box is None else box
        return ClassMasks(ours[box], theirs[box], self["voxel_size_mm"])


def _read_only(array: NDArray) -> NDArray:
    view = array.view()
    view.flags.writeable = False
    return view
