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

    @staticmethod
    def watches(name):
        """Tell whether a module is an entry to ivadomed: its main command or one of its scripts."""
        return name == "ivadomed.main" or name.startswith("ivadomed.scripts.")

    def find_spec(self, name, path=None, target=None):
        """Return ivadomed's own spec with a loader that enables the plugin afterwards; None for all other modules."""
        if not self.watches(name):
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                run = spec.loader.exec_module

                def exec_module(module, run=run):
                    run(module)
                    enable_plugin()

                spec.loader.exec_module = exec_module
                return spec
        return None


def enable_plugin():
    """Enable the plugin; a failure is a warning, never an exception."""
    try:
        import ivadomed_labelfusion

        ivadomed_labelfusion.enable()
    except Exception as error:
        import warnings

        warnings.warn(
            f"ivadomed_labelfusion could not be enabled, ivadomed runs without it ({type(error).__name__}: {error}). "
            "Run `ivadomed_labelfusion doctor` for the cause.",
            stacklevel=2,
        )


def start():
    """Wait for ivadomed from now on; once, however often and through whichever file it is called."""
    is_off = os.environ.get(SWITCH, "") not in ("", "0")
    if not is_off and not any(type(finder) is IvadomedWatcher for finder in sys.meta_path):
        sys.meta_path.insert(0, IvadomedWatcher())
