"""What 2D and 3D datasets of several raters share: labels, draws of raters, references, batches."""

import copy
import dataclasses

import numpy as np
from ivadomed.keywords import MetadataKW
from loguru import logger
from tqdm import tqdm

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.data.entities import stem
from ivadomed_labelfusion.data.labels import plain_label
from ivadomed_labelfusion.data.masks import load_masks
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2.images import check_channels
from ivadomed_labelfusion.hosts.ivadomed2.labels import FusedLabels, MarkedImage, OwnLabels
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
