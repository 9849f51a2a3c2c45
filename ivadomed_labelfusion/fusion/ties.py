"""Ties: the words for what they give, and those in an average that is going to be binarised at 0.5."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.errors import InputError

Ties = Literal["lowest", "background", "foreground", "error"]
TIES: tuple[str, ...] = get_args(Ties)

# the largest float32 below 0.5: binarised at >= 0.5 it is background, as a soft value it is the same average
BELOW_HALF = np.nextafter(np.float32(0.5), np.float32(0))
_ROUNDING = 1e-6


def settle_ties(average: NDArray[np.floating], ties: Ties = "background") -> NDArray[np.float32]:
    """Return the average with every tied voxel moved off 0.5, so that binarising it at >= 0.5 takes a majority.

    With an even number of raters two labels (the background is one) can have half of the votes each. Binarised at
    >= 0.5, such a voxel would be foreground against half of the raters, and foreground of both classes where they tied.
    All other values stay as they are.

    Args:
        average (ndarray): ``(C, *spatial)`` float, raters' mean per class; the background is 1 - sum.
        ties (str): As in `fusion.majority`: ``background``: no class gets the voxel. ``lowest``: the background if it
            is tied, else the class listed first. ``foreground``: the class listed first among the tied. ``error``: an
            InputError that counts them.

    Returns:
        ndarray: float32 of the same shape.

    Raises:
        InputError: If ``ties`` is unknown, or on a tie with ``error``.

    >>> (settle_ties(np.array([[0.5, 1.0]])) >= 0.5).tolist()
    [[False, True]]
    """
    if ties not in TIES:
        raise InputError(f"ties must be one of {', '.join(TIES)}, got {ties!r}.")
    settled = np.array(average, np.float32)
    half = np.abs(settled - np.float32(0.5)) <= _ROUNDING
    background = np.abs(0.5 - settled.sum(axis=0, dtype=np.float64)) <= _ROUNDING
    tied = half & (half.sum(axis=0) + background > 1)
    if not tied.any():
        return settled
    if ties == "error":
        raise InputError(
            f"{int(tied.any(axis=0).sum())} voxels have equally many votes for two labels. "
            "Choose ties: background, lowest or foreground."
        )
    settled[tied] = BELOW_HALF
    if ties != "background":
        winners = tied & (np.cumsum(tied, axis=0) == 1)
        settled[winners & ~background if ties == "lowest" else winners] = 0.5
    return settled
