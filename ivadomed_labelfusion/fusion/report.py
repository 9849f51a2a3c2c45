"""How the raters compare: volumes, performance, agreement; and how the consensus depends on who took part."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion.patterns import Patterns, auto_patterns
from ivadomed_labelfusion.fusion.region import Region
from ivadomed_labelfusion.fusion.registry import METHODS, check_method
from ivadomed_labelfusion.fusion.result import Consensus, as_float32
from ivadomed_labelfusion.fusion.source import Masks


@dataclass(eq=False)
class RaterReport:
    """Raters compared with each other and with STAPLE's consensus, for one label.

    Attributes:
        raters (list of str): Names.
        label (int): The label value that counts as foreground.
        volume (ndarray): ``(R,)`` int64, voxels marked by each rater.
        consensus_volume (int): Voxels of the consensus (STAPLE > 0.5).
        sensitivity (ndarray): ``(R,)`` STAPLE's estimates.
        specificity (ndarray): ``(R,)``.
        dice_consensus (ndarray): ``(R,)`` Dice with the consensus; both empty gives 1.
        dice_pairwise (ndarray): ``(R, R)`` Dice of each pair; both empty gives 1.
        fleiss_kappa (float): Agreement beyond chance, Fleiss 1971 (doi 10.1037/h0031619), over the region; 1 if all
            raters agree everywhere (one rater included), even where chance agreement is perfect too.
        entropy_shannon (float): Sum over voxels of the entropy of the raters' average, in nats.
        entropy_paper (float): The same with the foreground term -a log a only.
        n_voxels (int): Voxels in the region.
        staple (Consensus): The consensus itself.
    """

    raters: list[str]
    label: int
    volume: NDArray[np.int64]
    consensus_volume: int
    sensitivity: NDArray[np.float64]
    specificity: NDArray[np.float64]
    dice_consensus: NDArray[np.float64]
    dice_pairwise: NDArray[np.float64]
    fleiss_kappa: float
    entropy_shannon: float
    entropy_paper: float
    n_voxels: int
    staple: Consensus = field(repr=False)

    def to_dict(self, *, voxel_volume_mm3: float | None = None) -> dict[str, Any]:
        """Return the report as plain lists and numbers, ready for JSON.

        Args:
            voxel_volume_mm3 (float): Adds the volumes in mm^3.
        """
        raters: list[dict[str, Any]] = []
        for index, name in enumerate(self.raters):
            entry = {"name": name, "volume_voxels": int(self.volume[index])}
            if voxel_volume_mm3 is not None:
                entry["volume_mm3"] = float(self.volume[index] * voxel_volume_mm3)
            entry["sensitivity"] = float(self.sensitivity[index])
            entry["specificity"] = float(self.specificity[index])
            entry["dice_with_consensus"] = float(self.dice_consensus[index])
            entry["dice_with_raters"] = self.dice_pairwise[index].tolist()
            raters.append(entry)
        consensus: dict[str, Any] = {"method": "staple", "volume_voxels": self.consensus_volume}
        if voxel_volume_mm3 is not None:
            consensus["volume_mm3"] = float(self.consensus_volume * voxel_volume_mm3)
        consensus["n_iter"] = self.staple.n_iter
        consensus["converged"] = self.staple.converged
        return {
            "label": self.label,
            "n_voxels": self.n_voxels,
            "raters": raters,
            "consensus": consensus,
            "fleiss_kappa": self.fleiss_kappa,
            "entropy_of_average_nats": {"shannon": self.entropy_shannon, "paper": self.entropy_paper},
        }


def rater_report(
    masks: Masks,
    *,
    label: int | None = None,
    weights: ArrayLike | None = None,
    region: Region = "image",
    margin: int = 10,
    names: Sequence[str] | None = None,
) -> RaterReport:
    """Compare the raters with each other and with STAPLE's consensus.

    Args:
        masks (ndarray or sequence): ``(R, *spatial)`` binary masks or label maps (see `fusion.fuse`).
        label (int): Of label maps, the label to report on, against all others.
        weights: ``(R,)``, see `fusion.staple`; they act on the consensus only.
        region, margin, names: See `Reading`.

    Returns:
        RaterReport

    Raises:
        InputError: If an argument is not as described, or label maps come without ``label``.

    >>> report = rater_report([[0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1]], names=["a", "b", "c"])
    >>> report.volume.tolist(), report.dice_consensus.round(2).tolist(), round(report.fleiss_kappa, 2)
    ([2, 2, 2], [1.0, 1.0, 0.5], 0.33)
    """
    patterns = auto_patterns(masks, names=names, region=region, margin=margin)
    return report_of_patterns(patterns, label=label, weights=weights)


def report_of_patterns(
    patterns: Patterns, *, label: int | None = None, weights: ArrayLike | None = None
) -> RaterReport:
    """Report on counted vote patterns; see `rater_report`.

    >>> report_of_patterns(auto_patterns([[0, 1, 1], [0, 1, 0]])).volume.tolist()
    [2, 1]
    """
    patterns, label = _binary(patterns, label)
    result = METHODS["staple"](patterns, weights=weights)
    counts = patterns.counts.astype(np.float64)
    votes = patterns.votes.astype(np.float64)
    volume = patterns.votes.T.astype(np.int64) @ patterns.counts
    consensus = result.pattern_labels.astype(np.float64)
    share = votes.mean(axis=1)
    return RaterReport(
        raters=list(patterns.names),
        label=label,
        volume=volume,
        consensus_volume=result.volume(),
        sensitivity=result.sensitivity,
        specificity=result.specificity,
        dice_consensus=_dice(votes.T @ (counts * consensus), volume, result.volume()),
        dice_pairwise=_dice(votes.T @ (counts[:, None] * votes), volume[:, None], volume[None, :]),
        fleiss_kappa=_fleiss_kappa(patterns.votes, patterns.counts),
        entropy_shannon=float(counts @ (_plogp(share) + _plogp(1 - share))),
        entropy_paper=float(counts @ _plogp(share)),
        n_voxels=patterns.n_region,
        staple=result,
    )


def _binary(patterns: Patterns, label: int | None) -> tuple[Patterns, int]:
    """Return binary patterns and the label value they stand for."""
    values = patterns.labels.tolist()
    if label is None:
        if len(values) > 2:
            raise InputError(f"These are label maps: label must be one of {values[1:]} to choose what to report on.")
        return patterns, values[1]
    if label not in values:
        raise InputError(f"label must be one that a rater gave ({values[1:]}), got {label!r}.")
    return patterns.marginal(values.index(label)), label


def _dice(both: Any, left: Any, right: Any) -> NDArray[np.float64]:
    total = np.asarray(left + right, dtype=np.float64)
    return np.divide(2 * both, total, out=np.ones(np.shape(both)), where=total > 0)


def _plogp(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return -values * np.log(values, out=np.zeros_like(values), where=values > 0)


def _fleiss_kappa(votes: NDArray[np.uint8], counts: NDArray[np.int64]) -> float:
    n_raters, n_voxels = votes.shape[1], int(counts.sum())
    if n_raters < 2 or n_voxels == 0:
        return 1.0
    yes = votes.sum(axis=1, dtype=np.int64)
    no = n_raters - yes
    agreement = float(counts @ (yes * (yes - 1) + no * (no - 1)).astype(np.float64)) / (
        n_voxels * n_raters * (n_raters - 1)
    )
    foreground = float(counts @ yes.astype(np.float64)) / (n_voxels * n_raters)
    chance = foreground**2 + (1 - foreground) ** 2
    return 1.0 if agreement == 1 else (agreement - chance) / (1 - chance)


@dataclass(eq=False)
class LeaveOneOut:
    """The consensus without each rater in turn.

    Attributes:
        consensus (list of Consensus): R of them; entry r does without rater r. All share one array of codes.
        volume (ndarray): ``(R,)`` int64, voxels of each.
        dice_left_out (ndarray): ``(R,)`` Dice of the rater left out with the consensus of the others: a score that the
            rater's own vote cannot raise.
        dice_full (ndarray): ``(R,)`` Dice of the consensus without the rater with the consensus of all: how much the
            rater matters.
    """

    consensus: list[Consensus] = field(repr=False)
    volume: NDArray[np.int64]
    dice_left_out: NDArray[np.float64]
    dice_full: NDArray[np.float64]


def leave_one_rater_out(
    masks: Masks,
    method: str = "staple",
    *,
    label: int | None = None,
    region: Region = "image",
    margin: int = 10,
    names: Sequence[str] | None = None,
    **options: Any,
) -> LeaveOneOut:
    """Fuse without each rater in turn; the masks are read once.

    Args:
        masks (ndarray or sequence): ``(R, *spatial)``, two or more binary masks, or label maps with ``label``.
        method, region, margin, names, **options: See `fusion.fuse`; ``weights`` are given for all R raters.
        label (int): Of label maps, the label to look at, against all others.

    Returns:
        LeaveOneOut

    Raises:
        InputError: If an argument is not as described, or there is one rater only.

    >>> leave_one_rater_out([[0, 1, 1], [0, 1, 1], [0, 1, 0]], "majority").dice_left_out.round(2).tolist()
    [0.67, 0.67, 0.67]
    """
    check_method(method, options)
    patterns, _ = _binary(auto_patterns(masks, names=names, region=region, margin=margin), label)
    if patterns.n_raters < 2:
        raise InputError("Leaving one rater out needs at least two masks, got one.")
    weights = options.pop("weights", None)
    full = METHODS[method](patterns, weights=weights, **options).pattern_labels
    counts = patterns.counts
    results, left_out, with_full = [], [], []
    for rater in range(patterns.n_raters):
        others = None if weights is None else np.delete(np.asarray(weights, dtype=np.float64), rater)
        result = METHODS[method](patterns.without(rater), weights=others, **options)
        results.append(result)
        left_out.append(_dice_of_patterns(result.pattern_labels, patterns.votes[:, rater], counts))
        with_full.append(_dice_of_patterns(result.pattern_labels, full, counts))
    return LeaveOneOut(
        consensus=results,
        volume=np.array([result.volume() for result in results]),
        dice_left_out=np.array(left_out),
        dice_full=np.array(with_full),
    )


def _dice_of_patterns(left: NDArray[Any], right: NDArray[Any], counts: NDArray[np.int64]) -> float:
    left, right = left > 0, right > 0
    return float(_dice(counts @ (left & right), counts @ left, counts @ right))


@dataclass(eq=False)
class RaterBootstrap:
    """The consensus of raters drawn with replacement.

    Attributes:
        draws (ndarray): ``(n, R)`` int64, how often each rater was drawn.
        volume (ndarray): ``(n,)`` int64, voxels of each consensus.
        pattern_mean (ndarray): ``(P,)`` mean over draws of the posterior per pattern.
        pattern_std (ndarray): ``(P,)`` its standard deviation.
        patterns (Patterns): The vote patterns.
    """

    draws: NDArray[np.int64]
    volume: NDArray[np.int64]
    pattern_mean: NDArray[np.float64] = field(repr=False)
    pattern_std: NDArray[np.float64] = field(repr=False)
    patterns: Patterns = field(repr=False)

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean posterior per voxel, ``(*spatial)`` float32."""
        return self.patterns.expand(as_float32(self.pattern_mean), np.float32)

    @property
    def std(self) -> NDArray[np.float32]:
        """Standard deviation of the posterior per voxel, ``(*spatial)`` float32."""
        return self.patterns.expand(self.pattern_std, np.float32)


def rater_bootstrap(
    masks: Masks,
    method: str = "staple",
    *,
    seed: int,
    n_draws: int = 200,
    label: int | None = None,
    region: Region = "image",
    margin: int = 10,
    names: Sequence[str] | None = None,
    **options: Any,
) -> RaterBootstrap:
    """Fuse raters drawn with replacement, many times: how far would another panel of raters have come out elsewhere?

    The masks are read once; a draw works on the table of patterns alone. A rater drawn twice counts as two raters with
    equal masks.

    Args:
        masks (ndarray or sequence): ``(R, *spatial)`` binary masks, or label maps with ``label``.
        method (str): Any but ``intersection`` and ``union`` is of interest; see `fusion.fuse`.
        n_draws (int): Draws.
        seed (int): Of ``numpy.random.default_rng``.
        label, region, margin, names, **options: See `leave_one_rater_out`; no ``weights``, which are what is drawn.

    Returns:
        RaterBootstrap

    Raises:
        InputError: If an argument is not as described.

    >>> masks = [[0, 1, 1], [0, 1, 0], [0, 1, 1]]
    >>> rater_bootstrap(masks, "average", seed=0, n_draws=50).mean.round(1).tolist()
    [0.0, 1.0, 0.699999988079071]
    """
    check_method(method, options)
    if "weights" in options:
        raise InputError("rater_bootstrap draws the raters' weights itself: leave weights out.")
    if n_draws < 1:
        raise InputError(f"n_draws must be a whole number >= 1, got {n_draws!r}.")
    patterns, _ = _binary(auto_patterns(masks, names=names, region=region, margin=margin), label)
    generator = np.random.default_rng(seed)
    n_raters = patterns.n_raters
    draws = generator.multinomial(n_raters, np.full(n_raters, 1 / n_raters), size=n_draws)
    posteriors = np.empty((n_draws, len(patterns.votes)))
    volume = np.empty(n_draws, np.int64)
    for index, weights in enumerate(draws):
        result = METHODS[method](patterns, weights=weights, **options)
        posteriors[index] = result.pattern_posterior
        volume[index] = result.volume()
    return RaterBootstrap(
        draws=draws,
        volume=volume,
        pattern_mean=posteriors.mean(axis=0),
        pattern_std=posteriors.std(axis=0),
        patterns=patterns,
    )
