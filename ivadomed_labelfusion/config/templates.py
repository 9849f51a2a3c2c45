"""The configuration templates of the six candidates on both datasets."""

from pathlib import Path

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import read_json

# a link to the top-level config_templates/, which a wheel holds as a folder of its own
TEMPLATES_DIR = Path(__file__).resolve().parent.parent / "config_templates"


def template_names():
    """Return the names of the shipped templates, sorted, such as ``ms_softseg_average``."""
    return sorted(path.stem for path in TEMPLATES_DIR.glob("*.json"))


def load_template(name):
    """Return a shipped template as a dict.

    Args:
        name (str): Such as ``ms_softseg_average``.

    Raises:
        InputError: If there is no such template; the message lists them.
    """
    if name not in template_names():
        raise InputError(f"There is no template {name!r}. Choose from {', '.join(template_names())}.")
    return read_json(TEMPLATES_DIR / f"{name}.json")
