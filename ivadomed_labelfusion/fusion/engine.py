"""One call for every fusion method."""

import warnings
from dataclasses import dataclass

import numpy as np

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.consensus import Consensus, as_float32
from ivadomed_labelfusion.fusion.multilabel import multilabel_staple_of_patterns
from ivadomed_labelfusion.fusion.patterns import auto_patterns, encode
from ivadomed_labelfusion.fusion.simple import simple_of_patterns
from ivadomed_labelfusion.fusion.soft import SoftAverage, is_soft
from ivadomed_labelfusion.fusion.source import ClassVotes
from ivadomed_labelfusion.fusion.staple import staple_of_patterns
from ivadomed_labelfusion.fusion.voting import (
    average_of_patterns,
    intersection_of_patterns,
    majority_of_patterns,
    union_of_patterns,
)


def _staple(patterns, *, confidence_weight=1.0, **options):
    if patterns.labels.size == 2:
        return staple_of_patterns(patterns, confidence_weight=confidence_weight, **options)
    if confidence_weight != 1.0:
        raise InputError("confidence_weight is an option of binary STAPLE only; leave it out for label maps.")
    return multilabel_staple_of_patterns(patterns, **options)


# name -> function of counted vote patterns that returns a Consensus
METHODS = {
    "staple": _staple,
    "average": average_of_patterns,
    "majority": majority_of_patterns,
    "intersection": intersection_of_patterns,
    "union": union_of_patterns,
    "simple": simple_of_patterns,
}
# the options of each method besides weights, region and margin, which all take
OPTIONS = {
    "staple": ("confidence_weight", "tol", "max_iter"),
    "average": (),
    "majority": ("ties",),
    "intersection": (),
    "union": (),
    "simple": ("alpha", "max_iter"),
}
MULTICLASS = ("joint", "per_class")


def check_method(method, options=()):
    """Raise InputError unless ``method`` is known and takes the named options."""
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    known = (*OPTIONS[method], "weights")
    for name in options:
        if name not in known:
            raise InputError(f"Method {method} takes no option {name!r}; it takes {', '.join(known)}, region, margin.")


def consensus(masks, method="staple", *, region="image", margin=10, names=None, keep_codes=True, **options):
    """Fuse several raters' masks and return everything known about the result.

    Arguments as for `fuse`. With ``keep_codes=False`` nothing of the volume's size is kept: masks may be memory maps or
    nibabel's ``dataobj``, and ``label_slabs()`` and ``posterior_slabs()`` give the result piece by piece.

    Returns:
        Consensus: Or its subclass `StapleResult`, `MultiLabelStapleResult`, `SimpleResult`; a `SoftAverage` for soft
        masks.
    """
    check_method(method, options)
    if method == "average" and is_soft(masks, names):
        return SoftAverage(masks, region=region, margin=margin, names=names, **options)
    patterns = auto_patterns(masks, names=names, region=region, margin=margin, keep=keep_codes)
    return METHODS[method](patterns, **options)


def fuse(masks, method="staple", *, soft=False, region="image", margin=10, names=None, **options):
    """Fuse several raters' masks into one.

    Args:
        masks (ndarray or sequence): ``(R, *spatial)`` of any bool, integer or float dtype, or a sequence of R arrays:
            binary masks (0 and 1; 0 and 255 with a warning) or integer label maps (whole numbers >= 0, some other than
            0 and 1); ``average`` also takes soft masks in [0, 1].
        method (str): A name of `METHODS`.
        soft (bool): Return the probability instead of the hard consensus: STAPLE's posterior, the share of votes of
            ``majority`` and ``simple``. ``average`` is always soft.
        region, margin: See `fusion.staple`.
        names (sequence of str): Raters' names, for messages.
        **options: ``weights``, and the method's own (`OPTIONS`): ``ties`` of majority; ``confidence_weight``, ``tol``,
            ``max_iter`` of staple; ``alpha``, ``max_iter`` of simple.

    Returns:
        ndarray: ``(*spatial)``: uint8 0 and 1 (label maps: label values, wider if needed), or float32 in [0, 1] for
        ``average`` and ``soft`` (label maps: ``(K, *spatial)`` with K the distinct labels in ascending order, 0 first).

    Raises:
        InputError: If an argument is not as described.
    """
    result = consensus(masks, method, region=region, margin=margin, names=names, **options)
    return result.posterior if soft or method == "average" else result.labels()


def fuse_classes(
    masks, method="staple", *, multiclass="joint", soft=False, region="image", margin=10, names=None, **options
):
    """Fuse the raters' binary masks of several classes.

    Args:
        masks (ndarray or sequence): ``(R, C, *spatial)`` binary masks, foreground classes only; or nested sequences.
        method (str): A name of `METHODS`.
        multiclass (str): ``joint`` (default): classes exclude each other; each rater's masks become one label map,
            which is fused as such, so that no voxel of a hard result has two classes. A voxel that one rater gave to
            several classes counts for the class listed first, and a warning tells how many there are. ``per_class``:
            every class is fused by itself, as if the others did not exist. ``average`` and ``union`` are always per
            class (their results may overlap), and one class is the same either way.
        soft, region, margin, names, **options: See `fuse`; ``region="union"`` is the union over classes for ``joint``.

    Returns:
        ndarray: ``(C, *spatial)``, uint8 0 and 1, or float32 in [0, 1] for ``average`` and ``soft``.

    Raises:
        InputError: If an argument is not as described.
    """
    result = consensus_classes(
        masks, method, multiclass=multiclass, region=region, margin=margin, names=names, **options
    )
    return result.posterior if soft or method == "average" else result.labels()


def consensus_classes(masks, method="staple", *, multiclass="joint", region="image", margin=10, names=None, **options):
    """Fuse the raters' binary masks of several classes and return everything known about the result.

    Arguments as for `fuse_classes`.

    Returns:
        ClassConsensus
    """
    check_method(method, options)
    if multiclass not in MULTICLASS:
        raise InputError(f"multiclass must be one of {', '.join(MULTICLASS)}, got {multiclass!r}.")
    masks = [list(of_rater) for of_rater in masks]
    n_classes = {len(of_rater) for of_rater in masks}
    if len(n_classes) != 1 or n_classes == {0}:
        raise InputError(
            "masks must be (raters, classes, *spatial) with the same classes for each rater, got "
            f"{len(masks)} raters with {sorted(n_classes)} classes."
        )
    by_class = list(zip(*masks, strict=True))
    if multiclass == "per_class" or len(by_class) == 1 or method in ("average", "union"):
        common = {"region": region, "margin": margin, "names": names}
        results = [consensus(list(of_class), method, **common, **options) for of_class in by_class]
        for result in results:
            if isinstance(result, Consensus) and result.label_values.tolist() != [0, 1]:
                raise InputError(
                    f"masks of one class must be binary, got the labels {result.label_values.tolist()}. "
                    "Split label maps into one mask per class."
                )
        return ClassConsensus(results, len(by_class), np.zeros(len(masks), np.int64))
    reader = ClassVotes(by_class, names)
    patterns = encode(reader, region=region, margin=margin)
    if reader.n_overlap.any():
        warnings.warn(overlap_note(patterns.names, reader.n_overlap), stacklevel=2)
    return ClassConsensus([METHODS[method](patterns, **options)], len(by_class), reader.n_overlap)


def overlap_note(names, n_overlap):
    """Say how many voxels of each rater had several classes."""
    per_rater = ", ".join(f"{name} {count}" for name, count in zip(names, n_overlap, strict=True) if count)
    return f"Voxels with several classes of one rater count for the class listed first: {per_rater}."


@dataclass(eq=False)
class ClassConsensus:
    """The consensus on several classes.

    Attributes:
        results (list of Consensus): One per class; a single one on label maps where classes were fused jointly.
        n_classes (int): C.
        n_overlap (ndarray): ``(R,)`` int64, voxels that each rater gave to several classes (joint fusion only).
    """

    results: list
    n_classes: int
    n_overlap: np.ndarray

    @property
    def notes(self):
        """What was noticed in the masks: their coding, overlapping classes."""
        notes = [note for result in self.results for note in result.notes]
        if self.n_overlap.any():
            notes.append(overlap_note(self.results[0].raters, self.n_overlap))
        return list(dict.fromkeys(notes))

    @property
    def is_joint(self):
        """Whether one result holds all classes."""
        return len(self.results) < self.n_classes

    def labels(self):
        """Return the hard consensus ``(C, *spatial)`` uint8."""
        if self.is_joint:
            return np.stack([_of_class(self.results[0], c + 1, soft=False) for c in range(self.n_classes)])
        return np.stack([result.labels() for result in self.results])

    @property
    def posterior(self):
        """The probability of each class, ``(C, *spatial)`` float32 in [0, 1]."""
        if self.is_joint:
            return np.stack([_of_class(self.results[0], c + 1, soft=True) for c in range(self.n_classes)])
        return np.stack([result.posterior for result in self.results])


def _of_class(result, label, *, soft):
    """Return one label of a fused label map as a mask or, soft, as a probability; zeros if no rater gave it."""
    index = np.flatnonzero(result.label_values == label)
    dtype = np.float32 if soft else np.uint8
    if not index.size:
        return np.zeros(result.patterns.shape, dtype)
    if not soft:
        return result.patterns.expand(result.pattern_labels == index[0], dtype)
    # a label map with a single foreground label is a binary mask
    values = result.pattern_posterior[:, index[0]] if result.is_multilabel else result.pattern_posterior
    return result.patterns.expand(as_float32(values), dtype)
