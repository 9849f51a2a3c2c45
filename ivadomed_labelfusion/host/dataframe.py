"""ivadomed's table of BIDS files, with exact suffixes and channels told apart by their entities."""

from pathlib import Path

from ivadomed.loader.bids_dataframe import BidsDataframe
from loguru import logger

from ivadomed_labelfusion.config.check import is_nested
from ivadomed_labelfusion.data.bids import acquisition_key, channel_files, nested_target_suffix, stem
from ivadomed_labelfusion.data.labels import RaterMasks, complete_raters
from ivadomed_labelfusion.errors import InputError


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
    """``BidsDataframe`` for several raters per class and for several contrasts as channels.

    Beyond ivadomed's own: suffixes match exactly at the end of the file name; in a multichannel configuration the masks
    of one contrast stand for the whole acquisition; ``T1w`` and ``ce-gadolinium_T1w`` are different contrasts. Without
    either need it behaves as ivadomed's.

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
        super().__init__(loader_params, path_output, derivatives, split_method)

    def create_bids_dataframe(self):
        """Fill ``df``, as ivadomed does, then keep exactly the contrasts of the configuration."""
        wanted = self.contrast_lst
        # ivadomed selects by suffix; the entities are told apart afterwards
        self.contrast_lst = sorted({contrast.split("_")[-1] for contrast in wanted})
        super().create_bids_dataframe()
        self.contrast_lst = wanted
        # --segment lists no contrasts and takes every image
        if wanted and self.nested is not None:
            kept = self._contrast_files()
            image = ~self.df["path"].str.contains("derivatives")
            self.df = self.df[~image | self.df["filename"].isin(kept)].reset_index(drop=True)

    def _contrast_files(self):
        acquisitions = channel_files(self.get_subject_fnames(), self.contrast_lst)
        return {filename for channels in acquisitions.values() for filename in channels.values()}

    def get_subjects_with_derivatives(self):
        """Return the image files that have masks (their own, or of another channel), and those masks.

        Raises:
            InputError: If there are none.
        """
        if self.nested is None:
            return super().get_subjects_with_derivatives()
        images, labels = self.get_subject_fnames(), self.get_deriv_fnames()
        suffixes = tuple(self.target_suffix)
        own = {image: [name for name in labels if self._belongs(name, stem(image), suffixes)] for image in images}
        labelled = {acquisition_key(image) for image, names in own.items() if names}
        has_labels, kept = [], []
        for image, names in own.items():
            if names or (self.multichannel and acquisition_key(image) in labelled):
                has_labels.append(image)
                kept.extend(names)
            else:
                logger.warning(f"Missing derivatives for {image}. Skipping file.")
        if not kept:
            raise InputError(self._no_label_message(images))
        return has_labels, kept

    def _no_label_message(self, images):
        """Return what labels there are instead, for a ``target_suffix`` that none of them has."""
        stems = [stem(image) for image in images]
        labels = {stem(path) for folder in self.paths_data for path in Path(folder, "derivatives").rglob("sub-*.nii*")}
        rests = {label.removeprefix(name) for label in labels for name in stems if label.startswith(name)}
        shown = ", ".join(sorted(rests)[:8]) + (" and more" if len(rests) > 8 else "")
        return (
            f"no image has a label that ends with target_suffix ({', '.join(self.nested[0])}). Labels of these images "
            f"end with: {shown or 'there are none'}. Check target_suffix, contrast_params and path_data."
        )

    @staticmethod
    def _belongs(label, image_stem, suffixes):
        name = stem(label)
        return name.startswith(image_stem) and name[len(image_stem) :] in suffixes

    def label_path(self, image_stem, suffix):
        """Return the path of the label ``<image_stem><suffix>``, or None.

        Raises:
            InputError: If two label folders hold a file of that name.
        """
        rows = self.df[
            self.df["path"].str.contains("derivatives") & self.df["filename"].map(stem).eq(image_stem + suffix)
        ]
        paths = rows["path"].to_list()
        if len(paths) > 1:
            raise InputError(f"Two files are both the label {image_stem}{suffix}: {' and '.join(paths)}. Keep one.")
        return paths[0] if paths else None

    def rater_masks(self, images):
        """Return the masks of one acquisition.

        Args:
            images (list of str): Its image files, channels in order. The first that has any mask owns the label.

        Returns:
            RaterMasks or None: None if no channel has a mask.

        Raises:
            InputError: If a rater's mask is missing and that is not allowed.
        """
        paths = dict(zip(self.df["filename"], self.df["path"], strict=True))
        for image in images:
            image_stem = stem(image)
            table = [[self.label_path(image_stem, suffix) for suffix in row] for row in self.nested]
            if not any(path for row in table for path in row):
                continue
            if not self.several_raters:
                # ivadomed takes a missing class of a single rater for an empty one
                return RaterMasks(image_stem, paths[image], tuple(tuple(row) for row in table), (0,))
            raters = complete_raters(image_stem, table, self.nested, allow_missing=self.allow_missing)
            files = tuple(tuple(row[index] for index in raters) for row in table)
            return RaterMasks(image_stem, paths[image], files, tuple(raters))
        return None

    @property
    def fused_folder(self):
        """Folder for the fused labels of this run."""
        return Path(self.path_output, "fused_labels")
