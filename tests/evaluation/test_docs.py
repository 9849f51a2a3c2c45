"""The examples in docs/evaluation.md run as they stand."""

import json
import re
from pathlib import Path

import pytest

from ivadomed_labelfusion.cli.evaluate import get_parser
from ivadomed_labelfusion.evaluation import Settings, settings_from_config
from ivadomed_labelfusion.metrics import registry

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_registered", {})
    namespace = {"__name__": "example"}
    for block in blocks("python"):
        exec(block, namespace)
    assert "ir_volume_difference_ml_lesion" in namespace["columns"]
    assert (tmp_path / "evaluation_reliability.png").stat().st_size > 5000


def test_the_settings_shown_are_the_defaults():
    (block,) = blocks("json")
    config = json.loads(block)
    assert settings_from_config(config) == Settings()
    assert config["evaluation_parameters"]["inter_rater"]["metrics"] is None


def test_every_column_is_documented():
    from tests.builders.synthetic import raters_of

    raters = raters_of(1)
    from ivadomed_labelfusion.evaluation import evaluate_subject

    result = evaluate_subject(raters.mean(axis=0), raters, class_names=["lesion"], voxel_size_mm=(1, 1, 1))
    text = PAGE.read_text(encoding="utf-8")
    for column in result.columns:
        written = re.sub(r"_lesion$", "_<class>", column)
        written = re.sub(r"_(exact|paper|raters|shannon)_", "_<form>_", written)
        written = re.sub(r"_(image|roi)$", "_<region>", written)
        assert f"`{written}`" in text, column


def test_every_metric_is_listed():
    """The settings name the metrics, and the table has a row for each column they declare."""
    text = PAGE.read_text(encoding="utf-8")
    (listed,) = re.findall(r"^- `metrics`: any of (.*?), and own metrics", text, re.DOTALL | re.MULTILINE)
    assert re.findall(r"`(\w+)`", listed) == list(registry.built_in_metrics())
    for metric in registry.built_in_metrics().values():
        for column in metric.columns:
            stem = f"{column.stem}_<class>" if column.per_class else column.stem
            stem = re.sub(r"_(exact|paper|raters|shannon)_", "_<form>_", stem, count=1)
            stem = re.sub(r"_(image|roi)$", "_<region>", stem)
            assert f"`{stem}`" in text, stem


def test_command_of_the_page_parses():
    (block,) = blocks("console")
    words = block.replace("\\\n", " ").replace("{1..7}", "1").split()
    assert words[:3] == ["$", "ivadomed_labelfusion", "evaluate"]
    assert get_parser().parse_args(words[3:]).raters_as_predictions
    with pytest.raises(SystemExit):
        get_parser().parse_args(["--no-such-option"])
