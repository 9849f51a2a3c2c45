"""Shares of votes per label and pattern, which methods that count votes begin with."""

import numpy as np
from numpy.typing import NDArray


def label_votes(votes: NDArray[np.uint8], n_labels: int, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``(P, K)``: the weight of the raters who gave each label, per pattern.

    >>> label_votes(np.array([[0, 1, 1]], np.uint8), 2, np.ones(3)).tolist()
    [[1.0, 2.0]]
    """
    return np.stack([(votes == label) @ weights for label in range(n_labels)], axis=1)


def tied_for_most(shares: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return ``(P, K)`` bool: the labels with the most votes, those within rounding of the most included.

    >>> tied_for_most(np.array([[0.5, 0.5], [0.25, 0.75]])).tolist()
    [[True, True], [False, True]]
    """
    most = shares.max(axis=1, keepdims=True)
    return shares >= most * (1 - 1e-12)


def posterior_of(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return shares of votes ``(P, K)`` as `Consensus.pattern_posterior`: of masks the column of the foreground.

    >>> posterior_of(np.array([[0.25, 0.75]])).tolist()
    [0.75]
    """
    return shares if shares.shape[1] > 2 else shares[:, 1]
