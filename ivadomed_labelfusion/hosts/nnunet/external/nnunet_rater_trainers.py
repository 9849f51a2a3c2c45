"""Where nnU-Net finds the trainers by name; `ivadomed_labelfusion.hosts.nnunet.trainer` makes them."""

from ivadomed_labelfusion.hosts.nnunet.trainer import trainer_class


def __getattr__(name):
    found = trainer_class(name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no trainer {name!r}")
    return found
