"""Shared fixtures of the study's tests."""

import pytest
from simulated_study import CANDIDATES, simulate
from study_files import make_dataset


@pytest.fixture(scope="session")
def simulated():
    """Results of six candidates: ``(per image, per model)``."""
    return simulate(CANDIDATES)


@pytest.fixture
def dataset(tmp_path):
    """Seven subjects of two centres with the files that the SCGM template names."""
    return make_dataset(tmp_path)
