"""Rater draws: distributions, reproducibility, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.sampling import draw_rater, normalised_weights, youden_weights

SEEDS = st.integers(0, 2**32 - 1)


def draws(n_raters, n=4000, **options):
    return [draw_rater(n_raters, seed=7, case=case, epoch=0, **options) for case in range(n)]


def test_uniform_draws_are_uniform():
    assert stats.chisquare(np.bincount(draws(7), minlength=7)).pvalue > 1e-3


def test_uniform_draws_are_independent_between_epochs():
    first = [draw_rater(4, seed=1, case=case, epoch=1) for case in range(2000)]
    second = [draw_rater(4, seed=1, case=case, epoch=2) for case in range(2000)]
    table = np.histogram2d(first, second, bins=4)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_weighted_draws_follow_the_weights():
    counts = np.bincount(draws(3, policy="weighted", weights=[1, 2, 5]), minlength=3)
    assert stats.chisquare(counts, np.array([1, 2, 5]) / 8 * 4000).pvalue > 1e-3


@given(SEEDS, st.integers(1, 9), st.integers(0, 1000), st.integers(0, 20))
def test_balanced_shows_everyone_once_per_cycle(seed, n_raters, case, cycle):
    epochs = range(cycle * n_raters, (cycle + 1) * n_raters)
    seen = [draw_rater(n_raters, policy="balanced", seed=seed, case=case, epoch=epoch) for epoch in epochs]
    assert sorted(seen) == list(range(n_raters))


@given(SEEDS, st.integers(1, 9), st.tuples(st.integers(0, 2), st.integers(0, 10**6)), st.integers(0, 10**4))
def test_a_draw_is_a_function_of_its_arguments(seed, n_raters, case, epoch):
    arguments = {"seed": seed, "case": case, "epoch": epoch}
    first = draw_rater(n_raters, **arguments)
    assert 0 <= first < n_raters
    assert draw_rater(n_raters, **arguments) == first


def test_cases_and_seeds_differ():
    assert len(set(draws(1000, 100))) > 80
    by_seed = [draw_rater(1000, seed=seed, case=(0, 0), epoch=0) for seed in range(100)]
    assert len(set(by_seed)) > 80


@pytest.mark.parametrize("weights", [None, [1, 2], [1, 2, -1], [0, 0, 0], [1, np.nan, 1], "abc"])
def test_bad_weights_are_refused(weights):
    with pytest.raises((InputError, ValueError), match=r"weights|could not convert"):
        normalised_weights(weights, 3)


def test_bad_policy_and_no_raters_are_refused():
    with pytest.raises(InputError, match="must be one of"):
        draw_rater(3, policy="random", seed=0, case=0, epoch=0)
    with pytest.raises(InputError, match="at least one"):
        draw_rater(0, seed=0, case=0, epoch=0)


def test_youden_weights():
    np.testing.assert_allclose(youden_weights([0.9, 0.5, 0.2], [0.95, 0.5, 0.3]), [0.85, 0, 0])
    np.testing.assert_allclose(youden_weights([[1, 0.5], [0.5, 0.5]], [[1, 1], [1, 0.5]]), [0.75, 0.25])
    np.testing.assert_allclose(youden_weights([0.1, 0.1], [0.1, 0.1]), [1, 1])
