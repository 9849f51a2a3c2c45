"""Targets at the network are what the core makes of the same masks after the same resampling and augmentation."""

import json
import os

import nibabel
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from ivadomed_labelfusion import fusion  # noqa: E402
from ivadomed_labelfusion.hosts.nnunet.preparation import prepare_raters, read_case  # noqa: E402
from ivadomed_labelfusion.hosts.nnunet.targets import make_target, shares, staple_posterior  # noqa: E402
from tests.hosts.nnunet.conftest import RATERS  # noqa: E402
from tests.hosts.nnunet.trainers import make_trainer  # noqa: E402

pytestmark = pytest.mark.xdist_group("nnunet")
CASES = [f"sub-{number:02d}_FLAIR" for number in range(1, 5)]
N_LABELS = 3


def native_maps(workspace, case):
    """Return the raters' label maps of a case as exported ``(R, *spatial)``, and their names."""
    folder = workspace.raw / "ratersTr" / case
    names = json.loads((folder / "raters.json").read_text())["present"]
    return np.stack([np.asanyarray(nibabel.load(folder / f"{name}.nii.gz").dataobj) for name in names]), names


def class_masks(maps):
    """Return ``(R, C, *spatial)`` of label maps."""
    return np.stack([maps == label for label in range(1, N_LABELS)], axis=1).astype(np.uint8)


@pytest.fixture(scope="module", params=["2d", "3d_fullres"])
def prepared(request, workspace):
    trainer = make_trainer(workspace, "nnUNetTrainerRatersAverageSoft", request.param)
    trainer.get_tr_and_val_datasets()
    return trainer, prepare_raters(trainer, CASES)


def stored(folder, case):
    import blosc2

    return blosc2.open(str(folder / f"{case}.b2nd"))[:]


@pytest.mark.parametrize("case", CASES)
def test_each_rater_is_preprocessed_as_nnunet_preprocesses_it_alone(workspace, prepared, case):
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    trainer, folder = prepared
    maps, preprocessor = stored(folder, case), DefaultPreprocessor(verbose=False)
    assert len(maps) == 1 + len(RATERS)
    _, names = native_maps(workspace, case)
    image = workspace.raw / "imagesTr" / f"{case}_0000.nii.gz"
    for place, rater in enumerate(RATERS):
        if rater not in names:
            assert (case, rater) == ("sub-02_FLAIR", "rater2")
            assert not maps[1 + place].any()
            continue
        alone = preprocessor.run_case(
            [str(image)],
            str(workspace.raw / "ratersTr" / case / f"{rater}.nii.gz"),
            trainer.plans_manager,
            trainer.configuration_manager,
            trainer.dataset_json,
        )[1][0]
        # outside of the image's own voxels nnU-Net's map has -1
        np.testing.assert_array_equal(maps[1 + place], np.maximum(alone, 0))
        assert maps[1 + place].any()


def test_some_image_is_resampled_and_codes_would_have_moved_votes(workspace, prepared):
    trainer, folder = prepared
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    case = "sub-04_FLAIR"
    native, _ = native_maps(workspace, case)
    maps = stored(folder, case)[1:]
    assert maps.shape[1:] != native.shape[:0:-1]
    codes = sum(of_rater.astype(int) * N_LABELS**place for place, of_rater in enumerate(native))
    spacing = [1.3, 1.3, 2.6][::-1]
    target = list(trainer.configuration_manager.spacing)
    target = target if len(target) == 3 else [spacing[0], *target]
    moved = resample_data_or_seg_to_shape(
        codes.T[None].astype(np.int16), maps.shape[1:], spacing, target, is_seg=True, order=1, force_separate_z=None
    )[0]
    decoded = np.stack([moved // N_LABELS**place % N_LABELS for place in range(3)])
    assert (decoded != maps).any()


def test_rater_maps_follow_an_interpolation_of_their_own(workspace, prepared):
    """A second opinion on the resampling, by scipy: the class whose interpolated indicator is at least one half."""
    from scipy.ndimage import zoom

    trainer, folder = prepared
    if trainer.configuration_name != "3d_fullres":
        return
    native, _ = native_maps(workspace, "sub-04_FLAIR")
    maps = stored(folder, "sub-04_FLAIR")[1:]
    for ours, theirs in zip(maps, native, strict=True):
        factors = np.array(ours.shape) / theirs.T.shape
        expected = np.zeros(ours.shape)
        for label in range(1, N_LABELS):
            indicator = zoom(np.equal(theirs.T, label).astype(float), factors, order=1, mode="nearest", grid_mode=True)
            expected[indicator >= 0.5] = label
        assert (expected == ours).mean() > 0.995


def batch_of(trainer):
    """Return the first batch of a trainer's training loader."""
    loader, _ = trainer.get_dataloaders()
    loader = getattr(loader, "generator", None) or loader.data_loader
    return loader.generate_train_batch()


@pytest.fixture(scope="module")
def augmented(prepared):
    """A batch of augmented label maps, from a loader that makes it in this process."""
    trainer, _ = prepared
    trainer.batch_size = 6
    return trainer, batch_of(trainer)


def test_each_rater_is_augmented_as_if_alone(prepared, augmented, tmp_path):
    import blosc2

    trainer, batch = augmented
    _, folder = prepared
    (tmp_path / "alone").mkdir()
    for case in trainer.cases:
        maps = stored(folder, case)
        for name in (f"{case}.npz", f"{case}.json"):
            os.link(folder / name, tmp_path / "alone" / name)
        blosc2.asarray(np.ascontiguousarray(maps[[0, 3]]), urlpath=str(tmp_path / "alone" / f"{case}.b2nd"))
    loader, _ = trainer.get_dataloaders()
    loader = getattr(loader, "generator", None) or loader.data_loader
    loader._data.prepared = tmp_path / "alone"
    alone = loader.generate_train_batch()
    assert list(alone["keys"]) == list(batch["keys"])
    for ours, theirs in zip(batch["target"], alone["target"], strict=True):
        np.testing.assert_array_equal(ours[:, 3], theirs[:, 1])
    assert any(maps[:, 1].any() for maps in alone["target"])


@pytest.mark.parametrize("method", ["average", "majority"])
def test_targets_of_an_augmented_batch_are_the_cores_fusion(augmented, method):
    trainer, batch = augmented
    assert len(batch["target"]) > 1
    for maps in batch["target"]:
        votes = maps[:, 1:]
        cases = [trainer.cases[case] for case in batch["keys"]]
        soft = make_target(method.capitalize(), votes, cases, N_LABELS, [], hard=False).numpy()
        hard = make_target(method.capitalize(), votes, cases, N_LABELS, [], hard=True).numpy()
        for image, case in enumerate(cases):
            masks = class_masks(votes[image][case.present].numpy())
            core = fusion.fuse_classes(masks, method)
            np.testing.assert_allclose(soft[image, 1:], core, atol=1e-6)
            np.testing.assert_allclose(soft[image].sum(axis=0), 1, atol=1e-6)
            labels = (core > 0.5) if method == "average" else core > 0
            np.testing.assert_array_equal(hard[image, 0], np.where(labels.any(0), labels.argmax(0) + 1, 0))


@pytest.mark.parametrize("case", CASES)
def test_staple_on_native_voxels_is_the_cores(workspace, prepared, case):
    _, folder = prepared
    maps, names = native_maps(workspace, case)
    votes = np.zeros((len(RATERS), *maps.shape[1:]), np.int16)
    votes[[RATERS.index(name) for name in names]] = maps
    found = read_case(folder, case, RATERS, N_LABELS)
    posterior = staple_posterior(torch.from_numpy(votes)[None], [found])[0].numpy()
    masks = class_masks(maps)
    np.testing.assert_allclose(posterior[1:], fusion.fuse_classes(masks, "staple", soft=True), atol=1e-5)
    hard = make_target("Staple", torch.from_numpy(votes)[None], [found], N_LABELS, [], hard=True)[0, 0].numpy()
    expected = fusion.fuse_classes(masks, "staple")
    np.testing.assert_array_equal(np.stack([hard == 1, hard == 2]), expected)


def test_staple_of_one_class_is_the_binary_one(tmp_path):
    from ivadomed_labelfusion.hosts.nnunet.dataset import _staple

    rng = np.random.default_rng(0)
    truth = rng.random((20, 20, 4)) < 0.3
    masks = np.stack([truth ^ (rng.random(truth.shape) < 0.1) for _ in range(3)])[:, None].astype(np.uint8)
    (tmp_path / "a.json").write_text(json.dumps({"present": RATERS, "staple": _staple(masks, RATERS)}))
    posterior = staple_posterior(
        torch.from_numpy(masks[:, 0].astype(np.int16))[None], [read_case(tmp_path, "a", RATERS, 2)]
    )
    np.testing.assert_allclose(posterior[0, 1].numpy(), fusion.staple(masks[:, 0]).posterior, atol=1e-6)


def test_a_drawn_rater_is_one_of_those_present_and_the_same_everywhere(workspace):
    trainer = make_trainer(workspace, "nnUNetTrainerRatersRandomConv")
    trainer.get_tr_and_val_datasets()
    case = trainer.cases["sub-02_FLAIR"]
    drawn = [trainer._draw(case, "training", number, 0) for number in range(60)]
    assert set(drawn) == {0, 2}
    assert drawn == [trainer._draw(case, "training", number, 0) for number in range(60)]
    assert drawn != [trainer._draw(case, "validation", number, 0) for number in range(60)]


def test_hard_ties_are_background(workspace):
    present = torch.ones(1, 2, dtype=torch.bool)
    votes = torch.tensor([[[0, 1, 1, 1], [0, 1, 0, 2]]])
    assert shares(votes, present, 3)[0, :, 3].tolist() == [0, 0.5, 0.5]
    case = read_like(present[0])
    assert make_target("Average", votes, [case], 3, [], hard=True).flatten().tolist() == [0, 1, 0, 0]
    # the majority takes the lowest label, as the core's default
    assert make_target("Majority", votes, [case], 3, [], hard=True).flatten().tolist() == [0, 1, 0, 1]
    maps = class_masks(votes[0].numpy())
    np.testing.assert_array_equal(fusion.fuse_classes(maps, "majority"), [[0, 1, 0, 1], [0, 0, 0, 0]])


def read_like(present):
    from ivadomed_labelfusion.hosts.nnunet.targets import CaseRaters

    return CaseRaters(present, torch.zeros(3), torch.zeros(len(present), 3, 3))
