"""How the numbers of a mask are read: the one rule for 0/1, 0/255, scaled and rounded masks, label maps and soft masks.

Masks come as 0 and 1 of any dtype, as 0 and 255, as a constant times 0 and 1, and with the rounding of a header's scale
factor (1.0000076). All of these are one mask. A single whole number from 2 to 9 is more likely the number of a class in
a label map, and is never taken for a mask.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ivadomed_labelfusion.errors import InputError

# share of the foreground value by which values may differ from 0 and from it
CODING_TOLERANCE = 1e-4
# whole numbers that number the classes of a label map, when they are the only value beside 0
CLASS_NUMBERS = range(2, 10)
# a single value from here to 1 is a soft label; below, it is a scale factor
SOFT_FROM = 0.05

BINARY, SOFT, LABELS, OTHER = "binary", "soft", "labels", "other"
Blocks = Callable[[], Iterable[np.ndarray]]


@dataclass(frozen=True)
class Coding:
    """What the values of one mask mean.

    Attributes:
        kind: ``binary`` (0 and one other value), ``soft`` (values in [0, 1]), ``labels`` (whole numbers >= 0), or
            ``other``.
        foreground: The other value of a binary mask; 0.0 of anything else.
        exact: Whether a binary mask holds exactly 0 and 1.
        low, high: Smallest and largest value; 0.0 of a mask without voxels.
        examples: The first distinct values, for messages.
    """

    kind: str
    foreground: float
    exact: bool
    low: float
    high: float
    examples: tuple[float, ...]

    def binary(self, values: np.ndarray) -> np.ndarray:
        """Return values of this mask as bool.

        >>> mask = np.array([0, 255, 254.99])
        >>> coding_of(lambda: [mask], "rater1").binary(mask).tolist()
        [False, True, True]
        """
        return values != 0 if self.exact else values > self.foreground / 2

    def soft(self, values: np.ndarray) -> np.ndarray:
        """Return values of this mask as float32 in [0, 1], where soft values are allowed.

        >>> mask = np.array([0, 0.5, 1.00002])
        >>> coding_of(lambda: [mask], "rater1").soft(mask).tolist()
        [0.0, 0.5, 1.0]
        """
        if self.kind == BINARY:
            return self.binary(values).astype(np.float32)
        return np.clip(np.asarray(values, np.float32), 0, 1)


def coding_of(blocks: Blocks, name: str) -> Coding:
    """Return what the values of a mask mean.

    Args:
        blocks: Gives all values, in arrays of any shape; called twice at most.
        name: The mask, for messages: file, rater, class.

    Returns:
        Coding: A mask without voxels, or of zeros only, is ``binary``.

    Raises:
        InputError: If the dtype is not real numbers (complex, RGB), or a value is NaN or infinite.

    >>> coding = coding_of(lambda: [np.array([0, 255, 255])], "rater1")
    >>> coding.kind, coding.foreground, coding.exact
    ('binary', 255.0, False)
    >>> coding_of(lambda: [np.array([0, 1, 2])], "rater1").kind
    'labels'
    """
    low, high, exact = np.inf, -np.inf, True
    for values in blocks():
        if values.dtype.kind not in "buif":
            kind = "complex numbers" if values.dtype.kind == "c" else f"values of type {values.dtype} (such as RGB)"
            raise InputError(
                f"Masks must hold one real number per voxel, {name} holds {kind}. Save it with one channel of 0 and 1."
            )
        if not values.size:
            continue
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"Masks must hold finite numbers, {name} holds NaN or infinity. Replace those voxels.")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        exact = exact and (values.dtype.kind == "b" or bool(((values == 0) | (values == 1)).all()))
    if high < low:
        return Coding(BINARY, 1.0, True, 0.0, 0.0, ())
    if exact:
        return Coding(BINARY, 1.0, True, low, high, ())
    return _inexact(blocks, low, high)


def _inexact(blocks: Blocks, low: float, high: float) -> Coding:
    """Return the coding of values other than exactly 0 and 1."""
    scale = 1.0 if abs(high - 1) <= CODING_TOLERANCE or abs(high) <= CODING_TOLERANCE else high
    is_two, is_whole, found = scale > 0, low >= -CODING_TOLERANCE, np.empty(0)
    for values in blocks():
        if is_two:
            rest = np.where(values > scale / 2, values - scale, values)
            is_two = bool(np.abs(rest).max(initial=0) <= CODING_TOLERANCE * scale)
        if is_whole and values.dtype.kind == "f":
            is_whole = bool(np.abs(values - np.rint(values)).max(initial=0) <= CODING_TOLERANCE)
        if found.size < 8:
            found = np.union1d(found, np.unique(values)[:8])
    examples = tuple(found[:7].tolist())
    if is_two and not _numbers_a_class(scale) and not SOFT_FROM <= scale < 1:
        return Coding(BINARY, scale, False, low, high, examples)
    if is_whole:
        return Coding(LABELS, 0.0, False, low, high, examples)
    soft = low >= -CODING_TOLERANCE and high <= 1 + CODING_TOLERANCE
    return Coding(SOFT if soft else OTHER, 0.0, False, low, high, examples)


def _numbers_a_class(value: float) -> bool:
    return abs(value - round(value)) <= CODING_TOLERANCE and round(value) in CLASS_NUMBERS


def refusal(coding: Coding, name: str, cure: str = "") -> str:
    """Say why a mask is no binary mask, and what to do.

    Args:
        coding: Its values.
        name: The mask: file, rater, class.
        cure: What the command at hand offers for label maps and soft masks; empty gives general advice.

    >>> refusal(coding_of(lambda: [np.array([0.0, 0.3, 0.9])], "rater1"), "rater1", "Average it.")
    'Masks must hold 0 and 1, rater1 holds 0, 0.3, 0.9. Average it.'
    """
    shown = ", ".join(f"{value:.6g}" for value in coding.examples[:6]) + (", ..." if len(coding.examples) > 6 else "")
    message = f"Masks must hold 0 and 1, {name} holds {shown}."
    if coding.low < -CODING_TOLERANCE:
        return f"{message} Set negative values to 0 if they are meant as background."
    if coding.kind == LABELS:
        single = len([value for value in coding.examples if value > CODING_TOLERANCE]) == 1 and _numbers_a_class(
            coding.high
        )
        cure = cure or "Make one mask per class ('ivadomed_labelfusion prepare generic --class NAME=VALUE')."
        seems = f"{coding.high:.6g} looks like the number of a class" if single else "This looks like a label map"
        return f"{message} {seems}. {cure}"
    if coding.kind == SOFT:
        return f"{message} {cure or 'This looks like a soft mask: threshold it first, or use the average.'}"
    return f"{message} {cure or 'This is no mask: check that the right file is named.'}"


def coding_note(codings: dict[str, Coding]) -> str:
    """Return one sentence on all masks that were not coded exactly 0 and 1, empty if there are none.

    Args:
        codings: Name of a mask to its coding.

    >>> coding_note({"rater1": coding_of(lambda: [np.array([0, 255])], "rater1")})
    'Masks coded 0 and 255 are read as 0 and 1: rater1.'
    """
    groups: dict[str, list[str]] = {}
    for name, coding in codings.items():
        if coding.kind == BINARY and not coding.exact:
            value = "about 1 (rounded)" if coding.foreground == 1 else f"{coding.foreground:.8g}"
            groups.setdefault(value, []).append(name)
    parts = [f"coded 0 and {value} are read as 0 and 1: {_listed(names)}" for value, names in groups.items()]
    return f"Masks {'; '.join(parts)}." if parts else ""


def _listed(names: list[str]) -> str:
    if len(names) <= 10:
        return ", ".join(names)
    return f"{', '.join(names[:5])} and {len(names) - 5} more"
