"""Finding and reading predictions of any tool, and the masks and images they belong to."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from ivadomed_labelfusion.data import bids
from ivadomed_labelfusion.data.archives import load_npz_array
from ivadomed_labelfusion.data.volumes import load_image
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.metrics.checks import check_dtype

# what tools append to the image's stem: ivadomed, nnU-Net (nothing), BIDS derivatives, MONAI's SaveImage
SUFFIXES = ("_pred", "", "_seg", "_softseg", "_probseg", "_trans")
NNUNET = ".npz"


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
    for path in sorted(root.rglob("*")):
        if path.name.endswith(bids.IMAGE_EXTENSIONS):
            present.setdefault(bids.stem(path), []).append(path)
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
            found[stem] = PredictionFiles(candidates[0], archives.get(bids.stem(candidates[0][0])))
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
                raise InputError(f"Two files are both the prediction {bids.stem(twice[0])}: {twice[0]}, {twice[1]}.")
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
    images = [load_image(path) for path in found.files]
    for image, path in zip(images, found.files, strict=True):
        check_grid(image, path, like, "the raters' masks")
    if len(images) > 1:
        return np.stack([_volume(image, path) for image, path in zip(images, found.files, strict=True)])
    path = found.files[0]
    if found.probabilities is not None:
        return _nnunet_probabilities(found.probabilities, images[0], len(class_names))
    data = _canonical(images[0], path)
    if data.ndim == 5 and data.shape[3] == 1:  # NIfTI vector images keep the channels on the fifth axis
        data = data[:, :, :, 0]
    if data.ndim <= 3:
        return _classes_of_labels(data, path, class_names)
    return _classes_of_channels(np.moveaxis(data, -1, 0), path, class_names)


def _nnunet_probabilities(path, image, n_classes):
    """Read nnU-Net's softmax output: ``probabilities`` of shape (C + 1, z, y, x), background first."""
    data = load_npz_array(path, "probabilities", n_axes=4, what="nnU-Net archive")
    data = np.moveaxis(data.T, -1, 0)
    if data.shape != (n_classes + 1, *image.shape[:3]):
        raise InputError(
            f"{path} must hold background and {n_classes} classes on the grid {image.shape[:3]}, got {data.shape}."
        )
    orientation = nibabel.io_orientation(image.affine)
    return np.stack([nibabel.apply_orientation(channel, orientation) for channel in data[1:]])


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


def load_masks(label_set, nested):
    """Read the raters' masks of an image onto ``(R, C, *spatial)`` in closest canonical (RAS+) orientation.

    Args:
        label_set (bids.LabelSet): The files.
        nested (list): Suffixes by class and rater.

    Returns:
        tuple: ``(masks, first image)``; uint8 if every value is a whole number of at most 255, else float32.

    Raises:
        InputError: If a mask is missing or lies on another grid; the message names it.
    """
    missing = label_set.missing(nested)
    if missing:
        names = ", ".join(label_set.image_stem + suffix for _, suffix in missing)
        raise InputError(
            f"{label_set.image_stem} lacks the masks {names}. Every rater must have marked every class (an empty mask "
            "is a mask); add the files or leave the rater out of target_suffix."
        )
    n_classes, n_raters = len(nested), len(nested[0])
    first, masks = None, None
    for class_index, paths in enumerate(label_set.files):
        for rater_index, path in enumerate(paths):
            image = load_image(path)
            if first is None:
                first, first_path = image, path
            check_grid(image, path, first, str(first_path))
            data = _volume(image, path)
            if masks is None:
                # the axes are laid out as NIfTI stores them, so that reading needs no transposition
                masks = np.empty((n_raters, n_classes, *data.shape[::-1]), np.uint8)
                masks = masks.transpose(0, 1, *range(masks.ndim - 1, 1, -1))
            if masks.dtype == np.uint8 and not _is_uint8(data):
                masks = masks.astype(np.float32)
            masks[rater_index, class_index] = data
    return masks, first


def _is_uint8(data):
    if data.dtype == np.uint8:
        return True
    with np.errstate(invalid="ignore"):
        return bool(np.array_equal(data, data.astype(np.uint8)))


def load_background(bids_dirs, image_stem, like):
    """Return the raw image ``(*spatial)`` in canonical orientation, or None if there is none on the masks' grid."""
    for bids_dir in bids_dirs:
        for extension in bids.IMAGE_EXTENSIONS:
            for path in sorted(Path(bids_dir).glob(f"sub-*/**/{image_stem}{extension}")):
                image = load_image(path)
                if same_grid(image, like):
                    return _volume(image, path)
    return None


def canonical_voxel_size_mm(image):
    """Return the voxel size of the axes in canonical orientation, in mm."""
    return tuple(float(size) for size in nibabel.affines.voxel_sizes(_canonical_grid(image)[1]))


def same_grid(image, like):
    """Whether two images, in canonical orientation, have the same shape and place, to 0.01 voxel at every corner."""
    (shape, affine), (like_shape, like_affine) = _canonical_grid(image), _canonical_grid(like)
    if shape != like_shape:
        return False
    corners = np.array(np.meshgrid(*([0, size - 1] for size in shape), indexing="ij")).reshape(3, -1).T
    moved = nibabel.affines.apply_affine(affine, corners) - nibabel.affines.apply_affine(like_affine, corners)
    return bool(np.abs(moved).max() <= 0.01 * nibabel.affines.voxel_sizes(like_affine).min())


def _canonical_grid(image):
    """Return shape and affine that a volume has in closest canonical orientation, without reading it."""
    orientation = nibabel.io_orientation(image.affine)
    order = np.argsort(orientation[:, 0])
    shape = tuple(image.shape[axis] for axis in order)
    return shape, image.affine @ nibabel.orientations.inv_ornt_aff(orientation, image.shape[:3])


def check_grid(image, path, like, like_name):
    """Refuse an image on another grid, showing both shapes and affines.

    Raises:
        InputError: If the grids differ.
    """
    if len(image.shape) < 3:
        raise InputError(f"{path} must be a volume of at least three axes, got the shape {image.shape}.")
    if not same_grid(image, like):
        raise InputError(
            f"{path} must lie on the grid of {like_name}.\n"
            f"  its shape {image.shape[:3]}, affine\n{_indented(image.affine)}\n"
            f"  expected  {like.shape[:3]}, affine\n{_indented(like.affine)}\n"
            "Resample the prediction to the native space of the image first."
        )


def _indented(affine):
    return "\n".join("    " + line for line in np.array2string(affine, precision=4, suppress_small=True).splitlines())


def _canonical(image, path):
    try:
        data = np.asanyarray(nibabel.as_closest_canonical(image).dataobj)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read to its end: {error}. It may be damaged; copy it anew.") from None
    return check_dtype(str(path), data)


def _volume(image, path):
    data = _canonical(image, path)
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise InputError(f"{path} must hold one volume, got the shape {image.shape}.")
    return data
