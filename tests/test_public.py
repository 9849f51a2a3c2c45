"""The public face: everything is visible, loaded when used, and old names still work."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ivadomed_labelfusion as lf

STUB = Path(lf.__file__).with_suffix(".pyi")


def test_the_import_loads_nothing_heavy():
    script = "import sys, ivadomed_labelfusion as lf; dir(lf); lf.ivadomed.is_enabled(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "scipy", "pandas", "matplotlib", "nibabel", "torch", "ivadomed"} & set(loaded)


@pytest.mark.parametrize("name", lf.__all__)
def test_every_public_name_is_there_and_listed(name):
    assert name in dir(lf)
    assert getattr(lf, name) is not None


def test_type_checkers_see_the_same_names_from_the_same_places():
    tree = ast.parse(STUB.read_text())
    imported = {
        alias.asname: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {*imported, "__version__"} == set(lf.__all__)
    for name, (module, attribute) in imported.items():
        found = importlib.import_module(module)
        there = (
            getattr(found, attribute) if hasattr(found, attribute) else importlib.import_module(f"{module}.{attribute}")
        )
        assert there is getattr(lf, name)


def test_no_function_hides_a_module():
    for room in ("", "fusion", "metrics", "stats", "evaluation", "plots"):
        package = importlib.import_module(f"ivadomed_labelfusion.{room}".rstrip("."))
        folder = Path(package.__file__).parent
        modules = {path.stem for path in folder.glob("*.py")} | {
            path.parent.name for path in folder.glob("*/__init__.py")
        }
        for name in modules & set(dir(package)):
            assert isinstance(getattr(package, name), type(sys)), f"{package.__name__}.{name}"


def test_fuse_gives_a_consensus_and_evaluate_a_result():
    masks = np.zeros((3, 4, 4, 2), np.uint8)
    masks[:2, 1:3, 1:3] = 1
    consensus = lf.fuse(masks, "majority", names=["a", "b", "c"])
    assert list(consensus.raters) == ["a", "b", "c"]
    np.testing.assert_array_equal(consensus.labels(), masks[0])
    result = lf.evaluate(masks[:1].astype(float), masks[:, None], class_names=["GM"], voxel_size_mm=(1, 1, 1))
    assert result.columns["ir_dice_GM"] == 1


def test_old_names_work_and_say_the_new_ones():
    with pytest.warns(DeprecationWarning, match=r"ivadomed_labelfusion\.plots"):
        assert lf.figures is lf.plots
    with pytest.warns(DeprecationWarning, match=r"ivadomed_labelfusion\.plots"):
        from ivadomed_labelfusion.evaluation import pictures
    assert pictures.draw_reliability is lf.plots.draw_reliability
    with pytest.raises(AttributeError, match="no attribute 'figurs'"):
        lf.figurs  # noqa: B018


def test_the_old_name_of_the_adapter_still_finds_its_modules():
    pytest.importorskip("ivadomed", reason="the extra 'ivadomed' is not installed")
    sys.modules.pop("ivadomed_labelfusion.host", None)
    with pytest.warns(DeprecationWarning, match=r"hosts\.ivadomed2"):
        loading = importlib.import_module("ivadomed_labelfusion.host.loading")
    assert loading.__file__ == importlib.import_module("ivadomed_labelfusion.hosts.ivadomed2.loading").__file__
