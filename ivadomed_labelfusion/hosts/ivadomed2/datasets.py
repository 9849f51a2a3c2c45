"""Datasets for several raters: which files make a sample, and which rater a sample is trained on.

The classes replace ivadomed's ``BidsDataset`` and ``Bids3DDataset``. With a plain ``target_suffix`` and one channel
they are exactly those; otherwise they build the list of files themselves and cut every sample to one rater
before ivadomed's own code sees it.
"""

import copy
import dataclasses

import numpy as np
from ivadomed.keywords import MetadataKW, ModelParamsKW
from ivadomed.loader import film as imed_film
from ivadomed.loader.bids3d_dataset import Bids3DDataset
from ivadomed.loader.bids_dataset import BidsDataset
from ivadomed.loader.mri2d_segmentation_dataset import MRI2DSegmentationDataset
from ivadomed.loader.mri3d_subvolume_segmentation_dataset import MRI3DSubVolumeSegmentationDataset
from ivadomed.object_detection import utils as imed_obj_detect
from loguru import logger
from tqdm import tqdm

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.data.entities import stem
from ivadomed_labelfusion.data.labels import plain_label
from ivadomed_labelfusion.data.masks import load_masks
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2.boxes import box_of
from ivadomed_labelfusion.hosts.ivadomed2.dataframe import complete_acquisitions
from ivadomed_labelfusion.hosts.ivadomed2.images import check_channels
from ivadomed_labelfusion.hosts.ivadomed2.labels import FusedLabels, MarkedImage, OwnLabels
from ivadomed_labelfusion.hosts.ivadomed2.speed.compact import PackedItems
from ivadomed_labelfusion.hosts.ivadomed2.speed.samples import QuickSamples
from ivadomed_labelfusion.hosts.passes import Passes
from ivadomed_labelfusion.sampling import youden_weights


class RaterSamples(QuickSamples):
    """The part that 2D and 3D datasets share."""

    plan = None
    passes = None

    def start_epoch(self):
        """Move on to the draws of the next epoch."""
        super().start_epoch()
        if self.plan is not None:
            self.plan.epoch += 1
        if self.passes is not None:
            self.passes.restart()

    def skip_epochs(self, done):
        """Go on with the draws after so many epochs."""
        super().skip_epochs(done)
        if self.plan is not None:
            self.plan.epoch = done

    def count_passes(self):
        """Draw anew in every pass over the loaded dataset, whatever loader makes it."""
        self.passes = Passes(len(self))

    def write_references(self):
        """Write the reference labels of all images, which ivadomed reads for threshold analysis and testing."""
        for masks in getattr(self, "masks", []):
            self.reference.write(masks)

    def _prepare_labels(self, bids_df, images_of, plan):
        """Return ``{acquisition: ground-truth files per class}`` and remember the masks of every image."""
        self.plan = plan
        self.masks, self.volume_of, targets, codings = [], {}, {}, {}
        paths = dict(zip(bids_df.df["filename"], bids_df.df["path"], strict=True))
        if bids_df.several_raters:
            self.reference = FusedLabels(bids_df.fused_folder, bids_df.nested, bids_df.reference_method, cut_soft=True)
            fused = self._fused_labels(bids_df, plan)
        else:
            self.reference = fused = OwnLabels(bids_df.nested)
        progress = tqdm(images_of.items(), desc="Fusing labels" if fused else "Finding labels", disable=not fused)
        for acquisition, images in progress:
            marked = bids_df.marked_image(images)
            if marked is None:
                logger.warning(f"No mask for {acquisition}. Skipping it.")
                continue
            check_channels([paths[image] for image in images])
            if fused is None:
                marked = self._readable(bids_df, marked, codings)
                targets[acquisition] = [[str(path) for path in row] for row in marked.labels.files]
            else:
                targets[acquisition] = fused.write(marked)
            for image in images:
                self.volume_of[stem(image)] = len(self.masks)
            self.masks.append(marked)
        self._say_who_is_missing(bids_df.nested)
        bids_df.say_codings(codings if fused is None else getattr(fused, "codings", {}))
        self.cut_to_rater = fused is None
        self._weights = {}
        return targets

    def _readable(self, bids_df, marked, codings):
        """Return the masks with copies in the place of those that ivadomed would misread."""
        rows = []
        for class_index, row in enumerate(marked.labels.files):
            rows.append([])
            for rater, path in enumerate(row):
                name = marked.labels.describe(class_index, rater)
                plain, codings[path] = plain_label(
                    path, name, marked.labels.image, bids_df.read_folder, soft=self.soft_gt
                )
                rows[-1].append(plain)
        labels = dataclasses.replace(marked.labels, files=tuple(map(tuple, rows)))
        return dataclasses.replace(marked, labels=labels)

    def _say_who_is_missing(self, nested):
        for rater, suffix in enumerate(nested[0]):
            without = [masks.image_stem for masks in self.masks if rater not in masks.raters]
            if without:
                examples = ", ".join(without[:5]) + (", ..." if len(without) > 5 else "")
                logger.warning(
                    f"Rater {suffix!r} lacks masks and is left out for {len(without)} of {len(self.masks)} images "
                    f"of the {self.plan.role} set: {examples}."
                )

    def _fused_labels(self, bids_df, plan):
        if plan.role == "testing":
            return self.reference
        if plan.fuse is None:
            return None
        options = dict(plan.fuse.options)
        ties = None
        if fusion.METHODS[plan.fuse.method].soft and not self.soft_gt:
            # ivadomed binarises the averages at >= 0.5
            ties = options.pop("ties", "background")
        return FusedLabels(bids_df.fused_folder, bids_df.nested, plan.fuse.method, options, average_ties=ties)

    def _weights_of(self, volume):
        weights = self.plan.sample.weights
        if self.plan.sample.policy != "weighted":
            return None
        masks = self.masks[volume]
        if weights != "staple":
            n_raters = len(self.reference.nested[0])
            if len(weights) != n_raters:
                raise InputError(
                    f"transformation.SampleRater.weights must be {n_raters} numbers, one per rater, got {weights!r}."
                )
            return [weights[rater] for rater in masks.raters]
        if volume not in self._weights:
            arrays = load_masks(masks.labels, soft=False).masks
            results = [fusion.staple(arrays[:, index]) for index in range(arrays.shape[1])]
            self._weights[volume] = youden_weights(
                [result.sensitivity for result in results], [result.specificity for result in results]
            )
        return self._weights[volume]

    def _one_rater(self, pair, sample_index):
        """Return the sample with one rater's masks, the same person for every class, sharing the arrays."""
        n_passes = 0 if self.passes is None else self.passes.number(sample_index)
        rater = self._draw_rater(pair[MetadataKW.INPUT_METADATA], sample_index, n_passes)
        return {
            **pair,
            "gt": [row[rater] for row in pair["gt"]],
            MetadataKW.GT_METADATA: [row[rater] for row in pair[MetadataKW.GT_METADATA]],
        }

    def _draw_rater(self, input_metadata, sample_index, n_passes=0):
        volume = self.volume_of[stem(input_metadata[0][MetadataKW.INPUT_FILENAMES])]
        masks: MarkedImage = self.masks[volume]
        return self.plan.draw(masks, sample_index, volume, self._weights_of(volume), n_passes=n_passes)

    def _choose(self, index):
        """Return what a sample of this epoch is made of, for whole batches."""
        chosen = super()._choose(index)
        if self.plan is None or not self.cut_to_rater:
            return chosen
        rater = self._draw_rater(chosen.input_metadata, index)
        masks = [row[rater] for row in chosen.masks]
        return dataclasses.replace(chosen, masks=masks, gt_metadata=[row[rater] for row in chosen.gt_metadata])

    def batch(self, indices):
        """Return a whole batch, see `QuickSamples`, with the reference labels named as in single samples."""
        batch = super().batch(indices)
        if self.plan is not None:
            for images, labels in zip(batch[MetadataKW.INPUT_METADATA], batch[MetadataKW.GT_METADATA], strict=True):
                paths = self.reference_of(images[0][MetadataKW.INPUT_FILENAMES])
                for metadata in labels:
                    metadata[MetadataKW.GT_FILENAMES] = paths
        return batch

    def _name_reference(self, sample):
        """Name the reference labels in a sample; ivadomed compares reconstructed volumes with these files."""
        paths = self.reference_of(sample[MetadataKW.INPUT_METADATA][0][MetadataKW.INPUT_FILENAMES])
        for metadata in sample[MetadataKW.GT_METADATA]:
            metadata[MetadataKW.GT_FILENAMES] = paths
        return sample

    def reference_of(self, image):
        """Return the files of the reference labels, one per class, of the volume with this image file."""
        return self.reference.paths(self.masks[self.volume_of[stem(image)]].image_stem)

    def _as_single(self, **replaced):
        """Return a shallow copy of this dataset on which ivadomed's own code can work."""
        single = copy.copy(self)
        single.__dict__.update(disk_cache=False, **replaced)
        return single


class _AnyRater:
    """Handlers with the union of the raters as ground truth, for patch filters; built one at a time."""

    def __init__(self, load, handlers):
        self.load = load
        self.handlers = handlers

    def __len__(self):
        return len(self.handlers)

    def __getitem__(self, index):
        pair, roi = self.load(self.handlers[index])
        return {**pair, "gt": [np.maximum.reduce(row) for row in pair["gt"]]}, roi


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
