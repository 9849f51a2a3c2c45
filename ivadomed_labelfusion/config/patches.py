"""Changing configurations: JSON Merge Patch, and settings given by their key path."""

import copy
from collections.abc import Iterator, Mapping

from ivadomed_labelfusion.errors import InputError

RATER_TRANSFORMS = ("FuseRaters", "SampleRater")


def merge_patch(target: object, patch: object) -> object:
    """Return ``target`` with a JSON Merge Patch (RFC 7396) applied; neither argument is changed.

    >>> merge_patch({"depth": 4, "loss": {"name": "DiceLoss"}}, {"depth": 3, "loss": None})
    {'depth': 3}
    """
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = copy.deepcopy(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def leaves(patch: Mapping, prefix: tuple = ()) -> Iterator[tuple]:
    """Yield ``(key path, value)`` of everything that a merge patch sets or removes.

    >>> list(leaves({"default_model": {"depth": 3, "name": None}}))
    [(('default_model', 'depth'), 3), (('default_model', 'name'), None)]
    """
    for key, value in patch.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def with_settings(config: Mapping, settings: Mapping, *, where: str = "configuration") -> dict:
    """Return a configuration with whole values set or removed; the rater transforms come first in it.

    Unlike in a merge patch, an object takes the place of what was there: a loss or a fusion is one decision, whose
    parameters must not be mixed with another's.

    Args:
        config: A configuration; it is not changed.
        settings: ``section.key`` to the value; None removes the key.
        where: The configuration's name, for messages.

    Raises:
        InputError: If a section on the way is no object.
    """
    changed = copy.deepcopy(dict(config))
    for path, value in settings.items():
        *sections, key = path.split(".")
        target = changed
        for depth, section in enumerate(sections, start=1):
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                raise InputError(f"{where}: {'.'.join(sections[:depth])} must be a JSON object, got {target!r}.")
        if value is None:
            target.pop(key, None)
        else:
            target[key] = copy.deepcopy(value)
    return raters_first(changed)


def raters_first(config: dict) -> dict:
    """Return a configuration whose rater transforms come first: raters meet before anything resamples their masks."""
    transformation = config.get("transformation")
    if not isinstance(transformation, dict):
        # the check of configurations says so
        return config
    first = {name: transformation[name] for name in RATER_TRANSFORMS if name in transformation}
    rest = {name: value for name, value in transformation.items() if name not in first}
    return {**config, "transformation": {**first, **rest}}
