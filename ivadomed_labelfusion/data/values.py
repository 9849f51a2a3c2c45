"""Reading the values of a rater's mask: one reading for every entrance, by the rule of `coding`."""

import numpy as np

from ivadomed_labelfusion.coding import BINARY, SOFT, Coding, coding_of, refusal
from ivadomed_labelfusion.errors import InputError

_PLAIN = Coding(BINARY, 1.0, True, 0.0, 1.0, ())


def read_mask(data: np.ndarray, name: str, *, soft: bool = False, cure: str = "") -> tuple[np.ndarray, Coding]:
    """Return the values of one mask as 0 and 1, or as numbers in [0, 1] where soft values are allowed.

    Args:
        data (ndarray): Values as stored, of any shape.
        name (str): The mask: rater, class, file; for messages.
        soft (bool): Allow soft values.
        cure (str): What the command at hand offers for masks that are refused, see `coding.refusal`.

    Returns:
        tuple: ``(values, coding)``: uint8 of 0 and 1 (the array itself if it is that already), or float32 in [0, 1] of
        a soft mask.

    Raises:
        InputError: If the values are no mask: NaN, infinite, negative, complex, a label map, or soft where that is not
            allowed.
    """
    if data.dtype == np.uint8 and data.max(initial=0) <= 1:
        return data, _PLAIN
    coding = coding_of(lambda: (data,), name)
    if coding.kind == BINARY:
        return coding.binary(data).view(np.uint8), coding
    if coding.kind == SOFT and soft:
        return coding.soft(data), coding
    raise InputError(refusal(coding, name, cure))
