"""The adapter to ivadomed: the only package that imports it."""

from ivadomed_labelfusion.hosts.ivadomed2.patches import disable, enable, is_enabled

__all__ = ["disable", "enable", "is_enabled"]
