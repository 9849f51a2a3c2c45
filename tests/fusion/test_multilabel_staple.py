"""Multi-label STAPLE against SimpleITK, and against a voxel-wise reference where SimpleITK's seeding is at fault."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion import fuse, multilabel_staple, staple
from tests.builders.oracle import itk_multilabel_staple, random_label_maps, without_ties


def reference(label_maps, *, ties, tol=1e-5):
    """MultiLabelSTAPLE voxel by voxel as the ITK source has it: labels, with the seeds of ``ties``.

    ``itk``: an undecided voxel counts in column K of the (K + 1) x K seed matrix, that is, in row j + 1, column 0.
    ``shared``: it counts for all tied labels in equal parts.
    """
    votes = np.asarray(label_maps).reshape(len(label_maps), -1)
    n_labels = int(votes.max()) + 1
    count = np.stack([(votes == label).sum(axis=0) for label in range(n_labels)], axis=1)
    tied = count == count.max(axis=1, keepdims=True)
    matrices = []
    for rater in votes:
        seed = np.zeros((n_labels + 1) * n_labels)
        for voxel, given_label in enumerate(rater):
            winners = np.flatnonzero(tied[voxel])
            if len(winners) > 1 and ties == "itk":
                seed[given_label * n_labels + n_labels] += 1
            else:
                seed[given_label * n_labels + winners] += 1 / len(winners)
        seed = seed.reshape(n_labels + 1, n_labels)
        total = seed.sum(axis=1, keepdims=True)
        matrices.append(np.divide(seed, total, out=np.zeros_like(seed), where=total > 0)[:n_labels])
    confusion = np.array(matrices)
    prior = np.bincount(votes.ravel(), minlength=n_labels) / votes.size

    def posterior():
        weight = np.tile(prior, (votes.shape[1], 1))
        for matrix, rater in zip(confusion, votes, strict=True):
            weight *= matrix[rater]
        total = weight.sum(axis=1, keepdims=True)
        return np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)

    while True:
        weight = posterior()
        updated = np.array([[weight[rater == label].sum(axis=0) for label in range(n_labels)] for rater in votes])
        total = updated.sum(axis=1, keepdims=True)
        updated = np.divide(updated, total, out=np.zeros_like(updated), where=total > 0)
        change = np.abs(updated - confusion).max()
        confusion = updated
        if change < tol:
            return posterior().argmax(axis=1).reshape(np.shape(label_maps)[1:]), confusion


@pytest.mark.parametrize("n_raters", range(2, 10))
@pytest.mark.parametrize("n_labels", [2, 3, 5])
def test_equals_simpleitk_where_no_vote_is_tied(n_raters, n_labels):
    maps = without_ties(random_label_maps(n_raters, n_raters, (12, 11, 6), n_labels, right=0.85))
    np.testing.assert_array_equal(multilabel_staple(maps).labels(), itk_multilabel_staple(maps))


@pytest.mark.parametrize("max_iter", [1, 3])
def test_equals_simpleitk_when_stopped_early(max_iter):
    maps = without_ties(random_label_maps(1, 5, (12, 11, 6), 4, right=0.7))
    result = multilabel_staple(maps, max_iter=max_iter)
    np.testing.assert_array_equal(result.labels(), itk_multilabel_staple(maps, MaximumNumberOfIterations=max_iter))
    assert (result.n_iter, result.converged) == (max_iter, False)


def test_where_votes_are_tied_the_difference_is_itks_seeding():
    """SimpleITK equals the reference that writes tied votes into the wrong cell; we equal the one that shares them."""
    differing = 0
    for seed in range(12):
        maps = random_label_maps(seed, 2 + seed % 3, (6, 7, 4), 3, right=0.45)
        maps[:, 0, 0, 0] = 2  # all labels occur
        ours, itk = multilabel_staple(maps), itk_multilabel_staple(maps)
        expected, confusion = reference(maps, ties="shared")
        faulty, _ = reference(maps, ties="itk")
        np.testing.assert_array_equal(itk, faulty)
        np.testing.assert_array_equal(ours.labels(), expected)
        np.testing.assert_allclose(ours.confusion, confusion, atol=1e-9)
        differing += (itk != expected).any()
    assert differing  # the defect does act on some of these


def test_recovers_known_confusion():
    generator = np.random.default_rng(0)
    truth = generator.choice(3, size=(300, 400), p=[0.6, 0.25, 0.15])
    confusion = np.array(
        [
            [[0.95, 0.1, 0.05], [0.03, 0.8, 0.15], [0.02, 0.1, 0.8]],
            [[0.9, 0.05, 0.02], [0.05, 0.9, 0.08], [0.05, 0.05, 0.9]],
            [[0.85, 0.2, 0.1], [0.1, 0.7, 0.1], [0.05, 0.1, 0.8]],
            [[0.98, 0.1, 0.1], [0.01, 0.85, 0.05], [0.01, 0.05, 0.85]],
        ]
    )
    maps = np.empty((4, *truth.shape), np.uint8)
    for rater in range(4):
        for label in range(3):
            where = truth == label
            maps[rater][where] = generator.choice(3, size=where.sum(), p=confusion[rater, :, label])
    result = multilabel_staple(maps, tol=1e-7)
    np.testing.assert_allclose(result.confusion, confusion, atol=0.02)
    np.testing.assert_allclose(result.confusion.sum(axis=1), 1, atol=1e-12)
    assert (result.labels() == truth).mean() > max((labels == truth).mean() for labels in maps)


def test_posterior_is_a_distribution():
    result = multilabel_staple(random_label_maps(3, 4, (9, 8), 4))
    assert result.posterior.shape == (4, 9, 8)
    assert result.posterior.dtype == np.float32
    np.testing.assert_allclose(result.posterior.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_array_equal(result.posterior.argmax(axis=0), result.labels())


def test_label_values_are_kept():
    maps = random_label_maps(4, 3, (9, 8, 5), 3)
    values = np.array([0, 7, 300])
    result = multilabel_staple(values[maps])
    assert result.label_values.tolist() == [0, 7, 300]
    assert result.labels().dtype == np.uint16
    np.testing.assert_array_equal(result.labels(), values[multilabel_staple(maps).labels()])
    np.testing.assert_array_equal(multilabel_staple(values[maps].astype(float)).posterior, result.posterior)


def test_a_label_nobody_gave_has_no_row():
    """ITK counts labels from 0 to the maximum; here labels are those that occur."""
    maps = random_label_maps(4, 3, (9, 8, 5), 3)
    gap = np.array([0, 1, 5])[maps].astype(np.uint8)
    result = multilabel_staple(gap)
    assert result.confusion.shape == (3, 3, 3)
    np.testing.assert_array_equal(result.labels(), np.array([0, 1, 5])[multilabel_staple(maps).labels()])


@pytest.mark.parametrize("value", [0, 3])
def test_one_label_everywhere(value):
    maps = np.full((3, 4, 5), value, np.uint8)
    result = multilabel_staple(maps)
    np.testing.assert_array_equal(result.labels(), maps[0])
    assert np.isfinite(result.posterior).all()
    assert result.converged
    np.testing.assert_array_equal(result.confusion[:, 0, 0], 1)


def test_perfect_agreement_and_one_rater():
    labels = random_label_maps(5, 1, (9, 8), 4)
    for maps in (labels, np.repeat(labels, 3, axis=0)):
        result = multilabel_staple(maps)
        np.testing.assert_array_equal(result.labels(), labels[0])
        np.testing.assert_allclose(result.confusion, np.broadcast_to(np.eye(4), result.confusion.shape), atol=1e-12)


def test_many_raters_and_zero_size():
    maps = random_label_maps(6, 40, (7, 8, 3), 3, right=0.6)
    result = multilabel_staple(maps)
    np.testing.assert_array_equal(result.labels(), multilabel_staple(maps, keep_codes=False).labels())
    np.testing.assert_array_equal(result.labels(), reference(maps, ties="shared")[0])
    assert multilabel_staple(maps[:, :0]).labels().shape == (0, 8, 3)


def test_more_than_2_to_24_votes():
    """SimpleITK < 2.5.7 counted in float32 and went wrong here without a word."""
    maps = np.zeros((3, 300, 300, 70), np.uint8)
    maps[:, 100:200, 100:200] = 1
    maps[:, 150:200, 100:200] = 2
    maps[0, 100:110, 100:200] = 2
    assert maps.size > 2**24
    result = multilabel_staple(maps)
    assert result.patterns.counts.sum() == maps[0].size
    np.testing.assert_array_equal(result.labels(), maps[1])
    np.testing.assert_allclose(result.confusion[0][:, 1], [0, 0.8, 0.2], atol=1e-9)


def test_a_rater_of_weight_two_is_the_rater_twice():
    maps = random_label_maps(7, 3, (12, 13), 3)
    weighted, doubled = multilabel_staple(maps, weights=[1, 2, 1]), multilabel_staple(maps[[0, 1, 1, 2]])
    np.testing.assert_allclose(weighted.posterior, doubled.posterior, atol=1e-6)
    np.testing.assert_allclose(weighted.confusion, doubled.confusion[[0, 1, 3]], atol=1e-9)


def test_region_union_is_the_voxels_of_the_union():
    maps = np.pad(random_label_maps(8, 3, (6, 7), 3), [(0, 0), (2, 3), (4, 1)])
    union = maps.any(axis=0)
    result = multilabel_staple(maps, region="union")
    np.testing.assert_array_equal(result.labels()[union], multilabel_staple(maps[:, union]).labels())
    assert (result.posterior[0][~union] == 1).all()
    assert not result.posterior[1:, ~union].any()


@pytest.mark.parametrize(("value", "message"), [(-1, "holds -1"), (0.5, "holds 0.5"), (np.nan, "NaN")])
def test_other_values_are_refused(value, message):
    maps = random_label_maps(9, 2, (5, 6), 3).astype(float)
    maps[1, 2, 2] = value
    with pytest.raises(InputError, match=message):
        multilabel_staple(maps)


def test_images_are_refused():
    with pytest.raises(InputError, match="256 labels"):
        multilabel_staple(np.arange(600).reshape(2, 300))


def test_fuse_tells_label_maps_from_masks():
    maps = random_label_maps(10, 3, (9, 8), 3)
    np.testing.assert_array_equal(fuse(maps), multilabel_staple(maps).labels())
    np.testing.assert_array_equal(fuse(maps, soft=True), multilabel_staple(maps).posterior)
    binary = (maps > 0) * np.uint8(2)  # one foreground label: masks, whatever its value
    np.testing.assert_array_equal(fuse(binary), staple(maps > 0).labels() * 2)
    with pytest.raises(InputError, match="binary STAPLE only"):
        fuse(maps, confidence_weight=0.5)


@settings(deadline=None, max_examples=50)
@given(
    maps=st.integers(1, 4).flatmap(
        lambda n: arrays.arrays(
            np.uint8, st.tuples(st.just(n), st.integers(1, 5), st.integers(1, 5)), elements=st.integers(0, 3)
        )
    ),
    data=st.data(),
)
def test_properties(maps, data):
    order = data.draw(st.permutations(range(len(maps))))
    result, permuted = multilabel_staple(maps, max_iter=50), multilabel_staple(maps[order], max_iter=50)
    np.testing.assert_allclose(permuted.posterior, result.posterior, atol=1e-5)
    np.testing.assert_allclose(permuted.confusion, result.confusion[order], atol=1e-5)
    flipped = multilabel_staple(maps[:, ::-1], max_iter=50)
    np.testing.assert_array_equal(flipped.posterior, result.posterior[:, ::-1])
    np.testing.assert_array_equal(flipped.labels(), result.labels()[::-1])
