"""The JSON Schema of configurations says the same as the check."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivadomed_labelfusion.cli import main
from ivadomed_labelfusion.config import check_config, json_schema, load_template, template_names
from ivadomed_labelfusion.config.keys import SCHEMA
from ivadomed_labelfusion.config.kinds import Kind

jsonschema = pytest.importorskip("jsonschema")
VALIDATOR = jsonschema.Draft7Validator(json_schema())

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-3, 3).filter(lambda x: x % 1)
    | st.sampled_from(["axial", "False", "Unet", "uniform", "staple", ""])
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.sampled_from(["name", "size", "x"]), SCALARS)


def kinds(table=SCHEMA, prefix=()):
    """Yield (path, Kind) of every entry of the table."""
    for key, entry in table.items():
        if isinstance(entry, Kind):
            yield (*prefix, key), entry
        else:
            yield from kinds(entry, (*prefix, key))


def test_the_schema_is_one():
    jsonschema.Draft7Validator.check_schema(json_schema())


@pytest.mark.parametrize("name", template_names())
def test_templates_are_valid(name):
    VALIDATOR.validate({"$schema": "ivadomed.schema.json", **load_template(name)})


@given(value=VALUES)
def test_every_kind_and_its_schema_agree(value):
    for path, kind in kinds():
        # words are checked where more is known
        assert kind.words or bool(kind.is_right(value)) == jsonschema.Draft7Validator(kind.schema).is_valid(value), (
            path,
            value,
        )


@given(name=st.sampled_from(template_names()), place=st.sampled_from(sorted(kinds(), key=str)), value=VALUES)
def test_what_the_schema_refuses_the_check_refuses(name, place, value):
    config = copy.deepcopy(load_template(name))
    section = config
    for key in place[0][:-1]:
        section = section.setdefault(key, {})
    section[place[0][-1]] = value
    if not VALIDATOR.is_valid(config):
        assert check_config(config) != [], VALIDATOR.iter_errors(config)


def words(table=SCHEMA, prefix=""):
    """Yield the keys that take one of some words."""
    for key, entry in table.items():
        if isinstance(entry, dict):
            yield from words(entry, f"{prefix}{key}.")
        else:
            yield from words(entry.inside, f"{prefix}{key}.")
            if entry.words:
                yield f"{prefix}{key}"


@pytest.mark.parametrize("key", sorted({*words(), "loader_parameters.slice_axis"}))
def test_words_outside_the_choices_are_refused_by_both(key):
    fuses = "FuseRaters" in key
    config = copy.deepcopy(load_template("ms_softseg_average" if fuses else "ms_softseg_random"))
    section = config
    *sections, last = key.split(".")
    for part in sections:
        section = section[part]
    section[last] = "nonsense"
    (error,) = VALIDATOR.iter_errors(config)
    assert ".".join(error.absolute_path) == key
    assert key in [problem.key for problem in check_config(config)]


def test_a_misspelt_key_is_refused_and_the_schema_key_is_not():
    config = load_template("ms_conv_staple")
    assert check_config({"$schema": "https://example.org/schema.json", **config}) == []
    misspelt = {**config, "loader_parameter": {}}
    assert not VALIDATOR.is_valid(misspelt)
    assert check_config(misspelt) != []


def test_every_known_key_is_in_the_schema():
    def paths(table, prefix=()):
        for key, below in table.items():
            yield (*prefix, key)
            yield from paths(below if isinstance(below, dict) else {}, (*prefix, key))

    for path in paths(SCHEMA):
        place = json_schema()
        for key in path:
            place = place["properties"][key]


def test_the_command_prints_it(capsys):
    assert main(["check", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
