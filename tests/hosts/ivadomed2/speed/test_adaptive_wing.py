"""Adaptive Wing where the model is, against ivadomed's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ivadomed import losses as imed_losses

from ivadomed_labelfusion.hosts.ivadomed2.losses import AdapWingLoss


@pytest.fixture(scope="module")
def stock_class():
    import ivadomed_labelfusion

    ivadomed_labelfusion.disable()
    return imed_losses.AdapWingLoss


@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["soft", "binary", "uint8", "empty", "full"]),
    n_axes=st.sampled_from([2, 3]),
    theta=st.floats(0.1, 0.9),
    alpha=st.floats(2.05, 3),
    omega=st.floats(1, 20),
    epsilon=st.sampled_from([0.5, 1, 2]),
)
@settings(max_examples=60, deadline=None)
def test_value_and_gradient_are_ivadomeds(stock_class, seed, kind, n_axes, theta, alpha, omega, epsilon):
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 2, *(12, 9, 5)[:n_axes])
    target = torch.rand(shape, generator=generator)
    if kind in ("binary", "uint8"):
        # blobs large enough to survive an opening
        target = torch.zeros(shape)
        target[:, :, 2:9, 1:7] = 1
    elif kind != "soft":
        target = torch.full(shape, float(kind == "full"))
    target = target.to(torch.uint8) if kind == "uint8" else target
    values = torch.rand(shape, generator=generator)
    # predictions that are exactly right, and exactly theta off
    values[0], values[1, :, 0] = target[0].float(), (target[1, :, 0].float() - theta).abs()
    found = []
    for kind_of_loss in (stock_class, AdapWingLoss):
        prediction = values.clone().requires_grad_()
        loss = kind_of_loss(theta=theta, alpha=alpha, omega=omega, epsilon=epsilon)(prediction, target)
        loss.backward()
        found.append((loss.item(), prediction.grad))
    (expected, expected_gradient), (value, gradient) = found
    assert value == pytest.approx(expected, rel=2e-5, abs=1e-4)
    # where the difference is theta to rounding, either branch may be taken
    apart = ((values - target.float()).abs() - theta).abs() > 1e-6
    assert torch.allclose(gradient[apart], expected_gradient[apart], rtol=2e-4, atol=1e-5)


def test_it_is_what_ivadomed_trains_with(plugin):
    from ivadomed import training

    loss = training.get_loss_function({"name": "AdapWingLoss", "omega": 8})
    assert type(loss) is AdapWingLoss
    assert loss(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)).item() == 0
