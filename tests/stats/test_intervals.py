"""Intervals of few clusters: by hand, against Student's, and the rate of false verdicts under the null."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.stats import clustered_mean, model_weights

MOST_FALSE = 0.07
# mean zero; skewness 0, 2, 2.8 and 6.2
NULLS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "chi squared": lambda rng, shape: rng.chisquare(1, shape) - 1,
    "lognormal": lambda rng, shape: rng.lognormal(size=shape) - np.exp(0.5),
}


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("n", [5, 9, 10, 19, 20, 40])
def test_false_verdicts_are_rare_with_few_clusters(null, n):
    rng = np.random.default_rng([n, *null.encode()])
    rows = np.arange(n)
    samples = NULLS[null](rng, (2500, n))
    false = np.mean([clustered_mean(sample, rows).p_value < 0.05 for sample in samples])
    # three standard deviations of the simulation; the rates themselves are at most 0.067
    assert false <= MOST_FALSE + 3 * np.sqrt(MOST_FALSE * (1 - MOST_FALSE) / 2500)


def two_way_null(rng, draw, *, n_subjects, n_splits, tested, split_effect):
    """Rows of random splits: an effect of the subject, one of the split (its training), and noise."""
    people, trained = draw(rng, n_subjects), split_effect * draw(rng, n_splits)
    splits = np.repeat(np.arange(n_splits), tested)
    subjects = np.concatenate([rng.choice(n_subjects, tested, replace=False) for _ in range(n_splits)])
    return people[subjects] + trained[splits] + 0.3 * draw(rng, splits.size), subjects, splits


@pytest.mark.parametrize("null", ["normal", "exponential", "lognormal"])
@pytest.mark.parametrize("split_effect", [0, 0.5, 3])
@pytest.mark.parametrize(("n_subjects", "n_splits", "tested"), [(10, 5, 2), (15, 10, 3), (15, 20, 3), (40, 40, 10)])
def test_training_variance_is_in_the_interval_of_subjects(null, split_effect, n_subjects, n_splits, tested):
    rng = np.random.default_rng(n_splits)
    false, with_subjects_only = 0, 0
    for _ in range(400):
        design = {"n_subjects": n_subjects, "n_splits": n_splits, "tested": tested}
        values, subjects, splits = two_way_null(rng, NULLS[null], split_effect=split_effect, **design)
        false += clustered_mean(values, subjects, splits).p_value < 0.05
        with_subjects_only += clustered_mean(values, subjects).p_value < 0.05
    assert false / 400 <= MOST_FALSE + 3 * np.sqrt(MOST_FALSE * (1 - MOST_FALSE) / 400)
    if split_effect == 3 and n_splits == 40:
        # what the second kind of clusters is for
        assert with_subjects_only / 400 > 2 * MOST_FALSE


def test_differences_are_found():
    rng = np.random.default_rng(0)
    found = [clustered_mean(rng.normal(1, 0.5, 5), np.arange(5)).p_value < 0.05 for _ in range(500)]
    assert np.mean(found) > 0.4
    found = [clustered_mean(rng.normal(0.5, 0.5, 20), np.arange(20)).p_value < 0.05 for _ in range(500)]
    assert np.mean(found) > 0.9


def test_symmetric_values_of_many_clusters_give_students_interval():
    values = np.concatenate([np.arange(1.0, 13.0), -np.arange(0.0, 12.0)])
    ours = clustered_mean(values, np.arange(24))
    assert ours.skewness == pytest.approx(0, abs=1e-12)
    expected = scipy_stats.t.interval(0.95, 23, values.mean(), scipy_stats.sem(values))
    assert ours.interval() == pytest.approx(expected)
    assert ours.p_value == pytest.approx(scipy_stats.ttest_1samp(values, 0).pvalue)


def test_fewer_clusters_are_taken_at_a_higher_confidence():
    values = np.arange(1.0, 9.0)
    expected = scipy_stats.t.interval(0.98, 7, 4.5, scipy_stats.sem(values))
    assert clustered_mean(values, np.arange(8)).interval() == pytest.approx(expected)


def test_skewness_widens_the_side_of_the_long_tail():
    values = np.concatenate([np.zeros(20), [10.0], np.linspace(0, 1, 9)])
    estimate = clustered_mean(values, np.arange(30))
    assert estimate.skewness == pytest.approx(scipy_stats.skew(values, bias=False) / np.sqrt(30))
    low, high = estimate.interval()
    below, above = estimate.mean - low, high - estimate.mean
    assert below == pytest.approx(scipy_stats.t.ppf(0.975, 29) * estimate.error)
    assert above > 1.5 * below
    mirrored = clustered_mean(-values, np.arange(30)).interval()
    assert mirrored == pytest.approx((-high, -low))


@pytest.mark.parametrize("shift", [-2.0, -0.3, 0.0, 0.4, 2.5])
@pytest.mark.parametrize("n", [3, 6, 12, 25])
def test_p_value_and_interval_agree(n, shift):
    rng = np.random.default_rng(n)
    for _ in range(20):
        estimate = clustered_mean(rng.exponential(size=n) - 1 + shift, np.arange(n))
        low, high = estimate.interval()
        assert (estimate.p_value < 0.05) == (low > 0 or high < 0)


def test_rows_of_a_cluster_count_as_one():
    rng = np.random.default_rng(1)
    person = rng.normal(size=12)
    rows = np.repeat(np.arange(12), 30)
    assert clustered_mean(person[rows], rows).interval() == pytest.approx(
        clustered_mean(person, np.arange(12)).interval()
    )
    # each person in each of 30 splits, without an effect of the split: the people decide
    splits = np.tile(np.arange(30), 12)
    both = clustered_mean(person[rows], rows, splits)
    assert both.error == pytest.approx(clustered_mean(person, np.arange(12)).error)
    assert both.n_clusters == (12, 30)


def test_weights_make_it_the_mean_over_models():
    values = np.array([1.0, 1, 1, 1, 5, 5, 9, 2])
    models = np.array(list("aaaabbcd"))
    estimate = clustered_mean(values, np.arange(8), models, weights=model_weights(values, models))
    assert estimate.mean == pytest.approx((1 + 5 + 9 + 2) / 4)


def test_corner_cases():
    nothing = clustered_mean([np.nan], ["a"])
    assert np.isnan([nothing.mean, nothing.p_value, *nothing.interval()]).all()
    two = clustered_mean([1.0, 2.0, 3.0], ["a", "b", "c"], ["s", "s", "t"])
    assert two.mean == 2
    assert np.isnan([two.p_value, *two.interval()]).all()
    equal = clustered_mean([0.1] * 5, np.arange(5))
    assert equal.interval() == pytest.approx((0.1, 0.1))
    assert equal.p_value == 0
    assert clustered_mean([0.0] * 5, np.arange(5)).p_value == 1
    infinite = clustered_mean([np.inf, 1, 2, 3], np.arange(4))
    assert np.isnan(infinite.p_value)
    with pytest.raises(InputError, match="one length"):
        clustered_mean([1.0, 2.0], ["a"])
    with pytest.raises(InputError, match="one or two kinds"):
        clustered_mean([1.0])
    with pytest.raises(InputError, match="confidence"):
        clustered_mean([1.0, 2, 3], np.arange(3)).interval(95)
