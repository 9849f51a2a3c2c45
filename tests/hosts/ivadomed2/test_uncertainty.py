"""Random passes for uncertainty, and the plain pass that ends them."""

import json

import nibabel
import numpy as np
import pandas
import pytest

from tests.builders.tiny import make_config, make_dataset, suffix, write_config


def outputs(folder):
    """Return the files of a test as arrays, and the results."""
    images = {
        f"{path.parent.name}/{path.name}": nibabel.load(path).get_fdata()
        for name in ("pred_masks", "pred_soft")
        for path in sorted((folder / name).glob("*.nii.gz"))
    }
    return images, pandas.read_csv(folder / "results_eval/evaluation_3Dmetrics.csv", index_col="image_id")


def with_uncertainty(path, **changes):
    """Switch uncertainty on in a configuration file."""
    content = json.loads(path.read_text())
    content["uncertainty"] = {"epistemic": False, "aleatoric": False, "n_it": 2, **changes}
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("several", [True, False], ids=["several raters", "one rater"])
def test_the_last_pass_is_the_plain_prediction(ivadomed, tmp_path, several):
    data = make_dataset(tmp_path / "data")
    config = make_config("ms_conv_staple", data, tmp_path / "out", default_model__dropout_rate=0.5)
    if not several:
        config["loader_parameters"]["target_suffix"] = [suffix(1, "lesion")]
        del config["transformation"]["FuseRaters"]
        del config["evaluation_parameters"]["inter_rater"]
    path = write_config(tmp_path / "config.json", config)
    ivadomed("--train", "-c", path)
    ivadomed("--test", "-c", path)
    plain, results = outputs(tmp_path / "out")
    assert any("ir_" in column for column in results) == several
    for sources in ({"epistemic": True}, {"aleatoric": True}, {"epistemic": True, "aleatoric": True}):
        with_uncertainty(path, **sources)
        runs = []
        for _ in range(2):
            ivadomed("--test", "-c", path)
            runs.append(outputs(tmp_path / "out"))
        (first, table), (second, _) = runs
        for name, image in plain.items():
            np.testing.assert_array_equal(first[name], image)
        pandas.testing.assert_frame_equal(table[results.columns], results)
        # the random passes are random, and the same in every run
        assert first.keys() == second.keys()
        for name, image in first.items():
            np.testing.assert_array_equal(second[name], image)
        samples = [image for name, image in first.items() if name.endswith(("_pred_00.nii.gz", "_pred_01.nii.gz"))]
        assert len(samples) == 2
        assert not np.array_equal(*samples)
        soft = next(image for name, image in first.items() if name.endswith("_soft.nii.gz"))
        np.testing.assert_allclose(soft, np.mean(samples, axis=0), atol=1 / 255)
