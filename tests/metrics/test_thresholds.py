"""Thresholds and argmax."""

import numpy as np
import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics import THRESHOLDS, argmax_labels, binarize, dice, threshold_search


def test_argmax_includes_the_background():
    prediction = np.array([[0.30, 0.40, 0.5, 0.1, 1.0], [0.25, 0.35, 0.5, 0.2, 0.0]])
    # backgrounds are 0.45, 0.25, 0, 0.7, 0
    np.testing.assert_array_equal(argmax_labels(prediction, class_axis=0), [0, 1, 1, 0, 1])
    np.testing.assert_array_equal(binarize(prediction, class_axis=0), [[0, 1, 1, 0, 1], [0, 0, 0, 0, 0]])
    assert argmax_labels(np.array([[0.5]]), class_axis=0)[0] == 0


def test_threshold_is_compared_in_the_predictions_dtype():
    for dtype in (np.float32, np.float64):
        values = np.array(THRESHOLDS, dtype)[None]
        for index, threshold in enumerate(THRESHOLDS):
            assert binarize(values, threshold=threshold, class_axis=0).sum() == len(THRESHOLDS) - index
    np.testing.assert_array_equal(binarize(np.array([[0, 1]], np.uint8), threshold=0.3, class_axis=0), [[False, True]])


def test_threshold_search_finds_the_best_mean_dice():
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(4):
        truth = rng.random((1, 20, 20)) < 0.2
        prediction = np.clip(0.3 * truth + 0.2 * rng.random(truth.shape), 0, 1).astype(np.float32)
        pairs.append((prediction, truth))
    best, scores = threshold_search(iter(pairs), class_axis=0)
    expected = [
        np.mean([dice(binarize(p, threshold=t, class_axis=0), s, class_axis=0)[0] for p, s in pairs])
        for t in THRESHOLDS
    ]
    np.testing.assert_allclose(scores, expected, atol=1e-12)
    assert best == THRESHOLDS[int(np.argmax(expected))] == pytest.approx(0.25, abs=0.051)


def test_threshold_search_takes_the_lowest_of_equals():
    best, scores = threshold_search([(np.array([[0.0, 1.0]]), np.array([[0, 1]]))], class_axis=0)
    assert best == 0.05
    assert (scores == 1).all()
    assert len(scores) == 19


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: binarize(np.zeros((2, 4)), threshold=0.5, class_axis=0), "several classes"),
        (lambda: binarize(np.zeros((1, 4)), threshold=0, class_axis=0), r"\(0, 1\]"),
        (lambda: binarize(np.full((1, 4), np.nan), threshold=0.5, class_axis=0), "finite"),
        (lambda: argmax_labels(np.full((1, 4), 2.0), class_axis=0), r"\[0, 1\]"),
        (lambda: threshold_search([], class_axis=0), "at least one"),
        (lambda: threshold_search([(np.zeros((2, 4)), np.zeros((2, 4)))], class_axis=0), "one class"),
        (
            lambda: threshold_search([(np.zeros((1, 4)), np.zeros((1, 4)))], thresholds=[0.5, 0.4], class_axis=0),
            "increase",
        ),
        (lambda: threshold_search([(np.zeros((1, 4)), np.zeros((1, 4)))], thresholds=[0.0], class_axis=0), r"\(0, 1\]"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def ivadomeds_search(pairs, thresholds):
    """The loop of ivadomed.testing.threshold_analysis, with its own functions."""
    from ivadomed.metrics import MetricManager, dice_score
    from ivadomed.postprocessing import threshold_predictions

    scores = []
    for threshold in thresholds:
        manager = MetricManager([dice_score])
        manager([threshold_predictions(p.copy(), thr=threshold) for p, _ in pairs], [t.astype(float) for _, t in pairs])
        scores.append(manager.get_results()["dice_score"])
    return thresholds[np.max(np.where(scores == np.max(scores)))], scores


def test_ivadomeds_definition_is_ivadomeds_search():
    pytest.importorskip("ivadomed", reason="the extra 'ivadomed' is not installed")
    rng = np.random.default_rng(0)
    pairs = [(rng.beta(0.5, 1, (1, 6, 5)), rng.random((1, 6, 5)) < 0.3) for _ in range(3)]
    # a volume with nothing in it, and one whose prediction is in the way at low thresholds only
    pairs += [(np.zeros((1, 6, 5)), np.zeros((1, 6, 5), bool)), (np.full((1, 6, 5), 0.3), np.zeros((1, 6, 5), bool))]
    thresholds = [0.1, 0.2, 0.35, 0.5, 0.9]
    best, scores = threshold_search(pairs, thresholds=thresholds, definition="ivadomed", class_axis=0)
    expected, theirs = ivadomeds_search(pairs, thresholds)
    assert best == expected
    np.testing.assert_allclose(scores, theirs)
    ours, _ = threshold_search(pairs, thresholds=thresholds, class_axis=0)
    assert ours == threshold_search(pairs, thresholds=thresholds, definition="volumes", class_axis=0)[0]


def test_definitions_differ_in_ties_and_empty_volumes():
    tied = [(np.array([[0.0, 1.0]]), np.array([[0, 1]]))]
    assert threshold_search(tied, class_axis=0)[0] == THRESHOLDS[0]
    assert threshold_search(tied, definition="ivadomed", class_axis=0)[0] == THRESHOLDS[-1]
    empty = (np.zeros((1, 2)), np.zeros((1, 2), bool))
    assert threshold_search([*tied, empty], class_axis=0)[1][0] == 1
    with pytest.raises(InputError, match="not empty"):
        threshold_search([empty], definition="ivadomed", class_axis=0)
    with pytest.raises(InputError, match="definition must be one of volumes, ivadomed"):
        threshold_search(tied, definition="slices", class_axis=0)
