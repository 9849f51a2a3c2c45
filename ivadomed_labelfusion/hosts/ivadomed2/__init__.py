"""The adapter to ivadomed 2.9: the only package that imports it, and only when it is switched on."""

import contextlib
import sys
from collections.abc import Iterator

_PATCHES = "ivadomed_labelfusion.hosts.ivadomed2.patches"

__all__ = ["disable", "enable", "enabled", "is_enabled"]


def enable() -> None:
    """Switch the plugin on in this process: register its transforms and models and repair ivadomed.

    Does nothing if it is on already. Imports ivadomed and torch.

    Raises:
        InputError: If the extra ``ivadomed`` is not installed.

    Warns:
        UserWarning: If the installed ivadomed is not one this plugin knows; ivadomed is then left as it is.
    """
    from ivadomed_labelfusion.extras import require

    require("ivadomed", what="ivadomed_labelfusion.enable()")
    from ivadomed_labelfusion.hosts.ivadomed2 import patches

    patches.enable()


def disable() -> None:
    """Switch the plugin off and restore everything it replaced in ivadomed. Does nothing if it is off already."""
    if _PATCHES in sys.modules:
        sys.modules[_PATCHES].disable()


def is_enabled() -> bool:
    """Tell whether the plugin is switched on in this process; imports nothing."""
    patches = sys.modules.get(_PATCHES)
    return patches is not None and patches.is_enabled()


@contextlib.contextmanager
def enabled() -> Iterator[None]:
    """Have the plugin on inside a ``with`` block, and afterwards as it was before.

    Raises:
        InputError: If the extra ``ivadomed`` is not installed.
    """
    was_on = is_enabled()
    enable()
    try:
        yield
    finally:
        if not was_on:
            disable()
