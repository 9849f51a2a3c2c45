"""Several raters per image: label fusion, evaluation against all raters, and training with ivadomed.

::

    import ivadomed_labelfusion as lf

    consensus = lf.fuse(masks, "staple")                        # masks (R, *spatial) -> Consensus
    result = lf.evaluate(prediction, raters, class_names=["GM"], voxel_size_mm=(0.5, 0.5, 5))
    with lf.ivadomed.enabled():                                 # what the `ivadomed` command does by itself
        ...

The rooms are ``fusion``, ``sampling``, ``metrics``, ``stats``, ``evaluation``, ``plots`` and ``ivadomed``. Everything
is loaded when it is first used, so that the import costs milliseconds.
"""

import importlib

from ivadomed_labelfusion._version import __version__

_ROOM = "ivadomed_labelfusion."
# public name -> module, and the name in it; None is the module itself
_PUBLIC = {
    "evaluate": ("evaluation.subject", "evaluate_subject"),
    "evaluation": ("evaluation", None),
    "disable": ("hosts.ivadomed2", "disable"),
    "enable": ("hosts.ivadomed2", "enable"),
    "fuse": ("fusion", "consensus"),
    "fusion": ("fusion", None),
    "is_enabled": ("hosts.ivadomed2", "is_enabled"),
    "ivadomed": ("hosts.ivadomed2", None),
    "metrics": ("metrics", None),
    "plots": ("plots", None),
    "register_metric": ("metrics.registry", "register_metric"),
    "sampling": ("sampling", None),
    "stats": ("stats", None),
}
# names that README or docs had before, and what they are called now; for one version
_RENAMED = {"figures": "plots"}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    if name in _RENAMED:
        import warnings

        now = _RENAMED[name]
        warnings.warn(f"{_ROOM}{name} is called {_ROOM}{now} now.", DeprecationWarning, stacklevel=2)
        name = now
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    found = importlib.import_module(_ROOM + module)
    return found if attribute is None else getattr(found, attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
