"""The tutorial in the documentation runs as it stands, on a dataset that looks like the phantom."""

import math
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")

from tests.builders.tiny import make_dataset

PAGE = Path(__file__).parents[3] / "docs" / "hosts.md"


def test_the_tutorial_trains_on_all_raters(tmp_path, monkeypatch):
    import torch
    from monai.utils import set_determinism

    monkeypatch.chdir(tmp_path)
    make_dataset(tmp_path / "MSSEG2016", n_subjects=3, n_raters=7)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    namespace = {}
    try:
        exec(compile(code, str(PAGE), "exec"), namespace)
    finally:
        set_determinism(None)
        torch.use_deterministic_algorithms(False)
    assert set(namespace["values"]) == {"RaterCalibrationMetric", "BrierMetric", "EntropyMetric"}
    assert all(math.isfinite(value) for value in namespace["values"].values())
    assert len(namespace["keys"]) == 7
