"""What follows from `keys.SCHEMA`: wrong values, and a JSON Schema with which editors complete and check.

The JSON Schema refuses nothing that `check_config` accepts in a configuration that uses the plugin. What hangs together
(losses and soft labels, raters and classes, shares that add up) is found by `check_config` only.
"""

from collections.abc import Mapping

from ivadomed_labelfusion.config.keys import SCHEMA
from ivadomed_labelfusion.config.kinds import FLAG, Kind


def wrong_values(config, *, strict=True):
    """Yield ``(key, message)`` of every value that is not what its key needs; keys that are absent are fine.

    Args:
        config (Mapping): A configuration whose sections are objects.
        strict (bool): Also name flags that are neither true nor false, which Python and so ivadomed takes for one.
    """
    yield from _wrong_below(config, SCHEMA, "", strict)


def _wrong_below(section, kinds, prefix, strict):
    for key, kind in kinds.items():
        if key not in section:
            continue
        value, path = section[key], f"{prefix}{key}"
        if isinstance(kind, Mapping):
            if isinstance(value, Mapping):
                yield from _wrong_below(value, kind, f"{path}.", strict)
            continue
        complaint = kind.complaint(value)
        if complaint is not None and (strict or kind is not FLAG):
            yield path, f"must be {complaint}, got {_shown(value)}."


def _shown(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def choices(key: str) -> tuple:
    """Return the words that a key takes, such as ``transformation.SampleRater.policy``."""
    entry = SCHEMA
    for part in key.split("."):
        entry = (entry.inside if isinstance(entry, Kind) else entry)[part]
    return entry.words


def json_schema() -> dict:
    """Return the schema of a configuration, draft 7, as a dict that can be written as JSON."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of ivadomed 2.9 with ivadomed_labelfusion",
        **_section(SCHEMA),
        "type": "object",
    }


def _section(entries: Mapping) -> dict:
    properties = {key: _entry(entry) for key, entry in entries.items()}
    # ivadomed reads null as an absent section
    return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}


def _entry(entry: Mapping | Kind) -> dict:
    if isinstance(entry, Mapping):
        return _section(entry)
    schema = {**entry.schema, "description": entry.expected} if entry.expected else dict(entry.schema)
    if entry.inside:
        schema["properties"] = {key: _entry(below) for key, below in entry.inside.items()}
    return schema
