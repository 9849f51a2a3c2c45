"""The registry: what a method says of itself reaches everything else; what cannot work is refused when registered."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import nibabel
import numpy as np
import pytest

import ivadomed_labelfusion
from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.cli import main
from ivadomed_labelfusion.cli.fuse import get_parser
from ivadomed_labelfusion.config.keys import SCHEMA
from ivadomed_labelfusion.data.fused import write_fused
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion import Consensus, Limits, Patterns
from tests.builders.oracle import random_label_maps, random_masks

MASKS = random_masks(1, 4, (7, 6, 5))


@pytest.fixture
def myown():
    """A method of one's own."""

    @fusion.method("myown", title="k of n", binary_only=True, graded=False)
    def myown(patterns: Patterns, *, least: Annotated[int, "fewest votes", Limits(at_least=1)] = 2) -> Consensus:
        """Mark what enough raters marked."""
        marked = patterns.votes.sum(axis=1) >= least
        return Consensus(patterns, marked, marked.astype(float))

    yield myown
    del fusion.METHODS["myown"]


def test_a_method_of_ones_own_in_python(myown):
    for least in (1, 2, 4):
        np.testing.assert_array_equal(fusion.fuse(MASKS, "myown", least=least), MASKS.sum(axis=0) >= least)
    result = fusion.consensus(MASKS, "myown")
    assert (result.method, result.parameters) == ("myown", {"least": 2})
    assert myown.__doc__ == "Mark what enough raters marked."
    np.testing.assert_array_equal(
        fusion.leave_one_rater_out(MASKS, "myown").consensus[0].labels(), MASKS[1:].sum(0) > 1
    )
    for options, message in (
        ({"least": 0}, "least must be a whole number >= 1, got 0"),
        ({"least": 1.5}, "whole number"),
        ({"least": "2"}, "whole number"),
        ({"least": float("nan")}, "whole number"),
        ({"weights": [1] * 4}, "takes no option 'weights'; it takes least, region, margin"),
    ):
        with pytest.raises(InputError, match=message):
            fusion.fuse(MASKS, "myown", **options)


def test_masks_only(myown):
    maps = random_label_maps(1, 4, (6, 5), 3)
    with pytest.raises(InputError, match="takes masks of one class, got the labels"):
        fusion.fuse(maps, "myown")
    by_class = np.stack([maps == 1, maps == 2], axis=1)
    np.testing.assert_array_equal(fusion.fuse_classes(by_class, "myown"), by_class.sum(axis=0) >= 2)


def test_a_method_of_ones_own_in_the_command_and_over_a_dataset(myown, tmp_path, capsys):
    folder = tmp_path / "data" / "derivatives" / "labels" / "sub-01" / "anat"
    folder.mkdir(parents=True)
    paths = [folder / f"sub-01_T2w_desc-rater{rater}_label-GM_seg.nii.gz" for rater in range(4)]
    for path, mask in zip(paths, MASKS, strict=True):
        nibabel.Nifti1Image(mask, np.eye(4)).to_filename(path)
    out = tmp_path / "out.nii"
    assert main(["fuse", *map(str, paths), "--method", "myown", "--least", "3", "-o", str(out)]) == 0
    np.testing.assert_array_equal(np.asanyarray(nibabel.load(out).dataobj), MASKS.sum(axis=0) >= 3)
    assert "myown of 4 masks" in capsys.readouterr().out
    text = " ".join(get_parser().format_help().split())
    assert "k of n" in text
    assert "--least N myown: fewest votes" in text
    suffixes = [path.name.removeprefix("sub-01_T2w").removesuffix(".nii.gz") for path in paths]
    written = write_fused(tmp_path / "data", suffixes, ["myown", "staple"], posterior=True).written
    names = ["myown_label-GM_seg", "staple_label-GM_seg", "staple_label-GM_softseg"]
    assert [path.name for path in written] == [f"sub-01_T2w_desc-{name}.nii.gz" for name in names]


def test_a_method_of_ones_own_in_check_schema_and_study():
    """In a process of its own: the tables of keys are made once."""
    script = """if True:
        from ivadomed_labelfusion import fusion

        @fusion.method("myown")
        def myown(patterns: fusion.Patterns, *, least: int = 2, weights: object) -> fusion.Consensus: ...

        from ivadomed_labelfusion.config import check_config, json_schema, load_template
        from ivadomed_labelfusion.experiment.candidates import resolve_candidates

        config = load_template("ms_conv_staple")
        for options in ({}, {"least": 3}, {"least": "3"}, {"ties": "lowest"}):
            config["transformation"]["FuseRaters"] = {"method": "myown", **options}
            print([str(problem) for problem in check_config(config)])
        schema = json_schema()["properties"]["transformation"]["properties"]["FuseRaters"]["properties"]
        print(schema["method"]["enum"][-1], schema["least"]["type"])
        print(resolve_candidates("softseg_myown")[0].overrides)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[]",
        "[]",
        "[\"error: transformation.FuseRaters.least: must be a whole number, got '3'.\"]",
        "[\"error: transformation.FuseRaters: Method myown takes no option 'ties'; it takes least, weights, "
        'region, margin."]',
        "myown integer",
        "{'transformation': {'FuseRaters': {'method': 'myown'}}}",
    ]


def test_what_cannot_work_is_refused_when_registered():
    def plain(patterns):
        return None

    def no_default(patterns, *, k: int):
        return None

    def other_kind(patterns, *, max_iter: float = 3.0):
        return None

    def no_kind(patterns, *, k=3):
        return None

    def a_list(patterns, *, k: list = ()):
        return None

    for name, function, message in (
        ("k-of-n", plain, "letters and digits"),
        ("", plain, "letters and digits"),
        ("staple", plain, "is taken"),
        ("new", no_default, "must have a default"),
        ("new", other_kind, "max_iter of method new must be what it is for staple, simple"),
        ("new", no_kind, "int, float or a Literal"),
        ("new", a_list, "int, float or a Literal"),
    ):
        with pytest.raises(InputError, match=message):
            fusion.method(name)(function)
    assert "new" not in fusion.METHODS


def test_options_are_read_from_the_signature():
    def either(patterns, *, width: float | None = None, way: Literal["a", "b"] = "a", weights):
        return None

    fusion.method("either")(either)
    entry = fusion.METHODS.pop("either")
    assert entry.weighted
    assert entry.options["way"].choices == ("a", "b")
    assert entry.options["width"].kind is float
    assert entry.takes == ("width", "way", "weights")


@pytest.mark.parametrize(("name", "option"), [(name, option) for name, (option, _) in fusion.all_options().items()])
def test_every_option_is_a_flag_and_a_checked_key(name, option):
    flags = {action.dest: action for action in get_parser()._actions}
    assert flags[name].type is option.kind
    kind = SCHEMA["transformation"]["FuseRaters"][name]
    for value in (-1, 0, 0.5, 1, 7, True, "1", "lowest", [1]):
        expected = option.fits(value) and not isinstance(value, bool)
        assert (kind.complaint(value) is None) == expected, value


def test_names_are_bids_labels_and_told_once():
    assert all(re.fullmatch("[A-Za-z0-9]+", name) for name in fusion.METHODS)
    package = Path(ivadomed_labelfusion.__file__).parent
    repeated = []
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                words = [getattr(entry, "value", None) for entry in node.elts]
                if len(words) > 1 and all(isinstance(word, str) and word in fusion.METHODS for word in words):
                    repeated.append(f"{path.name}:{node.lineno}")
    assert repeated == []


def test_soft_masks_give_a_consensus_like_all_others():
    soft = np.random.default_rng(1).random((3, 4, 5, 6)).astype(np.float32)
    for masks in (soft, [np.asfortranarray(mask) for mask in soft]):
        result = fusion.consensus(masks, "average", names=["a", "b", "c"], weights=[1, 2, 1])
        assert isinstance(result, Consensus)
        assert (result.has_votes, result.is_multilabel, result.raters) == (False, False, ["a", "b", "c"])
        assert (result.method, result.parameters) == ("average", {"weights": [1.0, 2.0, 1.0]})
        expected = np.average(soft, axis=0, weights=[1, 2, 1])
        np.testing.assert_allclose(result.posterior, expected, atol=1e-6)
        np.testing.assert_array_equal(result.labels(), result.posterior > 0.5)
        assert result.volume() == result.labels().sum()
        assert result.labels().dtype == result.label_dtype == np.uint8
        slabs = np.concatenate([slab for _, slab in result.label_slabs()], axis=result.axis)
        np.testing.assert_array_equal(slabs, result.labels())


def test_estimates_are_attributes_where_the_method_makes_them():
    staple, majority = fusion.consensus(MASKS), fusion.consensus(MASKS, "majority")
    np.testing.assert_array_equal(staple.sensitivity, staple.per_rater["sensitivity"])
    assert not hasattr(majority, "sensitivity")
    assert (majority.n_iter, majority.converged, majority.prior) == (None, None, None)
    assert list(staple.of_raters(1)) == ["sensitivity", "specificity"]
