"""The loss and the learning rate of a configuration: known names with their own parameters."""

import difflib
from collections.abc import Mapping

from ivadomed_labelfusion.config.keys import LOSS_PARAMETERS, LOSSES, SCHEDULER_PARAMETERS
from ivadomed_labelfusion.config.kinds import is_number

_KEY = "training_parameters.loss"
_COMBINATION = "LossCombination"
_MOST_LOSSES = 20
# parameters of schedules that count epochs or steps
_COUNTS = ("T_mult", "step_size_up", "step_size_down")


def wrong_loss(loss, n_classes=None):
    """Yield ``(key, message)`` of everything that is wrong with ``training_parameters.loss``.

    ivadomed runs the names in ``losses_list`` as code, so they are names of losses and nothing else.

    Args:
        loss (Mapping): With ``name`` and the loss's parameters.
        n_classes (int or None): Classes of the labels, at least 1; None if that is not known.
    """
    name = loss.get("name")
    if name is None:
        return
    if not isinstance(name, str) or name not in LOSSES:
        yield f"{_KEY}.name", f"unknown loss {name!r}.{_nearest(name)}"
        return
    parameters = {key: value for key, value in loss.items() if key != "name"}
    if name == _COMBINATION:
        yield from _wrong_combination(loss.get("losses_list"), loss.get("params_list"), n_classes)
        parameters = dict.fromkeys(parameters)
    yield from _wrong_parameters(name, parameters, _KEY, n_classes)


def _wrong_combination(names, parameters, n_classes):
    if not isinstance(names, list) or not 1 <= len(names) <= _MOST_LOSSES:
        yield f"{_KEY}.losses_list", f"must be a list of 1 to {_MOST_LOSSES} losses, got {names!r}."
        return
    for name in names:
        if not isinstance(name, str) or name not in LOSSES or name == _COMBINATION:
            yield f"{_KEY}.losses_list", f"must hold names of losses, got {name!r}.{_nearest(name)}"
            return
    if parameters is None:
        return
    if not isinstance(parameters, list) or len(parameters) != len(names):
        yield (
            f"{_KEY}.params_list",
            f"must be a list of {len(names)} objects or nulls, got {parameters!r}.",
        )
        return
    for name, own in zip(names, parameters, strict=True):
        if own is None:
            continue
        if not isinstance(own, Mapping):
            yield f"{_KEY}.params_list", f"must hold the parameters of {name} as an object, or null, got {own!r}."
        else:
            yield from _wrong_parameters(name, own, f"{_KEY}.params_list", n_classes)


def _wrong_parameters(name, parameters, key, n_classes):
    for parameter, value in parameters.items():
        if parameter not in LOSS_PARAMETERS[name]:
            known = ", ".join(LOSS_PARAMETERS[name]) or "none"
            yield f"{key}.{parameter}", f"{name} has no such parameter; it has {known}. Remove it."
        elif parameter == "classes_of_interest":
            classes = isinstance(value, list) and value and all(isinstance(n, int) and n >= 0 for n in value)
            if value is not None and not classes:
                yield f"{key}.{parameter}", f"must be a list of classes from 0, got {value!r}."
            elif value and n_classes and max(value) >= n_classes:
                yield (
                    f"{key}.{parameter}",
                    f"must be classes from 0 to {n_classes - 1}, as many as target_suffix has, got {value!r}.",
                )
        elif parameter == "include_background":
            if not isinstance(value, bool):
                yield f"{key}.{parameter}", f"must be true or false, got {value!r}."
        elif name != _COMBINATION and not (is_number(value) and value >= 0):
            # below 0, a loss rewards what it should punish
            yield f"{key}.{parameter}", f"must be a number of at least 0, got {value!r}."


def wrong_schedule(scheduler):
    """Yield ``(key, message)`` of parameters that the learning rate's schedule does not have, or that are no numbers.

    Args:
        scheduler (Mapping): ``training_parameters.scheduler.lr_scheduler``.
    """
    name = scheduler.get("name", "CosineAnnealingLR")
    known = SCHEDULER_PARAMETERS.get(name) if isinstance(name, str) else None
    for key, value in scheduler.items():
        path = f"training_parameters.scheduler.lr_scheduler.{key}"
        if key == "name" or known is None:
            continue
        if key not in known:
            yield path, f"{name} has no such parameter; it has {', '.join(sorted(known))}. Remove it."
        elif not is_number(value) or value < 0:
            yield path, f"must be a number of at least 0, got {value!r}."
        elif key in _COUNTS and (value < 1 or not isinstance(value, int)):
            yield path, f"must be a whole number of at least 1, got {value!r}."
    if name == "CosineAnnealingWarmRestarts" and not (isinstance(scheduler.get("T_0"), int) and scheduler["T_0"] > 0):
        yield "training_parameters.scheduler.lr_scheduler.T_0", f"{name} needs T_0, a whole number of epochs above 0."


def _nearest(name):
    near = difflib.get_close_matches(str(name), LOSSES, n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else f" Known here: {', '.join(sorted(LOSSES))}."
