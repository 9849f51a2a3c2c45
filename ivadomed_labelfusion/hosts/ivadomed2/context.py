"""The configuration of the running command."""

import contextvars

running = contextvars.ContextVar("ivadomed_labelfusion_context", default=None)


def current_context():
    """Return the configuration of the running command, or an empty dict outside of one."""
    return running.get() or {}


def is_fast():
    """Tell whether the running command may compute in another order than ivadomed; outside of one it may."""
    return current_context().get("loader_parameters", {}).get("fast_loader", True)
