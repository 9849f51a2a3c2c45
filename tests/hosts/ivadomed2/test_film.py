"""FiLM models with one and with several raters: train, search the threshold, test, segment."""

import copy
import json

import nibabel
import numpy as np
import pandas
import pytest
import torch
from ivadomed import main as imed_main

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2 import film, loading
from tests.builders.loading import dataset
from tests.builders.tiny import make_config, make_dataset, suffix, write_config
from tests.hosts.ivadomed2.test_loader import coded, drawn

LAYERS = [0, 1, 0, 1, 0, 1]


def conditioned(folder, metadata, *, contrasts=("FLAIR",), several=True, template="ms_conv_random", **changes):
    """Write a dataset and the configuration of a FiLM model; return its path."""
    data = make_dataset(folder / "data", contrasts=contrasts)
    if len(contrasts) > 1:
        # each contrast has masks of its own
        for path in sorted((data / "derivatives/labels").rglob("*.nii.gz")):
            for contrast in contrasts[1:]:
                path.with_name(path.name.replace(f"_{contrasts[0]}_", f"_{contrast}_")).write_bytes(path.read_bytes())
    config = make_config(template, data, folder / "out", contrasts=contrasts, **changes)
    config["loader_parameters"]["multichannel"] = False
    config["FiLMedUnet"] = {"applied": True, "metadata": metadata, "film_layers": LAYERS}
    if not several:
        config["loader_parameters"]["target_suffix"] = [suffix(1, "lesion")]
        del config["transformation"]["SampleRater"]
        del config["evaluation_parameters"]["inter_rater"]
    return write_config(folder / "config.json", config)


@pytest.mark.parametrize(
    ("metadata", "contrasts", "several"),
    [
        ("contrasts", ("FLAIR", "T1w"), True),
        ("institution_id", ("FLAIR",), True),
        ("contrasts", ("T1w", "T2w"), False),
        ("institution_id", ("FLAIR",), False),
    ],
)
def test_a_film_model_trains_tests_and_segments(ivadomed, tmp_path, metadata, contrasts, several):
    config = conditioned(tmp_path, metadata, contrasts=contrasts, several=several)
    out = tmp_path / "out"
    assert not ivadomed("--train", "-c", config, "-t", "0.1")
    values = json.loads((out / "film.json").read_text())["values"]
    assert values == (list(contrasts) if metadata == "contrasts" else ["site0", "site1"])
    assert not (tmp_path / "outone_hot_encoder.joblib").exists()
    ivadomed("--test", "-c", config)
    results = pandas.read_csv(out / "results_eval/evaluation_3Dmetrics.csv")
    assert len(results) == len(contrasts)
    gammas = np.load(out / "gamma_layer_2.npy")
    assert len(gammas) == len(np.load(out / "metadata_values.npy")) == 4 * len(contrasts)
    tested = {name: nibabel.load(out / f"pred_masks/{name}_pred.nii.gz").get_fdata() for name in results["image_id"]}
    ivadomed("--segment", "-c", config)
    for name, prediction in tested.items():
        segmented = nibabel.load(out / f"pred_masks/{name}_class-0_pred.nii.gz").get_fdata()
        # the same conditioning; ivadomed keeps predictions of a test in 256 steps
        np.testing.assert_allclose(segmented, np.squeeze(prediction, -1), atol=0.011)


def test_the_value_changes_the_prediction(plugin):
    encoder = film.FilmEncoder("institution_id", ["a", "b"])
    torch.manual_seed(1)
    size = {"depth": 2, "n_filters": 4, "n_metadata": 2, "film_layers": LAYERS}
    model = imed_main.imed_training.imed_models.FiLMedUnet(**size).eval()
    codes = [imed_main.imed_training.get_metadata([[{"film_input": [value]}]], _params(encoder)) for value in "abc"]
    assert codes == [[[1, 0]], [[0, 1]], [[0, 0]]]
    with torch.no_grad():
        outputs = [model(torch.ones(1, 1, 16, 16), code) for code in codes]
    assert not torch.allclose(outputs[0], outputs[1])


def _params(encoder):
    return encoder.into({"name": "FiLMedUnet"})


def test_raters_and_augmentation_are_drawn_anew(plugin, tmp_path):
    samples = dataset(coded(tmp_path), tmp_path)
    encoder = film.FilmEncoder.of_dataset(samples, "contrasts")
    conditioned_samples = film.FilmSamples(samples, encoder)
    seen = []
    for _ in range(6):
        conditioned_samples.start_epoch()
        seen.append(drawn(conditioned_samples)[:, 0])
    assert len({tuple(row) for row in seen}) > 3
    assert conditioned_samples[0]["input_metadata"][0]["film_input"] == ["T2starw"]
    assert len(copy.deepcopy(conditioned_samples)) == len(samples)


def test_a_second_training_in_the_same_folder_replaces_the_code(ivadomed, tmp_path):
    config = conditioned(tmp_path, "institution_id")
    ivadomed("--train", "-c", config)
    table = tmp_path / "data/participants.tsv"
    table.write_text(table.read_text().replace("site", "hospital"))
    ivadomed("--train", "-c", config)
    for folder in ("out", "out/model"):
        assert json.loads((tmp_path / folder / "film.json").read_text())["values"] == ["hospital0", "hospital1"]
    assert type(loading.load(tmp_path / "out/best_model.pt")).__name__ == "FiLMedUnet"


def test_patches_uncertainty_and_numbers_with_gaps(ivadomed, tmp_path):
    """The column holds numbers, and no value for one subject."""
    patches = {"default_model__length_2D": [8, 8], "default_model__stride_2D": [8, 8]}
    config = conditioned(tmp_path, "scanner", default_model__dropout_rate=0.4, **patches)
    rows = ["participant_id\tinstitution_id\tscanner"]
    rows += [f"sub-0{number}\tsite\t{'n/a' if number == 2 else number % 2}" for number in range(1, 7)]
    (tmp_path / "data/participants.tsv").write_text("\n".join(rows) + "\n")
    ivadomed("--train", "-c", config)
    assert set(json.loads((tmp_path / "out/film.json").read_text())["values"]) <= {"0", "1"}
    ivadomed("--test", "-c", config)
    path = next((tmp_path / "out/pred_soft").glob("*.nii.gz"))
    plain = nibabel.load(path).get_fdata()
    content = json.loads(config.read_text())
    content["uncertainty"] = {"epistemic": True, "aleatoric": True, "n_it": 2}
    config.write_text(json.dumps(content))
    ivadomed("--test", "-c", config)
    np.testing.assert_array_equal(nibabel.load(path).get_fdata(), plain)
    ivadomed("--segment", "-c", config)
    assert len(list((tmp_path / "out/pred_masks").glob("*_class-0_pred.nii.gz"))) == 6


@pytest.mark.parametrize(
    ("metadata", "message"), [("scanner", "scanner"), ("mri_params", "mri_params"), ("empty", "empty")]
)
def test_a_column_without_values_is_one_message(ivadomed, tmp_path, capfd, metadata, message):
    config = conditioned(tmp_path, metadata)
    table = tmp_path / "data/participants.tsv"
    table.write_text(
        table.read_text().replace("institution_id", "institution_id\tempty").replace("site1", "site1\tn/a")
    )
    assert ivadomed("--train", "-c", config) == 2
    assert message in capfd.readouterr().err


def test_a_damaged_code_is_refused(plugin, tmp_path):
    (tmp_path / "film.json").write_text('{"metadata": 1}')
    with pytest.raises(InputError, match=r"film\.json must name metadata"):
        film.FilmEncoder.read(tmp_path)
    assert film.FilmEncoder.read(tmp_path / "no") is None
