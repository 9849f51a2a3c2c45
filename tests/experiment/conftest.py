"""Shared fixtures of the experiment's tests."""

import pytest

from tests.builders.study_files import make_dataset


@pytest.fixture
def dataset(tmp_path):
    """Seven subjects of two centres with the files that the SCGM template names."""
    return make_dataset(tmp_path)
