"""A predicted volume against the volumes that several raters drew."""

import math

import numpy as np
from numpy.typing import ArrayLike

from ivadomed_labelfusion.errors import InputError


def volume_crps(volume: float, rater_volumes: ArrayLike) -> float:
    """Return the continuous ranked probability score of a volume under the raters' normal distribution.

    The integral over v of (F(v) - [v >= volume])^2, with F the normal distribution of the raters' mean and standard
    deviation (divided by R), in closed form.

    Args:
        volume (float): Predicted volume, >= 0, in any unit.
        rater_volumes (array): ``(R,)`` volumes of the raters, >= 0, in the same unit.

    Returns:
        float: >= 0, 0 is best, in the unit of the volumes. Raters of equal volume, one rater and empty masks included:
        the distance from their volume.

    Raises:
        InputError: If there is no rater, or a volume is negative or not finite.

    References:
        Gneiting and Raftery 2007, doi 10.1198/016214506000001437 (CRPS, closed form for the normal distribution).

    Example:
        >>> volume_crps(3.0, [1.0, 1.0])
        2.0
    """
    raters = np.asarray(rater_volumes, np.float64)
    if raters.ndim != 1 or not raters.size:
        raise InputError(f"rater_volumes must be a vector of one volume per rater, got the shape {raters.shape}.")
    if not np.isfinite([volume, *raters]).all() or min(volume, *raters) < 0:
        raise InputError(f"volumes must be finite and at least 0, got {volume} and {raters.tolist()}.")
    distance, spread = float(volume - raters.mean()), float(raters.std())
    if spread == 0:
        return abs(distance)
    z = distance / spread
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return spread * (z * math.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))
