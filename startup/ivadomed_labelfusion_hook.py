"""Start-up hook: switches ivadomed_labelfusion on as soon as ivadomed is imported.

Every interpreter of the environment imports this file and calls ``start``: through the ``.start`` file from Python 3.15
on (PEP 829), before that through the ``.pth`` file. So it imports nothing beyond what Python has already loaded, and no
error of the plugin can stop an interpreter: it becomes a warning. Set IVADOMED_LABELFUSION_DISABLE=1 to leave ivadomed
untouched.
"""

import os
import sys

SWITCH = "IVADOMED_LABELFUSION_DISABLE"


class IvadomedWatcher:
    """Meta path finder that runs ``enable`` after ivadomed's entry modules have been executed."""

    def __init__(self):
        # names being looked for: another finder that asks all finders, as this one does, must not ask it in a circle
        self._sought = set()

    @staticmethod
    def watches(name):
        """Tell whether a module is an entry to ivadomed: its main command or one of its scripts."""
        return name == "ivadomed.main" or name.startswith("ivadomed.scripts.")

    def find_spec(self, name, path=None, target=None):
        """Return ivadomed's own spec with a loader that enables the plugin afterwards; None for all other modules."""
        if not self.watches(name) or name in self._sought:
            return None
        self._sought.add(name)
        try:
            spec = self._ask_others(name, path, target)
        finally:
            self._sought.discard(name)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _ThenEnable(spec.loader)
        return spec

    def _ask_others(self, name, path, target):
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                return spec
        return None


class _ThenEnable:
    """Loader that has another one do the work, enables the plugin, and steps back.

    It stands beside the other loader, whose own attributes may be read-only.
    """

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        """Return the other loader's module; None for the usual kind."""
        return self._loader.create_module(spec) if hasattr(self._loader, "create_module") else None

    def exec_module(self, module):
        """Execute the module, then enable the plugin."""
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        enable_plugin()


def enable_plugin():
    """Enable the plugin; a failure is a warning, never an exception."""
    try:
        import ivadomed_labelfusion

        ivadomed_labelfusion.enable()
    except Exception as error:
        import warnings

        text = (
            f"ivadomed_labelfusion could not be enabled, ivadomed runs without it ({type(error).__name__}: {error}). "
            "Run `ivadomed_labelfusion doctor` for the cause."
        )
        try:
            warnings.warn(text, stacklevel=2)
        except UserWarning:
            # python -W error
            print(text, file=sys.stderr)


def stay_in_front(event, arguments):
    """Audit hook: other finders may have come before the watcher, and would find ivadomed without it."""
    if event == "import" and IvadomedWatcher.watches(arguments[0]):
        for finder in sys.meta_path[1:]:
            if isinstance(finder, IvadomedWatcher):
                sys.meta_path.remove(finder)
                sys.meta_path.insert(0, finder)


def start():
    """Wait for ivadomed from now on; once, however often and through whichever file it is called."""
    is_off = os.environ.get(SWITCH, "") not in ("", "0")
    if not is_off and not any(type(finder) is IvadomedWatcher for finder in sys.meta_path):
        sys.meta_path.insert(0, IvadomedWatcher())
        sys.addaudithook(stay_in_front)
