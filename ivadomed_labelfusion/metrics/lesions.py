"""Lesion-wise detection: how many lesions were found, and how many of the found ones are false."""

from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics.checks import check_masks, check_same_shape, with_classes


@dataclass(frozen=True)
class LesionDetection:
    """Lesions of one class.

    Attributes:
        true_positive_rate (float): Detected reference lesions / all reference lesions; 1 if neither mask holds any,
            0 if only the reference holds none.
        false_detection_rate (float): Predicted lesions that are false / all predicted lesions; 0 if there are none.
        n_reference (int): Lesions in the reference.
        n_prediction (int): Lesions in the prediction.
    """

    true_positive_rate: float
    false_detection_rate: float
    n_reference: int
    n_prediction: int


@overload
def lesion_detection(
    prediction: ArrayLike, reference: ArrayLike, *, min_overlap: float = 0.1, class_axis: None = None
) -> LesionDetection: ...
@overload
def lesion_detection(
    prediction: ArrayLike, reference: ArrayLike, *, min_overlap: float = 0.1, class_axis: int
) -> tuple[LesionDetection, ...]: ...
def lesion_detection(
    prediction: ArrayLike, reference: ArrayLike, *, min_overlap: float = 0.1, class_axis: int | None = None
) -> LesionDetection | tuple[LesionDetection, ...]:
    """Count detected and falsely detected lesions.

    A lesion is a component connected over faces and edges (18 neighbours in 3-D, 8 in 2-D). A reference lesion is
    detected when at least one voxel and at least the fraction ``min_overlap`` of its voxels are predicted; a predicted
    lesion is false unless at least one voxel and that fraction of its own voxels lie in the reference.

    Args:
        prediction (ndarray): ``(*spatial)``, binary.
        reference (ndarray): Same shape, binary.
        min_overlap (float): Fraction in [0, 1].
        class_axis (int): Axis of the classes; None for a single mask of up to three dimensions.

    Returns:
        LesionDetection: With ``class_axis`` a tuple of one for each class.

    Raises:
        InputError: If a mask is not binary, the shapes differ or ``min_overlap`` is outside [0, 1].

    References:
        Commowick et al. 2018, doi 10.1038/s41598-018-31911-7 (overlap threshold of 10 %); ivadomed's LTPR and LFDR use
        the same connectivity.

    Example:
        >>> found = lesion_detection([1, 1, 0, 1], [1, 1, 0, 0])
        >>> found.true_positive_rate, found.false_detection_rate
        (1.0, 0.5)
    """
    if not 0 <= min_overlap <= 1:
        raise InputError(f"min_overlap must be a fraction in [0, 1], got {min_overlap!r}.")
    plain, prediction, reference = with_classes(class_axis, prediction=prediction, reference=reference)
    prediction = check_masks("prediction", prediction)
    reference = check_masks("reference", reference)
    check_same_shape("prediction", prediction, "reference", reference)
    found = tuple(_detect(ours, theirs, min_overlap) for ours, theirs in zip(prediction, reference, strict=True))
    return found[0] if plain else found


def _detect(prediction: NDArray, reference: NDArray, min_overlap: float) -> LesionDetection:
    found, n_reference = _overlapping(reference, prediction, min_overlap)
    real, n_prediction = _overlapping(prediction, reference, min_overlap)
    rate = found / n_reference if n_reference else float(n_prediction == 0)
    return LesionDetection(rate, 1 - real / n_prediction if n_prediction else 0.0, n_reference, n_prediction)


def _overlapping(mask: NDArray, other: NDArray, min_overlap: float) -> tuple[int, int]:
    """Return how many components of ``mask`` overlap ``other`` enough, and how many there are."""
    from scipy import ndimage

    structure = ndimage.generate_binary_structure(mask.ndim, min(2, mask.ndim))
    try:
        labels, count = ndimage.label(mask, structure, output=np.uint16)
    except RuntimeError:  # more components than 16 bits can number; half the memory is enough for all other masks
        labels, count = ndimage.label(mask, structure)
    if not count:
        return 0, 0
    size = np.bincount(labels[mask], minlength=count + 1)[1:]
    shared = np.bincount(labels[mask & other], minlength=count + 1)[1:]
    return int(np.count_nonzero((shared > 0) & (shared >= min_overlap * size))), count
