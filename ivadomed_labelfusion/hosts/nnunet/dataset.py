"""Writing a dataset for nnU-Net: images, the majority's label maps, and beside them every rater's own one.

The label maps are what nnU-Net itself plans and preprocesses with, and what its own trainers learn; the trainers of
this package read the raters'. Nothing here needs nnU-Net.
"""

import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.coding import coding_note
from ivadomed_labelfusion.data.bids import expand_suffixes, find_images, find_label_sets, label_files
from ivadomed_labelfusion.data.entities import channel_files, contrast_name, entity, images_of_contrasts, natural
from ivadomed_labelfusion.data.grid import check_on_grid
from ivadomed_labelfusion.data.masks import load_masks
from ivadomed_labelfusion.data.raters import ALLOW_BY_OPTION, names_of_suffixes, nested_target_suffix, target_suffix
from ivadomed_labelfusion.data.volumes import load_image, read_volume, save_nifti
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import TEMPORARY_PREFIX, read_json, write_json
from ivadomed_labelfusion.fusion import consensus_classes
from ivadomed_labelfusion.hosts.nnunet.folds import Parts
from ivadomed_labelfusion.hosts.nnunet.names import CASE_FILE, KEY, RATERS_FOLDER, SPLITS_FILE
from ivadomed_labelfusion.locks import only_one, temporary_folder

FILE_ENDING = ".nii.gz"


@dataclass(frozen=True)
class Export:
    """What is exported, and as what.

    Attributes:
        number, name (int, str): ``Dataset501_Lesions``.
        bids_dir (str or Path): BIDS dataset with the raters' masks.
        target_suffix (list): As in ivadomed's ``loader_parameters``.
        contrasts (tuple of str): Channels of one input in this order; empty takes the images that have masks.
        separate (bool): Contrasts are images of their own, not channels.
        allow_missing (bool): Go on without raters who lack a mask.
        seed (int): Seed of the training.
    """

    number: int
    name: str
    bids_dir: object
    target_suffix: list
    contrasts: tuple = ()
    separate: bool = False
    allow_missing: bool = False
    seed: int = 0

    @property
    def dataset_name(self) -> str:
        """``Dataset501_Lesions``.

        Raises:
            InputError: If number or name cannot be one.
        """
        if not 1 <= self.number <= 999:
            raise InputError(f"--dataset must be a number from 1 to 999, got {self.number}.")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.name):
            raise InputError(f"--name must hold letters, digits, _ and - only, got {self.name!r}.")
        return f"Dataset{self.number:03d}_{self.name}"


def all_suffixes(bids_dir) -> list[list[str]]:
    """Return the ``target_suffix`` of all raters and classes of a dataset.

    Raises:
        InputError: If there are no masks ``_desc-<rater>_label-<class>_seg``.
    """
    names = label_files(bids_dir)
    classes = sorted(
        {found for name in names if name.endswith("_seg") and (found := entity("label", name))}, key=natural
    )
    if not classes:
        raise InputError(
            f"{bids_dir} must have masks named _desc-<rater>_label-<class>_seg, it has none. Name them with --raters."
        )
    rows = [expand_suffixes(bids_dir, [[f"_desc-*_label-{name}_seg"]])[0] for name in classes]
    # a rater who lacks a class altogether is one who is missing
    raters = sorted({entity("desc", suffix) for row in rows for suffix in row}, key=natural)
    return target_suffix(classes, raters)


@dataclass
class Exported:
    """What was written.

    Attributes:
        folder (Path): ``.../Dataset501_Lesions``.
        n_training, n_test (int): Images.
        raters, classes (list of str): Their names.
        n_folds (int): Folds.
        splits (Path or None): Where nnU-Net will look for them; None if ``nnUNet_preprocessed`` is not set.
        notes (list of str): Missing raters, overlapping classes, masks that were not coded 0 and 1.
    """

    folder: Path
    n_training: int
    n_test: int
    raters: list
    classes: list
    n_folds: int
    splits: Path | None = None
    notes: list = field(default_factory=list)


@dataclass(frozen=True)
class _Case:
    """One image: its name in the dataset, its subject, its channels' files, and the masks of who marked it."""

    name: str
    subject: str
    channels: tuple
    labels: object
    absence: str


def export_dataset(
    export: Export,
    output,
    split: Callable[[list], Parts],
    *,
    overwrite: bool = False,
    progress: Callable[[list], Iterable] = iter,
) -> Exported:
    """Write a dataset for nnU-Net's unchanged commands.

    Args:
        export (Export): What and as what.
        output (str or Path): ``nnUNet_raw``.
        split (callable): Gets the subjects, returns their `Parts`.
        overwrite (bool): Replace an earlier export of this dataset.
        progress (callable): Wraps the list of cases, for a progress bar.

    Returns:
        Exported

    Raises:
        InputError: If an argument is not as described, or a file cannot be used; nothing is left then.
    """
    nested = nested_target_suffix(export.target_suffix)
    classes, raters = names_of_suffixes(nested)
    output, name = Path(output), export.dataset_name
    _check_free(output, name, export.number, overwrite)
    channels, cases = _find_cases(export, nested)
    parts = split(sorted({case.subject for case in cases}))
    parts.check(case.subject for case in cases)
    used = set(parts.test).union(*(names for fold in parts.folds for names in fold))
    cases = [case for case in cases if case.subject in used]
    training = [case for case in cases if case.subject not in parts.test]
    result = Exported(output / name, len(training), len(cases) - len(training), raters, classes, len(parts.folds))
    output.mkdir(parents=True, exist_ok=True)
    busy = f"Another export is writing {output / name}. Wait for it."
    with only_one(output / f".{name}.lock", busy=busy), temporary_folder(output, TEMPORARY_PREFIX) as temporary:
        codings = {}
        # remarks reach the caller through ``notes``
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            for case in progress(cases):
                _write_case(case, temporary, case in training, result.notes, codings)
        note = coding_note({path.name: coding for path, coding in sorted(codings.items())})
        result.notes += [note] if note else []
        folds = [
            {part: [case.name for case in training if case.subject in names] for part, names in parts_of_fold.items()}
            for parts_of_fold in (dict(zip(("train", "val"), fold, strict=True)) for fold in parts.folds)
        ]
        write_json(temporary / SPLITS_FILE, folds)
        write_json(temporary / "dataset.json", _description(export, channels, classes, raters, len(training)))
        _publish(temporary, output / name)
    result.splits = _install_splits(output / name, folds)
    return result


def _check_free(output, name, number, overwrite):
    """Refuse to replace what is not an earlier export, or to give a number twice."""
    for other in sorted(output.glob(f"Dataset{number:03d}_*")):
        if other.name != name:
            raise InputError(f"Dataset numbers must be given once, but {number} is {other}. Choose another --dataset.")
    folder = output / name
    if not folder.exists():
        return
    if not overwrite:
        raise InputError(f"{folder} exists already. Add --overwrite to replace it, or choose another --dataset.")
    description = read_json(folder / "dataset.json") if (folder / "dataset.json").exists() else {}
    if not isinstance(description, dict) or KEY not in description:
        raise InputError(f"{folder} must be an earlier export to be replaced, but it is not. Choose another --dataset.")


def _find_cases(export, nested):
    """Return the names of the channels and all cases."""
    label_sets = find_label_sets(export.bids_dir, nested)
    lacking = [label_set.image_stem for label_set in label_sets if label_set.image is None]
    if lacking:
        raise InputError(f"Masks must have an image in {export.bids_dir}, there is none for {', '.join(lacking[:5])}.")
    marked = sorted({contrast_name(label_set.image.name) for label_set in label_sets})
    contrasts = list(export.contrasts)
    if not contrasts and len(marked) > 1:
        raise InputError(
            f"Masks must belong to images of one contrast, or --contrasts must choose, got {', '.join(marked)}."
        )
    if len(contrasts) < 2 or export.separate:
        names = [label_set.image.name for label_set in label_sets]
        chosen = set().union(*images_of_contrasts(names, contrasts).values()) if contrasts else set(names)
        found = [(label_set, (label_set.image,)) for label_set in label_sets if label_set.image.name in chosen]
        channels = ["_".join(contrasts) or marked[0]]
    else:
        channels, found = contrasts, _with_channels(export.bids_dir, label_sets, contrasts)
    if not found:
        raise InputError(f"Images with masks must be of the contrasts {', '.join(contrasts)}, got {', '.join(marked)}.")
    cases = []
    for label_set, files in found:
        present = label_set.present(allow_missing=export.allow_missing, cure=ALLOW_BY_OPTION)
        cases.append(
            _Case(
                label_set.image_stem, label_set.subject, files, label_set.of_raters(present), label_set.absence_note()
            )
        )
    return channels, cases


def _with_channels(bids_dir, label_sets, contrasts):
    """Return ``(label set, files of its channels)`` of the acquisitions that have all channels."""
    images = find_images(bids_dir, subjects=sorted({label_set.subject for label_set in label_sets}))
    by_name = {path.name: path for path in images.values()}
    acquisitions = channel_files(by_name, contrasts)
    found = []
    for label_set in label_sets:
        own = [files for files in acquisitions.values() if label_set.image.name in files.values()]
        whole = [files for files in own if set(files) == set(contrasts)]
        if own and not whole:
            lacking = ", ".join(contrast for contrast in contrasts if contrast not in own[0])
            raise InputError(f"{label_set.image_stem} must have an image of every channel, it lacks {lacking}.")
        if whole:
            found.append((label_set, tuple(by_name[whole[0][contrast]] for contrast in contrasts)))
    return found


def _write_case(case, root, trains, notes, codings):
    """Write image, raters and majority of one case."""
    like = load_image(case.channels[0])
    for index, path in enumerate(case.channels):
        target = root / ("imagesTr" if trains else "imagesTs") / f"{case.name}_{index:04d}{FILE_ENDING}"
        _write_image(path, like, case.channels[0], target)
    if not trains:
        return
    loaded = load_masks(case.labels, like=like, like_name=f"its image ({case.channels[0]})", soft=False)
    codings |= loaded.codings
    masks, present = loaded.masks, case.labels.rater_names
    if case.absence:
        notes.append(f"{case.name}: {case.absence}.")
    folder = root / RATERS_FOLDER / case.name
    for rater, of_rater in zip(present, masks, strict=True):
        save_nifti(folder / f"{rater}{FILE_ENDING}", _label_map(of_rater), like)
    majority = consensus_classes(masks, "majority", names=present)
    if majority.n_overlap.any():
        notes.append(f"{case.name}: {majority.notes[-1]}")
    save_nifti(root / "labelsTr" / f"{case.name}{FILE_ENDING}", _label_map(majority.labels()), like)
    write_json(folder / CASE_FILE, {"present": present, "staple": _staple(masks, present)})


def _write_image(path, like, like_name, target):
    image = load_image(path)
    found = check_on_grid(image, path, like, like_name)
    if found.is_same_axes and path.name.endswith(FILE_ENDING) and len(image.shape) == 3:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    else:
        save_nifti(target, found.turn(read_volume(image, path)), like)


def _label_map(masks):
    """Return ``(*spatial)`` uint8 of masks ``(C, *spatial)``; a voxel of several classes is of the one listed first."""
    labels = np.zeros(masks.shape[1:], np.uint8)
    for index in reversed(range(len(masks))):
        labels[masks[index] > 0] = index + 1
    return labels


def _staple(masks, names):
    """Return what STAPLE estimates on the whole image: the prior ``(K)`` and a confusion matrix ``(K, K)`` per rater.

    Rows are what the rater says, columns the truth, background first.
    """
    n_raters, n_labels = len(masks), masks.shape[1] + 1
    result = consensus_classes(masks, "staple", names=names).results[0]
    labels = result.label_values.tolist()
    prior = np.zeros(n_labels)
    confusion = np.tile(np.eye(n_labels), (n_raters, 1, 1))
    if hasattr(result, "confusion"):
        own, prior[labels] = result.confusion, result.prior
    else:
        hit, reject = result.sensitivity, result.specificity
        own = np.stack([np.stack([reject, 1 - hit], -1), np.stack([1 - reject, hit], -1)], 1)
        prior[labels] = 1 - result.prior, result.prior
    confusion[np.ix_(range(n_raters), labels, labels)] = own
    return {"prior": prior.tolist(), "confusion": confusion.tolist()}


def _description(export, channels, classes, raters, n_training):
    return {
        "name": export.name,
        "channel_names": {str(index): name for index, name in enumerate(channels)},
        "labels": {"background": 0, **{name: index + 1 for index, name in enumerate(classes)}},
        "numTraining": n_training,
        "file_ending": FILE_ENDING,
        KEY: {"names": raters, "classes": classes, "seed": export.seed, "version": __version__},
    }


def _publish(temporary, folder):
    """Put a complete dataset in its place."""
    inner = temporary / folder.name
    inner.mkdir()
    for path in list(temporary.iterdir()):
        if path != inner:
            path.rename(inner / path.name)
    if folder.exists():
        folder.rename(temporary / "replaced")
    inner.rename(folder)


def _install_splits(folder, folds):
    """Write the folds where nnU-Net looks for them; return the file, None if it is not known where that is."""
    preprocessed = os.environ.get("nnUNet_preprocessed")  # noqa: SIM112 - its own spelling
    if not preprocessed:
        return None
    target = Path(preprocessed) / folder.name / SPLITS_FILE
    write_json(target, folds, overwrite=True)
    return target
