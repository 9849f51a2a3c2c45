"""STAPLE for label maps, with one confusion matrix per rater.

Rohlfing, Russakoff, Maurer 2004, doi 10.1109/TMI.2004.830803, with the semantics of itkMultiLabelSTAPLEImageFilter.

One thing differs on purpose: ITK seeds the matrices from a vote in which an undecided voxel gets the label K, and
counts it in column K of a matrix that has columns 0 to K - 1, which is the background column of the next row. Here an
undecided voxel counts for each of its tied labels in equal parts. Where no vote is tied, seeds and results are equal.
"""

from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivadomed_labelfusion.fusion.patterns import Patterns, Reading, label_patterns
from ivadomed_labelfusion.fusion.registry import METHODS
from ivadomed_labelfusion.fusion.result import Consensus, log_or_zero
from ivadomed_labelfusion.fusion.shares import label_votes, tied_for_most
from ivadomed_labelfusion.fusion.source import Masks, check_weights

# most iterations of either STAPLE
MAX_ITER = 1000
# largest change of an entry of a confusion matrix that ends the iteration
TOL = 1e-5


def multilabel_staple(
    label_maps: Masks,
    *,
    weights: ArrayLike | None = None,
    tol: float = TOL,
    max_iter: int = MAX_ITER,
    **reading: Unpack[Reading],
) -> Consensus:
    """Estimate the truth behind several label maps, and each rater's confusion matrix.

    Args:
        label_maps (ndarray or sequence): ``(R, *spatial)`` whole numbers >= 0 of any dtype; at most 256 labels.
        weights, max_iter: See `fusion.staple`.
        tol (float): Stop when no entry of a confusion matrix changes by this or more.
        **reading: ``names``, ``region``, ``margin``, ``keep_codes``, see `Reading`.

    Returns:
        Consensus: ``labels()`` is the most probable label, the lowest of equally probable ones. ``posterior`` is
        ``(K, *spatial)``. ``confusion`` ``(R, K, K)`` float64, ``confusion[r, j, k]`` = P(rater r says label j | truth
        is label k), has the labels in the order of ``label_values``; a label without any probability has the
        identity's column. ``prior`` ``(K,)``, P(truth is label k), is fixed; ``n_iter`` counts pairs of E and M steps;
        ``converged`` tells whether the stopping rule was met within ``max_iter``.

    Raises:
        InputError: If label maps, weights, region or parameters are not as described.

    References:
        Rohlfing T, Russakoff DB, Maurer CR. Performance-based classifier combination in atlas-based image segmentation
        using expectation-maximization parameter estimation. IEEE TMI 2004, doi 10.1109/TMI.2004.830803.

    >>> result = multilabel_staple([[0, 1, 2, 2], [0, 1, 2, 2], [0, 1, 1, 2]])
    >>> result.labels().tolist(), result.confusion[2].round(2).tolist()
    ([0, 1, 2, 2], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 0.5]])
    """
    patterns = label_patterns(label_maps, **reading)
    weights = check_weights(weights, patterns.n_raters)
    for name, value in (("tol", tol), ("max_iter", max_iter)):
        METHODS["staple"].options[name].check(value)
    return multilabel_staple_of_patterns(patterns, weights=weights, tol=tol, max_iter=max_iter)


def multilabel_staple_of_patterns(
    patterns: Patterns, *, weights: NDArray[np.float64], tol: float = TOL, max_iter: int = MAX_ITER
) -> Consensus:
    """Run multi-label STAPLE on counted vote patterns; see `multilabel_staple`."""
    votes, counts = patterns.votes, patterns.counts.astype(np.float64)
    n_labels = patterns.labels.size
    shape = (patterns.n_raters, n_labels, n_labels)
    # (P, R * K): which label each rater gave
    given = (votes[:, :, None] == np.arange(n_labels)).reshape(len(votes), shape[0] * n_labels).astype(np.float64)

    shares = label_votes(votes, n_labels, weights)
    tied = tied_for_most(shares)
    seed = (given.T @ (counts[:, None] * tied / tied.sum(axis=1, keepdims=True))).reshape(shape)
    confusion = _normalised(seed, axis=2)
    prior = counts @ shares
    prior = prior / prior.sum() if prior.any() else np.eye(n_labels)[0]
    converged = False
    n_iter = 0
    while n_iter < max_iter and not converged:
        n_iter += 1
        posterior = _posterior(given, prior, confusion, weights)
        mass = (given.T @ (counts[:, None] * posterior)).reshape(shape)
        updated = _normalised(mass, axis=1)
        converged = bool(np.abs(updated - confusion).max() < tol)
        confusion = updated
    posterior = _posterior(given, prior, confusion, weights)
    without_mass = confusion.sum(axis=1) == 0  # (R, K)
    confusion = np.where(without_mass[:, None, :], np.eye(n_labels), confusion)
    return Consensus(
        patterns,
        tied_for_most(posterior).argmax(axis=1),
        posterior,
        per_rater={"confusion": confusion},
        prior=prior,
        n_iter=n_iter,
        converged=converged,
        parameters={"weights": weights.tolist(), "tol": tol, "max_iter": max_iter},
        method="staple",
    )


def _posterior(
    given: NDArray[np.float64],
    prior: NDArray[np.float64],
    confusion: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """E step: P(truth | votes) per pattern, ``(P, K)``."""
    n_labels = prior.size
    weighted = (weights[:, None, None] * log_or_zero(confusion)).reshape(-1, n_labels)
    likelihood = log_or_zero(prior) + given @ weighted
    likelihood -= likelihood.max(axis=1, keepdims=True)
    posterior = np.exp(likelihood)
    return posterior / posterior.sum(axis=1, keepdims=True)


def _normalised(matrices: NDArray[np.float64], *, axis: int) -> NDArray[np.float64]:
    total = matrices.sum(axis=axis, keepdims=True)
    return np.divide(matrices, total, out=np.zeros_like(matrices), where=total > 0)
