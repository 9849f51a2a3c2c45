"""Trainers inside the real nnU-Net, on the CPU: every fusion and loss, seeds, resuming, tiles and mirrors."""

import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from ivadomed_labelfusion.errors import InputError  # noqa: E402
from ivadomed_labelfusion.hosts.nnunet.names import trainer_names, trainers_folder  # noqa: E402
from ivadomed_labelfusion.hosts.nnunet.trainer import trainer_class  # noqa: E402
from tests.hosts.nnunet.trainers import make_trainer  # noqa: E402

pytestmark = pytest.mark.xdist_group("nnunet")
SHORT = {"num_epochs": 1, "num_iterations_per_epoch": 2, "num_val_iterations_per_epoch": 1}


@pytest.fixture(autouse=True)
def _in_this_process(workspace, monkeypatch):
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")


def finish(trainer):
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        if hasattr(loader, "_finish"):
            loader._finish()


def weights(trainer):
    return torch.cat([value.double().flatten() for value in trainer.network.state_dict().values()])


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
@pytest.mark.parametrize("name", list(trainer_names()))
def test_every_trainer_trains_and_validates(workspace, name, configuration):
    trainer = make_trainer(workspace, name, configuration, disable_checkpointing=True, **SHORT)
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    before = weights(trainer)
    outputs = [trainer.train_step(next(trainer.dataloader_train)) for _ in range(2)]
    trainer.on_train_epoch_end(outputs)
    with torch.no_grad():
        trainer.on_validation_epoch_start()
        found = trainer.validation_step(next(trainer.dataloader_val))
    assert np.isfinite([output["loss"] for output in outputs]).all()
    assert np.isfinite(found["loss"])
    assert found["tp_hard"].shape == (2,)
    assert not torch.equal(before, weights(trainer))


def test_trainers_are_found_by_nnunet_and_others_are_not(workspace):
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    for name in ("nnUNetTrainerRatersStapleConv", "nnUNetTrainerRatersStapleConv_5epochs_10iterations"):
        assert recursive_find_trainer_class_by_name(name).__name__ == name
    assert trainer_class("nnUNetTrainerRatersMedianConv") is None
    with pytest.raises(RuntimeError, match="Could not find"):
        recursive_find_trainer_class_by_name("nnUNetTrainerRatersMedianConv")
    assert trainers_folder().is_dir()


def test_short_runs_are_short(workspace):
    trainer = make_trainer(workspace, "nnUNetTrainerRatersRandomSoft_3epochs_10iterations")
    lengths = trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch
    assert lengths == (3, 10, 2)
    assert make_trainer(workspace, "nnUNetTrainerRatersRandomSoft_1epoch").num_iterations_per_epoch == 250


def trained(workspace, monkeypatch, n_workers, **changes):
    monkeypatch.setenv("nnUNet_n_proc_DA", str(n_workers))
    trainer = make_trainer(workspace, "nnUNetTrainerRatersRandomConv", disable_checkpointing=True, **SHORT, **changes)
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    keys = []
    for _ in range(3):
        batch = next(trainer.dataloader_train)
        keys.append([*batch["keys"], batch["number"]])
        trainer.train_step(batch)
    finish(trainer)
    return keys, weights(trainer)


def test_the_seed_decides_everything_whatever_the_number_of_workers(workspace, monkeypatch):
    keys, found = trained(workspace, monkeypatch, 0)
    for n_workers in (0, 2):
        again, same = trained(workspace, monkeypatch, n_workers)
        assert again == keys
        torch.testing.assert_close(same, found, rtol=0, atol=0)
    _, different = trained(workspace, monkeypatch, 0, key=(4, 0, 0))
    assert not torch.equal(different, found)
    # a resumed training goes on with the batches that an uninterrupted one would have had
    later, _ = trained(workspace, monkeypatch, 0, current_epoch=1)
    assert later[0] == keys[2]


def test_validation_is_on_the_same_batches_in_every_epoch(workspace):
    trainer = make_trainer(workspace, "nnUNetTrainerRatersRandomConv", num_val_iterations_per_epoch=2, batch_size=2)
    _, loader = trainer.get_dataloaders()
    batches = [next(loader) for _ in range(4)]
    assert torch.equal(batches[0]["data"], batches[2]["data"])
    assert not torch.equal(batches[0]["data"], batches[1]["data"])


def test_making_batches_leaves_the_generators_of_the_process_alone(workspace):
    trainer = make_trainer(workspace, "nnUNetTrainerRatersRandomConv", batch_size=2)
    loader, _ = trainer.get_dataloaders()
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    next(loader)
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002


def test_patches_are_centred_on_what_any_rater_marked(workspace):
    trainer = make_trainer(workspace, "nnUNetTrainerRatersAverageSoft")
    dataset, _ = trainer.get_tr_and_val_datasets()
    for case in dataset.identifiers:
        _, maps, _, properties = dataset.load_case(case)
        for label in (1, 2):
            places = properties["class_locations"][label]
            assert len(places)
            assert (maps[:][1:, places[:, 1], places[:, 2], places[:, 3]] == label).any(axis=0).all()


def test_prepared_maps_are_made_anew_when_the_masks_change_and_only_then(workspace, tmp_path):
    from ivadomed_labelfusion.hosts.nnunet.preparation import prepare_raters

    trainer = make_trainer(workspace, "nnUNetTrainerRatersAverageSoft")
    folder = prepare_raters(trainer, ["sub-01_FLAIR"])
    file = folder / "sub-01_FLAIR.b2nd"
    first = file.stat().st_mtime_ns
    prepare_raters(trainer, ["sub-01_FLAIR"])
    assert file.stat().st_mtime_ns == first
    note = workspace.raw / "ratersTr" / "sub-01_FLAIR" / "note.txt"
    note.write_text("changed")
    try:
        prepare_raters(trainer, ["sub-01_FLAIR"])
    finally:
        note.unlink()
    assert file.stat().st_mtime_ns != first


def test_a_dataset_without_raters_is_refused(workspace):
    import json

    plans = json.loads((workspace.preprocessed / "nnUNetPlans.json").read_text())
    description = json.loads((workspace.preprocessed / "dataset.json").read_text())
    del description["raters"]
    with pytest.raises(InputError, match="nnunet export"):
        trainer_class("nnUNetTrainerRatersAverageSoft")(plans, "2d", 0, description, torch.device("cpu"))


@pytest.mark.parametrize("n_classes", [1, 2])
def test_softseg_averages_probabilities_over_tiles_and_mirrors(workspace, n_classes):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer = make_trainer(workspace, "nnUNetTrainerRatersAverageSoftSeg")
    if n_classes == 1:
        trainer.dataset_json = {**trainer.dataset_json, "labels": {"background": 0, "core": 1}}
        trainer.label_manager = trainer.plans_manager.get_label_manager(trainer.dataset_json)
    trainer.initialize()
    network = trainer.network.train()
    network(torch.randn(2, 1, 40, 40))  # sets the running peak
    trainer.set_deep_supervision_enabled(False)
    plans = pickle.loads(pickle.dumps(trainer.plans_manager))  # noqa: S301 - as nnU-Net hands it to its processes
    labels = plans.get_label_manager(trainer.dataset_json)
    values = torch.rand(n_classes + 1, 3, 3)
    torch.testing.assert_close(labels.apply_inference_nonlin(values), values)
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False, use_gaussian=False)
    predictor.manual_initialization(
        network, trainer.plans_manager, trainer.configuration_manager, None, trainer.dataset_json, "", (0, 1)
    )
    size = trainer.configuration_manager.patch_size
    image = torch.randn(1, 1, *size)
    found = predictor.predict_sliding_window_return_logits(image).float()
    network.eval()
    with torch.no_grad():
        views = [torch.flip(network(torch.flip(image[:, 0][None], axes)), axes) for axes in ([], [2], [3], [2, 3])]
    # nnU-Net adds up in half precision
    torch.testing.assert_close(found[:, 0], torch.stack(views).mean(dim=0)[0], atol=2e-3, rtol=0)
    torch.testing.assert_close(found.sum(dim=0), torch.ones(1, *size), atol=4e-3, rtol=0)


def test_an_empty_patch_stays_empty_after_softseg():
    from ivadomed_labelfusion.hosts.nnunet.network import SoftSegNetwork

    network = SoftSegNetwork(torch.nn.Identity())
    network.train()
    network(torch.full((1, 1, 4, 4), 10.0))
    network.eval()
    found = network(torch.full((1, 1, 4, 4), 0.01))
    assert found[0, 1].max() < 0.01
    assert network(torch.full((1, 1, 4, 4), 20.0))[0, 1].max() == 1
