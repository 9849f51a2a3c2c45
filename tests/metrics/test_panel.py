"""The calibrated predictor's entropy: closed forms, and panels of the phantom drawn again."""

import numpy as np
import pytest
from scipy.special import entr
from scipy.stats import binom

from ivadomed_labelfusion import metrics
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.phantom import _brain, msseg2016
from ivadomed_labelfusion.phantom import _common as common


def expected_counts(probabilities, n_raters):
    """Mean counts of voxels with these probabilities."""
    return sum(binom.pmf(np.arange(n_raters + 1), n_raters, p) for p in probabilities)


@pytest.mark.parametrize("n_raters", [2, 3, 4, 7, 12])
def test_the_panels_entropy_is_too_low_and_the_estimate_is_nearer(n_raters):
    # a sharp outline drawn with logistic errors
    probabilities = 1 / (1 + np.exp(-np.linspace(-25, 25, 5001)))
    counts = expected_counts(probabilities, n_raters)
    truth = entr(probabilities).sum()
    panel = (counts * entr(np.arange(n_raters + 1) / n_raters)).sum()
    assert metrics.calibrated_entropy(counts) == pytest.approx(truth, rel=0.005)
    assert truth / panel > 1 + 1.5 / n_raters


def test_the_audits_ratio_at_one_tenth():
    for n_raters, ratio in ((4, 1.94), (7, 1.47)):
        panel = (expected_counts([0.1], n_raters) * entr(np.arange(n_raters + 1) / n_raters)).sum()
        assert entr(0.1) / panel == pytest.approx(ratio, abs=0.01)


def test_many_raters_need_no_correction():
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(size=4000)
    counts = np.bincount(rng.binomial(400, probabilities), minlength=401)
    panel = (counts * entr(np.arange(401) / 400)).sum()
    assert metrics.calibrated_entropy(counts) == pytest.approx(entr(probabilities).sum(), rel=0.01)
    assert metrics.calibrated_entropy(counts) == pytest.approx(panel, rel=0.01)


def test_corner_cases_of_the_estimate():
    assert metrics.calibrated_entropy([5, 0, 0, 0]) == 0
    assert metrics.calibrated_entropy([5, 0, 0, 3]) == 0
    assert np.isnan(metrics.calibrated_entropy([5, 3]))
    # no voxel with a single vote: nothing is extrapolated
    assert metrics.calibrated_entropy([5, 0, 4, 1]) == pytest.approx(4 * 2 / 3 * (1 / 2))
    with pytest.raises(InputError, match="votes"):
        metrics.calibrated_entropy([3, -1, 2])


def test_vote_counts():
    masks = np.zeros((3, 2, 4), np.uint8)
    masks[0, 0, :2] = masks[1, 0, 0] = masks[2, 1, 1] = 1
    # voxel 0: class 0 twice, background once; voxel 1: one vote each
    assert metrics.vote_counts(masks, class_axis=1).tolist() == [[0, 2, 0, 2], [2, 1, 1, 0], [3, 1, 0, 0]]
    with pytest.raises(InputError, match="binary"):
        metrics.vote_counts(masks * 0.5, class_axis=1)
    with pytest.raises(InputError, match="must have an axis 1 for the classes"):
        metrics.vote_counts(masks[0, 0], class_axis=1)
    with pytest.raises(InputError, match=r"\(R, \*spatial\)"):
        metrics.vote_counts(masks[0, 0])


@pytest.fixture(scope="module")
def panels():
    """``(centre, panel, rater, *spatial)``: the raters of one brain phantom for two centres, drawn again 8 times."""
    habits, drawn = msseg2016._raters(np.random.default_rng([1, 0])), []
    for centre in ("01", "08"):
        voxel, shape = msseg2016.CENTRES[centre]["small"]
        rng = np.random.default_rng([1, int(centre), 1, 8])
        affine = common.oblique_affine(shape, voxel)
        brain = _brain.Brain(rng, msseg2016.STEP_MM["small"], shape[2] * voxel[2], lesion_scale=1.35)

        def mask(rater, rng=rng, brain=brain, affine=affine, shape=shape):
            distance, _ = brain.rater(rng, rater, msseg2016.SMALL_LESION_MM)
            return brain.resample(distance, np.eye(4), affine, shape) < 0

        drawn.append(np.stack([[mask(rater) for rater in habits] for _ in range(8)]))
    return drawn


# bounds on mean estimate / truth; the panel's own entropy is below 0.82, 0.68, 0.6 and 0.45 of it
@pytest.mark.parametrize(
    ("n_raters", "low", "plain"), [(7, 0.93, 0.82), (4, 0.88, 0.68), (3, 0.85, 0.6), (2, 0.75, 0.45)]
)
def test_panels_of_the_phantom_drawn_again(panels, n_raters, low, plain):
    rng = np.random.default_rng(2)
    for centre in panels:
        truth = entr(centre.mean(axis=(0, 1))).sum()
        chosen = [panel[rng.permutation(7)[:n_raters]] for panel in centre for _ in range(10)]
        found = [metrics.calibrated_entropy(metrics.vote_counts(panel[:, None], class_axis=1)[1]) for panel in chosen]
        own = [entr(panel.mean(axis=0)).sum() for panel in chosen]
        assert low < np.mean(found) / truth < 1.06
        assert np.mean(own) / truth < plain
        if n_raters == 7:
            # a perfectly calibrated predictor beside one panel of seven
            assert 1.28 < np.mean(np.divide(found, own)) < 1.38
            assert 1.2 < np.mean(truth / np.array(own)) < 1.42
