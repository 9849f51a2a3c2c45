"""How to convert one subject, and what was found in it."""

from dataclasses import dataclass, field

from numpy.typing import NDArray

from ivadomed_labelfusion.coding import Coding
from ivadomed_labelfusion.prepare import _coverage
from ivadomed_labelfusion.prepare._plan import PlanProblem

# class -> rater -> mask
Masks = dict[str, dict[str, NDArray]]


@dataclass(frozen=True)
class SubjectOptions:
    """How to convert a subject: see ``prepare_scgm`` for the meaning."""

    symlink: bool = False
    repair_affine: bool = False
    roi: str | None = None
    crop: _coverage.Crop | None = None
    template: str | None = None


@dataclass
class SubjectReport:
    """What one subject holds.

    Attributes:
        name: ``sub-01``.
        source_id: The subject's name in the download.
        raters: Raters whose masks were written.
        axes: Orientation of the image that carries the labels.
        voxel_mm: Its voxel size in mm.
        shape: Its shape.
        volumes_mm3: Class -> rater -> volume in mm^3.
        dice: Class -> (rater, rater) -> Dice; 1.0 if both are empty.
        kept: Share in [0, 1] of the raters' union that the configuration's crop keeps; None if unknown.
        problems: Everything found.
        codings: Place of each binary mask to its `Coding`.
    """

    name: str
    source_id: str
    raters: list[str] = field(default_factory=list)
    axes: str = ""
    voxel_mm: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()
    volumes_mm3: dict[str, dict[str, float]] = field(default_factory=dict)
    dice: dict[str, dict[tuple[str, str], float]] = field(default_factory=dict)
    kept: float | None = None
    problems: list[PlanProblem] = field(default_factory=list)
    codings: dict[str, Coding] = field(default_factory=dict)

    def add(self, level: str, text: str) -> None:
        """Note a problem of this subject."""
        self.problems.append(PlanProblem(level, self.name, text))

    @property
    def failed(self) -> bool:
        """True if an error was found."""
        return any(problem.level == "error" for problem in self.problems)
