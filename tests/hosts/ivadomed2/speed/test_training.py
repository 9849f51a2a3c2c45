"""Whole trainings, short ones."""

import json

from tests.builders.tiny import make_config, make_dataset, write_config


def small(folder, template="ms_softseg_average", **changes):
    """Write a dataset and a configuration; return the path of the configuration."""
    data = folder / "data"
    if not data.exists():
        make_dataset(data, n_subjects=5)
    return write_config(folder / "config.json", make_config(template, data, folder / "out", **changes))


def test_the_onnx_file_is_left_out_when_asked_for(ivadomed, tmp_path):
    left_over = tmp_path / "out/model/model.onnx"
    left_over.parent.mkdir(parents=True)
    left_over.write_text("of an earlier training")
    config = small(tmp_path, training_parameters__export_onnx=False)
    ivadomed("--train", "-c", config)
    assert not left_over.exists()
    assert "training_parameters.export_onnx is false" in (tmp_path / "out/log").read_text()
    assert json.loads((tmp_path / "out/config_file.json").read_text())["training_parameters"]["export_onnx"] is False
    # it would take the ONNX file where there is no GPU
    ivadomed("--segment", "-c", config)
    assert len(list((tmp_path / "out/pred_masks").glob("*_pred.nii.gz"))) == 5
