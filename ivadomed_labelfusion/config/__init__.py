"""ivadomed configuration files: the shipped templates, the checks and the schema for editors."""

from ivadomed_labelfusion.config.check import Problem, check_config, raise_on_errors
from ivadomed_labelfusion.config.schema import json_schema
from ivadomed_labelfusion.config.templates import TEMPLATES_DIR, load_template, template_names

__all__ = [
    "TEMPLATES_DIR",
    "Problem",
    "check_config",
    "json_schema",
    "load_template",
    "raise_on_errors",
    "template_names",
]
