"""What a conversion will do, as plain data: the same objects for every dataset."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ivadomed_labelfusion.prepare._source import SourceFile


@dataclass(frozen=True)
class PlanProblem:
    """Something found: ``level`` is ``error`` (nothing is written), ``warning`` or ``note``."""

    level: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}" if self.subject else self.text


@dataclass(frozen=True)
class ImagePlan:
    """One image: BIDS contrast (``FLAIR``, ``ce-gadolinium_T1w``), its file, and what its sidecar says."""

    contrast: str
    file: SourceFile
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    register: bool = False


@dataclass(frozen=True)
class MaskPlan:
    """One mask file.

    Attributes:
        rater: ``rater1``, or ``consensus`` for what the source fused itself.
        file: The mask.
        values: Class name -> its integer value, or None where the file is a binary mask of one class.
        is_consensus: Whether it is the source's own consensus and no rater's mask.
    """

    rater: str
    file: SourceFile
    values: Mapping[str, int | None]
    is_consensus: bool = False


@dataclass(frozen=True)
class SubjectPlan:
    """One subject: the first image carries the labels; ``participant`` holds the columns of participants.tsv."""

    name: str
    source_id: str
    participant: dict[str, str]
    images: tuple[ImagePlan, ...]
    masks: tuple[MaskPlan, ...]
    brain: SourceFile | None = None

    @property
    def label_stem(self) -> str:
        """File stem of the image that carries the labels, such as ``sub-01_FLAIR``."""
        return f"{self.name}_{self.images[0].contrast}"

    @property
    def raters(self) -> list[str]:
        """Names of the raters in the order of the plan, fused masks left out."""
        return list(dict.fromkeys(mask.rater for mask in self.masks if not mask.is_consensus))


@dataclass
class DatasetPlan:
    """One dataset.

    Attributes:
        title: Name of the dataset.
        description: Further fields of dataset_description.json.
        readme: Text of the README (source, licence, citation).
        columns: Descriptions of the columns of participants.tsv.
        classes: Names of the classes, in the order of ``target_suffix``.
        raters: Raters that every subject should have.
        exclusive: The classes must not overlap.
        template: Configuration template whose resampling and crop are checked.
        subjects: Sorted by name.
        problems: Found while planning.
        license_file: Licence text that came with the download.
    """

    title: str
    description: dict[str, Any]
    readme: str
    columns: dict[str, str]
    classes: tuple[str, ...]
    raters: tuple[str, ...]
    exclusive: bool
    template: str | None
    subjects: list[SubjectPlan]
    problems: list[PlanProblem]
    license_file: SourceFile | None = None
