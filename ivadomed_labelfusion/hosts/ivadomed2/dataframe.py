"""ivadomed's table of BIDS files: images and metadata from pybids, label files from the data room."""

import os
from pathlib import Path

import bids as pybids
import pandas as pd
from ivadomed.loader.bids_dataframe import BidsDataframe
from loguru import logger

from ivadomed_labelfusion.coding import coding_note
from ivadomed_labelfusion.config.check import is_nested
from ivadomed_labelfusion.data.bids import DERIVATIVES, check_subjects_apart, label_files, one_path, walk
from ivadomed_labelfusion.data.entities import channel_files, images_of_contrasts, stem, subject_of
from ivadomed_labelfusion.data.labels import plain_label
from ivadomed_labelfusion.data.raters import ALLOW_IN_CONFIG, LabelSet, nested_target_suffix
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2.labels import MarkedImage


def complete_acquisitions(filenames, contrasts):
    """Return the channels of every acquisition that has all of them; the others are skipped with a warning.

    Args:
        filenames (iterable of str): Image files.
        contrasts (list of str): ``contrast_lst`` of the configuration.

    Returns:
        dict: ``sub-01`` or ``sub-01_ses-02`` -> list of file names in the order of ``contrasts``.

    Raises:
        InputError: If two files fit one contrast equally well.
    """
    complete = {}
    for acquisition, channels in channel_files(filenames, contrasts).items():
        missing = [contrast for contrast in contrasts if contrast not in channels]
        if missing:
            logger.warning(f"{acquisition} has no {', '.join(missing)}, which the model needs. Skipping it.")
            continue
        complete[acquisition] = [channels[contrast] for contrast in contrasts]
    return complete


class RaterBidsDataframe(BidsDataframe):
    """``BidsDataframe`` whose files are known by their paths.

    Labels are found by the data room: a label is one file, whatever folders it lies in, and the datasets' subjects must
    differ. Beyond ivadomed's own, with several raters per class or several contrasts as channels: suffixes match
    exactly; the masks of one contrast stand for the whole acquisition; ``T1w`` and ``ce-gadolinium_T1w`` are different
    contrasts. A label of a single rater that ivadomed would misread (0/255, scaled, turned) is replaced by a copy.

    Attributes:
        path_output (str): Output folder of the run.
        nested (list of list of str or None): The raters' suffixes per class; None where ivadomed's own rules apply.
        several_raters (bool): Whether ``target_suffix`` lists several raters.
        reference_method (str): Fusion method of the reference for testing and threshold analysis.
    """

    reference_method = "staple"

    def __init__(self, loader_params, path_output, derivatives, split_method=None):
        suffix = loader_params["target_suffix"]
        self.path_output = path_output
        self.multichannel = bool(loader_params.get("multichannel"))
        self.several_raters = is_nested(suffix)
        contrasts = loader_params["contrast_params"].get("contrast_lst", [])
        own_rules = self.several_raters or self.multichannel or any("_" in contrast for contrast in contrasts)
        self.nested = nested_target_suffix(suffix) if own_rules else None
        self.allow_missing = bool(loader_params.get("allow_missing_raters"))
        # stem of every label that is used -> its path
        self.labels = {}
        super().__init__(loader_params, path_output, derivatives, split_method)

    def create_bids_dataframe(self):
        """Fill ``df``: one row per image with its metadata, then one per label file.

        Raises:
            InputError: If no image or no label fits the configuration, a label exists twice, or two datasets have a
                subject of one name.
        """
        folders = list({os.path.realpath(folder): Path(folder) for folder in self.paths_data}.values())
        frames = {folder: frame for folder in folders if not (frame := self._images_of(folder)).empty}
        if not frames:
            raise InputError(
                "no image has a contrast of contrast_params. Check path_data, contrast_params and extensions, and that "
                "the datasets comply with BIDS."
            )
        check_subjects_apart({folder: set(frame["filename"].map(subject_of)) for folder, frame in frames.items()})
        self.df = pd.concat(frames.values(), join="outer", ignore_index=True)
        self._drop_without_split_method()
        if self.derivatives:
            self._add_labels(frames)
        self.df.reset_index(drop=True, inplace=True)
        self.df.dropna(axis=1, inplace=True, how="all")

    def _images_of(self, folder):
        """Return the rows of one dataset's images of the configuration's contrasts."""
        indexer = pybids.BIDSLayoutIndexer(force_index=_ct_folders(folder), validate=self.bids_validate)
        layout = pybids.BIDSLayout(str(folder), config=self.bids_config, indexer=indexer, derivatives=False)
        frame = layout.to_df(metadata=True)
        if "suffix" not in frame:
            frame["suffix"] = None
        frame.insert(1, "filename", frame["path"].map(os.path.basename))
        relative = frame["path"].map(lambda path: Path(os.path.relpath(path, layout.root)).parts[0])
        frame = frame[(relative != DERIVATIVES) & ~frame["filename"].str.endswith((".json", ".tsv", "LICENSE"))]
        frame = frame[frame["filename"].str.endswith(tuple(self.extensions))]
        frame = frame[self._has_contrast(frame)]
        if frame.empty:
            logger.warning(f"No subject files were found in '{folder}' dataset. Skipping dataset.")
            return frame
        return self.add_tsv_metadata(frame.copy(), folder, layout)

    def _has_contrast(self, frame):
        # --segment lists no contrasts and takes every image
        if self.nested is None or not self.contrast_lst:
            return frame["suffix"].str.contains("|".join(self.contrast_lst), na=False)
        if not self.multichannel:
            images = images_of_contrasts(frame["filename"], self.contrast_lst).values()
            return frame["filename"].isin({name for names in images for name in names})
        acquisitions = channel_files(frame["filename"], self.contrast_lst)
        return frame["filename"].isin({name for channels in acquisitions.values() for name in channels.values()})

    def _drop_without_split_method(self):
        if not self.split_method:
            return
        lacking = self.df[self.df[self.split_method].isnull()]["filename"].tolist()
        if lacking:
            logger.warning(
                f"The following files don't have the '{self.split_method}' metadata indicated as the split_method in "
                f"the configuration JSON file. Skipping these files: {lacking}"
            )
            self.df = self.df[~self.df["filename"].isin(lacking)]

    def _add_labels(self, folders):
        """Keep the images that have labels (their own, or of another channel), and append rows of these labels."""
        images = dict(zip(self.df["filename"].map(stem), self.df["path"].map(Path), strict=True))
        available, seen = {}, {}
        for folder in folders:
            if (folder / DERIVATIVES).is_dir():
                # ivadomed leaves a NIfTI copy beside every picture
                found = {
                    name: [path for path in paths if path.name.endswith(tuple(self.extensions))]
                    for name, paths in label_files(folder).items()
                }
                seen |= {name: paths for name, paths in found.items() if paths}
        for image_stem in images:
            available[image_stem] = {
                name: one_path(seen[name]) for name in self._names_of_labels(image_stem, seen) if name in seen
            }
        kept = self._with_labels(images, available)
        if not any(available[image_stem] for image_stem in kept):
            raise InputError(self._no_label_message(images, seen))
        for image_stem in kept:
            self.labels |= available[image_stem]
        if not self.several_raters:
            self._replace_unreadable(images, {image_stem: available[image_stem] for image_stem in kept})
        paths = [str(path) for path in self.labels.values()]
        # the suffix of the original file: a copy may have another extension
        rows = pd.DataFrame({"path": paths, "filename": [os.path.basename(path) for path in paths]})
        self.df = pd.concat([self.df[self.df["filename"].map(stem).isin(kept)], rows], ignore_index=True)

    def _names_of_labels(self, image_stem, seen):
        """Return the stems of the labels that an image may have."""
        if self.nested is not None:
            return [image_stem + suffix for suffix in dict.fromkeys(self.target_suffix)]
        # a single rater: as in ivadomed, anything may stand between the image's stem and the suffix
        return [name for name in seen if image_stem in name and name.endswith(tuple(self.target_suffix))]

    def _with_labels(self, images, available):
        """Return the stems of the images that are kept."""
        groups = {image_stem: [image_stem] for image_stem in images}
        if self.multichannel and self.nested is not None:
            channels = channel_files([path.name for path in images.values()], self.contrast_lst)
            groups = {key: [stem(name) for name in files.values()] for key, files in channels.items()}
        kept = {}
        for members in groups.values():
            has_label = any(available[member] for member in members)
            has_roi = not self.roi_suffix or self.nested is not None
            has_roi = has_roi or any(name.endswith(self.roi_suffix) for name in available[members[0]])
            if not has_roi:
                logger.warning(f"Missing roi_suffix {self.roi_suffix} for {members[0]}. Skipping file.")
            elif has_label:
                kept |= dict.fromkeys(members)
        for image_stem in images:
            if image_stem not in kept:
                logger.warning(f"Missing derivatives for {images[image_stem].name}. Skipping file.")
        return list(kept)

    def _replace_unreadable(self, images, available):
        """Replace labels of a single rater that ivadomed would misread by copies."""
        codings = {}
        for image_stem, labels in available.items():
            for name, path in labels.items():
                is_roi = bool(self.roi_suffix) and name.endswith(self.roi_suffix)
                label = f"the {'region of interest' if is_roi else 'label'} {path}"
                self.labels[name], codings[path] = plain_label(
                    path, label, images[image_stem], self.read_folder, soft=True, any_values=is_roi
                )
        self.say_codings(codings)

    @staticmethod
    def say_codings(codings):
        """Warn once of all masks that were not coded 0 and 1."""
        note = coding_note({path.name: coding for path, coding in sorted(codings.items()) if coding is not None})
        if note:
            logger.warning(note)

    def _no_label_message(self, images, seen):
        """Return what labels there are instead, for a ``target_suffix`` that none of them has."""
        rests = {label.removeprefix(name) for label in seen for name in images if label.startswith(name)}
        shown = ", ".join(sorted(rests)[:8]) + (" and more" if len(rests) > 8 else "")
        return (
            f"no image has a label that ends with target_suffix ({', '.join(self.target_suffix)}). Labels of these "
            f"images end with: {shown or 'there are none'}. Check target_suffix, contrast_params and path_data."
        )

    def is_label(self):
        """Return for each row of ``df`` whether it is a label file (a bool Series)."""
        return self.df["path"].isin({str(path) for path in self.labels.values()})

    def get_subject_fnames(self):
        """Return the file names of the images."""
        return self.df[~self.is_label()]["filename"].to_list()

    def get_deriv_fnames(self):
        """Return the file names of the labels."""
        return self.df[self.is_label()]["filename"].to_list()

    def label_path(self, image_stem, suffix):
        """Return the path of the label ``<image_stem><suffix>``, or None."""
        return self.labels.get(image_stem + suffix)

    def marked_image(self, images):
        """Return who marked one acquisition.

        Args:
            images (list of str): Its image files, channels in order. The first that has any mask owns the label.

        Returns:
            MarkedImage or None: None if no channel has a mask.

        Raises:
            InputError: If a rater's mask is missing and that is not allowed.
        """
        paths = dict(zip(self.df["filename"], self.df["path"], strict=True))
        for image in images:
            image_stem = stem(image)
            table = tuple(tuple(self.label_path(image_stem, suffix) for suffix in row) for row in self.nested)
            if not any(path for row in table for path in row):
                continue
            nested = tuple(tuple(row) for row in self.nested)
            labels = LabelSet(image_stem, table, nested, Path(paths[image]))
            if not self.several_raters:
                # ivadomed takes a missing class of a single rater for an empty one
                return MarkedImage(labels, (0,))
            raters = labels.present(allow_missing=self.allow_missing, cure=ALLOW_IN_CONFIG)
            return MarkedImage(labels.of_raters(raters), tuple(raters))
        return None

    @property
    def fused_folder(self):
        """Folder for the fused labels of this run."""
        return Path(self.path_output, "fused_labels")

    @property
    def read_folder(self):
        """Folder for copies of labels that ivadomed would misread."""
        return Path(self.path_output, "read_labels")


def _ct_folders(folder):
    """Return the folders of CT images, which pybids does not index by itself, below the root."""
    found = set()
    for subject in folder.glob("sub*"):
        for path in walk(subject):
            is_ct = stem(path).endswith(("ct", "CT")) and path.name.endswith((".nii", ".nii.gz"))
            if is_ct and path.parent.name in ("anat", "ct"):
                found.add(str(path.parent.relative_to(folder)))
    return sorted(found)
