"""The commands of ivadomed through its own entry point, on generated data: train, resume, test, segment, -t, ONNX."""

import json

import joblib
import nibabel
import numpy as np
import onnxruntime
import pandas
import pytest
import torch

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.config import template_names
from ivadomed_labelfusion.hosts.ivadomed2 import loading
from tests.builders.tiny import make_config, make_dataset, suffix, write_config

SCGM = {"labels": ("GM", "WM"), "contrasts": ("T2starw",)}
MS = {"labels": ("lesion",), "contrasts": ("FLAIR", "T1w", "ce-gadolinium_T1w", "T2w", "PDw")}


def prepare(folder, template, *, dataset=None, **changes):
    """Return the path of a small configuration with its dataset."""
    kind = SCGM if template.startswith("scgm") else MS
    data = make_dataset(folder / "data", **kind, **(dataset or {}))
    return write_config(folder / "config.json", make_config(template, data, folder / "out", **kind, **changes))


def losses(capfd):
    """Return the training losses that ivadomed printed."""
    return [line for line in capfd.readouterr().out.splitlines() if "training loss" in line and "Epoch" in line]


@pytest.mark.parametrize("template", template_names())
def test_every_template_trains_tests_and_segments(ivadomed, tmp_path, template):
    config = prepare(tmp_path, template)
    out = tmp_path / "out"
    single = template.startswith("ms")
    ivadomed("--train", "-c", config, *(["-t", "0.05"] if single else []))
    for name in ("best_model.pt", "final_model.pt", "checkpoint.pth.tar", "model/model.onnx", "model/model.pt"):
        assert (out / name).exists()
    saved = json.loads((out / "config_file.json").read_text())
    if single:
        assert 0 < saved["postprocessing"]["binarize_prediction"]["thr"] < 1
        assert (out / "roc.png").exists()
    ivadomed("--test", "-c", config)
    results = pandas.read_csv(out / "results_eval" / "evaluation_3Dmetrics.csv")
    assert len(results) == 1
    assert np.isfinite(results["dice_class0"]).all()
    # exactly the reference volume: what was evaluated is STAPLE of the raters
    stem = results["image_id"][0]
    subject, contrast = stem.split("_")
    anat = tmp_path / "data/derivatives/labels" / subject / "anat"
    labels = ("lesion",) if single else ("GM", "WM")
    masks = np.array(
        [
            [nibabel.load(anat / f"{subject}_{contrast}{suffix(rater, label)}.nii.gz").get_fdata() for label in labels]
            for rater in (1, 2, 3)
        ]
    )
    volumes = fusion.fuse_classes(masks, "staple").reshape(len(labels), -1).sum(axis=1)
    assert [results[f"vol_gt_class{index}"][0] for index in range(len(labels))] == list(volumes)
    ivadomed("--segment", "-c", config)
    predictions = sorted(path.name for path in (out / "pred_masks").glob("*_class-0_pred.nii.gz"))
    assert predictions == [f"sub-{number:02d}_{contrast}_class-0_pred.nii.gz" for number in range(1, 7)]


@pytest.mark.parametrize("template", ["scgm_softseg_random", "ms_conv_average"])
def test_the_same_configuration_trains_the_same_model(ivadomed, tmp_path, template):
    config = prepare(tmp_path, template)
    states = []
    for name in ("first", "second"):
        ivadomed("--train", "-c", config, "-po", tmp_path / name)
        states.append(loading.load(tmp_path / name / "best_model.pt").state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=0, atol=0)


@pytest.mark.parametrize("normalization", ["batch", "sample", "running"])
def test_onnx_equals_torch(ivadomed, tmp_path, normalization):
    config = prepare(
        tmp_path, "ms_softseg_average", default_model__normalization=normalization, dataset={"n_subjects": 5}
    )
    ivadomed("--train", "-c", config)
    model = loading.load(tmp_path / "out/model/model.pt").eval()
    session = onnxruntime.InferenceSession(tmp_path / "out/model/model.onnx")
    for shape in ((1, 5, 16, 16), (3, 5, 32, 24)):
        x = torch.randn(shape)
        with torch.no_grad():
            expected = model(x).numpy()
        np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], expected, atol=1e-5)


@pytest.mark.parametrize("model", ["SoftSegModified3DUNet", "SoftSegUnet"])
def test_three_dimensional_models(ivadomed, tmp_path, model):
    config = prepare(
        tmp_path,
        "scgm_softseg_random",
        dataset={"shape": (32, 16, 16), "n_subjects": 4},
        transformation__CenterCrop={"size": [32, 16, 16]},
        transformation__RandomAffine={
            "degrees": 5,
            "translate": [0.03, 0.03, 0.03],
            "scale": [0.1, 0.1, 0.1],
            "applied_to": ["im", "gt"],
            "dataset_type": ["training"],
        },
        default_model__name=model,
        default_model__is_2d=False,
        default_model__length_3D=[32, 16, 16],
        default_model__stride_3D=[32, 16, 16],
    )
    ivadomed("--train", "-c", config)
    ivadomed("--test", "-c", config)
    prediction = nibabel.load(next((tmp_path / "out/pred_masks").glob("*_pred.nii.gz"))).get_fdata()
    assert prediction.shape == (32, 16, 16, 2)
    assert (prediction.sum(-1) <= 1 + 1e-5).all()
    ivadomed("--segment", "-c", config)
    assert len(list((tmp_path / "out/pred_masks").glob("*_class-1_pred.nii.gz"))) == 4


def test_two_dimensional_patches(ivadomed, tmp_path):
    config = prepare(tmp_path, "ms_softseg_random", default_model__length_2D=[8, 8], default_model__stride_2D=[8, 8])
    ivadomed("--train", "-c", config, "-t", "0.1")
    ivadomed("--test", "-c", config)
    assert (tmp_path / "out/results_eval/evaluation_3Dmetrics.csv").exists()
    ivadomed("--segment", "-c", config)


def test_resume_does_the_epochs_that_are_left(ivadomed, tmp_path, capfd):
    config = prepare(tmp_path, "ms_conv_random", epochs=2)
    ivadomed("--train", "-c", config)
    first = loading.load(tmp_path / "out/checkpoint.pth.tar")
    content = json.loads(config.read_text())
    content["training_parameters"]["training_time"]["num_epochs"] = 5
    config.write_text(json.dumps(content))
    capfd.readouterr()
    ivadomed("--train", "-c", config, "--resume-training")
    epochs = [int(line.split("Epoch ")[1].split()[0]) for line in losses(capfd)]
    assert sorted(set(epochs)) == list(range(first["epoch"], 6))
    last = loading.load(tmp_path / "out/checkpoint.pth.tar")
    assert last["validation_loss"] <= first["validation_loss"]
    best = loading.load(tmp_path / "out/best_model.pt").state_dict()
    for name, value in last["state_dict"].items():
        torch.testing.assert_close(best[name], value)


def test_resuming_a_finished_training_keeps_its_model(ivadomed, tmp_path):
    config = prepare(tmp_path, "ms_conv_staple", epochs=2)
    ivadomed("--train", "-c", config)
    before = loading.load(tmp_path / "out/best_model.pt").state_dict()
    for _ in range(2):
        ivadomed("--train", "-c", config, "--resume-training")
    after = loading.load(tmp_path / "out/best_model.pt").state_dict()
    if loading.load(tmp_path / "out/checkpoint.pth.tar")["epoch"] == 3:
        for name, value in before.items():
            torch.testing.assert_close(after[name], value)


def test_a_bad_configuration_stops_with_a_message_before_loading(ivadomed, tmp_path, capfd):
    config = prepare(tmp_path, "ms_softseg_average", training_parameters__loss={"name": "DiceLoss"})
    assert ivadomed("--train", "-c", config) == 2
    captured = capfd.readouterr()
    assert "training_parameters.loss.name: DiceLoss on soft labels" in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "out").exists()


def test_a_missing_mask_stops_with_a_message(ivadomed, tmp_path, capfd):
    config = prepare(tmp_path, "ms_conv_random")
    (tmp_path / f"data/derivatives/labels/sub-03/anat/sub-03_FLAIR{suffix(2, 'lesion')}.nii.gz").unlink()
    assert ivadomed("--train", "-c", config) == 2
    assert "sub-03_FLAIR: rater2 has no mask of lesion (sub-03_FLAIR_desc-rater2" in capfd.readouterr().err


def test_a_malicious_model_is_refused_by_the_test_command(ivadomed, tmp_path, capfd):
    import os

    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    config = prepare(tmp_path, "ms_conv_staple")
    (tmp_path / "out").mkdir()
    torch.save(Payload(), tmp_path / "out/best_model.pt")
    assert ivadomed("--test", "-c", config) == 2
    assert "best_model.pt was refused" in capfd.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_gif_of_the_training(ivadomed, tmp_path):
    config = prepare(tmp_path, "ms_conv_staple")
    ivadomed("--train", "-c", config, "-g", "1")
    assert len(list((tmp_path / "out/gifs").glob("*.gif"))) == 1


def test_a_plain_configuration_works_as_ivadomed_means_it(ivadomed, tmp_path):
    config = prepare(tmp_path, "scgm_conv_staple")
    content = json.loads(config.read_text())
    content["loader_parameters"]["target_suffix"] = [suffix(1, "GM"), suffix(1, "WM")]
    del content["transformation"]["FuseRaters"]
    del content["evaluation_parameters"]["inter_rater"]
    config.write_text(json.dumps(content))
    ivadomed("--train", "-c", config, "-t", "0.1")
    ivadomed("--test", "-c", config)
    ivadomed("--segment", "-c", config)
    assert (tmp_path / "out/results_eval/evaluation_3Dmetrics.csv").exists()
    assert not (tmp_path / "out/fused_labels").exists()


def test_several_channels_with_one_rater(ivadomed, tmp_path):
    """Labels on one contrast's name serve all channels, and post-gadolinium T1 is a channel of its own."""
    config = prepare(tmp_path, "ms_conv_staple")
    content = json.loads(config.read_text())
    content["loader_parameters"]["target_suffix"] = [suffix(2, "lesion")]
    del content["transformation"]["FuseRaters"]
    del content["evaluation_parameters"]["inter_rater"]
    config.write_text(json.dumps(content))
    ivadomed("--train", "-c", config, "-t", "0.1")
    ivadomed("--test", "-c", config)
    ivadomed("--segment", "-c", config)
    out = tmp_path / "out"
    results = pandas.read_csv(out / "results_eval/evaluation_3Dmetrics.csv")
    stem = results["image_id"][0]
    subject = stem.split("_")[0]
    mask = nibabel.load(tmp_path / f"data/derivatives/labels/{subject}/anat/{stem}{suffix(2, 'lesion')}.nii.gz")
    assert results["vol_gt_class0"][0] == mask.get_fdata().sum()
    assert len(list((out / "pred_masks").glob("*_class-0_pred.nii.gz"))) == 6
    assert loading.load(out / "best_model.pt").encoder.down_path[0].conv1.in_channels == 5


def other_split(folder, content):
    """Take a split file of other images."""
    names = {part: [f"sub-0{number}_FLAIR.nii.gz"] for number, part in enumerate(("train", "valid", "test"), start=1)}
    names["test"].append("sub-99_FLAIR.nii.gz")
    joblib.dump(names, folder / "split.joblib")
    content["split_dataset"]["fname_split"] = str(folder / "split.joblib")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder, content: content["loader_parameters"].update(path_data=[str(folder / "no")]), "does not exist"),
        (lambda folder, content: (folder / "data/dataset_description.json").unlink(), "no dataset_description.json"),
        (lambda folder, content: (folder / "data/participants.tsv").unlink(), "participants.tsv"),
        (lambda folder, content: content["split_dataset"].update(split_method="center"), "must be a column of partic"),
        (
            lambda folder, content: content["loader_parameters"].update(target_suffix=[["_x", "_y"]]),
            "Labels of these images end with: _desc-rater1_label-lesion_seg, _desc-rater2",
        ),
        (other_split, "names images that are not among those with labels and the contrasts of contrast_params: sub-99"),
    ],
)
def test_bad_input_ends_in_one_message(ivadomed, tmp_path, capfd, spoil, message):
    config = prepare(tmp_path, "ms_conv_random")
    content = json.loads(config.read_text())
    spoil(tmp_path, content)
    config.write_text(json.dumps(content))
    assert ivadomed("--train", "-c", config) == 2
    assert message in capfd.readouterr().err


def test_bad_paths_end_in_one_message(ivadomed, tmp_path, capfd):
    assert ivadomed("--train", "-c", tmp_path / "no.json") == 2
    assert "does not exist" in capfd.readouterr().err
    (tmp_path / "bad.json").write_text("{")
    assert ivadomed("--train", "-c", tmp_path / "bad.json") == 2
    assert "not valid JSON" in capfd.readouterr().err
    config = prepare(tmp_path, "ms_conv_random")
    assert ivadomed("--test", "-c", config) == 2
    assert "Train first" in capfd.readouterr().err
    (tmp_path / "file").write_text("")
    assert ivadomed("--train", "-c", config, "-po", tmp_path / "file" / "out") == 2
    assert "Check the path" in capfd.readouterr().err
