"""Tiny multi-rater BIDS datasets and configurations for tests: real NIfTI files, a few kilobytes."""

import copy
import json
from pathlib import Path

import nibabel
import numpy as np

from ivadomed_labelfusion.config import load_template


def suffix(rater, label):
    """Return the suffix of a rater's mask."""
    return f"_desc-rater{rater}_label-{label}_seg"


def nested_suffixes(n_raters, labels):
    """Return a nested ``target_suffix``."""
    return [[suffix(rater, label) for rater in range(1, n_raters + 1)] for label in labels]


def make_dataset(
    root,
    *,
    n_subjects=6,
    n_raters=3,
    labels=("lesion",),
    contrasts=("FLAIR",),
    shape=(24, 20, 4),
    voxel_size_mm=(1.0, 1.0, 1.0),
    seed=0,
    rater_value=None,
):
    """Write a BIDS dataset whose bright blob the raters outline with different sizes; masks belong to contrasts[0].

    Args:
        rater_value (callable): If given, ``rater_value(subject, rater, label index)`` fills the whole mask of a rater
            with one voxel pattern that identifies the rater; otherwise masks are blobs.

    Returns:
        Path: The root.
    """
    root = Path(root)
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "tiny", "BIDSVersion": "1.9.0"}))
    (root / "README").write_text("tiny")
    rows = ["participant_id\tinstitution_id"]
    affine = np.diag([*voxel_size_mm, 1.0])
    grid = np.stack(np.meshgrid(*[np.arange(size) for size in shape], indexing="ij"), -1)
    for number in range(1, n_subjects + 1):
        subject = f"sub-{number:02d}"
        rows.append(f"{subject}\tsite{number % 2}")
        centre = np.array(shape) / 2 + rng.uniform(-2, 2, 3) * (1, 1, 0)
        distance = np.linalg.norm((grid - centre) * (1, 1, 0.5), axis=-1)
        anat = root / subject / "anat"
        anat.mkdir(parents=True)
        for index, contrast in enumerate(contrasts):
            data = 100 + (60 + 10 * index) * (distance < 5) + 20 * (distance < 3) + rng.normal(0, 5, shape)
            save(anat / f"{subject}_{contrast}.nii.gz", data.astype(np.float32), affine)
        derivatives = root / "derivatives" / "labels" / subject / "anat"
        derivatives.mkdir(parents=True)
        for rater in range(1, n_raters + 1):
            for index, label in enumerate(labels):
                if rater_value is not None:
                    mask = rater_value(number, rater, index, shape)
                else:
                    radius = 2.5 + rater * 0.6
                    mask = distance < radius if index == 0 else (distance >= radius) & (distance < radius + 3)
                path = derivatives / f"{subject}_{contrasts[0]}{suffix(rater, label)}.nii.gz"
                save(path, np.asarray(mask).astype(np.uint8), affine)
    (root / "participants.tsv").write_text("\n".join(rows) + "\n")
    (root / "derivatives" / "dataset_description.json").write_text(
        json.dumps({"Name": "labels", "BIDSVersion": "1.9.0", "GeneratedBy": [{"Name": "tiny"}]})
    )
    return root


def save(path, data, affine):
    """Write a NIfTI file."""
    nibabel.save(nibabel.Nifti1Image(data, affine), path)


def make_config(
    template,
    data,
    output,
    *,
    n_raters=3,
    labels=("lesion",),
    contrasts=("FLAIR",),
    crop=(16, 16),
    epochs=2,
    **changes,
):
    """Return a template made small enough for a test.

    Args:
        changes: Dotted keys with ``__`` for the dot, for example ``loader_parameters__soft_gt=True``.
    """
    config = load_template(template)
    config["path_output"], config["model_name"] = str(output), "model"
    loader = config["loader_parameters"]
    loader["path_data"] = [str(data)]
    loader["target_suffix"] = nested_suffixes(n_raters, labels)
    loader["contrast_params"].update(training_validation=list(contrasts), testing=list(contrasts))
    loader["multichannel"] = len(contrasts) > 1
    config["split_dataset"]["data_testing"]["data_type"] = None
    config["default_model"].update(depth=2, n_filters=4, dropout_rate=0.1)
    config["training_parameters"]["batch_size"] = 4
    config["training_parameters"]["training_time"]["num_epochs"] = epochs
    config["training_parameters"]["scheduler"]["initial_lr"] = 0.01
    config["transformation"]["Resample"] = {"hspace": 1, "wspace": 1, "dspace": 1}
    config["transformation"]["CenterCrop"] = {"size": list(crop)}
    for dotted, value in changes.items():
        *path, last = dotted.split("__")
        section = config
        for name in path:
            section = section[name]
        section[last] = value
    return copy.deepcopy(config)


def write_config(path, config):
    """Write a configuration file; return its path."""
    path = Path(path)
    path.write_text(json.dumps(config, indent=2))
    return path
