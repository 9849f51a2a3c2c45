"""The tables of keys and values as a JSON Schema, with which editors complete and check configurations as one types.

It refuses nothing that `check_config` accepts in a configuration that uses the plugin. What hangs together (losses and
soft labels, raters and classes, shares that add up) is found by `check_config` only.
"""

from ivadomed_labelfusion.config.keys import CHOICES, KNOWN_KEYS
from ivadomed_labelfusion.config.values import KINDS, Kind


def json_schema():
    """Return the schema of a configuration, draft 7, as a dict that can be written as JSON."""
    from ivadomed_labelfusion.fusion import METHODS

    schema = _section(KNOWN_KEYS, KINDS)
    for path, words in {**CHOICES, "transformation.FuseRaters.method": tuple(METHODS)}.items():
        *sections, key = path.split(".")
        place = schema
        for name in sections:
            place = place.setdefault("properties", {}).setdefault(name, {"type": "object"})
        place.setdefault("properties", {})[key] = {"enum": list(words)}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of ivadomed 2.9 with ivadomed_labelfusion",
        **schema,
        "type": "object",
    }


def _section(known, kinds):
    """Return the schema of a section.

    Args:
        known (dict): As in ``KNOWN_KEYS``.
        kinds (dict): As in ``KINDS``; may lack keys.
    """
    properties = {}
    for key, below in known.items():
        kind = kinds.get(key)
        if isinstance(kind, Kind):
            properties[key] = {**kind.schema, "description": kind.expected}
        elif below:
            properties[key] = _section(below, kind or {})
        else:
            properties[key] = {}
    # ivadomed reads null as an absent section
    return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}
