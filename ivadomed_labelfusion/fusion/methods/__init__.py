"""The fusion methods. Every module in this folder is imported, so that what it registers is there for everyone."""

import importlib
import pkgutil

# modules whose methods come first in messages and tables; the others follow by name
_FIRST = ("staple", "voting", "simple")


def _order(name: str) -> tuple[int, str]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)


for _name in sorted((module.name for module in pkgutil.iter_modules(__path__)), key=_order):
    importlib.import_module(f"{__name__}.{_name}")
