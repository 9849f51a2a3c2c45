"""What a conversion will do, as plain data: the same objects for every dataset."""

from dataclasses import dataclass, field

from ivadomed_labelfusion.prepare._source import SourceFile


@dataclass(frozen=True)
class PlanProblem:
    """Something found: ``level`` is ``error`` (nothing is written), ``warning`` or ``note``."""

    level: str
    subject: str
    text: str

    def __str__(self):
        return f"{self.subject}: {self.text}" if self.subject else self.text


@dataclass(frozen=True)
class ImagePlan:
    """One image: BIDS contrast (``FLAIR``, ``ce-gadolinium_T1w``), its file, and what its sidecar says."""

    contrast: str
    file: SourceFile
    sidecar: dict = field(default_factory=dict)
    register: bool = False


@dataclass(frozen=True)
class MaskPlan:
    """One mask file.

    Attributes:
        rater (str): ``rater1``, or ``consensus`` for what the source fused itself.
        file (SourceFile): The mask.
        values (dict): Class name -> its integer value, or None where the file is a binary mask of one class.
        is_consensus (bool): Whether it is the source's own consensus and no rater's mask.
    """

    rater: str
    file: SourceFile
    values: dict
    is_consensus: bool = False


@dataclass(frozen=True)
class SubjectPlan:
    """One subject: the first image carries the labels; ``participant`` holds the columns of participants.tsv."""

    name: str
    source_id: str
    participant: dict
    images: tuple
    masks: tuple
    brain: SourceFile | None = None

    @property
    def label_stem(self):
        """File stem of the image that carries the labels, such as ``sub-01_FLAIR``."""
        return f"{self.name}_{self.images[0].contrast}"

    @property
    def raters(self):
        """Names of the raters in the order of the plan, fused masks left out."""
        return list(dict.fromkeys(mask.rater for mask in self.masks if not mask.is_consensus))


@dataclass
class DatasetPlan:
    """One dataset.

    Attributes:
        title (str): Name of the dataset.
        description (dict): Further fields of dataset_description.json.
        readme (str): Text of the README (source, licence, citation).
        columns (dict): Descriptions of the columns of participants.tsv.
        classes (tuple): Names of the classes, in the order of ``target_suffix``.
        raters (tuple): Raters that every subject should have.
        exclusive (bool): The classes must not overlap.
        template (str or None): Configuration template whose resampling and crop are checked.
        subjects (list of SubjectPlan): Sorted by name.
        problems (list of PlanProblem): Found while planning.
        license_file (SourceFile or None): Licence text that came with the download.
    """

    title: str
    description: dict
    readme: str
    columns: dict
    classes: tuple
    raters: tuple
    exclusive: bool
    template: str | None
    subjects: list
    problems: list
    license_file: SourceFile | None = None
