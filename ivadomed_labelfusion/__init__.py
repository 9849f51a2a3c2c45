"""Several raters per image in ivadomed: label fusion, rater sampling, SoftSeg and rater-aware evaluation.

In an environment where this package is installed, the unchanged ``ivadomed`` command uses it. From Python,
``enable()``, ``disable()`` and ``is_enabled()`` do the same; ``register_metric`` adds an evaluation metric.
"""

from ivadomed_labelfusion._version import __version__

__all__ = ["__version__", "disable", "enable", "is_enabled", "register_metric"]


def enable():
    """Switch the plugin on in this process: register its transforms and models and repair ivadomed.

    Does nothing if it is on already. Imports ivadomed and torch.

    Raises:
        InputError: If the extra ``ivadomed`` is not installed.

    Warns:
        UserWarning: If the installed ivadomed is not one this plugin knows; ivadomed is then left as it is.
    """
    from ivadomed_labelfusion.extras import require

    require("ivadomed", what="ivadomed_labelfusion.enable()")
    from ivadomed_labelfusion.hosts import ivadomed2

    ivadomed2.enable()


def disable():
    """Switch the plugin off and restore everything it replaced in ivadomed. Does nothing if it is off already."""
    import sys

    if "ivadomed_labelfusion.hosts.ivadomed2" in sys.modules:
        sys.modules["ivadomed_labelfusion.hosts.ivadomed2"].disable()


def is_enabled():
    """Tell whether the plugin is switched on in this process; imports nothing."""
    import sys

    host = sys.modules.get("ivadomed_labelfusion.hosts.ivadomed2")
    return host is not None and host.is_enabled()


def __getattr__(name):
    # resolved on first use, so that importing the package stays cheap
    if name == "register_metric":
        from ivadomed_labelfusion.metrics.registry import register_metric

        return register_metric
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
