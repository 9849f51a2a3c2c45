"""What is attacked: a small dataset, predictions, a raw download, a trained model and a finished study."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np

from ivadomed_labelfusion.experiment.candidates import resolve_candidates
from ivadomed_labelfusion.experiment.plan import Study
from ivadomed_labelfusion.experiment.prepare import prepare_study
from ivadomed_labelfusion.phantom import generate_scgm
from tests.attack.outcome import ivadomed, observe
from tests.builders.tiny import make_config, make_dataset, nested_suffixes, suffix, write_config

SUFFIXES = nested_suffixes(3, ["lesion"])[0]
CONTRAST = "FLAIR"


class World:
    """Everything below one folder; what is costly is made when it is first asked for.

    Attributes:
        root (Path): The folder.
        data (Path): BIDS dataset of five subjects and three raters.
        config (dict): A configuration that trains on it in two epochs.
    """

    def __init__(self, root):
        self.root = Path(root)
        self.data = make_dataset(self.root / "data", n_subjects=5, n_raters=3, shape=(20, 18, 3))
        self.config = make_config("ms_conv_average", self.data, self.root / "out", epochs=1)
        self._n = 0

    def new(self):
        """Return a new empty folder for one case."""
        self._n += 1
        folder = self.root / "cases" / f"{self._n:05d}"
        folder.mkdir(parents=True)
        return folder

    def mask(self, subject="sub-01", rater=1):
        """Return the path of a rater's mask."""
        return self.data / f"derivatives/labels/{subject}/anat/{subject}_{CONTRAST}{suffix(rater, 'lesion')}.nii.gz"

    def copy_data(self, folder):
        """Return a copy of the dataset to damage."""
        return Path(shutil.copytree(self.data, folder / "data"))

    def predictions(self, folder):
        """Write a soft prediction of two subjects; return their folder."""
        target = folder / "predictions"
        target.mkdir()
        for subject in ("sub-01", "sub-02"):
            image = nibabel.load(self.mask(subject))
            soft = image.get_fdata().astype(np.float32) * 0.8
            nibabel.save(nibabel.Nifti1Image(soft, image.affine), target / f"{subject}_{CONTRAST}_pred.nii.gz")
        return target

    def scgm(self):
        """Return a raw download of the spinal cord phantom as a folder of zips' content."""
        raw = self.root / "raw.zip"
        if not raw.exists():
            out = generate_scgm(self.root / "raw", subjects=2, size="tiny", layout="zip-folder")
            shutil.copyfile(next(out.rglob("*.zip")), raw)
        return raw

    def trained(self):
        """Return the output folder of a training and its configuration file."""
        out, path = self.root / "out", self.root / "config.json"
        if not (out / "best_model.pt").exists():
            write_config(path, self.config)
            outcome = observe(ivadomed("--train", "-c", path), limit=300)
            assert (out / "best_model.pt").exists(), outcome.text
        return out, path

    def study(self):
        """Return the folder of a study of two candidates and two splits, evaluated, with results."""
        folder = self.root / "study"
        if not folder.exists():
            _finished_study(self, folder)
        return folder


def _finished_study(world, folder):
    from ivadomed_labelfusion.experiment.jobs import run_job
    from ivadomed_labelfusion.paper.results import write_study_results

    overrides = {
        "loader_parameters": {
            "target_suffix": [SUFFIXES],
            "contrast_params": {"training_validation": [CONTRAST], "testing": [CONTRAST]},
            "multichannel": False,
        },
        "evaluation_parameters": {
            "inter_rater": {"metrics": ["entropy", "brier", "ece", "dice", "avd"], "disagreement_slices": 0}
        },
    }
    study = prepare_study(
        Study(
            folder=folder,
            bids=str(world.data),
            template="ms",
            design="random",
            candidates=tuple(resolve_candidates("conv_staple,softseg_random")),
            n_splits=2,
            overrides=overrides,
        )
    )
    for model in study.models():
        where = study.model_folder(model)
        done = {"seconds": 1.0, "resumed": False, "threshold": 0.5, "epochs": 2, "best_validation_loss": -0.5}
        (where / "train.done.json").write_text(json.dumps({"kind": "train", "host": "here", "slurm_job": None, **done}))
        (where / "test.done.json").write_text(json.dumps({"kind": "test", "seconds": 1.0}))
        (where / "log").write_text("Epoch 1 validation loss: -0.4000.\nEpoch 2 validation loss: -0.5000.\n")
        (where / "pred_soft").mkdir()
        split = json.loads((folder / "splits" / f"{model.split('/')[1]}.json").read_text())
        for subject in split["subjects"]["test"]:
            image = nibabel.load(world.mask(subject))
            soft = image.get_fdata().astype(np.float32) * 0.7
            nibabel.save(
                nibabel.Nifti1Image(soft, image.affine), where / "pred_soft" / f"{subject}_{CONTRAST}_pred.nii.gz"
            )
        assert run_job(study, "evaluate", model, folder / "logs" / "x.log") == 0
    write_study_results(study)
