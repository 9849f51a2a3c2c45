"""Raw trees shared by the tests of the converters; tests that change one copy it first."""

import hashlib
import shutil

import pytest

from ivadomed_labelfusion.phantom import generate_msseg2016, generate_scgm


@pytest.fixture(scope="session")
def scgm_source(tmp_path_factory):
    """Four subjects, one per site, flat."""
    return generate_scgm(tmp_path_factory.mktemp("scgm") / "raw", subjects=4, size="tiny", layout="flat")


@pytest.fixture(scope="session")
def msseg_source(tmp_path_factory):
    """Three subjects, one per centre, public layout."""
    return generate_msseg2016(tmp_path_factory.mktemp("msseg") / "raw", subjects=3, size="tiny")


@pytest.fixture
def scgm_raw(scgm_source, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(scgm_source, tmp_path / "raw")


@pytest.fixture
def msseg_raw(msseg_source, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(msseg_source, tmp_path / "raw")


@pytest.fixture(scope="session")
def digest():
    """Return a function: folder -> {path: hash} of every file below it."""

    def hashes(folder):
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return hashes
