"""Shared fixtures of the study's tests."""

import pytest
from simulated_study import CANDIDATES, simulate


@pytest.fixture(scope="session")
def simulated():
    """Results of six candidates: ``(per image, per model)``."""
    return simulate(CANDIDATES)
