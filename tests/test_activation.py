"""Normalised ReLU: closed forms and properties."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ivadomed_labelfusion.activation import NORMALIZATIONS, NormalisedReLU

SHAPES = st.tuples(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.sampled_from([None, 1, 3])
).map(lambda shape: shape[:4] if shape[4] is None else shape)

# from subnormal to huge, zero and negative
VALUES = st.sampled_from([0.0, -1.0, 1.0, 1e-45, 1e-30, 1e-12, 2e-12, 1e-6, 0.5, 3.0, 1e6, 1e18])


def scores(data, shape):
    """Draw a tensor of extreme scores."""
    seed = data.draw(st.integers(0, 2**32 - 1))
    pool = np.array(data.draw(st.lists(VALUES, min_size=1, max_size=5)), dtype=np.float32)
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.choice(pool, size=shape) * rng.choice([1.0, 0.3], size=shape).astype(np.float32))


@settings(max_examples=200, deadline=None)
@given(st.data(), SHAPES, st.sampled_from(NORMALIZATIONS), st.booleans())
def test_probabilities_without_nan_in_value_or_gradient(data, shape, normalization, training):
    x = scores(data, shape).requires_grad_()
    activation = NormalisedReLU(normalization)
    activation(torch.rand(shape))
    activation.train(training)
    p = activation(x)
    assert p.shape == x.shape
    assert torch.isfinite(p).all()
    assert (p >= 0).all()
    assert (p <= 1).all()
    if shape[1] > 1:
        torch.testing.assert_close(p.sum(1), torch.ones_like(p.sum(1)))
    p.pow(2).sum().backward()
    assert torch.isfinite(x.grad).all()


@settings(max_examples=50, deadline=None)
@given(st.data(), SHAPES, st.sampled_from(["sample", "running"]))
def test_sample_and_running_do_not_depend_on_batch_mates(data, shape, normalization):
    x = scores(data, (3, *shape[1:]))
    activation = NormalisedReLU(normalization)
    activation(torch.rand(shape))
    activation.eval()
    together = activation(x)
    for index in range(len(x)):
        assert torch.equal(activation(x[index : index + 1])[0], together[index])


def test_one_class_is_divided_by_the_maximum_of_the_batch():
    x = torch.tensor([[[[-1.0, 2.0]]], [[[4.0, 1.0]]]])
    expected = torch.tensor([[[[0.0, 0.5]]], [[[1.0, 0.25]]]])
    torch.testing.assert_close(NormalisedReLU("batch")(x), expected)
    expected[0] *= 2
    torch.testing.assert_close(NormalisedReLU("sample")(x), expected)


def test_several_classes_are_shares_of_the_rectified_scores():
    x = torch.tensor([1.0, -2.0, 3.0]).view(1, 3, 1)
    torch.testing.assert_close(NormalisedReLU()(x).flatten(), torch.tensor([0.25, 0.0, 0.75]))


def test_a_voxel_of_zeros_is_background():
    x = torch.full((1, 3, 2), -1.0)
    torch.testing.assert_close(NormalisedReLU()(x)[0, :, 0], torch.tensor([1.0, 0.0, 0.0]))


def test_an_empty_image_of_one_class_stays_empty():
    for normalization in NORMALIZATIONS:
        assert not NormalisedReLU(normalization)(torch.full((2, 1, 3, 3), -5.0)).any()


@pytest.mark.parametrize("out_channel", [1, 3])
def test_equals_ivadomed_on_ordinary_scores(out_channel):
    from ivadomed.models import Unet

    from ivadomed_labelfusion.hosts.ivadomed2.models import SoftSegUnet

    torch.manual_seed(0)
    arguments = {"depth": 2, "n_filters": 4, "out_channel": out_channel}
    theirs, ours = Unet(final_activation="relu", **arguments).eval(), SoftSegUnet(**arguments).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=1e-5)


def test_running_follows_the_batch_maximum_and_clips_at_one():
    activation = NormalisedReLU("running", momentum=0.5)
    activation(torch.full((1, 1, 2), 4.0))
    assert activation.running_peak == 4
    activation(torch.full((1, 1, 2), 8.0))
    assert activation.running_peak == 6
    activation.eval()
    torch.testing.assert_close(activation(torch.tensor([[[3.0, 60.0]]])), torch.tensor([[[0.5, 1.0]]]))
    assert activation.running_peak == 6
    assert "running_peak" in activation.state_dict()


def test_half_precision_is_computed_in_single():
    x = torch.tensor([[[60000.0], [60000.0]]], dtype=torch.float16)
    torch.testing.assert_close(NormalisedReLU()(x).flatten(), torch.tensor([0.5, 0.5]))


def test_an_unknown_normalization_is_refused():
    with pytest.raises(ValueError, match="must be one of"):
        NormalisedReLU("layer")
