"""Preprocessing the raters' label maps, each for itself and as nnU-Net preprocesses its own one.

nnU-Net resamples one label map per image. A map of several raters would be resampled as if their combinations were
classes, which moves up to a fifth of the voxels that they disagree on; so trainers do it for one rater after the other.
"""

import hashlib
from pathlib import Path

import blosc2
import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import bounding_box_to_slice
from nnunetv2.paths import nnUNet_raw
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import TEMPORARY_PREFIX, atomic_path, read_json, write_json
from ivadomed_labelfusion.fusion.result import log_or_zero
from ivadomed_labelfusion.hosts.nnunet.names import CASE_FILE, RATERS_FOLDER, SPLITS_FILE
from ivadomed_labelfusion.hosts.nnunet.targets import CaseRaters
from ivadomed_labelfusion.locks import temporary_folder


def prepare_raters(trainer, cases: list[str]) -> Path:
    """Preprocess the raters' label maps of some cases that are not up to date, beside the preprocessed images.

    Args:
        trainer (nnUNetTrainer): Gives plans, folders and the dataset.
        cases (list of str): Identifiers.

    Returns:
        Path: The folder with, per case, ``<case>.b2nd`` (channel 0 nnU-Net's label map, then one per rater, empty for
        absent ones), ``<case>.npz`` (where any rater marked each class) and ``<case>.json``.

    Raises:
        InputError: If the raters' files are not there.
    """
    folder = Path(trainer.preprocessed_dataset_folder)
    prepared = folder.with_name(f"{folder.name}_{RATERS_FOLDER}")
    prepared.mkdir(exist_ok=True)
    source = _source(trainer.plans_manager.dataset_name)
    images = nnUNetDatasetBlosc2(str(folder), list(cases))
    said = False
    for case in cases:
        image, own, _, properties = images.load_case(case)
        if source is None and _is_whole(prepared, case):
            continue
        if source is None:
            raise InputError(
                f"nnUNet_raw must name the folder of {trainer.plans_manager.dataset_name} with its {RATERS_FOLDER}/, "
                "because the raters' masks have not been prepared yet. Set it."
            )
        digest = _digest(source / case, image.shape)
        if _is_whole(prepared, case) and read_json(prepared / f"{case}.json").get("digest") == digest:
            continue
        if not said:
            trainer.print_to_log_file("Resampling the raters' label maps, each for itself...")
            said = True
        found = read_json(source / case / CASE_FILE)
        maps = np.stack([np.asarray(own[:][0]), *_rater_maps(trainer, source / case, found, image.shape, properties)])
        _save(prepared, case, maps, trainer)
        write_json(prepared / f"{case}.json", {"digest": digest, **found}, overwrite=True)
    return prepared


def install_folds(trainer) -> None:
    """Copy the exported folds to where nnU-Net looks for them, unless there are some."""
    target = Path(trainer.preprocessed_dataset_folder_base) / SPLITS_FILE
    if target.exists() or not nnUNet_raw.is_set():
        return
    exported = Path(nnUNet_raw) / trainer.plans_manager.dataset_name / SPLITS_FILE
    if exported.exists():
        write_json(target, read_json(exported), overwrite=True)


def _source(dataset_name):
    """Return the folder of the raters' masks in nnUNet_raw, None if it is not at hand."""
    if not nnUNet_raw.is_set():
        return None
    folder = Path(nnUNet_raw) / dataset_name / RATERS_FOLDER
    return folder if folder.is_dir() else None


def _is_whole(prepared, case):
    return all((prepared / f"{case}{end}").exists() for end in (".b2nd", ".npz", ".json"))


def _digest(folder, shape):
    """Return what the prepared maps depend on: the raters' files and the grid of the preprocessed image."""
    total = hashlib.sha256(repr(tuple(shape)).encode())
    if not (folder / CASE_FILE).exists():
        raise InputError(f"{folder / CASE_FILE} must exist. Export the dataset again.")
    for path in sorted(folder.iterdir()):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()


def _rater_maps(trainer, folder, found, shape, properties):
    """Yield each rater's label map ``(*spatial)`` on the grid of the preprocessed image; zeros for absent raters."""
    plans, configuration = trainer.plans_manager, trainer.configuration_manager
    reader = plans.image_reader_writer_class()
    spacing = [properties["spacing"][axis] for axis in plans.transpose_forward]
    target = list(configuration.spacing)
    # 2D plans leave the distance of slices as it is
    target = target if len(target) == len(spacing) else [spacing[0], *target]
    crop = (slice(None), *bounding_box_to_slice(properties["bbox_used_for_cropping"]))
    for rater in trainer.dataset_json["raters"]["names"]:
        if rater not in found["present"]:
            yield np.zeros(shape[1:], np.int16)
            continue
        labels, _ = reader.read_seg(str(folder / f"{rater}{trainer.dataset_json['file_ending']}"))
        labels = labels.transpose([0, *[axis + 1 for axis in plans.transpose_forward]])[crop]
        yield np.rint(configuration.resampling_fn_seg(labels, shape[1:], spacing, target)[0]).astype(np.int16)


def _save(prepared, case, maps, trainer):
    blocks, chunks = comp_blosc2_params(maps.shape, tuple(trainer.configuration_manager.patch_size), maps.itemsize)
    with temporary_folder(prepared, TEMPORARY_PREFIX) as folder:
        # blosc2 makes its file itself
        array = np.ascontiguousarray(maps.astype(np.int16))
        blosc2.asarray(array, urlpath=str(folder / f"{case}.b2nd"), chunks=chunks, blocks=blocks)
        (folder / f"{case}.b2nd").replace(prepared / f"{case}.b2nd")
    labels = range(1, len(trainer.dataset_json["labels"]))
    locations = {}
    for label in labels:
        marked = (maps[1:] == label).any(axis=0)[None]
        locations[str(label)] = np.asarray(
            DefaultPreprocessor._sample_foreground_locations(marked.astype(np.int8), [1])[1], np.int64
        ).reshape(-1, 4)
    with atomic_path(prepared / f"{case}.npz", overwrite=True) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **locations)


def read_case(prepared: Path, case: str, raters: list[str], n_labels: int) -> CaseRaters:
    """Return who marked a prepared case, and STAPLE's estimates on it."""
    found = read_json(prepared / f"{case}.json")
    staple = found["staple"]
    confusion = torch.zeros((len(raters), n_labels, n_labels), dtype=torch.float64)
    for rater, matrix in zip(found["present"], staple["confusion"], strict=True):
        confusion[raters.index(rater)] = torch.from_numpy(log_or_zero(np.array(matrix, np.float64)))
    return CaseRaters(
        present=torch.tensor([rater in found["present"] for rater in raters]),
        log_prior=torch.from_numpy(log_or_zero(np.array(staple["prior"], np.float64))),
        log_confusion=confusion,
    )
