"""Shared fixtures of the tests of the paper's tables and figures."""

import pytest

from tests.builders.simulated_study import CANDIDATES, simulate
from tests.builders.study_files import make_dataset


@pytest.fixture(scope="session")
def simulated():
    """Results of six candidates: ``(per image, per model)``."""
    return simulate(CANDIDATES)


@pytest.fixture
def dataset(tmp_path):
    """Seven subjects of two centres with the files that the SCGM template names."""
    return make_dataset(tmp_path)
