"""The labels of a run: fused ones, which the data room writes into the output folder, and those of single raters.

Fused labels are NIfTI files of whole volumes at native resolution. From then on ivadomed handles them like any
single-rater label, in 2D slices, 2D patches and 3D subvolumes alike, and the user can look at what was trained on.
"""

from dataclasses import dataclass
from pathlib import Path

from ivadomed_labelfusion.coding import coding_note
from ivadomed_labelfusion.data.fused import Fusion
from ivadomed_labelfusion.data.raters import LabelSet, names_of_suffixes


@dataclass(frozen=True)
class MarkedImage:
    """An image and the raters who marked it.

    Attributes:
        labels (LabelSet): The masks of the raters who are present, in the config's order.
        raters (tuple of int): Their positions in ``target_suffix``.
    """

    labels: LabelSet
    raters: tuple

    @property
    def image_stem(self) -> str:
        """``sub-01_FLAIR``."""
        return self.labels.image_stem


class OwnLabels:
    """The labels of a single rater, in the place of fused ones.

    Args:
        nested (list of list of str): One suffix per class.
    """

    note = ""

    def __init__(self, nested):
        self.suffixes = [row[0] for row in nested]
        self._paths = {}

    def write(self, marked):
        """Remember the labels of one image; return the paths, None for a class without a file."""
        paths = [None if row[0] is None else str(row[0]) for row in marked.labels.files]
        self._paths[marked.image_stem] = paths
        return paths

    def paths(self, image_stem):
        """Return the path of the label per class."""
        return self._paths[image_stem]


class FusedLabels:
    """Fused labels of a run, computed when they are asked for and kept in the output folder.

    Args:
        folder (str or Path): ``<path_output>/fused_labels``.
        nested (list of list of str): The suffixes of ``target_suffix``.
        method (str): A fusion method.
        options (dict): Further arguments of ``fusion.fuse_classes``.
        cut_soft, average_ties: See `data.fused.Fusion`.
    """

    def __init__(self, folder, nested, method, options=None, *, cut_soft=False, average_ties=None):
        self.average_ties = average_ties
        self.folder = Path(folder).absolute()
        self.nested = nested
        self.method = method
        self.options = dict(options or {})
        self.cut_soft = cut_soft
        self.codings = {}
        targets = self._fusion(range(len(nested[0]))).targets("", names_of_suffixes(nested)[0], self.folder, method)
        self.suffixes = [target.path.name.removesuffix(".nii.gz") for target in targets]

    @property
    def note(self):
        """One sentence on masks that were not coded 0 and 1, empty if there were none."""
        return coding_note({path.name: coding for path, coding in sorted(self.codings.items())})

    def paths(self, image_stem):
        """Return the path of the fused label per class, whether or not it has been written."""
        return [str(self.folder / f"{image_stem}{suffix}.nii.gz") for suffix in self.suffixes]

    def write(self, marked):
        """Fuse the masks of one image unless that is up to date; return the paths, one per class."""
        fused = self._fusion(marked.raters).write(marked.labels, self.folder, on_image=True)
        self.codings |= fused.codings
        return self.paths(marked.image_stem)

    def _fusion(self, raters):
        options = dict(self.options)
        multiclass = options.pop("multiclass", "joint")
        if options.get("weights") is not None:
            options["weights"] = [options["weights"][rater] for rater in raters]
        return Fusion(
            {self.method: options},
            multiclass=multiclass,
            cut_soft=self.cut_soft,
            average_ties=self.average_ties,
            overwrite=True,
        )
