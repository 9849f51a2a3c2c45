"""Names of image and label files: one grammar for every entrance.

An image is ``sub-01_ses-02_acq-ax_T2w.nii.gz``: entities, then the contrast. A label file is the image's stem and a
suffix as in ivadomed's ``target_suffix``: ``sub-01_FLAIR`` and ``_desc-rater1_label-lesion_seg``.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ivadomed_labelfusion.errors import InputError

NIFTI_EXTENSIONS = (".nii.gz", ".nii")
PICTURE_EXTENSIONS = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
IMAGE_EXTENSIONS = (*NIFTI_EXTENSIONS, *PICTURE_EXTENSIONS)
# what says whose image it is; everything else says which image of them
_WHOSE = ("sub", "ses")


def stem(path) -> str:
    """Return the file name without the extension of an image."""
    name = os.path.basename(path)
    for extension in IMAGE_EXTENSIONS:
        if name.lower().endswith(extension):
            return name[: -len(extension)]
    return name.split(".")[0]


def is_image(name: str) -> bool:
    """Tell from its name whether a file is an image or a mask."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


@dataclass(frozen=True)
class Name:
    """A name taken apart.

    Attributes:
        entities (dict): ``{"sub": "01", "acq": "ax"}``, in the order of the name.
        suffix (str): ``T2w``; empty if the name ends with an entity.
    """

    entities: dict
    suffix: str

    @property
    def subject(self) -> str:
        """``sub-01``."""
        return f"sub-{self.entities.get('sub', '')}"


def parse(name) -> Name:
    """Take a file name or stem apart; parts without a dash are the suffix."""
    parts = stem(name).split("_")
    entities = dict(part.split("-", 1) for part in parts if "-" in part)
    return Name(entities, "_".join(part for part in parts if part and "-" not in part))


def subject_of(name) -> str:
    """Return ``sub-01`` of a file name or stem."""
    return stem(name).split("_")[0]


def entity(key: str, text: str) -> str | None:
    """Return the value of an entity in a name or suffix, such as ``rater1`` for ``desc``; None if it is not there."""
    match = re.search(rf"(?:^|_){key}-([A-Za-z0-9]+)", text)
    return match.group(1) if match else None


def natural(text: str) -> list:
    """Return a key that sorts ``rater2`` before ``rater10``."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def acquisition_key(filename) -> str:
    """Return whose image it is: ``sub-01`` or ``sub-01_ses-02``."""
    return "_".join(part for part in stem(filename).split("_") if part.split("-")[0] in _WHOSE)


def contrast_name(filename) -> str:
    """Return the rest of the stem: ``FLAIR``, ``ce-gadolinium_T1w``, ``acq-ax_T2w``."""
    return "_".join(part for part in stem(filename).split("_") if part.split("-")[0] not in _WHOSE)


def has_contrast(filename, contrast: str) -> bool:
    """Tell whether a file is an image of a contrast: its BIDS suffix, and the entities that the contrast names."""
    own, asked = parse(filename), parse(contrast)
    return own.suffix == asked.suffix and asked.entities.items() <= own.entities.items()


def images_of_contrasts(filenames: Iterable[str], contrasts: Sequence[str]) -> dict[tuple[str, str], list[str]]:
    """Return all images of every contrast: each ``acq-``, ``run-`` and session.

    An image with a contrast agent (``ce-``) that the contrast does not name is another contrast, if the session has one
    without.

    Args:
        filenames (iterable of str): Image files.
        contrasts (sequence of str): Contrasts of the configuration.

    Returns:
        dict: ``(sub-01 or sub-01_ses-02, contrast)`` to the file names, in the order of ``filenames``.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for name in filenames:
        for contrast in contrasts:
            if has_contrast(name, contrast):
                found.setdefault((acquisition_key(name), contrast), []).append(name)
    for (_, contrast), names in found.items():
        plain = [name for name in names if "ce" not in parse(name).entities]
        if plain and "ce" not in parse(contrast).entities:
            names[:] = plain
    return found


def channel_files(filenames: Iterable[str], contrasts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Tell which file of each acquisition belongs to which contrast, where contrasts are channels of one input.

    A contrast is a BIDS suffix (``T1w``), or entities and suffix (``ce-gadolinium_T1w``). The exact name wins; a bare
    suffix else takes the one remaining file with that suffix. Several runs (or other entities that come in several
    values) of one session are acquisitions of their own; a channel that exists once belongs to all of them.

    Args:
        filenames (iterable of str): Image files.
        contrasts (sequence of str): Contrasts of the configuration.

    Returns:
        dict: Acquisition (``sub-01``, ``sub-01_ses-02``, ``sub-01_run-1``) -> dict of contrast -> file name; contrasts
        without a file are absent.

    Raises:
        InputError: If two files fit one contrast equally well and no entity tells the acquisitions apart.
    """
    groups: dict[str, list[str]] = {}
    for filename in filenames:
        groups.setdefault(acquisition_key(filename), []).append(filename)
    found = {}
    for acquisition, members in groups.items():
        for extra, part in _acquisitions(sorted(members), contrasts):
            found["_".join(filter(None, (acquisition, extra)))] = _by_contrast(part, contrasts)
    return found


def _acquisitions(members, contrasts):
    """Return ``(entity, files)`` of each acquisition of one session; the entity is empty if there is only one."""
    if _ambiguous(members, contrasts) is None:
        return [("", members)]
    named = {key for contrast in contrasts for key in parse(contrast).entities}
    keys = dict.fromkeys(key for name in members for key in parse(name).entities)
    for key in sorted(keys, key=lambda key: key != "run"):
        if key in _WHOSE or key in named:
            continue
        values = dict.fromkeys(parse(name).entities.get(key) for name in members)
        parts = {
            value: [name for name in members if parse(name).entities.get(key) in (value, None)]
            for value in values
            if value is not None
        }
        if len(parts) > 1 and all(_ambiguous(part, contrasts) is None for part in parts.values()):
            return [
                (f"{key}-{value}", part) for value, part in sorted(parts.items(), key=lambda item: natural(item[0]))
            ]
    return [("", members)]


def _ambiguous(members, contrasts):
    try:
        _by_contrast(members, contrasts)
    except InputError as error:
        return error
    return None


def _by_contrast(filenames, contrasts):
    by_name = {contrast_name(filename): filename for filename in filenames}
    chosen = {contrast: by_name[contrast] for contrast in contrasts if contrast in by_name}
    for contrast in sorted(contrasts, key=lambda contrast: -len(parse(contrast).entities)):
        if contrast in chosen:
            continue
        left = [name for name in filenames if has_contrast(name, contrast) and name not in chosen.values()]
        if len(left) > 1:
            raise InputError(
                f"The contrast {contrast!r} fits {' and '.join(sorted(left))}. Name one in contrast_params with its "
                f"entities, for example {contrast_name(sorted(left)[0])!r}."
            )
        if left:
            chosen[contrast] = left[0]
    return {contrast: chosen[contrast] for contrast in contrasts if contrast in chosen}


def owner(label_stem: str, suffixes: Iterable[str], image_stems: Iterable[str] = ()) -> tuple[str, str] | None:
    """Tell which image a label file belongs to, and which of the suffixes it has.

    Args:
        label_stem (str): Stem of the label file.
        suffixes (iterable of str): The suffixes asked for.
        image_stems (iterable of str): Images of the subject that exist; none if they are not at hand.

    Returns:
        tuple or None: ``(image stem, suffix)``. An image that exists decides: the longest one that the label's name
        begins with. Otherwise the image's stem must end with a contrast (no image is called
        ``sub-01_FLAIR_desc-rater2``), and the longest suffix wins. None if the label has none of the suffixes.
    """
    begun = [name for name in image_stems if label_stem.startswith(name) and label_stem != name]
    begun = [name for name in begun if not label_stem[len(name)].isalnum()]
    if begun:
        rests = ((name, label_stem[len(name) :]) for name in sorted(begun, key=len, reverse=True))
        return next(((name, rest) for name, rest in rests if rest in suffixes), None)
    for suffix in sorted(suffixes, key=len, reverse=True):
        image_stem = label_stem.removesuffix(suffix)
        if image_stem == label_stem or not image_stem:
            continue
        ends_with_contrast = "-" not in image_stem.rsplit("_", 1)[-1]
        if ends_with_contrast or not contrast_name(image_stem):
            return image_stem, suffix
    return None
