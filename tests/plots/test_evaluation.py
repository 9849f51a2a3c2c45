"""What the diagrams show must follow the numbers."""

import numpy as np
import pytest

from ivadomed_labelfusion.metrics import reliability_curve
from ivadomed_labelfusion.plots import entropy, reliability, style


def bands(curve):
    """Draw the curve; return the number of bands by colour, and the title."""
    from matplotlib.colors import to_hex

    _, axes = style.new_figure()
    reliability.draw_reliability(axes, curve)
    colors = [to_hex(patch.get_facecolor()) for patch in axes.patches]
    counts = {
        name: colors.count(color.lower())
        for name, color in (("over", style.OVERCONFIDENT), ("under", style.UNDERCONFIDENT))
    }
    return counts, axes.get_title()


@pytest.mark.parametrize(("power", "shown", "absent"), [(2.5, "over", "under"), (0.4, "under", "over")])
def test_sharpened_is_orange_and_softened_is_purple(power, shown, absent):
    rng = np.random.default_rng(0)
    p = rng.random((1, 200, 200))
    truth = rng.random(p.shape) < p
    warped = p**power / (p**power + (1 - p) ** power)
    curve = reliability_curve(warped, truth, class_axis=0)
    counts, title = bands(curve)
    assert counts[shown] == np.count_nonzero(curve.bin_count)
    assert counts[absent] == 0
    assert title == f"ECE: {100 * curve.ece:.2f} %"


def test_calibrated_in_every_bin_has_no_band():
    prediction = np.repeat([0.75, 0.5], [4, 2])[None]
    counts, title = bands(reliability_curve(prediction, np.array([[1, 1, 1, 0, 1, 0]]), class_axis=0))
    assert counts == {"over": 0, "under": 0}
    assert title == "ECE: 0.00 %"


def test_an_undefined_curve_is_said_so():
    masks = np.array([[0, 1]])
    assert bands(reliability_curve(masks, masks, form="paper", class_axis=0))[1] == "ECE: not defined"


def test_entropy_scatter_has_identity_line_and_errors():
    _, axes = style.new_figure()
    entropy.draw_entropy(axes, [1.0, 2.0], [2.0, 4.0])
    assert axes.get_title() == "MAE: 1.5   MSE: 2.5"
    x, y = axes.lines[0].get_data()
    np.testing.assert_array_equal(x, y)
    assert axes.lines[0].get_linestyle() == "--"
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), [[1, 2], [2, 4]])
