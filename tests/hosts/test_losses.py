"""What losses elicit: the output that minimises them, for soft targets and for raters drawn one at a time."""

import pytest

torch = pytest.importorskip("torch")

from ivadomed_labelfusion.hosts.losses import AdaptiveWingLoss, SoftDiceCrossEntropy  # noqa: E402

SHARES = torch.tensor([0, 1 / 3, 2 / 3, 1], dtype=torch.float64)
# voxels of each share, most of them background, and three raters whose mean it is
VOXELS = torch.tensor([200, 4, 4, 4])
TARGET = SHARES.repeat_interleave(VOXELS)
RATERS = torch.stack([TARGET > 1 / 6, TARGET > 1 / 2, TARGET > 5 / 6]).double()


def full(foreground):
    """Return ``(N, 2, voxels)`` of foreground probabilities ``(N, voxels)``."""
    return torch.stack([1 - foreground, foreground], dim=1)


def elicited(loss, targets, *, steps=500):
    """Return the foreground probability of each share that minimises the mean loss over ``targets`` ``(N, voxels)``."""
    score = torch.zeros(len(SHARES), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([score], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        logits = score.repeat_interleave(VOXELS).expand(len(targets), -1)
        # each rater is a batch of its own, as if drawn for it
        values = [loss(logits[index : index + 1], targets[index : index + 1]) for index in range(len(targets))]
        torch.stack(values).mean().backward()
        optimiser.step()
        schedule.step()
    return torch.sigmoid(score.detach()).numpy()


def soft_dice_cross_entropy(dice):
    loss = SoftDiceCrossEntropy(dice=dice)
    return lambda logits, target: loss(torch.stack([torch.zeros_like(logits), logits], dim=1), full(target))


def adaptive_wing(logits, target):
    return AdaptiveWingLoss(omega=8.0)(torch.sigmoid(logits)[:, None], target[:, None])


def usual_soft_dice_cross_entropy(logits, target):
    """nnU-Net's loss of regions: soft Dice and binary cross entropy."""
    output = torch.sigmoid(logits)
    dice = 2 * (output * target).sum() / (output.sum() + target.sum())
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, target) - dice


@pytest.mark.parametrize(
    "loss", [soft_dice_cross_entropy(True), soft_dice_cross_entropy(False), adaptive_wing], ids=["dice", "ce", "awing"]
)
def test_soft_targets_are_elicited_as_they_are(loss):
    # Adaptive Wing is so flat at 0 and 1 that they are approached slowly
    assert elicited(loss, TARGET[None]) == pytest.approx(SHARES.numpy(), abs=0.05)
    assert elicited(loss, TARGET[None])[1:3] == pytest.approx(SHARES[1:3].numpy(), abs=0.005)


def test_of_drawn_raters_the_cross_entropy_alone_elicits_the_share_of_votes():
    assert elicited(soft_dice_cross_entropy(False), RATERS) == pytest.approx(SHARES.numpy(), abs=0.02)


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (usual_soft_dice_cross_entropy, TARGET[None]),
        (usual_soft_dice_cross_entropy, RATERS),
        (soft_dice_cross_entropy(True), RATERS),
    ],
    ids=["usual", "usual, drawn", "dice, drawn"],
)
def test_losses_that_sharpen(loss, targets):
    _, third, two_thirds, _ = elicited(loss, targets)
    assert third < 1 / 3 - 0.05
    assert two_thirds > 2 / 3 + 0.05


def test_adaptive_wing_of_drawn_raters_is_no_share_of_votes():
    _, third, two_thirds, _ = elicited(adaptive_wing, RATERS)
    assert abs(third - 1 / 3) > 0.02 or abs(two_thirds - 2 / 3) > 0.02


@pytest.mark.parametrize("shape", [(2, 1, 8, 9), (2, 3, 6, 5, 4)])
def test_adaptive_wing_is_ivadomeds(shape):
    losses = pytest.importorskip("ivadomed.losses")
    torch.manual_seed(0)
    output, target = torch.rand(shape), torch.randint(0, 4, shape) / 3
    for options in ({}, {"omega": 8, "theta": 0.4, "alpha": 2.5, "epsilon": 2}):
        theirs = losses.AdapWingLoss(**options)(output, target)
        # ivadomed adds up what it calls a mean
        assert AdaptiveWingLoss(**options)(output, target).item() * output.numel() == pytest.approx(
            theirs.item(), rel=1e-5
        )


def test_gradients_are_finite_where_output_and_target_agree():
    output = torch.tensor([[[0.0, 1 / 3, 1.0]]], requires_grad=True)
    AdaptiveWingLoss()(output, output.detach()).backward()
    assert torch.isfinite(output.grad).all()
    assert (output.grad == 0).all()


def test_half_precision_and_empty_classes():
    empty = torch.zeros(1, 2, 4, 4)
    empty[:, 0] = 1
    logits = torch.tensor([20.0, -20.0]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)
    assert SoftDiceCrossEntropy()(logits.half(), empty).item() == pytest.approx(0, abs=1e-4)
    assert AdaptiveWingLoss()(torch.rand(1, 1, 9).half(), torch.rand(1, 1, 9)).dtype == torch.float32


def test_the_dice_of_hard_targets_is_the_usual_one():
    torch.manual_seed(1)
    logits, target = torch.randn(2, 3, 5, 6), torch.nn.functional.one_hot(torch.randint(0, 3, (2, 5, 6)), 3)
    target = target.movedim(-1, 1).float()
    output = torch.softmax(logits, dim=1)
    usual = 1 - 2 * (output * target).sum((2, 3)) / (output.sum((2, 3)) + target.sum((2, 3)))
    entropy = torch.nn.functional.cross_entropy(logits, target)
    found = SoftDiceCrossEntropy()(logits, target)
    assert found.item() == pytest.approx((entropy + usual[:, 1:].mean()).item(), abs=1e-5)


@pytest.mark.parametrize("loss", [AdaptiveWingLoss(), SoftDiceCrossEntropy()])
def test_shapes_must_agree(loss):
    with pytest.raises(ValueError, match="one shape"):
        loss(torch.rand(1, 2, 4), torch.rand(1, 1, 4))
