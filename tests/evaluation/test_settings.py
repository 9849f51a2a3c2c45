"""The inter_rater block of a configuration."""

import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.evaluation import Settings, settings_from_config
from ivadomed_labelfusion.metrics.registry import built_in_metrics


def test_defaults_and_where_the_block_may_stand():
    block = {"n_bins": 15, "metrics": ["dice", "ece"], "ece_forms": ["paper"], "regions": ["roi"], "threshold": 0.4}
    for config in (
        block,
        {"inter_rater": block},
        {"loader_parameters": {}, "evaluation_parameters": {"object_detection_metrics": False, "inter_rater": block}},
    ):
        settings = settings_from_config(config)
        assert (settings.n_bins, settings.threshold, settings.ece_forms) == (15, 0.4, ("paper",))
        assert settings.built_in == ("dice", "ece")
    assert settings_from_config({}) == Settings()
    assert settings_from_config({"loader_parameters": {}}) == Settings()
    assert settings_from_config({"evaluation_parameters": {}}) == Settings()
    assert Settings().built_in == tuple(built_in_metrics())


def test_settings_are_frozen_and_survive_a_round_trip():
    settings = settings_from_config({"metrics": ["dice"], "n_bins": 7})
    with pytest.raises(AttributeError):
        settings.n_bins = 3
    assert settings_from_config(settings.as_dict()) == settings


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"referense": "staple"}, "has no key 'referense'. Did you mean 'reference'"),
        ({"reference": "stapel"}, "reference must be staple or majority, got 'stapel'. Did you mean 'staple'"),
        ({"ece_forms": ["exakt"]}, "Did you mean 'exact'"),
        ({"regions": "roi"}, "must be a list of names"),
        ({"regions": []}, "at least one"),
        ({"metrics": ["dise"]}, "Did you mean 'dice'"),
        ({"metrics": [1]}, "list of names"),
        ({"n_bins": 0}, "n_bins must be a whole number"),
        ({"n_bins": True}, "n_bins"),
        ({"n_bins": 10.0}, "n_bins"),
        ({"threshold": 0}, "above 0"),
        ({"threshold": "0.5"}, "threshold must be a number"),
        ({"threshold": float("nan")}, "threshold must be a number"),
        ({"lesion_min_overlap": 2}, "lesion_min_overlap"),
        ({"surface_tolerance_mm": -1}, "surface_tolerance_mm"),
        ({"disagreement_slices": -1}, "disagreement_slices"),
        ({"multiclass": "both"}, "multiclass"),
        ({"inter_rater": 3}, "must be a JSON object"),
        ([], "must be a JSON object"),
        ({"metrics": ["nothing:here"]}, "package.module:function"),
    ],
)
def test_bad_blocks_are_refused(block, message):
    with pytest.raises(InputError, match=message):
        settings_from_config(block)
