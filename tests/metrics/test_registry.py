"""Own metrics: by decorator, by dotted path, by an installed package."""

import sys

import numpy as np
import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics import Column, Overlap, registry


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})


def test_a_metric_gets_only_what_it_names():
    @registry.register_metric("spread")
    def spread(*, prediction, voxel_size_mm, factor=2):
        return prediction.sum() * voxel_size_mm[0] * factor

    metric = registry.own_metrics()["spread"]
    assert metric.needs == ("prediction", "voxel_size_mm")
    assert metric({"prediction": np.ones(3), "voxel_size_mm": (0.5,), "subject": "x"}) == 3

    @registry.register_metric("everything")
    def everything(**available):
        return len(available)

    available = dict.fromkeys(registry.ARGUMENTS)
    assert registry.own_metrics()["everything"](available) == len(registry.ARGUMENTS)


@pytest.mark.parametrize("name", ["Dice", "my metric", "", 3, "dice", "1st"])
def test_names_are_checked(name):
    with pytest.raises(InputError, match="name of a"):
        registry.register_metric(name)(lambda prediction: 0)


def test_unknown_arguments_and_duplicates_are_refused():
    with pytest.raises(InputError, match="asks for 'image'"):
        registry.register_metric("wrong")(lambda prediction, image: 0)
    with pytest.raises(InputError, match="must be a function"):
        registry.register_metric("number")(3)

    def first(prediction):
        return 0

    def second(prediction):
        return 1

    registry.register_metric("same")(first)
    registry.register_metric("same")(first)
    with pytest.raises(InputError, match="registered already"):
        registry.register_metric("same")(second)


def test_dotted_path(tmp_path, monkeypatch):
    (tmp_path / "my_metrics.py").write_text(
        "from ivadomed_labelfusion import register_metric\n"
        "@register_metric('volume')\ndef volume(prediction):\n    return prediction.sum()\n"
        "def unmarked(prediction):\n    raise AssertionError('called')\n"
    )
    (tmp_path / "ends_the_program.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    built_in, own = registry.resolve_metrics(["dice", "my_metrics:volume"])
    assert built_in == ("dice",)
    assert [metric.name for metric in own] == ["volume"]
    for path in ("my_metrics:missing", "no_such_module:volume", ":volume", "my_metrics:", "ends_the_program:volume"):
        with pytest.raises(InputError, match=r"package\.module:function"):
            registry.resolve_metrics([path])


@pytest.mark.parametrize(
    "path", ["os:abort", "os:system", "sys:exit", "builtins:print", "subprocess:Popen", "numpy:sum"]
)
def test_only_what_is_marked_is_called(path):
    with pytest.raises(InputError, match="marked with @register_metric"):
        registry.resolve_metrics([path])


def test_entry_points_of_an_installed_package(tmp_path, monkeypatch):
    """A package on the path with metadata, as pip installs it; one of its metrics cannot be loaded."""
    (tmp_path / "rater_extras.py").write_text("def mean_value(prediction):\n    return prediction.mean()\n")
    info = tmp_path / "rater_extras-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rater-extras\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[ivadomed_labelfusion.metrics]\nmean_value = rater_extras:mean_value\nbroken = rater_extras:nothing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = registry.own_metrics()
    assert own["mean_value"]({"prediction": np.array([1.0, 0.0])}) == 0.5
    with pytest.raises(ImportError, match="rater_extras:nothing could not be loaded"):
        own["broken"]({})
    assert {"mean_value", "broken"} <= {metric.name for metric in registry.resolve_metrics(None)[1]}
    sys.modules.pop("rater_extras", None)


def test_unknown_names_get_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'soft_dice'"):
        registry.resolve_metrics(["softdice"])


def test_a_metric_tells_its_columns_once():
    @registry.metric("kappa", needs=Overlap, per_class=True, best="high", label="Cohen's kappa")
    def kappa(overlap):
        return overlap.shared / overlap.predicted

    metric = registry.own_metrics()["kappa"]
    (column,) = metric.columns
    assert (column.stem, column.label, column.best, column.per_class) == ("ir_kappa", "Cohen's kappa", "high", True)
    overlap = Overlap(np.array([1, 2]), np.array([4, 4]), np.array([2, 2]), 9)
    assert metric.values(metric({Overlap: overlap}), ["a", "b"]) == {"ir_kappa_a": 0.25, "ir_kappa_b": 0.5}


def test_columns_of_several_stems_go_class_by_class():
    columns = (Column("low", "Low", True), Column("high", "High", True))
    registry.metric("bounds", columns=columns)(lambda prediction: 0)
    metric = registry.own_metrics()["bounds"]
    found = metric.values({"low": [1, 2], "high": [3, 4]}, ["a", "b"])
    assert list(found.items()) == [("ir_low_a", 1), ("ir_high_a", 3), ("ir_low_b", 2), ("ir_high_b", 4)]


@pytest.mark.parametrize("value", [{}, {"mean": 1, "other": 2}, [1, 2, 3], [[1]]])
def test_a_metric_that_gives_no_column_or_others_than_it_says_is_an_error(value):
    registry.metric("mean", label="Mean")(lambda prediction: value)
    with pytest.raises(ValueError, match="must"):
        registry.own_metrics()["mean"].values(value, ["a", "b"])
    if value == {}:
        registry.register_metric("plain")(lambda prediction: value)
        with pytest.raises(ValueError, match="at least one number"):
            registry.own_metrics()["plain"].values(value, ["a", "b"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": ""}, "column with a label"),
        ({"label": "A", "best": "highest"}, "best one of high"),
        ({"label": "A", "needs": int}, "must need some of Overlap"),
    ],
)
def test_a_metric_without_heading_direction_or_known_needs_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        registry.metric("wrong", **options)(lambda overlap: 0)
