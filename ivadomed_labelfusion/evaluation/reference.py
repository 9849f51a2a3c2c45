"""The binary consensus that a subject is evaluated against."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.evaluation.settings import Settings
from ivadomed_labelfusion.metrics.checks import check_values


def reference_name(method: str) -> str:
    """Return how a consensus is called in titles: ``STAPLE``, ``majority``, ``single rater``."""
    return fusion.METHODS[method].title if method in fusion.METHODS else method


def reference_consensus(
    raters: NDArray, settings: Settings, *, names: Sequence[str] | None = None
) -> tuple[NDArray, dict[str, Any]]:
    """Return the raters' binary consensus over the whole volume and how it came about.

    Args:
        raters (ndarray): ``(R, C, *spatial)``, masks of 0 and 1; soft masks are cut at >= 0.5 first.
        settings (Settings): ``reference`` and, for several classes, ``multiclass``.
        names (sequence of str): Raters' names, for messages.

    Returns:
        tuple: ``(reference, details)``: ``(C, *spatial)`` bool, and a dict ready for JSON with the method and, for
        binary STAPLE, iterations, convergence and each rater's sensitivity and specificity. One rater is the reference
        itself.

    Raises:
        InputError: If a mask holds NaN or values outside [0, 1].
    """
    if raters.size:
        check_values("raters", raters.min(), raters.max())
    details = {"method": settings.reference, "raters": raters.shape[0]}
    if raters.dtype.kind == "f":
        raters = raters >= 0.5
        details["soft_masks_cut_at"] = 0.5
    if raters.shape[0] == 1:
        return raters[0].astype(bool), {**details, "method": "single rater"}
    if raters.shape[1] > 1:
        details["multiclass"] = settings.multiclass
        fused = fusion.fuse_classes(raters, settings.reference, multiclass=settings.multiclass, names=names)
        return fused.view(bool), details
    result = fusion.consensus(raters[:, 0], settings.reference, names=names)
    if result.n_iter is not None:
        details |= {"iterations": int(result.n_iter), "converged": bool(result.converged)}
    details |= {name: values.tolist() for name, values in result.per_rater.items()}
    return result.labels()[np.newaxis].view(bool), details
