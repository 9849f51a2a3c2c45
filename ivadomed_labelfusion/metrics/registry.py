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
dict from str to number (``ir_<name>_<key>``). Those of `metric` state their columns, and may need the sums of the pass
over a subject instead of arrays.
"""

import dataclasses
import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics.kinds import BEST, OFFERED, PREFIX, Column, Metric

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
F = TypeVar("F", bound=Callable[..., Any])

ENTRY_POINT_GROUP = "ivadomed_labelfusion.metrics"

_built_in: dict[str, Metric] = {}
_registered: dict[str, Metric] = {}


def register_metric(name: str) -> Callable[[F], F]:
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
    return lambda function: _add(make_metric(name, function), function)


def metric(
    name: str,
    *,
    label: str = "",
    needs: type | tuple[Any, ...] = (),
    per_class: bool = False,
    best: str = "none",
    scale: float | None = None,
    columns: Iterable[Column] = (),
    **shown: Any,
) -> Callable[[F], F]:
    """Return a decorator that registers a metric with all that tables, commands and studies say about it.

    Args:
        name (str): As in `register_metric`; also its column, ``ir_<name>`` or ``ir_<name>_<class>``.
        label (str): Heading in tables, with the unit, such as ``Dice [%]``.
        needs (type or tuple of type): What the function takes, in order: `metrics.Overlap` (voxel counts),
            `metrics.ClassMasks` (one class's masks; called once for each class), `metrics.SubjectSums` (all sums of the
            pass), `metrics.Options` (settings). Empty: keyword arguments of `ARGUMENTS`, by their names.
        per_class (bool): The function returns one number for each class.
        best (str): ``high``, ``low``, ``zero`` or ``none``: which mean is best.
        scale (float or None): As in `Column`.
        columns (iterable of Column): For a metric of several columns, whose function returns a dict from stem to value;
            takes the place of label, per_class, best and scale.
        **shown: ``study`` (name in a study's tables, the metric's by default; empty for none), ``note``, ``shown`` (see
            `Column`) and ``in_validation`` (see `Metric`).

    Raises:
        InputError: As `register_metric`, for unknown needs, and for a metric that would give no column or one without a
            heading.

    Example:
        >>> import numpy as np
        >>> from ivadomed_labelfusion.metrics import Overlap
        >>> @metric("jaccard", needs=Overlap, per_class=True, best="high", label="Jaccard [%]", scale=0.01)
        ... def jaccard(overlap):
        ...     return overlap.shared / (overlap.predicted + overlap.reference - overlap.shared)
    """
    columns, study = tuple(columns), shown.pop("study", name)
    in_validation = shown.pop("in_validation", None)
    if not columns:
        columns = (Column(name, label, per_class, best, scale, study, **shown),)
    for column in columns:
        if not column.stem or not column.label or column.best not in BEST:
            raise InputError(
                f"The metric {name!r} must have a column with a label, and best one of {', '.join(BEST)}, got {column}."
            )
    columns = tuple(dataclasses.replace(column, stem=PREFIX + column.stem) for column in columns)
    needs = needs if isinstance(needs, tuple) else (needs,)

    def decorate(function: F) -> F:
        plain = make_metric(name, function, needs)
        return _add(dataclasses.replace(plain, columns=columns, in_validation=in_validation), function)

    return decorate


def _add(new: Metric, function: F) -> F:
    book = _built_in if _is_built_in(function) else _registered
    known = book.get(new.name)
    if known is not None and _origin(known.function) != _origin(function):
        raise InputError(
            f"The metric {new.name!r} is registered already by {_origin(known.function)}, got {_origin(function)}. "
            "Choose another name."
        )
    book[new.name] = new
    return function


def make_metric(name: str, function: Callable[..., Any], needs: tuple[Any, ...] = ()) -> Metric:
    """Return the ``Metric`` of a function after checking its name and what it asks for.

    Raises:
        InputError: As `register_metric` and `metric`.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"The name of a metric must be lower-case letters, digits and underscores, got {name!r}.")
    if name in _built_in and not _is_built_in(function):
        raise InputError(f"The name of an own metric must differ from the built-in metrics, got {name!r}.")
    if not callable(function):
        raise InputError(f"The metric {name!r} must be a function, got {type(function).__name__}.")
    unknown = [need for need in needs if need not in OFFERED]
    if unknown:
        offered = ", ".join(kind.__name__ for kind in OFFERED)
        raise InputError(f"The metric {name!r} must need some of {offered}, got {unknown[0]!r}.")
    if needs:
        return Metric(name, function, needs)
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


def from_dotted_path(path: str) -> Metric:
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


def built_in_metrics() -> dict[str, Metric]:
    """Return a dict from name to ``Metric`` of the built-in metrics, in the order of their columns."""
    return dict(_built_in)


def own_metrics() -> dict[str, Metric]:
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


def resolve_metrics(
    entries: Iterable[str] | None, *, where: str = "inter_rater.metrics"
) -> tuple[tuple[str, ...], tuple[Metric, ...]]:
    """Return ``(built-in names, own Metrics)`` of a list of metric names and dotted paths; None takes all there are.

    Raises:
        InputError: For an unknown name; the message names the nearest.
    """
    if entries is None:
        return tuple(_built_in), tuple(own_metrics().values())
    built_in, own, registered = [], {}, None
    for entry in entries:
        if entry in _built_in:
            built_in.append(entry)
            continue
        if ":" in entry:
            metric = from_dotted_path(entry)
        else:
            registered = own_metrics() if registered is None else registered
            if entry not in registered:
                raise InputError(f"{where} must hold metrics, got {entry!r}. {nearest(entry, _built_in, registered)}")
            metric = registered[entry]
        if metric.name in own and own[metric.name].function is not metric.function:
            raise InputError(f"{where} names two metrics {metric.name!r}; their columns would collide. Rename one.")
        own[metric.name] = metric
    return tuple(built_in), tuple(own.values())


def nearest(word: object, *known: Iterable[str]) -> str:
    """Return a sentence that names the known word nearest to ``word``, or all of them."""
    import difflib

    words = [name for group in known for name in group]
    near = difflib.get_close_matches(str(word), words, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Choose from {', '.join(words)}."


def _is_built_in(function: Callable[..., Any]) -> bool:
    return getattr(function, "__module__", "") == "ivadomed_labelfusion.metrics.built_in"


def _origin(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', function)}"


def _failing(point: importlib.metadata.EntryPoint, error: BaseException) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise ImportError(f"{point.value} could not be loaded: {error}") from error

    return fail
