"""One call for every fusion method."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.patterns import auto_patterns, encode
from ivadomed_labelfusion.fusion.region import Region
from ivadomed_labelfusion.fusion.registry import METHODS, check_method
from ivadomed_labelfusion.fusion.result import Consensus, as_float32
from ivadomed_labelfusion.fusion.soft import is_soft
from ivadomed_labelfusion.fusion.source import Masks
from ivadomed_labelfusion.fusion.votes import ClassVotes

MULTICLASS = ("joint", "per_class")


def consensus(
    masks: Masks,
    method: str = "staple",
    *,
    region: Region = "image",
    margin: int = 10,
    names: Sequence[str] | None = None,
    keep_codes: bool = True,
    **options: Any,
) -> Consensus:
    """Fuse several raters' masks and return everything known about the result.

    Arguments as for `fuse`. With ``keep_codes=False`` nothing of the volume's size is kept: masks may be memory maps or
    nibabel's ``dataobj``, and ``label_slabs()`` and ``posterior_slabs()`` give the result piece by piece.

    Returns:
        Consensus: For soft masks one without votes (``has_votes`` False).

    >>> result = consensus([[0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1]], "staple", names=["a", "b", "c"])
    >>> dict(zip(result.raters, result.sensitivity.round(2).tolist()))
    {'a': 1.0, 'b': 1.0, 'c': 0.5}
    """
    check_method(method, options)
    if METHODS[method].of_soft is not None and is_soft(masks, names):
        return METHODS[method].of_soft_masks(masks, region=region, margin=margin, names=names, **options)
    patterns = auto_patterns(masks, names=names, region=region, margin=margin, keep_codes=keep_codes)
    return METHODS[method](patterns, **options)


def fuse(
    masks: Masks,
    method: str = "staple",
    *,
    soft: bool = False,
    region: Region = "image",
    margin: int = 10,
    names: Sequence[str] | None = None,
    **options: Any,
) -> NDArray[Any]:
    """Fuse several raters' masks into one.

    Args:
        masks (ndarray or sequence): ``(R, *spatial)`` of any bool, integer or float dtype, or a sequence of R arrays:
            binary masks (0 and 1; 0 and 255 with a warning) or integer label maps (whole numbers >= 0, some other than
            0 and 1); methods with ``of_soft``, such as ``average``, also take soft masks in [0, 1].
        method (str): A name of `METHODS`.
        soft (bool): Return the probability instead of the hard consensus: STAPLE's posterior, the share of votes of
            ``majority`` and ``simple``. ``average`` and ``robust`` are always soft.
        region, margin: See `Reading`.
        names (sequence of str): Raters' names, for messages.
        **options: ``weights``, and the method's own (``METHODS[method].options``): ``ties`` of majority;
            ``confidence_weight``, ``tol``, ``max_iter`` of staple; ``alpha``, ``max_iter`` of simple; and so on.

    Returns:
        ndarray: ``(*spatial)``: uint8 0 and 1 (label maps: label values, wider if needed), or float32 in [0, 1] for
        ``average`` and ``soft`` (label maps: ``(K, *spatial)`` with K the distinct labels in ascending order, 0 first).

    Raises:
        InputError: If an argument is not as described.

    >>> masks = [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    >>> fuse(masks, "majority").tolist()
    [0, 1, 1, 0]
    >>> fuse(masks, "average").round(2).tolist()
    [0.0, 0.6700000166893005, 1.0, 0.33000001311302185]
    """
    result = consensus(masks, method, region=region, margin=margin, names=names, **options)
    return result.posterior if soft or METHODS[method].soft else result.labels()


def fuse_classes(
    masks: Masks,
    method: str = "staple",
    *,
    multiclass: str = "joint",
    soft: bool = False,
    names: Sequence[str] | None = None,
    **options: Any,
) -> NDArray[Any]:
    """Fuse the raters' binary masks of several classes.

    Args:
        masks (ndarray or sequence): ``(R, C, *spatial)`` binary masks, foreground classes only; or nested sequences.
        method (str): A name of `METHODS`.
        multiclass (str): ``joint`` (default): classes exclude each other; each rater's masks become one label map,
            which is fused as such, so that no voxel of a hard result has two classes. A voxel that one rater gave to
            several classes counts for the class listed first, and a warning tells how many there are. ``per_class``:
            every class is fused by itself, as if the others did not exist. ``average`` and ``union`` are always per
            class (their results may overlap), and one class is the same either way.
        soft, names: See `fuse`.
        **options: ``region`` (``union`` is the union over classes for ``joint``), ``margin`` and those of `fuse`.

    Returns:
        ndarray: ``(C, *spatial)``, uint8 0 and 1, or float32 in [0, 1] for ``average`` and ``soft``.

    Raises:
        InputError: If an argument is not as described.

    >>> masks = [[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]], [[1, 0, 0], [0, 1, 1]]]
    >>> fuse_classes(masks, "majority").tolist()
    [[1, 0, 0], [0, 1, 1]]
    """
    result = consensus_classes(masks, method, multiclass=multiclass, names=names, **options)
    return result.posterior if soft or METHODS[method].soft else result.labels()


def consensus_classes(
    masks: Masks,
    method: str = "staple",
    *,
    multiclass: str = "joint",
    region: Region = "image",
    margin: int = 10,
    names: Sequence[str] | None = None,
    **options: Any,
) -> "ClassConsensus":
    """Fuse the raters' binary masks of several classes and return everything known about the result.

    Arguments as for `fuse_classes`.

    Returns:
        ClassConsensus

    >>> masks = [[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]], [[1, 0, 0], [0, 1, 1]]]
    >>> consensus_classes(masks, "union").is_joint, consensus_classes(masks).is_joint
    (False, True)
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
    if multiclass == "per_class" or len(by_class) == 1 or METHODS[method].classes == "apart":
        results = [
            consensus(list(of_class), method, region=region, margin=margin, names=names, **options)
            for of_class in by_class
        ]
        for result in results:
            if result.label_values.tolist() != [0, 1]:
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


def overlap_note(names: Sequence[str], n_overlap: NDArray[np.int64]) -> str:
    """Say how many voxels of each rater had several classes.

    >>> overlap_note(["a", "b"], np.array([0, 3]))
    'Voxels with several classes of one rater count for the class listed first: b 3.'
    """
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

    results: list[Consensus]
    n_classes: int
    n_overlap: NDArray[np.int64]

    @property
    def notes(self) -> list[str]:
        """What was noticed in the masks: their coding, overlapping classes."""
        notes = [note for result in self.results for note in result.notes]
        if self.n_overlap.any():
            notes.append(overlap_note(self.results[0].raters, self.n_overlap))
        return list(dict.fromkeys(notes))

    @property
    def is_joint(self) -> bool:
        """Whether one result holds all classes."""
        return len(self.results) < self.n_classes

    def of_class(self, index: int) -> tuple[Consensus, int]:
        """Return the result that holds a class, and the class's label value in it.

        >>> consensus_classes([[[1, 0], [0, 1]], [[1, 0], [0, 0]]]).of_class(1)[1]
        2
        """
        return (self.results[0], index + 1) if self.is_joint else (self.results[index], 1)

    def labels(self) -> NDArray[np.uint8]:
        """Return the hard consensus ``(C, *spatial)`` uint8."""
        if self.is_joint:
            return np.stack([_of_class(self.results[0], c + 1, soft=False) for c in range(self.n_classes)])
        return np.stack([result.labels() for result in self.results])

    @property
    def posterior(self) -> NDArray[np.float32]:
        """The probability of each class, ``(C, *spatial)`` float32 in [0, 1]."""
        if self.is_joint:
            return np.stack([_of_class(self.results[0], c + 1, soft=True) for c in range(self.n_classes)])
        return np.stack([result.posterior for result in self.results])


def _of_class(result: Consensus, label: int, *, soft: bool) -> NDArray[Any]:
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
