"""Volumes against the raters', beside the integral that defines the score."""

import numpy as np
import pytest
from scipy import integrate, stats

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics import volume_crps


@pytest.mark.parametrize("volume", [0.0, 9.5, 12.0, 30.0])
def test_crps_is_the_integral_of_its_definition(volume):
    raters = [9.0, 12.0, 15.0]
    normal = stats.norm(np.mean(raters), np.std(raters))
    below = integrate.quad(lambda v: normal.cdf(v) ** 2, -40, volume, points=[12.0] if volume > 12 else None)[0]
    above = integrate.quad(lambda v: normal.sf(v) ** 2, volume, 80, points=[12.0] if volume < 12 else None)[0]
    assert volume_crps(volume, raters) == pytest.approx(below + above, abs=1e-6)


def test_crps_of_equal_and_empty_raters_is_the_distance():
    assert volume_crps(3.0, [1.0, 1.0]) == 2.0
    assert volume_crps(0.0, [0.0, 0.0]) == 0.0


@pytest.mark.parametrize(("volume", "raters"), [(1.0, []), (-1.0, [1.0]), (1.0, [np.nan]), (1.0, [[1.0]])])
def test_bad_volumes_are_refused(volume, raters):
    with pytest.raises(InputError, match="volumes must be"):
        volume_crps(volume, raters)
