"""Statistics against scipy, worked examples and properties."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.stats import (
    bootstrap_mean_interval,
    compare_candidates,
    composite_score,
    holm_adjust,
    mean_and_deviation,
    mean_over_models,
    model_weights,
    wilcoxon_signed_rank,
    z_scores,
)

pairs = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-5, 5), min_size=n, max_size=n).map(np.array)] * 2)
)


@pytest.mark.parametrize("n", [3, 8, 20, 50])
def test_wilcoxon_equals_scipys_exact_test_without_ties(n):
    rng = np.random.default_rng(n)
    first, second = rng.normal(0.2, 1, n), rng.normal(0, 1, n)
    expected = scipy_stats.wilcoxon(first, second, mode="exact")
    result = wilcoxon_signed_rank(first, second)
    assert result.p_value == pytest.approx(expected.pvalue, abs=1e-12)
    assert min(result.rank_sum_positive, result.rank_sum_negative) == expected.statistic


@pytest.mark.parametrize("ties", [False, True])
def test_wilcoxon_equals_scipys_normal_approximation_above_fifty_pairs(ties):
    rng = np.random.default_rng(7)
    first, second = rng.normal(0.3, 1, 120), rng.normal(0, 1, 120)
    if ties:
        first, second = np.round(first * 2), np.round(second * 2)
    expected = scipy_stats.wilcoxon(first, second, zero_method="wilcox", correction=False, mode="approx")
    result = wilcoxon_signed_rank(first, second)
    assert result.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert result.n_zero == np.sum(first == second)


@given(pairs)
def test_wilcoxon_with_ties_equals_enumerating_every_sign_flip(pair):
    first, second = pair
    difference = (first - second)[first != second]
    if difference.size == 0:
        assert wilcoxon_signed_rank(first, second).p_value == 1
        return
    ranks = scipy_stats.rankdata(np.abs(difference))
    observed = abs(ranks[difference > 0].sum() - ranks.sum() / 2)
    flips = np.array(list(itertools.product([0, 1], repeat=ranks.size)))
    enumerated = np.mean(np.abs(flips @ ranks - ranks.sum() / 2) >= observed - 1e-9)
    assert wilcoxon_signed_rank(first, second).p_value == pytest.approx(enumerated, abs=1e-12)


@given(pairs)
def test_wilcoxon_is_antisymmetric(pair):
    forth, back = wilcoxon_signed_rank(*pair), wilcoxon_signed_rank(*pair[::-1])
    assert forth.p_value == back.p_value
    assert forth.effect_size == -back.effect_size
    assert -1 <= forth.effect_size <= 1
    assert 0 < forth.p_value <= 1


def test_wilcoxon_worked_example():
    # differences 1, 2, -3, 4, 0: ranks 1, 2, (3), 4; W+ = 7, W- = 3; 10 of the 16 sign patterns are as far from 5
    result = wilcoxon_signed_rank([2, 3, 0, 5, 1], [1, 1, 3, 1, 1])
    assert (result.n, result.n_zero, result.rank_sum_positive, result.rank_sum_negative) == (5, 1, 7, 3)
    assert result.effect_size == pytest.approx(0.4)
    assert result.p_value == pytest.approx(10 / 16)


def test_wilcoxon_corner_cases():
    nothing = wilcoxon_signed_rank([], [])
    assert nothing.n == 0
    assert np.isnan(nothing.p_value)
    assert np.isnan(nothing.effect_size)
    same = wilcoxon_signed_rank([1, 2], [1, 2])
    assert (same.p_value, same.effect_size, same.n_zero) == (1, 0, 2)
    assert wilcoxon_signed_rank([1, np.nan, 3], [0, 1, 2]).n == 2
    infinite = wilcoxon_signed_rank([np.inf, 1], [np.inf, 0])
    assert (infinite.n, infinite.n_zero) == (2, 1)
    with pytest.raises(InputError, match="one length"):
        wilcoxon_signed_rank([1, 2], [1])


def test_exact_and_normal_agree_where_they_meet():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.25, 1, 51), rng.normal(0, 1, 51)
    assert wilcoxon_signed_rank(first[:50], second[:50]).p_value == pytest.approx(
        wilcoxon_signed_rank(first, second).p_value, rel=0.5
    )


def test_holm_worked_example():
    # 0.01 x 4, 0.02 x 3, 0.03 x 2, then the running maximum; NaN is no test
    assert holm_adjust([0.03, 0.01, np.nan, 0.02, 0.5]).tolist()[:2] == pytest.approx([0.06, 0.04])
    assert holm_adjust([0.03, 0.01, np.nan, 0.02, 0.5])[3:].tolist() == pytest.approx([0.06, 0.5])
    assert np.isnan(holm_adjust([0.03, np.nan])[1])
    assert holm_adjust([]).size == 0
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        holm_adjust([1.2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_raw_and_bonferroni_and_keeps_the_order(p_values):
    adjusted = holm_adjust(p_values)
    p_values = np.array(p_values)
    assert np.all(adjusted >= p_values)
    assert np.all(adjusted <= np.minimum(1, p_values * p_values.size) + 1e-12)
    assert np.all(np.diff(adjusted[np.argsort(p_values, kind="stable")]) >= 0)


def test_holm_equals_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is not installed")
    p_values = np.random.default_rng(1).uniform(0, 0.2, 7)
    assert holm_adjust(p_values) == pytest.approx(multitest.multipletests(p_values, method="holm")[1])


def test_bootstrap_resamples_subjects_not_rows():
    # the same 10 people in 100 splits: rows suggest a tiny interval, people do not
    person = np.random.default_rng(3).normal(size=10)
    subjects = np.repeat(np.arange(10), 100)
    values = np.repeat(person, 100)
    lower, upper = bootstrap_mean_interval(values, subjects, seed=0)
    as_rows = bootstrap_mean_interval(values, np.arange(1000), seed=0)
    assert upper - lower > 5 * (as_rows[1] - as_rows[0])
    assert (lower, upper) == pytest.approx(bootstrap_mean_interval(person, np.arange(10), seed=0))


def test_bootstrap_equals_scipys_when_every_subject_has_one_row():
    values = np.random.default_rng(4).gamma(2, size=40)
    ours = bootstrap_mean_interval(values, np.arange(40), seed=0, n_resamples=20_000)
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", random_state=1
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_bootstrap_covers_the_truth():
    rng, hits = np.random.default_rng(5), 0
    for trial in range(300):
        effect = rng.normal(size=25)
        subjects = np.repeat(np.arange(25), 3)
        values = effect[subjects] + rng.normal(0, 0.3, 75)
        lower, upper = bootstrap_mean_interval(values, subjects, seed=trial, n_resamples=300)
        hits += lower <= 0 <= upper
    # 95 % nominal; a percentile interval of 25 people covers a little less
    assert 0.88 <= hits / 300 <= 0.99


def test_bootstrap_is_seeded_and_independent_of_row_order():
    values, subjects = np.arange(60.0), np.repeat(np.arange(20), 3)
    order = np.random.default_rng(0).permutation(60)
    first = bootstrap_mean_interval(values, subjects, seed=1)
    assert first == bootstrap_mean_interval(values, subjects, seed=1)
    assert first == pytest.approx(bootstrap_mean_interval(values[order], subjects[order], seed=1))
    assert first != bootstrap_mean_interval(values, subjects, seed=2)


def test_bootstrap_of_models_is_about_the_mean_of_their_means():
    # three models that tested 40, 4 and 4 people: their means count alike, the rows do not
    rng = np.random.default_rng(6)
    models = np.repeat(["a", "b", "c"], [40, 4, 4])
    values = np.where(models == "a", 0.0, 1.0) + rng.normal(0, 0.01, 48)
    mean, deviation = mean_over_models(values, models)
    assert (mean, deviation) == pytest.approx((2 / 3, np.std([0, 1, 1], ddof=1)), abs=0.02)
    weights = model_weights(values, models)
    assert np.average(values, weights=weights) == pytest.approx(mean)
    lower, upper = bootstrap_mean_interval(values, np.arange(48), weights=weights, seed=0)
    assert lower < mean < upper
    of_rows = bootstrap_mean_interval(values, np.arange(48), seed=0)
    assert of_rows[1] < mean


def test_bootstrap_knows_that_centres_differ():
    """Each model tests one centre: which centres' people are drawn is part of the uncertainty."""
    values = np.repeat([0.0, 0.0, 0.0, 1.0], 5)
    weights = model_weights(values, np.repeat(["a", "b", "c", "d"], 5))
    lower, upper = bootstrap_mean_interval(values, np.arange(20), weights=weights, seed=0)
    assert upper - lower > 0.3


def test_model_weights_leave_out_missing_values():
    assert model_weights([1, np.nan, 2, 3], ["a", "a", "a", "b"]).tolist() == [0.5, 0, 0.5, 1]


def test_bootstrap_corner_cases():
    assert np.isnan(bootstrap_mean_interval([np.nan], ["a"], seed=0)).all()
    # one subject says nothing about others
    assert np.isnan(bootstrap_mean_interval([1, 3], ["a", "a"], seed=0)).all()
    with pytest.raises(InputError, match="confidence"):
        bootstrap_mean_interval([1.0], ["a"], seed=0, confidence=95)
    with pytest.raises(InputError, match="one length"):
        bootstrap_mean_interval([1.0, 2.0], ["a"], seed=0)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
@settings(max_examples=60)
def test_z_scores_have_mean_zero_and_unit_deviation(values):
    scores = z_scores(values)
    assert scores.mean() == pytest.approx(0, abs=1e-6)
    assert scores.std() == pytest.approx(1, abs=1e-6) or np.all(scores == 0)


def test_z_scores_of_constants_and_nan():
    assert z_scores([0.1, 0.1, 0.1]).tolist() == [0, 0, 0]
    scores = z_scores([1, np.nan, 3])
    assert scores[[0, 2]].tolist() == [-1, 1]
    assert np.isnan(scores[1])
    assert np.isnan(z_scores([np.nan])).all()


def test_composite_score_worked_example():
    # every metric is [low, high], so z is [-1, 1]; AVD counts against
    one_class = composite_score(
        dice=[0.5, 0.9], precision=[0.4, 0.6], recall=[0.1, 0.2], absolute_volume_difference=[0.3, 0.1]
    )
    assert one_class.tolist() == [-4, 4]
    mixed = composite_score(dice=[0.5, 0.9], precision=[0.4, 0.6], recall=[0.1, 0.2], absolute_volume_difference=[0, 1])
    assert mixed.tolist() == [-2, 2]
    two_classes = composite_score(
        **{
            name: np.column_stack([values, values[::-1]])
            for name, values in {
                "dice": [0.5, 0.9],
                "precision": [0.4, 0.6],
                "recall": [0.1, 0.2],
                "absolute_volume_difference": [0.3, 0.1],
            }.items()
        }
    )
    assert two_classes.tolist() == [0, 0]
    with pytest.raises(InputError, match="one shape"):
        composite_score(dice=[1], precision=[1, 2], recall=[1, 2], absolute_volume_difference=[1, 2])


def test_composite_score_is_nan_only_where_a_metric_is():
    score = composite_score(
        dice=[0.5, 0.9, 0.7],
        precision=[0.4, 0.6, 0.5],
        recall=[0.1, 0.2, 0.3],
        absolute_volume_difference=[0, np.nan, 1],
    )
    assert np.isnan(score).tolist() == [False, True, False]


def test_mean_and_deviation():
    assert mean_and_deviation([1, 3, np.nan]) == pytest.approx((2, np.sqrt(2), 2))
    mean, deviation, n = mean_and_deviation([5])
    assert (mean, n) == (5, 1)
    assert np.isnan(deviation)
    assert mean_and_deviation([])[2] == 0


@pytest.fixture
def results():
    """Two candidates, 3 splits, 2 subjects each; the second is better by 0.1 everywhere."""
    keys = [(f"split-{split}", f"sub-{subject}") for split in range(3) for subject in (split, split + 1)]
    base = np.linspace(0.2, 0.7, len(keys))
    return {
        "values": np.concatenate([base, base + 0.1]),
        "candidates": ["conv_staple"] * len(keys) + ["softseg_staple"] * len(keys),
        "splits": [split for split, _ in keys] * 2,
        "subjects": [subject for _, subject in keys] * 2,
    }


def test_compare_candidates_pairs_by_split_and_subject(results):
    shuffled = np.random.default_rng(0).permutation(12)
    results = {name: np.asarray(column)[shuffled] for name, column in results.items()}
    summaries = {row.candidate: row for row in compare_candidates(**results, reference="conv_staple")}
    better = summaries["softseg_staple"]
    assert better.difference == pytest.approx(0.1)
    assert better.difference_interval == pytest.approx((0.1, 0.1))
    assert better.test.p_value == pytest.approx(2 / 2**6)
    assert better.test.effect_size == 1
    assert better.p_holm == better.test.p_value  # one comparison
    assert better.n_unpaired == 0
    assert summaries["conv_staple"].test is None
    assert np.isnan(summaries["conv_staple"].p_holm)


def test_compare_candidates_takes_the_deviation_over_models(results):
    reference = compare_candidates(**results, reference="conv_staple")[0]
    values = np.array(results["values"][:6]).reshape(3, 2)
    assert reference.mean == pytest.approx(values.mean())
    assert reference.std_models == pytest.approx(values.mean(axis=1).std(ddof=1))
    assert reference.std_subjects == pytest.approx(values.std(ddof=1))
    assert reference.interval[0] < reference.mean < reference.interval[1]


def test_compare_candidates_leaves_out_incomplete_pairs_and_counts_them(results):
    values = np.array(results["values"])
    values[0] = np.nan
    summaries = compare_candidates(**{**results, "values": values}, reference="conv_staple")
    assert (summaries[0].n, summaries[0].n_missing) == (5, 1)
    assert summaries[1].test.n == 5
    assert summaries[1].n_unpaired == 2
    dropped = {name: list(column)[:-1] for name, column in results.items()}
    assert compare_candidates(**dropped, reference="conv_staple")[1].test.n == 5


def test_compare_candidates_adjusts_over_the_candidates_tested(results):
    third = {
        "values": np.concatenate([results["values"], results["values"][:6] + 0.01]),
        "candidates": [*results["candidates"], *["conv_average"] * 6],
        "splits": [*results["splits"], *results["splits"][:6]],
        "subjects": [*results["subjects"], *results["subjects"][:6]],
    }
    summaries = compare_candidates(**third, reference="conv_staple")
    assert [row.p_holm for row in summaries[1:]] == pytest.approx([4 / 64, 4 / 64])


def test_compare_candidates_refuses_duplicates_and_does_without_reference(results):
    doubled = {name: [*column, column[0]] for name, column in results.items()}
    with pytest.raises(InputError, match=r"conv_staple has two results for split split-0, subject sub-0"):
        compare_candidates(**doubled, reference="conv_staple")
    assert all(row.test is None for row in compare_candidates(**results, reference="absent"))
    with pytest.raises(InputError, match="one length"):
        compare_candidates(values=[1.0], candidates=[], splits=[], subjects=[], reference="a")
