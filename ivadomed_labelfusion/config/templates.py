"""The configuration templates of the six candidates on both datasets: `candidates`, written out for users to copy."""

import json
from pathlib import Path

from ivadomed_labelfusion.config.candidates import DATASETS, PAPER_CANDIDATES, base_config
from ivadomed_labelfusion.errors import InputError

# a link to the top-level config_templates/, which a wheel holds as a folder of its own
TEMPLATES_DIR = Path(__file__).resolve().parent.parent / "config_templates"
_LINE_LENGTH = 72


def template_names() -> list[str]:
    """Return the names of the shipped templates, sorted, such as ``ms_softseg_average``."""
    return sorted(f"{dataset}_{candidate}" for dataset in DATASETS for candidate in PAPER_CANDIDATES)


def load_template(name: str) -> dict:
    """Return a shipped template.

    Args:
        name: Such as ``ms_softseg_average``.

    Raises:
        InputError: If there is no such template; the message lists them.
    """
    if name not in template_names():
        raise InputError(f"There is no template {name!r}. Choose from {', '.join(template_names())}.")
    return base_config(*name.split("_", 1))


def template_text(config: dict) -> str:
    """Return a configuration as the JSON text of a template: objects broken into lines, short lists kept on one."""
    return _text(config, 0, 0) + "\n"


def _text(value: object, indent: int, used: int) -> str:
    """Return JSON text; ``used`` letters stand before it on its line."""
    flat = json.dumps(value)
    is_short_list = isinstance(value, list) and not any(isinstance(entry, list | dict) for entry in value)
    if not isinstance(value, list | dict) or not value or (is_short_list and used + len(flat) <= _LINE_LENGTH):
        return flat
    inner = " " * (indent + 4)
    if isinstance(value, list):
        lines = [inner + _text(entry, indent + 4, indent + 4) for entry in value]
    else:
        heads = [f"{inner}{json.dumps(key)}: " for key in value]
        lines = [head + _text(entry, indent + 4, len(head)) for head, entry in zip(heads, value.values(), strict=True)]
    opening, closing = "[]" if isinstance(value, list) else "{}"
    return opening + "\n" + ",\n".join(lines) + "\n" + " " * indent + closing


def write_templates(folder: Path = TEMPLATES_DIR) -> None:
    """Write all templates into a folder, over what is there."""
    for name in template_names():
        (Path(folder) / f"{name}.json").write_text(template_text(load_template(name)), encoding="utf-8")
