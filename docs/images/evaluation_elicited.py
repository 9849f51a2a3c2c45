"""Draw what an optimal network answers under each loss where raters mark a share q of voxels that look alike.

    python docs/images/evaluation_elicited.py OUTPUT.png

Adaptive Wing is that of Wang et al. 2019 with the paper's omega 8, theta 0.5, epsilon 1, alpha 2.1.
"""

import sys

import numpy as np
from scipy.stats import binom

from ivadomed_labelfusion.plots import style

OMEGA, THETA, EPSILON, ALPHA = 8, 0.5, 1, 2.1
ANSWERS = np.linspace(0, 1, 2001)


def adaptive_wing(answer, label):
    """Return the loss of one voxel (arrays broadcast)."""
    power = ALPHA - label
    slope = OMEGA / (1 + (THETA / EPSILON) ** power) * power * (THETA / EPSILON) ** (power - 1) / EPSILON
    offset = THETA * slope - OMEGA * np.log(1 + (THETA / EPSILON) ** power)
    error = np.abs(label - answer)
    return np.where(error < THETA, OMEGA * np.log(1 + (error / EPSILON) ** power), slope * error - offset)


def squared_error(answer, label):
    """Return the loss of one voxel; cross-entropy elicits the same."""
    return (answer - label) ** 2


def elicited(loss, share, *, n_raters=1):
    """Return the answer of least expected loss where the label is the average of ``n_raters`` who mark with ``share``.

    One rater gives binary labels; with several the label itself varies from voxel to voxel around the share.
    """
    votes = np.arange(n_raters + 1)
    chances = binom.pmf(votes, n_raters, share)
    losses = sum(chance * loss(ANSWERS, vote / n_raters) for chance, vote in zip(chances, votes, strict=True))
    return float(ANSWERS[np.argmin(losses)])


def draw():
    """Return the figure."""
    shares = np.linspace(0, 1, 101)
    figure, axes = style.new_figure(width=style.COLUMN_WIDTH_IN, height=3.6)
    with style.style():
        # the loss of one voxel among many is linear in its answer, and turns at half of the Dice that is reached
        color = style.OKABE_ITO["orange"]
        axes.plot([0, 0.5, 0.5, 1], [0, 0, 1, 1], color=color, linestyle="-.", label="Dice (turns at 0.5 or below)")
        wing = [elicited(adaptive_wing, share) for share in shares]
        axes.plot(shares, wing, color=style.OKABE_ITO["vermillion"], label="Adaptive Wing, binary labels")
        soft = [elicited(adaptive_wing, share, n_raters=7) for share in shares]
        axes.plot(shares, soft, color=style.OKABE_ITO["blue"], label="Adaptive Wing, averages of 7 raters")
        square = [elicited(squared_error, share) for share in shares]
        line = {"color": "black", "linestyle": ":", "label": "squared error, cross-entropy"}
        axes.plot(shares, square, **line)
        axes.set(xlabel="Share of raters who mark the voxel", ylabel="Best answer of a network")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        figure.legend(loc="outside lower center", fontsize=6.5)
    return figure


if __name__ == "__main__":
    style.save_figure(draw(), sys.argv[1], overwrite=True, dpi=150)
