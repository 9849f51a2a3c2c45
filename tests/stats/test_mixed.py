"""The mixed model against closed forms, and the test of inter-rater variability."""

import sys

import numpy as np
import pytest
from scipy.stats import norm

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.stats import clustered_mean, mixed_model, within_rater_variability

pytest.importorskip("statsmodels", reason="the extra 'stats' is not installed")


def crossed(rng, *, difference, n_subjects=10, n_splits=8):
    """Two candidates, every subject in every split; effects of subject and split are shared."""
    subjects, splits = (part.ravel() for part in np.indices((n_subjects, n_splits)))
    shared = rng.normal(0, 2, n_subjects)[subjects] + rng.normal(0, 1, n_splits)[splits]
    values = [shared + rng.normal(0, 0.3, subjects.size), shared + difference + rng.normal(0, 0.3, subjects.size)]
    names = np.repeat(["conv_staple", "softseg_staple"], subjects.size)
    labels = {"candidates": names, "splits": np.tile(splits, 2), "subjects": np.tile(subjects, 2)}
    return np.concatenate(values), labels


def test_balanced_mixed_model_has_the_least_squares_effect_and_error():
    values, labels = crossed(np.random.default_rng(0), difference=0.25)
    (effect,) = mixed_model(values, **labels, reference="conv_staple")
    half = values.size // 2
    difference = values[half:] - values[:half]
    assert effect.candidate == "softseg_staple"
    assert effect.difference == pytest.approx(difference.mean())
    # in a balanced design the effect's error is that of the residuals alone
    low, high = effect.interval
    residual = _residual_variance(values, labels)
    error = np.sqrt(2 * residual / half)
    assert (high - low) / (2 * 1.959964) == pytest.approx(error, rel=0.01)
    assert effect.converged
    assert effect.p_value == pytest.approx(2 * norm.sf(effect.difference / error), rel=0.1)


def _residual_variance(values, labels):
    columns = [labels["candidates"] == "softseg_staple"]
    columns += [labels["subjects"] == subject for subject in range(10)]
    columns += [labels["splits"] == split for split in range(1, 8)]
    design = np.stack(columns, axis=1).astype(float)
    solution = np.linalg.lstsq(design, values, rcond=None)[0]
    return ((values - design @ solution) ** 2).sum() / (values.size - design.shape[1])


def test_mixed_model_scales_with_the_unit_and_leaves_out_nan():
    values, labels = crossed(np.random.default_rng(1), difference=0.1)
    (effect,) = mixed_model(values, **labels, reference="conv_staple")
    (small,) = mixed_model(values * 1e-6, **labels, reference="conv_staple")
    assert small.difference == pytest.approx(effect.difference * 1e-6)
    assert small.p_value == pytest.approx(effect.p_value, rel=1e-3)
    more = {name: np.append(column, column[-1]) for name, column in labels.items()}
    (same,) = mixed_model(np.append(values, np.nan), **more, reference="conv_staple")
    assert same.difference == pytest.approx(effect.difference)


def test_mixed_model_keeps_its_level_with_many_clusters():
    rng, false = np.random.default_rng(2), 0
    for _ in range(60):
        values, labels = crossed(rng, difference=0)
        false += mixed_model(values, **labels, reference="conv_staple")[0].p_value < 0.05
    assert false <= 9


def test_mixed_model_refuses_what_it_cannot_fit():
    values, labels = crossed(np.random.default_rng(3), difference=0)
    assert mixed_model(values, **labels, reference="absent") == []
    with pytest.raises(InputError, match="2 or more subjects and splits, got 10 subjects and 1 splits"):
        mixed_model(values, **{**labels, "splits": np.zeros(values.size)}, reference="conv_staple")
    with pytest.raises(InputError, match="equal ones"):
        mixed_model(np.ones(values.size), **labels, reference="conv_staple")
    with pytest.raises(InputError, match="one length"):
        mixed_model(values[:-1], **labels, reference="conv_staple")


def test_mixed_model_without_statsmodels_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.regression.mixed_linear_model", None)
    with pytest.raises(InputError, match=r"ivadomed_labelfusion\[stats\]"):
        mixed_model([1.0], candidates=["a"], splits=[1], subjects=[1], reference="a")


def test_a_model_nearer_to_the_raters_than_they_are_is_within():
    rng = np.random.default_rng(4)
    subjects = np.arange(20)
    raters = rng.uniform(0.6, 0.8, 20)
    better = within_rater_variability(raters + rng.normal(0.05, 0.02, 20), raters, subjects=subjects)
    assert better.verdict == "within"
    assert better.model - better.raters == pytest.approx(better.difference)
    assert better.interval[0] > 0
    worse = within_rater_variability(raters - rng.normal(0.05, 0.02, 20), raters, subjects=subjects)
    assert worse.verdict == "outside"
    same = within_rater_variability(raters + rng.normal(0, 0.05, 20) - 0.001, raters, subjects=subjects)
    assert same.verdict == "undecided"


def test_variability_knows_splits_and_missing_values():
    rng = np.random.default_rng(5)
    subjects, splits = np.tile(np.arange(6), 5), np.repeat(np.arange(5), 6)
    raters = rng.uniform(0.6, 0.8, 30)
    model = raters + rng.normal(0, 0.03, 30)
    model[3] = np.nan
    test = within_rater_variability(model, raters, subjects=subjects, splits=splits)
    assert test.n_clusters == (6, 5)
    difference = (model - raters)[~np.isnan(model)]
    assert test.difference == pytest.approx(np.mean([np.nanmean((model - raters)[splits == s]) for s in range(5)]))
    assert difference.size == 29
    few = within_rater_variability(model[:2], raters[:2], subjects=subjects[:2])
    assert few.verdict == "undecided"
    assert np.isnan(few.interval).all()
    assert few.difference == pytest.approx(clustered_mean((model - raters)[:2], [0, 1]).mean)
    with pytest.raises(InputError, match="one length"):
        within_rater_variability(model, raters[:-1], subjects=subjects)
