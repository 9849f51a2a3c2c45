"""What the values of a configuration may be: kinds, each as words, as a test and as a JSON Schema.

Python takes any text for true: ``"allow_missing_raters": "False"`` would switch it on.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ivadomed_labelfusion.fusion.registry import Option


def is_whole(value):
    """Tell whether a value is a whole number, True and False left out."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value):
    """Whether a value of JSON is a finite number, and not true or false."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # whole numbers of any length are finite, also those that no float holds
    return isinstance(value, int) or math.isfinite(value)


@dataclass(frozen=True)
class Kind:
    """What a value must be.

    Attributes:
        expected (str): In words, to follow "must be".
        is_right (callable): Takes a value of JSON, tells whether it is so.
        schema (dict): The same as a JSON Schema, or something weaker.
        limit (float or None): Largest number, beyond which a number is a mistake in typing and takes memory or time.
        words (tuple of str): What the value may say where a check that knows more about it says what is wrong.
        inside (dict): Key to `Kind` of what is known about an object whose other keys depend on these.
    """

    expected: str
    is_right: Callable
    schema: dict = field(default_factory=dict)
    limit: float | None = None
    words: tuple = ()
    inside: dict = field(default_factory=dict)

    def complaint(self, value):
        """Return what a value must be, None if it is so."""
        if not self.is_right(value):
            return self.expected
        numbers = value if isinstance(value, list) else [value]
        if self.limit is not None and any(is_number(number) and number > self.limit for number in numbers):
            return f"at most {self.limit:g}"
        return None


def is_text(value):
    """Tell whether a value is a text that is not empty and can name a file."""
    return isinstance(value, str) and value != "" and "\0" not in value


def list_of(is_right, *lengths):
    """Return a check for lists of one of these lengths, of any length if none is given, with right elements only."""

    def check(value):
        return isinstance(value, list) and (not lengths or len(value) in lengths) and all(map(is_right, value))

    return check


def array(items, *lengths):
    """Return the schema of a list."""
    bounds = {"minItems": min(lengths), "maxItems": max(lengths)} if lengths else {}
    return {"type": "array", "items": items, **bounds}


def or_null(kind):
    """Return a kind that may be null as well."""
    schema = {"anyOf": [kind.schema, {"type": "null"}]}
    return Kind(f"{kind.expected}, or null", lambda value: value is None or kind.is_right(value), schema, kind.limit)


def at_most(kind, limit):
    """Return a kind with an upper limit."""
    return replace(kind, limit=limit)


def one_of(*words):
    """Return the kind of some words."""
    return Kind(f"one of {', '.join(words)}", lambda value: value in words, {"enum": list(words)})


def of_option(option: Option) -> Kind:
    """Return the kind of an option of a fusion method."""
    if option.choices:
        return one_of(*option.choices)
    low, above = option.limits.at_least, option.limits.above
    bound = f" of at least {low:g}" if low is not None else f" above {above:g}" if above is not None else ""
    schema = {"type": "integer" if option.kind is int else "number"}
    schema |= {"minimum": low} if low is not None else {"exclusiveMinimum": above} if above is not None else {}
    return Kind(
        f"a {'whole ' if option.kind is int else ''}number{bound}",
        lambda value: (is_whole if option.kind is int else is_number)(value) and option.fits(value),
        schema,
    )


def choice(*words):
    """Return the kind of some words whose check stands elsewhere."""
    return Kind("", lambda value: True, {"enum": list(words)}, words=words)


# a text with a zero byte is no path and no name
ANY_TEXT_SCHEMA = {"type": "string", "not": {"pattern": "\\x00"}}
_TEXT_SCHEMA, _NUMBER_SCHEMA = {**ANY_TEXT_SCHEMA, "minLength": 1}, {"type": "number"}
COUNT_SCHEMA = {"type": "integer", "minimum": 1}
FLAG = Kind("true or false", lambda value: value is None or isinstance(value, bool), {"type": ["boolean", "null"]})
COUNT = Kind("a whole number of at least 1", lambda value: is_whole(value) and value >= 1, COUNT_SCHEMA)
WHOLE = Kind(
    "a whole number of at least 0",
    lambda value: is_whole(value) and value >= 0,
    {"type": "integer", "minimum": 0},
)
POSITIVE = Kind(
    "a number above 0", lambda value: is_number(value) and value > 0, {"type": "number", "exclusiveMinimum": 0}
)
NOT_NEGATIVE = Kind(
    "a number of at least 0", lambda value: is_number(value) and value >= 0, {"type": "number", "minimum": 0}
)
SHARE = Kind(
    "a number from 0 to 1",
    lambda value: is_number(value) and 0 <= value <= 1,
    {"type": "number", "minimum": 0, "maximum": 1},
)
NUMBER = Kind("a number", is_number, _NUMBER_SCHEMA)
PERCENT = Kind(
    "a number from 0 to 100",
    lambda value: is_number(value) and 0 <= value <= 100,
    {"type": "number", "minimum": 0, "maximum": 100},
)
OBJECT = Kind("a JSON object", lambda value: isinstance(value, Mapping), {"type": "object"})
TEXT = Kind("a text", is_text, _TEXT_SCHEMA)
ANY_TEXT = Kind("a text", lambda value: isinstance(value, str) and "\0" not in value, ANY_TEXT_SCHEMA)
NAMES = Kind("a list of names", list_of(is_text), array(_TEXT_SCHEMA))
SIZE = Kind("a list of 2 or 3 whole numbers of at least 1", list_of(COUNT.is_right, 2, 3), array(COUNT_SCHEMA, 2, 3))
PATCH = Kind(
    "a list of 2 or 3 whole numbers of at least 1, or an empty one",
    lambda value: value is None or list_of(COUNT.is_right, 0, 2, 3)(value),
    {"anyOf": [array(COUNT_SCHEMA, 0), array(COUNT_SCHEMA, 2, 3), {"type": "null"}]},
)
RANGE = Kind("a list of 2 numbers", list_of(is_number, 2), array(_NUMBER_SCHEMA, 2))
SHARES = Kind("a list of 2 or 3 numbers from 0 to 1", list_of(SHARE.is_right, 2, 3), array(SHARE.schema, 2, 3))
WHOLES = Kind("a list of whole numbers of at least 0", list_of(WHOLE.is_right), array(WHOLE.schema))
PATHS = Kind(
    "a path or a list of paths",
    lambda value: is_text(value) or (bool(value) and list_of(is_text)(value)),
    {"anyOf": [_TEXT_SCHEMA, {**array(_TEXT_SCHEMA), "minItems": 1}]},
)
GPUS = Kind(
    "a list of at least one whole number",
    lambda value: bool(value) and list_of(WHOLE.is_right)(value),
    {**array(WHOLE.schema), "minItems": 1},
)
SUFFIXES = Kind(
    "a list of suffixes, one per class, or a list of raters' suffixes per class",
    list_of(lambda entry: is_text(entry) or list_of(is_text)(entry)),
    array({"anyOf": [_TEXT_SCHEMA, array(_TEXT_SCHEMA)]}),
)
WEIGHTS = Kind(
    "an object from names to numbers",
    lambda value: isinstance(value, Mapping) and all(map(is_number, value.values())),
    {"type": "object", "additionalProperties": _NUMBER_SCHEMA},
)
ONE_OR_MORE = Kind(
    "a number or a list of numbers",
    lambda value: is_number(value) or list_of(is_number)(value),
    {"anyOf": [_NUMBER_SCHEMA, array(_NUMBER_SCHEMA)]},
)
NUMBER_OR_RANGE = Kind(
    "a number or a list of 2 numbers",
    lambda value: is_number(value) or list_of(is_number, 2)(value),
    {"anyOf": [_NUMBER_SCHEMA, array(_NUMBER_SCHEMA, 2)]},
)
BINS = Kind(
    "a list of at least one number",
    lambda value: bool(value) and list_of(is_number)(value),
    {**array(_NUMBER_SCHEMA), "minItems": 1},
)
UNIT = Kind("vox or mm3", lambda value: value in ("vox", "mm3"), {"enum": ["vox", "mm3"]})
UNIT_OR_RATIO = one_of("vox", "mm3", "ratio")
APPLIED = Kind(
    'a list of "im", "gt" and "roi"',
    list_of(lambda entry: entry in ("im", "gt", "roi")),
    array({"enum": ["im", "gt", "roi"]}),
)
ROLES = Kind(
    'a list of "training", "validation" and "testing"',
    list_of(lambda entry: entry in ("training", "validation", "testing")),
    array({"enum": ["training", "validation", "testing"]}),
)
# checked elsewhere, by ivadomed, or not at all
UNCHECKED = Kind("", lambda value: True)
