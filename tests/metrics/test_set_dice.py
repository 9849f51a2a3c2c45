"""Dice of sets beside scikit-learn's F1 and all matchings tried."""

from itertools import permutations

import numpy as np
import pytest

from ivadomed_labelfusion.metrics import set_dice


def test_against_f1_and_every_matching():
    f1_score = pytest.importorskip("sklearn.metrics").f1_score
    samples, raters = np.random.default_rng(0).random((2, 3, 40)) > 0.5
    pairs = np.array([[f1_score(rater, sample) for rater in raters] for sample in samples])
    found = set_dice(samples, raters)
    np.testing.assert_allclose(found.pairs, pairs)
    assert found.maximum == pytest.approx(np.mean([max(pairs[:, rater]) for rater in range(3)]))
    best = max(np.mean([pairs[i, j] for i, j in enumerate(order)]) for order in permutations(range(3)))
    assert found.matched == pytest.approx(best)


def test_empty_masks_agree_and_one_empty_does_not():
    empty, full = np.zeros((2, 5)), np.ones((1, 5))
    assert (set_dice(empty, empty).maximum, set_dice(empty, empty).matched) == (1.0, 1.0)
    assert (set_dice(empty, full).maximum, set_dice(empty, full).matched) == (0.0, 0.0)
