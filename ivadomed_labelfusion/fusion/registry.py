"""The registry of fusion methods: what a method is and takes is told once, in its decorator and its signature.

The options of a method are the keyword-only arguments of its function besides ``weights``. Names, defaults, kinds
(``int``, ``float``, or the words of a ``Literal``), limits and help are read from there; the checks of values, the
command line, the configuration keys and their JSON Schema follow.
"""

import functools
import inspect
import re
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Annotated, Any, Literal, ParamSpec, Union, get_args, get_origin, get_type_hints

from numpy.typing import ArrayLike

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.patterns import Patterns
from ivadomed_labelfusion.fusion.region import Region
from ivadomed_labelfusion.fusion.result import Consensus
from ivadomed_labelfusion.fusion.soft import SoftMasks
from ivadomed_labelfusion.fusion.source import Masks, check_weights

DEFAULT = "staple"
# what every function that fuses masks takes besides the options of the method
GENERAL = ("region", "margin")

P = ParamSpec("P")


@dataclass(frozen=True)
class Limits:
    """Limits of a number: ``Annotated[int, "fewest votes", Limits(at_least=1)]``."""

    at_least: float | None = None
    above: float | None = None


@dataclass(frozen=True)
class Option:
    """One option of a fusion method.

    Attributes:
        name (str): The argument's name.
        kind (type): ``int``, ``float``, or ``str`` for one of ``choices``.
        default (object): Its default.
        help (str): One line for the command's help.
        choices (tuple of str): The words it may be; empty for numbers.
        limits (Limits): Of a number.
    """

    name: str
    kind: type
    default: Any
    help: str = ""
    choices: tuple[str, ...] = ()
    limits: Limits = Limits()

    def check(self, value: Any) -> None:
        """Raise InputError unless ``value`` is of the option's kind and within its limits.

        >>> Option("tol", float, 0.1, limits=Limits(at_least=0)).check(-1)
        Traceback (most recent call last):
        ...
        ivadomed_labelfusion.errors.InputError: tol must be a number >= 0, got -1.
        """
        if not self.fits(value):
            raise InputError(f"{self.name} must be {self._expected()}, got {value!r}.")

    def fits(self, value: Any) -> bool:
        """Tell whether ``value`` is of the option's kind and within its limits.

        >>> Option("max_iter", int, 9, limits=Limits(at_least=1)).fits(2.5)
        False
        """
        if self.choices:
            return isinstance(value, str) and value in self.choices
        if not isinstance(value, Real) or value != value:
            return False
        if self.kind is int and (isinstance(value, bool) or value in (float("inf"), -float("inf")) or value % 1):
            return False
        low, above = self.limits.at_least, self.limits.above
        return (low is None or value >= low) and (above is None or value > above)

    def _expected(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        low, above = self.limits.at_least, self.limits.above
        bound = f" >= {low:g}" if low is not None else f" > {above:g}" if above is not None else ""
        return f"a {'whole ' if self.kind is int else ''}number{bound}"


@dataclass(frozen=True)
class Method:
    """A fusion method.

    Attributes:
        name (str): What users write, and the ``desc-`` label of files: letters and digits only, as BIDS wants labels.
        run (callable): The function of counted vote patterns, as written.
        order (tuple of str): The names of its options and ``weights`` in the order of its signature.
        options (dict): Name of each `Option` of its own.
        weighted (bool): Whether it takes weights of the raters.
        title (str): How texts call it, such as ``STAPLE``.
        soft (bool): The result is the probability (``average``), else the hard consensus.
        classes (str): Several classes are fused ``joint`` as label maps unless the user wants otherwise, or always
            ``apart``.
        binary_only (bool): It takes masks, no label maps.
        graded (bool): Its probabilities say more than its labels.
        reference (bool): An evaluation may compare predictions with it.
        of_soft (callable): The method for soft masks, of `SoftMasks` and ``weights``; None refuses soft masks.
    """

    name: str
    run: Callable[..., Consensus]
    order: tuple[str, ...]
    options: dict[str, Option]
    weighted: bool
    title: str
    soft: bool
    classes: Literal["joint", "apart"]
    binary_only: bool
    graded: bool
    reference: bool
    of_soft: Callable[..., Consensus] | None

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of its own options, and ``weights`` if it can use them."""
        return (*self.options, *(["weights"] if self.weighted else []))

    def __call__(self, patterns: Patterns, *, weights: ArrayLike | None = None, **options: Any) -> Consensus:
        """Check all values and fuse counted vote patterns.

        >>> from ivadomed_labelfusion.fusion import METHODS, patterns
        >>> METHODS["majority"](patterns.binary_patterns([[0, 1], [1, 1]])).labels().tolist()
        [0, 1]
        """
        given = self._given(weights, options, patterns.n_raters)
        if self.binary_only and patterns.labels.size > 2:
            raise InputError(
                f"Method {self.name} takes masks of one class, got the labels {patterns.labels.tolist()}. Fuse each "
                "class by itself (fuse_classes), or choose another method."
            )
        return self._named(self.run(patterns, **given), given)

    def of_soft_masks(
        self,
        masks: Masks,
        *,
        names: Sequence[str] | None = None,
        region: Region = "image",
        margin: int = 10,
        weights: ArrayLike | None = None,
        **options: Any,
    ) -> Consensus:
        """Check all values and fuse soft masks; only for methods with ``of_soft``.

        >>> from ivadomed_labelfusion.fusion import METHODS
        >>> METHODS["average"].of_soft_masks([[0.5, 0.0], [1.0, 0.0]]).posterior.tolist()
        [0.75, 0.0]
        """
        if self.of_soft is None:
            raise InputError(f"Method {self.name} takes no soft masks. Threshold them first.")
        soft = SoftMasks(masks, names=names, region=region, margin=margin)
        given = self._given(weights, options, soft.n_raters)
        return self._named(self.of_soft(soft, **given), given)

    def _given(self, weights: ArrayLike | None, options: dict[str, Any], n_raters: int) -> dict[str, Any]:
        """Return all arguments of `run`, checked, in its order."""
        self.check_names(options if weights is None else (*options, "weights"))
        given: dict[str, Any] = {}
        for name, option in self.options.items():
            given[name] = options.get(name, option.default)
            if name in options and given[name] is not option.default:
                option.check(given[name])
        if self.weighted:
            given["weights"] = check_weights(weights, n_raters)
        return {name: given[name] for name in self.order}

    def _named(self, result: Consensus, given: dict[str, Any]) -> Consensus:
        result.method = self.name
        if not result.parameters:
            result.parameters = {name: _plain(value) for name, value in given.items()}
        return result

    def check_names(self, options: Iterable[str]) -> None:
        """Raise InputError unless the method takes the named options.

        >>> from ivadomed_labelfusion.fusion import METHODS
        >>> METHODS["union"].check_names(["ties"])
        Traceback (most recent call last):
        ...
        ivadomed_labelfusion.errors.InputError: Method union takes no option 'ties'; it takes weights, region, margin.
        """
        for name in options:
            if name not in self.takes:
                raise InputError(
                    f"Method {self.name} takes no option {name!r}; it takes {', '.join((*self.takes, *GENERAL))}."
                )


# by name, in the order in which messages and tables list them
METHODS: dict[str, Method] = {}


def method(
    name: str,
    *,
    title: str = "",
    soft: bool = False,
    classes: Literal["joint", "apart"] = "joint",
    binary_only: bool = False,
    graded: bool = True,
    reference: bool = False,
    of_soft: Callable[..., Consensus] | None = None,
) -> Callable[[Callable[P, Consensus]], Callable[P, Consensus]]:
    """Register a fusion method; a decorator of its function.

    The function takes `Patterns`, keyword-only options with defaults and, if it can use them, ``weights`` (checked,
    ``(R,)`` float64), and returns a `Consensus`. Annotate options as ``int``, ``float`` or ``Literal[...]``, or with
    help and limits as ``Annotated[int, "fewest votes", Limits(at_least=1)]``.

    Args:
        name: Letters and digits only, so that it can name files; not taken.
        title, soft, classes, binary_only, graded, reference, of_soft: See `Method`. ``binary_only`` methods fuse
            several classes always ``apart``.

    Returns:
        The decorator; what it returns is the function with its values checked.

    Raises:
        InputError: If the name is taken or no BIDS label, or the signature is not as described.

    >>> import numpy as np
    >>> from ivadomed_labelfusion import fusion
    >>> @fusion.method("anyone", classes="apart", binary_only=True)
    ... def anyone(patterns: fusion.Patterns, *, votes: int = 1) -> fusion.Consensus:
    ...     share = patterns.votes.mean(axis=1)
    ...     return fusion.Consensus(patterns, share * patterns.n_raters >= votes, share)
    >>> fusion.fuse([[0, 1, 1], [0, 0, 1]], "anyone", votes=2).tolist()
    [0, 0, 1]
    >>> del fusion.METHODS["anyone"]
    """

    def register(run: Callable[P, Consensus]) -> Callable[P, Consensus]:
        if not re.fullmatch("[A-Za-z0-9]+", name):
            raise InputError(f"The name of a fusion method must be letters and digits, got {name!r}. It names files.")
        if name in METHODS:
            raise InputError(f"The name of a fusion method must be new, {name!r} is taken.")
        parameters = inspect.signature(run).parameters
        hints = get_type_hints(run, include_extras=True)
        options = {
            key: _option(name, parameter, hints.get(key))
            for key, parameter in parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and key != "weights"
        }
        for key, (option, users) in all_options().items():
            own = options.get(key, option)
            if (own.kind, own.choices, own.limits) != (option.kind, option.choices, option.limits):
                raise InputError(f"The option {key} of method {name} must be what it is for {', '.join(users)}.")
        METHODS[name] = entry = Method(
            name=name,
            run=run,
            order=tuple(key for key in parameters if key in options or key == "weights"),
            options=options,
            weighted="weights" in parameters,
            title=title or name,
            soft=soft,
            classes="apart" if binary_only else classes,
            binary_only=binary_only,
            graded=graded,
            reference=reference,
            of_soft=of_soft,
        )

        @functools.wraps(run)
        def checked(*args: Any, **kwargs: Any) -> Consensus:
            return entry(*args, **kwargs)

        return checked

    return register


def _plain(value: Any) -> Any:
    """Return a value ready for JSON."""
    return value.tolist() if hasattr(value, "tolist") else value


def _option(owner: str, parameter: inspect.Parameter, hint: Any) -> Option:
    """Return an argument as an `Option`."""
    text, limits = "", Limits()
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        text = next((note for note in notes if isinstance(note, str)), "")
        limits = next((note for note in notes if isinstance(note, Limits)), limits)
    if get_origin(hint) in (Union, types.UnionType) and parameter.default is None:
        (hint,) = [part for part in get_args(hint) if part is not type(None)]
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    kind = str if choices else hint
    if parameter.default is parameter.empty or not (choices or kind in (int, float)):
        raise InputError(
            f"The option {parameter.name} of method {owner} must have a default and be int, float or a Literal of "
            f"words, got {parameter}."
        )
    return Option(parameter.name, kind, parameter.default, text, choices, limits)


def check_method(name: str, options: Iterable[str] = ()) -> None:
    """Raise InputError unless ``name`` is a known method that takes the named options.

    >>> check_method("stapel")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ivadomed_labelfusion.errors.InputError: method must be one of ..., got 'stapel'.
    """
    if name not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, got {name!r}.")
    METHODS[name].check_names(options)


def all_options() -> dict[str, tuple[Option, list[str]]]:
    """Return the options of all methods by name, each with the methods that take it.

    >>> all_options()["ties"][1]
    ['majority']
    """
    found: dict[str, tuple[Option, list[str]]] = {}
    for entry in METHODS.values():
        for key, option in entry.options.items():
            found.setdefault(key, (option, []))[1].append(entry.name)
    return found
