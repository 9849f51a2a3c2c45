"""One prediction per volume, each its own, whatever was filtered: every voxel against a reconstruction of this file."""

import json

import nibabel
import numpy as np
import pandas
import pytest
import torch
from ivadomed import testing as imed_testing
from ivadomed import transforms as imed_transforms
from ivadomed.loader import utils as imed_loader_utils

from ivadomed_labelfusion.hosts.ivadomed2 import loading, testing
from ivadomed_labelfusion.hosts.ivadomed2.models import SoftSegUnet
from ivadomed_labelfusion.hosts.ivadomed2.reconstruction import VolumeDataLoader
from tests.builders.loading import context_of, dataset, table
from tests.builders.tiny import make_config, make_dataset, save, suffix, write_config

SHAPE, CROP = (24, 20, 5), (16, 16)
CORNER = (slice(4, 20), slice(2, 18))
# subject -> slices without signal
EMPTY = {1: (4,), 2: (0,), 3: (2,), 4: (0, 1, 3, 4), 5: (0, 1, 2, 3, 4), 6: (), 7: (0, 4), 8: (4,), 9: (3, 4), 10: (0,)}
PATCHES = {"default_model__length_2D": [8, 8], "default_model__stride_2D": [4, 8]}
CHANNELS = {1: ("FLAIR",), 2: ("FLAIR", "T1w")}


def volume(data, number, contrast="FLAIR"):
    """Return the path of an image."""
    return data / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_{contrast}.nii.gz"


def with_empty_slices(folder, contrasts, shape=SHAPE, empty=EMPTY):
    """Return a dataset whose subjects lack signal in their slices of EMPTY, in their last channel."""
    data = make_dataset(folder / "data", n_subjects=len(empty), contrasts=contrasts, shape=shape)
    for number, slices in empty.items():
        image = nibabel.load(volume(data, number, contrasts[-1]))
        values = image.get_fdata(dtype=np.float32)
        values[..., list(slices)] = 0
        save(volume(data, number, contrasts[-1]), values, image.affine)
    return data


def prepared(folder, n_channels, *, shape=SHAPE, is_2d=True, **changes):
    """Write a dataset, a configuration and an untrained model; return (dataset, configuration, model)."""
    contrasts = CHANNELS[n_channels]
    data = with_empty_slices(folder, contrasts, shape)
    config = make_config(
        "ms_softseg_average",
        data,
        folder / "out",
        contrasts=contrasts,
        crop=CROP if is_2d else (16, 16, 16),
        split_dataset__train_fraction=0.1,
        split_dataset__test_fraction=0.7,
        default_model__normalization="sample",
        **changes,
    )
    del config["transformation"]["RandomAffine"]
    config["default_model"]["is_2d"] = is_2d
    torch.manual_seed(3)
    model = SoftSegUnet(in_channel=n_channels, out_channel=1, depth=2, n_filters=4, is_2d=is_2d).eval()
    # what an untrained model says must not vanish in the ReLU
    torch.nn.init.constant_(model.decoder.last_conv.bias, 1.0)
    model.decoder.softmax.normalization = "sample"
    folder.joinpath("out", "model").mkdir(parents=True)
    for name in ("best_model.pt", "model/model.pt"):
        loading.save(model, folder / "out" / name)
    return data, config, model


def predict(model, values):
    """Return the prediction of one crop, (C, *spatial) -> (*spatial)."""
    normed = np.stack([(channel - channel.mean()) / channel.std() for channel in values])
    with torch.no_grad():
        return model(torch.from_numpy(normed)[None]).numpy()[0, 0]


def expected(model, data, number, contrasts, *, patches=False, keep=lambda z: True):
    """Predict a volume slice by slice, or patch by patch, from its files alone."""
    images = np.stack([nibabel.load(volume(data, number, name)).get_fdata(dtype=np.float32) for name in contrasts])
    result = np.zeros(images.shape[1:])
    for z in range(images.shape[-1]):
        if any(channel[..., z].std() == 0 for channel in images) or not keep(z):
            continue
        crop = images[(slice(None), *CORNER, z)]
        if not patches:
            result[(*CORNER, z)] = predict(model, crop)
            continue
        total, count = np.zeros(CROP), np.zeros(CROP)
        for x in (0, 4, 8):
            for y in (0, 8):
                total[x : x + 8, y : y + 8] += predict(model, crop[:, x : x + 8, y : y + 8])
                count[x : x + 8, y : y + 8] += 1
        result[(*CORNER, z)] = total / count
    return result


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("changes", [{}, PATCHES], ids=["slices", "patches"])
def test_every_test_subject_gets_its_own_prediction(ivadomed, tmp_path, n_channels, changes):
    data, config, model = prepared(tmp_path, n_channels, **changes)
    ivadomed("--test", "-c", write_config(tmp_path / "config.json", config))
    results = pandas.read_csv(tmp_path / "out/results_eval/evaluation_3Dmetrics.csv", index_col="image_id")
    found = sorted((tmp_path / "out/pred_soft").glob("*.nii.gz"))
    assert len(found) == len(results) == len(list((tmp_path / "out/pred_masks").glob("*_pred.nii.gz"))) == 7
    numbers = [int(path.name[4:6]) for path in found]
    assert list(results.sort_index().index) == [f"sub-{number:02d}_FLAIR" for number in numbers]
    # the volume without any slice is among them
    assert 5 in numbers
    for path, number in zip(found, numbers, strict=True):
        right = expected(model, data, number, CHANNELS[n_channels], patches=bool(changes))
        np.testing.assert_allclose(np.squeeze(nibabel.load(path).get_fdata(), -1), right, atol=1e-5)
        assert right.any() == (number != 5)


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("changes", [{}, PATCHES], ids=["slices", "patches"])
def test_segmenting_volumes_with_empty_slices(ivadomed, tmp_path, n_channels, changes):
    data, config, model = prepared(tmp_path, n_channels, **changes)
    path = write_config(tmp_path / "config.json", config)
    saved = context_of(config, tmp_path, "segment")
    (tmp_path / "out/model/model.json").write_text(json.dumps(saved))
    ivadomed("--segment", "-c", path)
    for number in EMPTY:
        found = tmp_path / f"out/pred_masks/sub-{number:02d}_FLAIR_class-0_pred.nii.gz"
        right = expected(model, data, number, CHANNELS[n_channels], patches=bool(changes))
        # ivadomed takes what is up to 0.01 for noise
        np.testing.assert_allclose(nibabel.load(found).get_fdata(), np.where(right > 0.01, right, 0), atol=1e-5)


def passes(config, folder, roles, batch_size=3):
    """Return ``(predictions, truths)`` of the inference that ``-t`` makes over the sub-datasets in these roles."""
    frame = table(context_of(config, folder), folder)
    parts = [
        dataset(config, folder, role, frame=frame, subjects=[f"sub-{number:02d}" for number in numbers])
        for role, numbers in roles.items()
    ]
    for part in parts:
        part.write_references()
    context = context_of(config, folder)
    _, _, test = imed_transforms.get_subdatasets_transforms(context["transformation"])
    parameters = {
        **context["training_parameters"],
        "uncertainty": {"applied": False, "epistemic": False, "aleatoric": False, "n_it": 0},
        "target_suffix": testing.reference_suffixes(parts),
        "undo_transforms": imed_transforms.UndoCompose(imed_transforms.Compose(test, requires_undo=True)),
        "slice_axis": "axial",
    }
    loader = imed_testing.DataLoader(
        torch.utils.data.ConcatDataset(parts), batch_size, collate_fn=imed_loader_utils.imed_collate
    )
    assert type(loader) is VolumeDataLoader
    model = loading.load(folder / "out/best_model.pt")
    model_params = {**context["default_model"], "is_2d": config["default_model"]["is_2d"]}
    return imed_testing.run_inference(loader, model, model_params, parameters, ofolder=None, cuda_available=False)


def masked(data, number, z):
    """Tell whether any rater marks a slice, of the crop that the network sees."""
    anat = data / f"derivatives/labels/sub-{number:02d}/anat"
    return any(
        nibabel.load(anat / f"sub-{number:02d}_FLAIR{suffix(rater, 'lesion')}.nii.gz").get_fdata()[..., z].any()
        for rater in (1, 2, 3)
    )


@pytest.mark.parametrize("changes", [{}, PATCHES], ids=["slices", "patches"])
@pytest.mark.parametrize("template", ["ms_softseg_average", "ms_softseg_random"])
def test_the_threshold_search_sees_every_volume_as_its_own(plugin, tmp_path, changes, template):
    data, config, model = prepared(tmp_path, 1, **changes)
    if template.endswith("random"):
        config["transformation"]["SampleRater"] = {}
        del config["transformation"]["FuseRaters"]
    config["loader_parameters"]["slice_filter_params"]["filter_empty_mask"] = True
    # nobody marks the last slices of subject 6, nor anything of subject 7
    for number, slices in ((6, [3, 4]), (7, [0, 1, 2, 3, 4])):
        for path in (data / f"derivatives/labels/sub-{number:02d}/anat").glob("*.nii.gz"):
            image = nibabel.load(path)
            values = np.asarray(image.dataobj)
            values[..., slices] = 0
            save(path, values, image.affine)
    roles = {"training": range(1, 8), "validation": range(8, 11)}
    predictions, truths = passes(config, tmp_path, roles)
    assert len(predictions) == len(truths) == 10
    unseen = [
        number for number in EMPTY if not any(masked(data, number, z) for z in range(5) if z not in EMPTY[number])
    ]
    assert unseen == [5, 7]
    order = [number for number in EMPTY if number not in unseen and number <= 7]
    order += [number for number in EMPTY if number > 7] + unseen
    for number, prediction, truth in zip(order, predictions, truths, strict=True):
        right = expected(
            model, data, number, ("FLAIR",), patches=bool(changes), keep=lambda z, n=number: masked(data, n, z)
        )
        np.testing.assert_allclose(prediction[0], np.where(right > 0.01, right, 0), atol=1e-5)
        fused = tmp_path / "out/fused_labels"
        (label,) = fused.rglob(f"sub-{number:02d}_FLAIR*staple*.nii.gz")
        np.testing.assert_array_equal(truth[0], nibabel.load(label).get_fdata())


@pytest.mark.parametrize("dropped", [0, 1, 2, 3, "all"])
def test_filtered_patches_are_empty_and_end_nothing(plugin, tmp_path, dropped):
    """2D patches without label are filtered for the threshold search, the first and the last of a slice too."""
    patches = {"default_model__length_2D": [8, 8], "default_model__stride_2D": [8, 8]}
    data, config, model = prepared(tmp_path, 1, **patches)
    config["loader_parameters"]["patch_filter_params"] = {"filter_empty_mask": True, "filter_empty_input": False}
    corners = [(4, 2), (4, 10), (12, 2), (12, 10)]
    for path in (data / "derivatives/labels").rglob("*.nii.gz"):
        values = np.ones(SHAPE, np.uint8)
        for index, (x, y) in enumerate(corners):
            if dropped in (index, "all"):
                values[x : x + 8, y : y + 8] = 0
        save(path, values, np.eye(4))
    predictions, _ = passes(config, tmp_path, {"training": (6,)}, batch_size=2)
    image = nibabel.load(volume(data, 6)).get_fdata(dtype=np.float32)
    right = np.zeros(SHAPE)
    for index, (x, y) in enumerate(corners):
        for z in range(SHAPE[2]):
            if dropped not in (index, "all"):
                box = (slice(x, x + 8), slice(y, y + 8), z)
                right[box] = predict(model, image[box][None])
    np.testing.assert_allclose(predictions[0][0], np.where(right > 0.01, right, 0), atol=1e-5)


@pytest.mark.parametrize("dropped", ["first", "last", "all", "none"])
def test_filtered_subvolumes_are_empty_and_end_nothing(plugin, tmp_path, dropped):
    shape = (32, 16, 16)
    data, config, model = prepared(
        tmp_path,
        1,
        shape=shape,
        is_2d=False,
        default_model__length_3D=[16, 16, 16],
        default_model__stride_3D=[16, 16, 16],
    )
    config["transformation"]["CenterCrop"] = {"size": list(shape)}
    config["loader_parameters"]["patch_filter_params"] = {"filter_empty_mask": True, "filter_empty_input": False}
    halves = {"first": slice(0, 16), "last": slice(16, 32), "all": slice(0, 32), "none": slice(0, 0)}
    for path in (data / "derivatives/labels").rglob("*.nii.gz"):
        values = np.ones(shape, np.uint8)
        # subject 7 keeps all it has
        if "sub-07" not in path.name:
            values[halves[dropped]] = 0
        save(path, values, np.eye(4))
    predictions, truths = passes(config, tmp_path, {"training": (6, 7), "validation": (8,)}, batch_size=3)
    assert len(predictions) == len(truths) == 3
    order = (7, 6, 8) if dropped == "all" else (6, 7, 8)
    for number, prediction in zip(order, predictions, strict=True):
        image = nibabel.load(volume(data, number)).get_fdata(dtype=np.float32)
        right = np.zeros(shape)
        for half in (slice(0, 16), slice(16, 32)):
            right[half] = predict(model, image[half][None])
        if number != 7:
            right[halves[dropped]] = 0
        np.testing.assert_allclose(prediction[0], np.where(right > 0.01, right, 0), atol=1e-4)


def test_a_test_is_not_disturbed_by_segmentations_and_earlier_tests(ivadomed, tmp_path):
    _, config, _ = prepared(tmp_path, 1)
    folder = tmp_path / "out/pred_masks"
    folder.mkdir()
    image = nibabel.Nifti1Image(np.ones(SHAPE, np.float32), np.eye(4))
    for name in ("sub-01_FLAIR_class-0_pred", "sub-03_FLAIR_pred", "sub-77_FLAIR_pred", "sub-01_FLAIR_pred_07"):
        nibabel.save(image, folder / f"{name}.nii.gz")
    config["uncertainty"] = {"epistemic": True, "aleatoric": False, "n_it": 2}
    ivadomed("--test", "-c", write_config(tmp_path / "config.json", config))
    results = pandas.read_csv(tmp_path / "out/results_eval/evaluation_3Dmetrics.csv")
    names = {path.name.removesuffix(".nii.gz") for path in (tmp_path / "out/pred_soft").glob("*.nii.gz")}
    assert {f"{name}_pred" for name in results["image_id"]} == names
    assert (folder / "sub-01_FLAIR_class-0_pred.nii.gz").exists()
    assert not (folder / "sub-01_FLAIR_pred_07.nii.gz").exists()
    assert not (folder / "sub-77_FLAIR_pred.nii.gz").exists()


def test_a_full_run_on_brain_extracted_volumes(ivadomed, tmp_path):
    """From loose files with empty slices at both ends to a prediction of its own for every subject."""
    from ivadomed_labelfusion.prepare import prepare_generic

    loose = with_empty_slices(tmp_path, ("FLAIR",), empty=dict.fromkeys(range(1, 9), (0, 4)))
    masks = f"{loose}/derivatives/labels/sub-{{subject}}/anat/*_desc-rater{{rater}}_*.nii.gz"
    images = f"{loose}/sub-{{subject}}/anat/*.nii.gz"
    data = tmp_path / "prepared"
    prepare_generic(images, masks, data, classes={"lesion": None}, contrast="FLAIR")
    config = make_config(
        "ms_softseg_average",
        data,
        tmp_path / "out",
        crop=CROP,
        epochs=3,
        default_model__normalization="sample",
        split_dataset__train_fraction=0.4,
        split_dataset__test_fraction=0.4,
    )
    path = write_config(tmp_path / "config.json", config)
    assert not ivadomed("--train", "-c", path, "-t", "0.1")
    ivadomed("--test", "-c", path)
    ivadomed("--segment", "-c", path)
    model = loading.load(tmp_path / "out/best_model.pt").eval()
    found = sorted((tmp_path / "out/pred_soft").glob("*.nii.gz"))
    assert len(found) == 3
    threshold = json.loads((tmp_path / "out/config_file.json").read_text())["postprocessing"]["binarize_prediction"]
    assert 0 < threshold["thr"] < 1
    for number in range(1, 9):
        right = expected(model, data, number, ("FLAIR",))
        segmented = tmp_path / f"out/pred_masks/sub-{number:02d}_FLAIR_class-0_pred.nii.gz"
        np.testing.assert_allclose(nibabel.load(segmented).get_fdata(), np.where(right > 0.01, right, 0), atol=1e-5)
        for soft in found:
            if f"sub-{number:02d}_" in soft.name:
                np.testing.assert_allclose(np.squeeze(nibabel.load(soft).get_fdata(), -1), right, atol=1e-5)
