"""A tiny dataset that nnU-Net's own command planned and preprocessed: two classes, three raters, resampled images."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from ivadomed_labelfusion.cli import main
from ivadomed_labelfusion.hosts.nnunet.names import trainers_folder
from tests.builders.tiny import make_dataset, suffix

RATERS = ["rater1", "rater2", "rater3"]


def make_raters_dataset(root):
    """Write a dataset with two voxel sizes, images that are not RAS, and a subject whom rater 2 did not mark."""
    make_dataset(root, n_subjects=5, n_raters=3, labels=("core", "rim"), shape=(32, 28, 8), voxel_size_mm=(1, 1, 2))
    rng = np.random.default_rng(1)
    for path in sorted(root.rglob("*.nii.gz")):
        image = nibabel.load(path)
        data, affine = np.asanyarray(image.dataobj), image.affine.copy()
        if "_seg" in path.name and "rater1" not in path.name:
            # raters who differ in more than size
            data = np.roll(data, int(rng.integers(-1, 2)), int(rng.integers(0, 2)))
        if path.name.startswith(("sub-02", "sub-04")):
            affine[:3, :3] = np.diag([1.3, 1.3, 2.6])
        image = nibabel.Nifti1Image(data, affine)
        if path.name.startswith(("sub-03", "sub-04")):
            image = image.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt("LPS")))
        nibabel.save(image, path)
    for label in ("core", "rim"):
        next(root.rglob(f"sub-02_FLAIR{suffix(2, label)}.nii.gz")).unlink()
    return root


@dataclass(frozen=True)
class Workspace:
    """Where nnU-Net works, and what it works on."""

    folder: Path
    bids: Path
    environment: dict

    @property
    def raw(self):
        return self.folder / "raw" / "Dataset501_Tiny"

    @property
    def preprocessed(self):
        return self.folder / "preprocessed" / "Dataset501_Tiny"

    def run(self, command, *arguments, **changes):
        """Run one of nnU-Net's commands; return what it printed."""
        script = Path(sys.executable).with_name(command)
        environment = {**os.environ, **self.environment, **changes}
        done = subprocess.run(
            [script, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout + done.stderr


def preprocess_here(workspace, configuration):
    """Preprocess in this process: the command starts processes that take seconds to import torch."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(str(workspace.preprocessed / "nnUNetPlans.json"))
    chosen = plans.get_configuration(configuration)
    target = workspace.preprocessed / chosen.data_identifier
    target.mkdir()
    for label in sorted((workspace.raw / "labelsTr").glob("*.nii.gz")):
        case = label.name.removesuffix(".nii.gz")
        image = str(workspace.raw / "imagesTr" / f"{case}_0000.nii.gz")
        DefaultPreprocessor(verbose=False).run_case_save(
            str(target / case), [image], str(label), plans, chosen, str(workspace.preprocessed / "dataset.json")
        )


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    """Export, plan and preprocess; nnU-Net's variables stay set for all tests of the session."""
    pytest.importorskip("nnunetv2")
    folder = tmp_path_factory.mktemp("nnunet")
    bids = make_raters_dataset(folder / "bids")
    environment = {
        "nnUNet_raw": str(folder / "raw"),
        "nnUNet_preprocessed": str(folder / "preprocessed"),
        "nnUNet_results": str(folder / "results"),
        "nnUNet_extTrainer": str(trainers_folder()),
        "nnUNet_def_n_proc": "1",
        "nnUNet_n_proc_DA": "1",
        "OMP_NUM_THREADS": "1",
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    done = Workspace(folder, bids, environment)
    try:
        arguments = ["--dataset", "501", "--name", "Tiny", "--test", "sub-05", "--seed", "3", "--allow-missing"]
        assert main(["nnunet", "export", str(bids), *arguments]) == 0
        planning = ["-d", "501", "--verify_dataset_integrity", "-c", "2d", "-np", "1", "-npfp", "1"]
        (folder / "planning.log").write_text(done.run("nnUNetv2_plan_and_preprocess", *planning))
        preprocess_here(done, "3d_fullres")
        yield done
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
