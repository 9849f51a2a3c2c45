"""Commands that are killed at a rename lose nothing, and the next run ends as an undisturbed one."""

import os

import numpy as np
import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.evaluation import Settings, evaluate_dataset
from ivadomed_labelfusion.files import TEMPORARY_PREFIX, write_text
from ivadomed_labelfusion.locks import only_one, temporary_folder
from tests.attack import kills
from tests.attack.world import SUFFIXES, World

SEED = 20260101
pytestmark = pytest.mark.xdist_group("kills")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("kills"))


@pytest.mark.parametrize("name", ["prepare", "fuse", "evaluate", "train", "study"])
def test_nothing_is_lost(world, name):
    rng = np.random.default_rng([SEED, len(name)])
    if name == "train":
        world.trained()
    target = kills.targets(world)[name]
    for _ in range(1 if name in ("train", "study") else 2):
        assert target.kill(world.root / "kills" / name, rng) == ""
    assert target.renames >= 3


def test_a_lock_is_held_once_and_binds_nobody_afterwards(tmp_path):
    with only_one(tmp_path / "lock", busy="busy") as found:
        assert not found
        with pytest.raises(InputError, match="busy"), only_one(tmp_path / "lock", busy="busy"):
            pass
        assert (tmp_path / "lock").exists()
    assert not (tmp_path / "lock").exists()
    # left by a killed program
    (tmp_path / "lock").touch()
    with only_one(tmp_path / "lock", busy="busy") as found:
        assert found
    with pytest.raises(ValueError), only_one(tmp_path / "lock", busy="busy", mark=True):
        raise ValueError
    assert (tmp_path / "lock").exists()


def test_leftovers_go_and_work_in_progress_stays(tmp_path):
    (tmp_path / f"{TEMPORARY_PREFIX}dead.json").touch()
    (tmp_path / ".extracted-dead").mkdir()
    (tmp_path / ".extracted-dead" / "x").touch()
    with temporary_folder(tmp_path, ".extracted-") as alive:
        assert not (tmp_path / ".extracted-dead").exists()
        with temporary_folder(tmp_path, ".extracted-"):
            assert alive.exists()
    assert not alive.exists()
    write_text(tmp_path / "a.txt", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_files_get_the_rights_of_the_users_umask_without_touching_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", None)
    write_text(tmp_path / "a.txt", "x")
    write_text(tmp_path / "b" / "c.txt", "x")
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_interrupted_evaluation_goes_on_and_leaves_nothing_of_it(world, tmp_path):
    data, predictions = world.copy_data(tmp_path), world.predictions(tmp_path)
    options = {
        "bids_dir": data,
        "target_suffix": [SUFFIXES],
        "predictions_dir": predictions,
        "output_dir": tmp_path / "results",
        "settings": Settings(metrics=["dice"], disagreement_slices=0),
    }

    def stop_after_one(images):
        yield next(iter(images))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_dataset(**options, progress=stop_after_one)
    first = next((tmp_path / "results" / "subjects").iterdir())
    # the next run is of other predictions
    next(predictions.glob(f"{first.stem}*")).unlink()
    evaluation = evaluate_dataset(**options)
    assert not first.exists()
    assert set((tmp_path / "results").rglob("*.*")) >= set(evaluation.files)
    with pytest.raises(InputError, match="Add --overwrite"):
        evaluate_dataset(**options)
