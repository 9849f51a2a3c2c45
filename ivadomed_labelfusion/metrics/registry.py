"""Own metrics beside the built-in ones: registered by a decorator, by an installed package, or by a dotted path.

A metric is a function that names, as keyword arguments, what it needs of:

========================  ==========================================================================================
``prediction``            ``(C, *spatial)`` soft prediction, foreground classes in [0, 1], as read (float or integer)
``raters``                ``(R, C, *spatial)`` the raters' masks
``average``               ``(C, *spatial)`` float32, mean of the raters
``reference``             ``(C, *spatial)`` bool, the consensus (STAPLE by default)
``binarized``             ``(C, *spatial)`` bool, the binarised prediction
``voxel_size_mm``         tuple of float, voxel size of each spatial axis in mm
``class_names``           tuple of str, C names
``subject``               str, stem of the image's file name
========================  ==========================================================================================

Arrays are read-only. The function returns one number (column ``ir_<name>``), C numbers (``ir_<name>_<class>``) or a
dict from str to number (``ir_<name>_<key>``).
"""

import importlib
import importlib.metadata
import inspect
import re
from dataclasses import dataclass

from ivadomed_labelfusion.errors import InputError

ARGUMENTS = (
    "prediction",
    "raters",
    "average",
    "reference",
    "binarized",
    "voxel_size_mm",
    "class_names",
    "subject",
)
BUILT_IN = (
    "entropy",
    "calibrated_entropy",
    "brier",
    "brier_split",
    "log_score",
    "ece",
    "dice",
    "precision",
    "recall",
    "rvd",
    "avd",
    "soft_dice",
    "qubiq_dice",
    "ged",
    "hungarian_iou",
    "rater_agreement",
    "lesions",
    "surface",
)
ENTRY_POINT_GROUP = "ivadomed_labelfusion.metrics"

_registered = {}


@dataclass(frozen=True)
class Metric:
    """An own metric.

    Attributes:
        name (str): Gives the column's name.
        function (callable): The user's function.
        arguments (tuple of str): The members of ``ARGUMENTS`` that it takes.
    """

    name: str
    function: object
    arguments: tuple

    def __call__(self, available):
        """Call the function with what it takes of the dict ``available``."""
        return self.function(**{name: available[name] for name in self.arguments})


def register_metric(name):
    """Return a decorator that makes a function an own metric.

    Args:
        name (str): Lower-case letters, digits and underscores; no built-in metric's name.

    Returns:
        callable: A decorator that returns the function unchanged. Registering the same function again (a module
        imported anew) replaces it.

    Raises:
        InputError: If the name is taken or malformed, or the function asks for something that is not offered.

    Example:
        >>> @register_metric("mean_probability")
        ... def mean_probability(*, prediction):
        ...     return prediction.mean()
    """

    def decorate(function):
        metric = make_metric(name, function)
        known = _registered.get(name)
        if known is not None and _origin(known.function) != _origin(function):
            raise InputError(
                f"The metric {name!r} is registered already by {_origin(known.function)}, got {_origin(function)}. "
                "Choose another name."
            )
        _registered[name] = metric
        return function

    return decorate


def make_metric(name, function):
    """Return the ``Metric`` of a function after checking its name and what it asks for."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"The name of a metric must be lower-case letters, digits and underscores, got {name!r}.")
    if name in BUILT_IN:
        raise InputError(f"The name of an own metric must differ from the built-in metrics, got {name!r}.")
    if not callable(function):
        raise InputError(f"The metric {name!r} must be a function, got {type(function).__name__}.")
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return Metric(name, function, ARGUMENTS)
    wanted = []
    for parameter in parameters:
        if parameter.name in ARGUMENTS and parameter.kind is not parameter.POSITIONAL_ONLY:
            wanted.append(parameter.name)
        elif parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL:
            raise InputError(
                f"The metric {name!r} asks for {parameter.name!r}, which is not offered. "
                f"A metric takes keyword arguments of {', '.join(ARGUMENTS)}."
            )
    return Metric(name, function, tuple(wanted))


def from_dotted_path(path):
    """Return the ``Metric`` at ``package.module:function``, a function that ``register_metric`` has marked.

    The module is imported, which runs it: whoever names it trusts it. Of what it holds, only a metric is ever called.

    Raises:
        InputError: If the module cannot be imported, has no such function, or the function is no registered metric.
    """
    module_name, _, function_name = path.partition(":")
    try:
        function = importlib.import_module(module_name)
        for part in function_name.split("."):
            function = getattr(function, part)
    # a module may fail in any way while it is imported, also by ending the program
    except (Exception, SystemExit) as error:
        raise InputError(
            f"The metric {path!r} must be 'package.module:function' of a module that Python can import: "
            f"{type(error).__name__}: {error}."
        ) from error
    for metric in _registered.values():
        if metric.function is function:
            return metric
    raise InputError(
        f"The metric {path!r} must be a function marked with @register_metric(NAME) of ivadomed_labelfusion; nothing "
        f"else is called. Got {type(function).__name__} {function_name}. Mark it where it is defined."
    )


def own_metrics():
    """Return a dict from name to ``Metric`` of everything registered, by decorator or by installed packages.

    A package whose metric cannot be loaded appears with a function that raises the reason, so that one broken package
    stops no evaluation.
    """
    found = {}
    for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            found[point.name] = make_metric(point.name, point.load())
        except (Exception, SystemExit) as error:
            found[point.name] = Metric(point.name, _failing(point, error), ())
    return {**found, **_registered}


def resolve(entries, *, where="inter_rater.metrics"):
    """Return ``(built-in names, own Metrics)`` of a list of metric names and dotted paths; None takes all there are.

    Raises:
        InputError: For an unknown name; the message names the nearest.
    """
    if entries is None:
        return BUILT_IN, tuple(own_metrics().values())
    built_in, own, registered = [], {}, None
    for entry in entries:
        if entry in BUILT_IN:
            built_in.append(entry)
            continue
        if ":" in entry:
            metric = from_dotted_path(entry)
        else:
            registered = own_metrics() if registered is None else registered
            if entry not in registered:
                raise InputError(f"{where} must hold metrics, got {entry!r}. {nearest(entry, BUILT_IN, registered)}")
            metric = registered[entry]
        if metric.name in own and own[metric.name].function is not metric.function:
            raise InputError(f"{where} names two metrics {metric.name!r}; their columns would collide. Rename one.")
        own[metric.name] = metric
    return tuple(built_in), tuple(own.values())


def nearest(word, *known):
    """Return a sentence that names the known word nearest to ``word``, or all of them."""
    import difflib

    known = [name for group in known for name in group]
    near = difflib.get_close_matches(str(word), known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Choose from {', '.join(known)}."


def _origin(function):
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', function)}"


def _failing(point, error):
    def fail():
        raise ImportError(f"{point.value} could not be loaded: {error}") from error

    return fail
