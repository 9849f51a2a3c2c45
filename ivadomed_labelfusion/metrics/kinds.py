"""What a metric is: a function, what it needs, and the columns it fills; for built-in and own metrics alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.metrics.overlap import Overlap
from ivadomed_labelfusion.metrics.streaming import SubjectSums

PREFIX = "ir_"
BEST = ("high", "low", "zero", "none")


class Options(Protocol):
    """The settings that metrics may need; `evaluation.Settings` holds them."""

    entropy_forms: tuple[str, ...]
    ece_forms: tuple[str, ...]
    regions: tuple[str, ...]
    lesion_min_overlap: float
    surface_tolerance_mm: float


class Available(Protocol):
    """What is offered to metrics: a mapping, or what makes an entry when it is first asked for."""

    def __getitem__(self, need: Any, /) -> Any:
        """Return one of `registry.ARGUMENTS` or `OFFERED`."""


@dataclass(frozen=True)
class ClassMasks:
    """The masks of one class, cut to the box that holds both. A metric that needs them is called once for each class.

    Attributes:
        prediction (ndarray): ``(*spatial)`` bool, the binarised prediction.
        reference (ndarray): ``(*spatial)`` bool, the consensus.
        voxel_size_mm (tuple of float): Voxel size of each axis in mm.
    """

    prediction: NDArray
    reference: NDArray
    voxel_size_mm: tuple[float, ...]


# what a metric may need beside the arrays; all of it comes from one pass over the subject
OFFERED = (Overlap, SubjectSums, ClassMasks, Options)


@dataclass(frozen=True)
class Column:
    """One column of the evaluation, or one for each class: what it is called, how it is shown, which value is best.

    Attributes:
        stem (str): The column's name, or its part before the class, as in ``ir_dice_GM``.
        label (str): Heading in tables, with the unit.
        per_class (bool): One column for each class.
        best (str): ``high``, ``low`` or ``zero``, whichever is the best mean; ``none`` for what only describes.
        scale (float or None): Values are shown divided by this (0.01 for per cent); None chooses a power of ten.
        name (str): Name in a study's tables; empty if no study shows it.
        note (str): What must be known to read it.
        shown (bool): Whether the command ``evaluate`` shows its mean unasked.
        per_model (bool): One value per model of a study instead of one per image.
    """

    stem: str
    label: str
    per_class: bool = False
    best: str = "none"
    scale: float | None = None
    name: str = ""
    note: str = ""
    shown: bool = False
    per_model: bool = False

    def rank(self, mean: float) -> float:
        """Return a number that is lowest for the best mean; NaN where there is no best."""
        return {"high": -mean, "low": mean, "zero": abs(mean), "none": float("nan")}[self.best]


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name (str): Its name in settings.
        function (callable): Computes it.
        needs (tuple): What the function takes: members of `OFFERED` by position, or of `registry.ARGUMENTS` by keyword.
        columns (tuple of Column): What it fills; empty for a function that decides by what it returns.
        in_validation (callable or None): The same as a function of (prediction, target), for validation epochs.
    """

    name: str
    function: Callable[..., Any]
    needs: tuple[Any, ...] = ()
    columns: tuple[Column, ...] = ()
    in_validation: Callable[..., Any] | None = None

    @property
    def by_class(self) -> bool:
        """Whether it is called once for each class."""
        return ClassMasks in self.needs

    def __call__(self, available: Available) -> Any:
        """Call the function with what it needs of ``available``."""
        if any(need in OFFERED for need in self.needs):
            return self.function(*(available[need] for need in self.needs))
        return self.function(**{need: available[need] for need in self.needs})

    def values(self, value: Any, class_names: Sequence[str]) -> dict[str, float]:
        """Return columns from what the function gave.

        Args:
            value: One number, one for each class, or a dict of them (the columns' stems without ``ir_``, or any keys
                for a metric without declared columns).
            class_names (sequence of str): C names. Columns of several stems go class by class.

        Raises:
            ValueError: If there is no number, or the numbers are not those that the metric declares.
        """
        if not self.columns:
            return _undeclared(PREFIX + self.name, value, class_names)
        given = value if isinstance(value, Mapping) else {self.columns[0].stem.removeprefix(PREFIX): value}
        declared = {column.stem.removeprefix(PREFIX): column for column in self.columns}
        unknown = [key for key in given if key not in declared]
        if unknown or not given:
            raise ValueError(
                f"the metric must give {', '.join(declared)}, got {', '.join(map(str, unknown)) or 'nothing'}"
            )
        if not declared[next(iter(given))].per_class:
            return {declared[key].stem: _number(number) for key, number in given.items()}
        numbers = {key: _per_class(one, class_names) for key, one in given.items()}
        return {
            f"{declared[key].stem}_{name}": float(numbers[key][index])
            for index, name in enumerate(class_names)
            for key in given
        }


def _undeclared(stem: str, value: Any, class_names: Sequence[str]) -> dict[str, float]:
    if isinstance(value, Mapping):
        if not value:
            raise ValueError("a metric must return at least one number, got an empty dict")
        return {f"{stem}_{key}": float(number) for key, number in value.items()}
    values = np.asarray(value, np.float64)
    if values.ndim == 0:
        return {stem: float(values)}
    numbers = _per_class(values, class_names)
    return {f"{stem}_{name}": float(number) for name, number in zip(class_names, numbers, strict=True)}


def _number(value: Any) -> float:
    values = np.asarray(value, np.float64)
    if values.ndim:
        raise ValueError(f"the metric must return one number, got an array of shape {values.shape}")
    return float(values)


def _per_class(value: Any, class_names: Sequence[str]) -> NDArray:
    values = np.asarray(value, np.float64)
    # a metric that is called once for each class returns a number
    values = values.reshape(1) if values.ndim == 0 and len(class_names) == 1 else values
    if values.shape != (len(class_names),):
        raise ValueError(
            f"a metric must return a number, one number for each of {len(class_names)} classes or a dict, "
            f"got an array of shape {values.shape}"
        )
    return values
