"""Real images (Lesjak et al. 2017, doi 10.1007/s12021-017-9348-7) with simulated raters, where present."""

from pathlib import Path

import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.prepare import prepare_msseg2016

RAW = Path(__file__).resolve().parents[3] / "shared" / "data" / "open_ms_raters"
pytestmark = pytest.mark.skipif(not RAW.is_dir(), reason=f"{RAW} is not there: real images are optional")


def test_no_dp_contrast_tells_what_exists_and_how_to_go_on(tmp_path):
    with pytest.raises(InputError) as error:
        prepare_msseg2016(RAW, tmp_path / "out")
    assert "no subject has a preprocessed PDw image" in str(error.value)
    assert "--contrasts FLAIR T1w ce-gadolinium_T1w T2w" in str(error.value)
    pytest.importorskip("SimpleITK")
    with pytest.raises(InputError, match="There is a preprocessed one: try --space preprocessed"):
        prepare_msseg2016(RAW, tmp_path / "out", space="raw")


def test_real_images_convert(tmp_path):
    report = prepare_msseg2016(
        RAW, tmp_path / "out", contrasts=["FLAIR", "T1w", "ce-gadolinium_T1w", "T2w"], symlink=True, jobs=2
    )
    assert [subject.name for subject in report.subjects] == ["sub-c01p01", "sub-c07p02", "sub-c08p03"]
    first = report.subjects[0]
    # voxels of 1 mm^3; counts from the files themselves
    assert first.volumes_mm3["lesion"] == pytest.approx(
        dict(zip((f"rater{n}" for n in range(1, 8)), (1437, 2458, 1524, 3286, 1951, 824, 1068), strict=True))
    )
    assert 0.99 < first.kept < 1
    assert all(text.split(": ", 1)[1].startswith("the crop to 160x124") for text in report.warnings)
