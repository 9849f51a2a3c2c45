"""The contrasts of a configuration: there are some, and ivadomed can find their images."""

from collections.abc import Mapping

from ivadomed_labelfusion.data.suffixes import is_bids_contrast

_KEYS = ("training_validation", "testing")


def _named(loader):
    """Yield ``(key, names)`` of the lists in ``contrast_params`` that are lists."""
    contrasts = loader.get("contrast_params")
    for key in _KEYS:
        names = contrasts.get(key) if isinstance(contrasts, Mapping) else None
        if isinstance(names, list):
            yield f"loader_parameters.contrast_params.{key}", names


def empty_contrasts(loader):
    """Yield ``(key, message)`` of lists of contrasts that name none.

    Args:
        loader (Mapping): ``loader_parameters``.
    """
    for key, names in _named(loader):
        if not names:
            yield key, "must name at least one contrast, such as FLAIR, got an empty list."


def unknown_contrasts(loader):
    """Yield ``(key, message)`` of contrasts that BIDS does not know: ivadomed finds their images only unvalidated.

    Args:
        loader (Mapping): ``loader_parameters``.
    """
    if loader.get("bids_validate") is False:
        return
    for key, names in _named(loader):
        for name in names:
            if isinstance(name, str) and name and not is_bids_contrast(name):
                yield (
                    key,
                    f"{name!r} is no contrast that BIDS knows, and ivadomed will not find its images. Rename them, or "
                    "set loader_parameters.bids_validate to false.",
                )
