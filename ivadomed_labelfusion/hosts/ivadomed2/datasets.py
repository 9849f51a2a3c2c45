"""Datasets for several raters: which files make a sample, and which rater a sample is trained on.

The classes replace ivadomed's ``BidsDataset`` and ``Bids3DDataset``. With a plain ``target_suffix`` and one channel
they are exactly those; otherwise they build the list of files themselves and cut every sample to one rater
before ivadomed's own code sees it.
"""

from ivadomed.keywords import MetadataKW, ModelParamsKW
from ivadomed.loader import film as imed_film
from ivadomed.loader.bids3d_dataset import Bids3DDataset
from ivadomed.loader.bids_dataset import BidsDataset
from ivadomed.loader.mri2d_segmentation_dataset import MRI2DSegmentationDataset
from ivadomed.loader.mri3d_subvolume_segmentation_dataset import MRI3DSubVolumeSegmentationDataset
from ivadomed.object_detection import utils as imed_obj_detect
from loguru import logger

from ivadomed_labelfusion.data.entities import stem
from ivadomed_labelfusion.data.labels import plain_label
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2.boxes import box_of
from ivadomed_labelfusion.hosts.ivadomed2.dataframe import complete_acquisitions
from ivadomed_labelfusion.hosts.ivadomed2.rater_samples import RaterSamples, _AnyRater
from ivadomed_labelfusion.hosts.ivadomed2.speed.compact import PackedItems


class RaterBidsDataset(RaterSamples, BidsDataset):
    """``BidsDataset`` for several raters, see the module."""

    def __init__(self, bids_df, subject_file_lst, target_suffix, contrast_params, model_params, **kwargs):
        self.speed = getattr(bids_df, "speed", None)
        plan = getattr(bids_df, "rater_plan", None)
        if plan is None:
            super().__init__(bids_df, subject_file_lst, target_suffix, contrast_params, model_params, **kwargs)
            return
        pairs = self._filename_pairs(bids_df, subject_file_lst, contrast_params, plan, **kwargs)
        self.filename_pairs = pairs
        MRI2DSegmentationDataset.__init__(
            self,
            pairs,
            length=model_params.get(ModelParamsKW.LENGTH_2D, []),
            stride=model_params.get(ModelParamsKW.STRIDE_2D, []),
            slice_axis=kwargs.get("slice_axis", 2),
            transform=kwargs.get("transform"),
            slice_filter_fn=kwargs.get("slice_filter_fn"),
            patch_filter_fn=kwargs.get("patch_filter_fn"),
            task=kwargs.get("task", "segmentation"),
            roi_params=self.roi_params,
            soft_gt=self.soft_gt,
            is_input_dropout=kwargs.get("is_input_dropout", False),
        )

    def _filename_pairs(
        self,
        bids_df,
        subject_file_lst,
        contrast_params,
        plan,
        *,
        roi_params=None,
        multichannel=False,
        metadata_choice=False,
        object_detection_params=None,
        slice_axis=2,
        soft_gt=False,
        **_,
    ):
        self.roi_params = roi_params if roi_params is not None else {"suffix": None, "slice_filter_roi": None}
        self.soft_gt = soft_gt
        if metadata_choice == MetadataKW.MRI_PARAMS:
            self.metadata = {"FlipAngle": [], "RepetitionTime": [], "EchoTime": [], "Manufacturer": []}
        images_of = self._images_of(sorted(subject_file_lst), contrast_params, multichannel)
        targets = self._prepare_labels(bids_df, images_of, plan)
        rows = bids_df.df.set_index("filename", drop=False)
        boxes = imed_obj_detect.load_bounding_boxes(
            object_detection_params,
            # of all sets: the boxes are kept in a file, which the next set reads
            bids_df.df.loc[~bids_df.is_label(), "path"].to_list(),
            slice_axis,
            contrast_params["contrast_lst"],
        )
        pairs = []
        for acquisition, target in targets.items():
            images = images_of[acquisition]
            roi = self._roi_file(bids_df, images)
            if self.roi_params["suffix"] is not None and roi is None:
                logger.warning(f"No {self.roi_params['suffix']} for {acquisition}. Skipping it.")
                continue
            metadata = [self._image_metadata(rows.loc[name], boxes, metadata_choice, bids_df) for name in images]
            if any(entry is None for entry in metadata):
                continue
            pairs.append((rows.loc[images, "path"].to_list(), target, roi, metadata))
        if not pairs:
            asked = "target_suffix" if self.roi_params["suffix"] is None else "target_suffix, roi_params.suffix"
            raise InputError(
                f"No image of the {plan.role} set has all it needs. Check {asked}, contrast_params and split_dataset."
            )
        return pairs

    @staticmethod
    def _images_of(filenames, contrast_params, multichannel):
        contrasts = contrast_params["contrast_lst"]
        if not multichannel:
            share = contrast_params.get("balance", {})
            if share:
                filenames = _balanced(filenames, share)
            return {stem(filename): [filename] for filename in filenames}
        return complete_acquisitions(filenames, contrasts)

    def _roi_file(self, bids_df, images):
        suffix = self.roi_params["suffix"]
        if suffix is None:
            return None
        paths = dict(zip(bids_df.df["filename"], bids_df.df["path"], strict=True))
        for image in images:
            roi = bids_df.label_path(stem(image), suffix)
            if roi is not None:
                name = f"the region of interest {roi}"
                return [str(plain_label(roi, name, paths[image], bids_df.read_folder, any_values=True)[0])]
        return None

    def _image_metadata(self, row, boxes, metadata_choice, bids_df):
        metadata = row.to_dict()
        metadata[MetadataKW.CONTRAST] = row["suffix"]
        if boxes:
            metadata[MetadataKW.BOUNDING_BOX] = box_of(boxes, str(row["path"]))
        if metadata_choice == MetadataKW.MRI_PARAMS:
            complete = [
                imed_film.check_isMRIparam(name, metadata, row["filename"], self.metadata) for name in self.metadata
            ]
            return metadata if all(complete) else None
        if metadata_choice and metadata_choice != MetadataKW.CONTRASTS:
            self.create_metadata_dict(metadata, metadata_choice, row.to_frame().T, bids_df)
        return metadata

    def _load(self, handler):
        if self.disk_cache:
            import pickle

            # written by this process into its own temporary folder
            with handler.open("rb") as stream:
                return pickle.load(stream)  # noqa: S301
        return handler

    def load_filenames(self):
        """Load the samples, packed into little memory where batches are made at once."""
        if self.speed is not None:
            name = "handlers" if self.is_2d_patch else "indexes"
            setattr(self, name, PackedItems())
            self.disk_cache = False
        super().load_filenames()
        self.prepare_batches(n_axes=2)

    def prepare_indices(self):
        """Store the coordinates of 2D patches; filters see the union of the raters."""
        if self.plan is None or not self.cut_to_rater:
            super().prepare_indices()
            return
        single = self._as_single(handlers=_AnyRater(self._load, self.handlers))
        BidsDataset.prepare_indices(single)

    def __getitem__(self, index):
        """Return a slice or patch as ivadomed does, with one rater's masks."""
        if self.plan is None:
            return super().__getitem__(index)
        if not self.cut_to_rater:
            return self._name_reference(super().__getitem__(index))
        key = self.indexes[index]["handler_index"] if self.is_2d_patch else index
        pair, roi = self._load(self.handlers[key] if self.is_2d_patch else self.indexes[index])
        item = {key: (self._one_rater(pair, index), roi)}
        single = self._as_single(handlers=item) if self.is_2d_patch else self._as_single(indexes=item)
        return self._name_reference(BidsDataset.__getitem__(single, index))


class RaterBids3DDataset(RaterSamples, Bids3DDataset):
    """``Bids3DDataset`` for several raters, see the module."""

    def __init__(self, bids_df, subject_file_lst, target_suffix, model_params, contrast_params, **kwargs):
        self.speed = getattr(bids_df, "speed", None)
        if getattr(bids_df, "rater_plan", None) is None:
            super().__init__(bids_df, subject_file_lst, target_suffix, model_params, contrast_params, **kwargs)
            return
        files = RaterBidsDataset(bids_df, subject_file_lst, target_suffix, contrast_params, model_params, **kwargs)
        for name in ("plan", "masks", "volume_of", "reference", "cut_to_rater", "_weights"):
            setattr(self, name, getattr(files, name))
        MRI3DSubVolumeSegmentationDataset.__init__(
            self,
            files.filename_pairs,
            length=model_params[ModelParamsKW.LENGTH_3D],
            stride=model_params[ModelParamsKW.STRIDE_3D],
            transform=kwargs.get("transform"),
            slice_axis=kwargs.get("slice_axis", 2),
            subvolume_filter_fn=kwargs.get("subvolume_filter_fn"),
            task=kwargs.get("task", "segmentation"),
            soft_gt=kwargs.get("soft_gt", False),
            is_input_dropout=kwargs.get("is_input_dropout", False),
        )

    def _load(self, handler):
        if self.disk_cache:
            import pickle

            # written by this process into its own temporary folder
            with handler[0].open("rb") as stream:
                return pickle.load(stream), None  # noqa: S301
        return handler

    def _load_filenames(self):
        if self.speed is not None:
            self.handlers, self.disk_cache = PackedItems(), False
        super()._load_filenames()

    def _prepare_indices(self):
        if self.plan is None or not self.cut_to_rater:
            super()._prepare_indices()
        else:
            single = self._as_single(handlers=_AnyRater(self._load, self.handlers))
            Bids3DDataset._prepare_indices(single)
        self.prepare_batches(n_axes=3)

    def __getitem__(self, subvolume_index):
        """Return a subvolume as ivadomed does, with one rater's masks."""
        if self.plan is None:
            return super().__getitem__(subvolume_index)
        if not self.cut_to_rater:
            return self._name_reference(super().__getitem__(subvolume_index))
        key = self.indexes[subvolume_index]["handler_index"]
        pair, roi = self._load(self.handlers[key])
        single = self._as_single(handlers={key: (self._one_rater(pair, subvolume_index), roi)})
        return self._name_reference(Bids3DDataset.__getitem__(single, subvolume_index))


def _balanced(filenames, share):
    """Keep the first part of every contrast named in ``balance``, as ivadomed does."""
    total = {contrast: sum(stem(name).endswith(f"_{contrast}") for name in filenames) for contrast in share}
    seen, kept = dict.fromkeys(share, 0), []
    for name in filenames:
        contrast = stem(name).split("_")[-1]
        if contrast in share:
            seen[contrast] += 1
            if seen[contrast] / total[contrast] > share[contrast]:
                continue
        kept.append(name)
    return kept
