"""Candidates: the six are the templates, overrides merge, own ones are checked, ensembles train on one rater each."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivadomed_labelfusion.config.candidates import PAPER_CANDIDATES, base_config
from ivadomed_labelfusion.config.check import check_config
from ivadomed_labelfusion.config.patches import merge_patch, raters_first
from ivadomed_labelfusion.config.templates import load_template
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.candidates import read_user_candidates, resolve_candidates, training_config

YAML = """
- name: softseg_majority
  base: softseg_average
  overrides:
    transformation: {FuseRaters: {method: majority}}
- name: softseg_average_3
  base: softseg_average
  raters: [1, 2, 3]
- name: softseg_running
  base: softseg_random
  overrides: {default_model: {normalization: running}}
"""


@pytest.mark.parametrize("template", ["scgm", "ms"])
@pytest.mark.parametrize("name", PAPER_CANDIDATES)
def test_the_six_are_the_shipped_templates(template, name):
    assert base_config(template, name) == load_template(f"{template}_{name}")


def test_all_means_the_six_and_the_users_own(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(YAML)
    assert [c.name for c in resolve_candidates("all")] == list(PAPER_CANDIDATES)
    assert [c.name for c in resolve_candidates("all", path)][6:] == [
        "softseg_majority",
        "softseg_average_3",
        "softseg_running",
    ]
    chosen = resolve_candidates("conv_ensemble, conv_staple,softseg_majority", path)
    assert [c.name for c in chosen] == ["conv_staple", "conv_ensemble", "softseg_majority"]
    assert chosen[1].ensemble
    assert chosen[2].overrides == {"transformation": {"FuseRaters": {"method": "majority"}}}


def test_unknown_candidate():
    with pytest.raises(InputError, match=r"among all, conv_staple, .* got 'conv_stapel'"):
        resolve_candidates("conv_stapel")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1", "list of candidates"),
        ("- name: a", "name and base"),
        ("- {name: a, base: staple}", "base must be one of conv_staple"),
        ("- {name: a/b, base: conv_staple}", "letters, digits"),
        ("- {name: a, base: conv_staple, override: {}}", "unknown key 'override'"),
        ("- {name: a, base: conv_staple, raters: [0]}", "positions in target_suffix"),
        ("- {name: a, base: conv_staple, overrides: [1]}", "overrides must be a mapping"),
        ("- {name: a, base: conv_staple, overrides: {path_output: x}}", "leave path_output to the study"),
        ("- {name: a, base: conv_staple, overrides: {split_dataset: {random_seed: 3}}}", "Use --seed"),
        ("- {name: a, base: conv_staple, overrides: {split_dataset: null}}", "leave split_dataset.fname_split"),
        ("- {name: a, base: conv_staple, overrides: {a: {b: 1e-4}}}", r"a\.b must be a number.*Write 0\.0001"),
        (
            "- {name: a, base: conv_staple, overrides: {evaluation_parameters: {inter_rater: {threshold: 0.3}}}}",
            "ivadomed's search",
        ),
        ("- {name: a, base: conv_staple, ensemble: 3}", "true or false"),
        ("- [", "not valid YAML"),
        ("- {name: conv_staple, base: conv_staple}", "taken or given twice"),
    ],
)
def test_wrong_entries_are_explained(tmp_path, text, message):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        resolve_candidates("all", path)


def test_missing_file_of_candidates(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_user_candidates(tmp_path / "none.yaml")


# the test cases of RFC 7396, Appendix A
@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target, patch, expected):
    assert merge_patch(target, patch) == expected


json_objects = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(st.integers() | st.lists(st.integers()), lambda inner: st.dictionaries(st.sampled_from("abc"), inner)),
)


@given(json_objects, json_objects)
def test_merging_twice_is_merging_once_and_arguments_stay(target, patch):
    before = json.dumps([target, patch])
    merged = merge_patch(target, patch)
    assert merge_patch(merged, patch) == merged
    assert json.dumps([target, patch]) == before


@pytest.mark.parametrize("dataset", ["scgm", "ms"])
@pytest.mark.parametrize("start", ["softseg_random", "conv_average"])
def test_a_template_of_ones_own_becomes_each_of_the_six(tmp_path, dataset, start):
    own = load_template(f"{dataset}_{start}")
    own["loader_parameters"]["contrast_params"]["training_validation"] = ["T1w"]
    own["default_model"]["depth"] = 2
    path = tmp_path / "own.json"
    path.write_text(json.dumps(own))
    for name in PAPER_CANDIDATES:
        config, shipped = base_config(str(path), name), load_template(f"{dataset}_{name}")
        for section, key in (
            ("loader_parameters", "soft_gt"),
            ("training_parameters", "loss"),
            ("default_model", "name"),
            ("default_model", "final_activation"),
            ("transformation", "FuseRaters"),
            ("transformation", "SampleRater"),
        ):
            assert config[section].get(key) == shipped[section].get(key), (name, key)
        assert config["default_model"]["depth"] == 2
        assert config["loader_parameters"]["contrast_params"]["training_validation"] == ["T1w"]
        assert next(iter(config["transformation"])) in ("FuseRaters", "SampleRater")
        assert not [problem for problem in check_config(config) if problem.level == "error"]


def test_a_template_without_raters_is_refused(tmp_path):
    path = tmp_path / "own.json"
    path.write_text("{}")
    with pytest.raises(InputError, match="target_suffix"):
        base_config(str(path), "conv_staple")


def test_training_on_some_of_the_raters():
    config = load_template("scgm_softseg_average")
    subset = training_config(config, raters=[3, 1])
    assert subset["loader_parameters"]["target_suffix"] == [
        ["_desc-rater3_label-GM_seg", "_desc-rater1_label-GM_seg"],
        ["_desc-rater3_label-WM_seg", "_desc-rater1_label-WM_seg"],
    ]
    assert subset["transformation"]["FuseRaters"] == {"method": "average"}
    alone = training_config(config, raters=[2])
    assert alone["loader_parameters"] == config["loader_parameters"]
    assert "FuseRaters" not in alone["transformation"]
    assert alone["transformation"]["SampleRater"]["weights"] == [0, 1, 0, 0]
    assert config == load_template("scgm_softseg_average")
    for one in (subset, alone):
        assert not [problem for problem in check_config(one) if problem.level == "error"]
    with pytest.raises(InputError, match="from 1 to 4, got 5"):
        training_config(config, raters=[5])


def test_rater_transforms_come_first():
    config = load_template("ms_conv_staple")
    patched = merge_patch(config, {"transformation": {"FuseRaters": None, "SampleRater": {"policy": "uniform"}}})
    assert next(iter(raters_first(patched)["transformation"])) == "SampleRater"


@pytest.mark.parametrize("section", ["transformation", "default_model", "training_parameters"])
def test_a_template_whose_section_is_no_object_is_refused(tmp_path, section):
    own = {**load_template("scgm_conv_staple"), section: 3}
    (tmp_path / "own.json").write_text(json.dumps(own))
    with pytest.raises(InputError, match=rf"own\.json: {section} must be a JSON object, got 3"):
        base_config(str(tmp_path / "own.json"), "softseg_random")


def test_a_template_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "image.nii.gz").write_bytes(bytes(range(128, 256)))
    with pytest.raises(InputError, match="must be a JSON file, but it is no text"):
        base_config(str(tmp_path / "image.nii.gz"), "softseg_random")


def test_dates_of_yaml_are_refused(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("- {name: mine, base: conv_staple, overrides: {training_parameters: {batch_size: 2020-01-01}}}\n")
    with pytest.raises(InputError, match="entry 1: overrides must hold what JSON knows"):
        resolve_candidates("mine", own)
