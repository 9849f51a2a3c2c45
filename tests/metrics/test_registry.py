"""Own metrics: by decorator, by dotted path, by an installed package."""

import sys

import numpy as np
import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics import registry


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
    built_in, own = registry.resolve(["dice", "my_metrics:volume"])
    assert built_in == ("dice",)
    assert [metric.name for metric in own] == ["volume"]
    for path in ("my_metrics:missing", "no_such_module:volume", ":volume", "my_metrics:", "ends_the_program:volume"):
        with pytest.raises(InputError, match=r"package\.module:function"):
            registry.resolve([path])


@pytest.mark.parametrize(
    "path", ["os:abort", "os:system", "sys:exit", "builtins:print", "subprocess:Popen", "numpy:sum"]
)
def test_only_what_is_marked_is_called(path):
    with pytest.raises(InputError, match="marked with @register_metric"):
        registry.resolve([path])


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
    assert {"mean_value", "broken"} <= {metric.name for metric in registry.resolve(None)[1]}
    sys.modules.pop("rater_extras", None)


def test_unknown_names_get_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'soft_dice'"):
        registry.resolve(["softdice"])
