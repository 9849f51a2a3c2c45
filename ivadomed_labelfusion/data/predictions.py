"""Finding and reading predictions of any tool, and the masks and images they belong to."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, ornt_transform

from ivadomed_labelfusion.data.archives import load_npz_array
from ivadomed_labelfusion.data.bids import walk
from ivadomed_labelfusion.data.entities import NIFTI_EXTENSIONS, is_image
from ivadomed_labelfusion.data.entities import stem as stem_of
from ivadomed_labelfusion.data.grid import GRID_TOLERANCE_MM, canonical_orientation, check_on_grid, onto, spatial_shape
from ivadomed_labelfusion.data.masks import to_canonical
from ivadomed_labelfusion.data.volumes import load_image, read_volume, readable
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics.checks import check_dtype

# what tools append to the image's stem: ivadomed, nnU-Net (nothing), BIDS derivatives, MONAI's SaveImage
SUFFIXES = ("_pred", "", "_seg", "_softseg", "_probseg", "_trans")
NNUNET = ".npz"
_ADVICE = "Resample the prediction to the native space of the image first."


@dataclass(frozen=True)
class PredictionFiles:
    """The files of one image's prediction.

    Attributes:
        files (tuple of Path): One file, or one per class.
        probabilities (Path or None): nnU-Net's ``.npz`` with the soft output that belongs to ``files[0]``.
    """

    files: tuple
    probabilities: Path | None = None


def find_predictions(predictions_dir, image_stems, class_names, *, suffix=None):
    """Find the prediction of each image below a folder, by the image's stem (``sub-01_FLAIR``).

    Understood are, for an image ``<stem>.nii.gz`` (``.nii`` too) and each ``<suffix>`` of ``SUFFIXES``:

    - ``<stem><suffix>.nii.gz``: one volume, see ``load_prediction``;
    - ``<stem>_<class><suffix>``, ``<stem>_label-<class><suffix>`` or ``<stem>_class-<index><suffix>``: one per class;
    - ``<stem>.npz`` beside ``<stem>.nii.gz``: nnU-Net's probabilities, which are preferred to its label map.

    Args:
        predictions_dir (str or Path): Searched with its subfolders.
        image_stems (iterable of str): Images.
        class_names (sequence of str): Foreground classes in order.
        suffix (str): What follows the stem, in place of ``SUFFIXES``.

    Returns:
        dict: Image stem to ``PredictionFiles``, of the images that have one.

    Raises:
        InputError: If the folder is missing, nothing is found, two files could be a prediction, or a class is missing.
    """
    root = Path(predictions_dir)
    if not root.is_dir():
        raise InputError(f"The folder of predictions {root} does not exist. Check the path.")
    present, archives = {}, {}
    for path in walk(root):
        if is_image(path.name):
            present.setdefault(stem_of(path), []).append(path)
        elif path.suffix == NNUNET:
            archives.setdefault(path.stem, path)
    suffixes = SUFFIXES if suffix is None else (suffix,)
    found = {}
    for stem in image_stems:
        candidates = _candidates(stem, class_names, suffixes, present)
        if len(candidates) > 1:
            listed = ", ".join(str(files[0]) for files in candidates)
            raise InputError(
                f"The prediction of {stem} must be one file (or one per class), got {listed}. "
                "Keep one, or name it with --prediction-suffix."
            )
        if candidates:
            found[stem] = PredictionFiles(candidates[0], archives.get(stem_of(candidates[0][0])))
    if not found:
        examples = ", ".join(sorted(present)[:5]) or "no NIfTI file"
        first = next(iter(image_stems), "?")
        raise InputError(
            f"No file below {root} is named after an image. Expected for example {first}_pred.nii.gz or "
            f"{first}.nii.gz; there is: {examples}. Rename the files or give --prediction-suffix."
        )
    return found


def _candidates(stem, class_names, suffixes, present):
    candidates = [(path,) for suffix in suffixes for path in present.get(stem + suffix, [])]
    for naming in ("_{name}", "_label-{name}", "_class-{index}"):
        for suffix in suffixes:
            parts = [stem + naming.format(name=name, index=index) + suffix for index, name in enumerate(class_names)]
            files = [present.get(part, []) for part in parts]
            if any(len(paths) > 1 for paths in files):
                twice = next(paths for paths in files if len(paths) > 1)
                raise InputError(f"Two files are both the prediction {stem_of(twice[0])}: {twice[0]}, {twice[1]}.")
            missing = [part for part, paths in zip(parts, files, strict=True) if not paths]
            if missing and len(missing) < len(parts):
                raise InputError(f"The prediction of {stem} must have one file per class; {missing[0]} is missing.")
            if not missing:
                candidates.append(tuple(paths[0] for paths in files))
    return candidates


def load_prediction(found, class_names, like):
    """Read a prediction onto ``(C, *spatial)`` in closest canonical (RAS+) orientation.

    A 3-D volume is the single class, or a label map 0..C of several. A 4-D volume holds the classes on its last axis,
    with or without the background as the first of them.

    Args:
        found (PredictionFiles): Where it is.
        class_names (sequence of str): C classes.
        like (nibabel image): A rater's mask, whose grid the prediction must have.

    Returns:
        ndarray: ``(C, *spatial)`` in the dtype stored.

    Raises:
        InputError: If the grid differs (both affines are shown), the number of classes does, or a label is unknown.
    """
    return to_canonical(_on_axes_of(found, class_names, like), like)


def _on_axes_of(found, class_names, like):
    """Return the prediction ``(C, *spatial)`` with the axes of ``like``."""
    images = [load_image(path) for path in found.files]
    volumes = [_read(image, path, like, "prediction") for image, path in zip(images, found.files, strict=True)]
    if len(images) > 1:
        return np.stack([_single(data, path) for data, path in zip(volumes, found.files, strict=True)])
    path, data = found.files[0], volumes[0]
    if found.probabilities is not None:
        probabilities = _nnunet_probabilities(found, images[0], len(class_names))
        turn = onto(images[0], like).turn
        return np.stack([turn(channel) for channel in probabilities])
    if data.ndim == 5 and data.shape[3] == 1:  # NIfTI vector images keep the channels on the fifth axis
        data = data[:, :, :, 0]
    if data.ndim <= 3:
        return _classes_of_labels(data, path, class_names)
    return _classes_of_channels(np.moveaxis(data, -1, 0), path, class_names)


def _single(data, path):
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise InputError(f"{path} must hold one volume, got the shape {data.shape}.")
    return data


def _nnunet_probabilities(found, image, n_classes):
    """Read nnU-Net's softmax output ``probabilities`` of shape (C + 1, z, y, x), background first.

    nnU-Net's reorienting reader works in RAS axes and leaves the archive in them, while the label map keeps the image's
    own. The axes are those in which the largest probability is the label map's.

    Returns:
        ndarray: ``(C, *spatial)`` in the axes of the label map.

    Raises:
        InputError: If the archive is none, or its largest probabilities are not the label map's in either axes.
    """
    path, labels_path = found.probabilities, found.files[0]
    candidates, shape = _fitting(path, labels_path, image, n_classes)
    if len(candidates) == 2 and not np.array_equal(*candidates.values()):
        known = _axes_of_folder(path.parent, n_classes)
        if known is None:
            raise InputError(
                f"{path} fits {labels_path} in the image's axes and in RAS (an empty one does), and no other pair "
                "in the folder tells which nnU-Net wrote. Give the probabilities as NIfTI files, or remove the archive."
            )
        candidates = {known: candidates[known]}
    if candidates:
        return next(iter(candidates.values()))[1:]
    expected = (n_classes + 1, *spatial_shape(image))
    if shape != expected and sorted(shape[1:]) != sorted(expected[1:]):
        raise InputError(
            f"{path} must hold background and {n_classes} classes on the grid {expected[1:]}, got {shape}."
        )
    raise InputError(
        f"{path} must belong to {labels_path}, but its most probable classes are not that label map, neither in its "
        "own axes nor in RAS. Predict again, or remove the file that you do not mean (a label map that was "
        "postprocessed no longer belongs to its probabilities)."
    )


def _fitting(path, labels_path, image, n_classes):
    """Return ``{axes: probabilities}`` of the axes (``own``, ``ras``) that fit the label map, and the shape stored."""
    data = load_npz_array(path, "probabilities", n_axes=4, what="nnU-Net archive")
    data = np.moveaxis(data.T, -1, 0)
    labels = read_volume(image, labels_path)
    from_canonical = ornt_transform(axcodes2ornt("RAS"), canonical_orientation(image))
    turned = np.stack([apply_orientation(channel, from_canonical) for channel in data])
    expected = (n_classes + 1, *labels.shape)
    found = {"own": data, "ras": turned}
    fitting = {name: axes for name, axes in found.items() if axes.shape == expected and _is_largest(axes, labels)}
    return fitting, data.shape


@lru_cache(maxsize=8)
def _axes_of_folder(folder, n_classes):
    """Return the axes, ``own`` or ``ras``, of the first pair of archive and label map in a folder that tells."""
    for path in sorted(folder.glob(f"*{NNUNET}")):
        labels_path = next((other for end in NIFTI_EXTENSIONS if (other := path.with_suffix(end)).exists()), None)
        if labels_path is not None:
            fitting, _ = _fitting(path, labels_path, load_image(labels_path), n_classes)
            if len(fitting) == 1:
                return next(iter(fitting))
    return None


def _is_largest(probabilities, labels):
    """Whether each voxel's label has the largest probability (one of the largest, to rounding)."""
    labels = np.asarray(np.rint(labels), np.intp)
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= len(probabilities):
        return False
    own = np.take_along_axis(probabilities, labels[None], axis=0)[0]
    return bool((own >= probabilities.max(axis=0) - 1e-6).all())


def _classes_of_labels(data, path, class_names):
    labels = np.rint(data)
    whole = np.array_equal(labels, data)
    n_classes = len(class_names)
    if n_classes == 1 and not (whole and data.max(initial=0) > 1):
        return data[None]
    if not whole:
        raise InputError(
            f"{path} must be a label map of whole numbers or hold {n_classes} classes on a fourth axis, "
            "got fractions in a 3-D volume."
        )
    if data.min(initial=0) < 0 or data.max(initial=0) > n_classes:
        listed = ", ".join(f"{index + 1} {name}" for index, name in enumerate(class_names))
        raise InputError(f"{path} must hold the labels 0 background, {listed}, got labels up to {int(data.max())}.")
    return np.stack([labels == index + 1 for index in range(n_classes)])


def _classes_of_channels(data, path, class_names):
    n_classes = len(class_names)
    if data.shape[0] == n_classes:
        return data
    if data.shape[0] == n_classes + 1:
        if np.abs(data.sum(axis=0, dtype=np.float64) - 1).max() > 1e-2:
            raise InputError(
                f"{path} holds {n_classes + 1} channels for {n_classes} classes, so the first must be the background, "
                "but the channels do not sum to 1."
            )
        return data[1:]
    raise InputError(
        f"{path} must hold {n_classes} classes ({', '.join(class_names)}), with or without background, "
        f"got {data.shape[0]} channels."
    )


def load_background(label_set, like):
    """Return the raw image ``(*spatial)`` in canonical orientation, or None if there is none on the masks' grid."""
    if label_set.image is None:
        return None
    image = load_image(label_set.image)
    found = onto(image, like)
    if found is None or found.distance_mm > GRID_TOLERANCE_MM:
        return None
    return to_canonical(found.turn(read_volume(image, label_set.image)), like)


def _read(image, path, like, name):
    """Return an image ``(x, y, z, ...)`` with the axes of ``like``."""
    if len(image.shape) < 3:
        raise InputError(f"{path} must be a volume of at least three axes, got the shape {image.shape}.")
    found = check_on_grid(image, f"The {name} {path}", like, "the raters' masks", advice=_ADVICE)
    with readable(path):
        data = np.asanyarray(image.dataobj)
    return found.turn(check_dtype(str(path), data))
