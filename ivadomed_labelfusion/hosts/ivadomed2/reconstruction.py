"""Putting predicted slices, patches and subvolumes together to one prediction per volume.

ivadomed closes a volume when its last slice, patch or subvolume arrives. Where a filter has dropped that one, volumes
run into one another. Here the loader marks the first and the last sample of each, whatever was filtered, and volumes of
which nothing is left get an empty prediction.
"""

from pathlib import Path

import nibabel
import numpy as np
import torch
from ivadomed import config_manager as imed_config_manager
from ivadomed import inference as imed_inference
from ivadomed import models as imed_models
from ivadomed import testing as imed_testing
from ivadomed import utils as imed_utils
from ivadomed.keywords import MetadataKW
from ivadomed.loader import utils as imed_loader_utils
from loguru import logger
from torch.utils.data import ConcatDataset

from ivadomed_labelfusion.hosts.ivadomed2.images import check_channels
from ivadomed_labelfusion.hosts.ivadomed2.training import EpochDataLoader

# keys in a sample's metadata: whether it is the first, or the last, of its slice (2D patches) or volume (3D)
STARTS, ENDS = "ivadomed_labelfusion_starts", "ivadomed_labelfusion_ends"


class NothingLeftError(Exception):
    """The slice filter has dropped every slice of the volume to segment."""


class VolumeDataLoader(EpochDataLoader):
    """Loader for inference: it looks one batch ahead and marks where slices and volumes begin and end.

    Samples must come in the order of the dataset, so that those of one volume follow each other.

    Attributes:
        seen (set of str): The first image file of every volume that had a sample in this pass.
    """

    # what is undone after inference is found in the metadata of single samples
    takes_batches = False

    def __iter__(self):
        """Yield the batches, unchanged but for the marks in the metadata of their first channel."""
        self.seen = set()
        held, previous = None, None
        for batch in super().__iter__():
            for channels in batch[MetadataKW.INPUT_METADATA]:
                metadata = channels[0]
                self.seen.add(metadata[MetadataKW.INPUT_FILENAMES])
                metadata[STARTS] = previous is None or _unit(metadata) != _unit(previous)
                if previous is not None:
                    _mark_end(previous, metadata)
                previous = metadata
            if held is not None:
                yield held
            held = batch
        if held is not None:
            _mark_end(previous, None)
            yield held


class SegmentDataLoader(VolumeDataLoader):
    """``VolumeDataLoader`` for the one volume of ``segment_volume``.

    What its dataset has as ``marks`` (dict) is added to the metadata of the first channel of every sample.
    """

    def __iter__(self):
        """Yield the batches.

        Raises:
            NothingLeftError: If there are none.
        """
        if not len(self.dataset):
            raise NothingLeftError
        return self._marked()

    def _marked(self):
        marks = getattr(self.dataset, "marks", {})
        for batch in super().__iter__():
            for sample in batch[MetadataKW.INPUT_METADATA] if marks else ():
                for key, value in marks.items():
                    sample[0][key] = value
            yield batch


def _unit(metadata):
    return metadata[MetadataKW.INPUT_FILENAMES], metadata[MetadataKW.SLICE_INDEX]


def _mark_end(metadata, following):
    metadata[ENDS] = following is None or _unit(following) != _unit(metadata)
    ends_volume = following is None or _unit(following)[0] != _unit(metadata)[0]
    # ivadomed closes a volume at the slice whose number is the depth in this entry; nothing else reads the entry
    *plane, _ = metadata[MetadataKW.DATA_SHAPE]
    metadata[MetadataKW.DATA_SHAPE] = [*plane, metadata[MetadataKW.SLICE_INDEX] + (1 if ends_volume else 2)]


def average_of_parts(original):
    """Wrap ``image_reconstruction`` or ``volume_reconstruction`` of ``ivadomed.inference``.

    Overlapping parts are averaged, as ivadomed does; what no part covers, because it was filtered, is 0.
    """

    def wrapped(batch, pred, undo_transforms, smp_idx, total=None, weights=None):
        metadata = batch[MetadataKW.INPUT_METADATA][smp_idx][0]
        if STARTS not in metadata:
            return original(batch, pred, undo_transforms, smp_idx, total, weights)
        part = pred[smp_idx]
        if metadata[STARTS]:
            shape = (len(part), *metadata[MetadataKW.INDEX_SHAPE])
            total, weights = torch.zeros(shape), torch.zeros(shape)
        limits = metadata[MetadataKW.COORD]
        box = (slice(None), *(slice(low, high) for low, high in zip(limits[::2], limits[1::2], strict=True)))
        total[box] += part
        weights[box] += 1
        undone, metadata_gt = None, None
        if metadata[ENDS]:
            total /= weights.clamp(min=1)
            undone, metadata_gt = undo_transforms(total, batch[MetadataKW.GT_METADATA][smp_idx], data_type="gt")
        return undone, metadata_gt, metadata[ENDS], total, weights

    return wrapped


def add_empty_volumes(loader, predictions, truths, *, folder, testing_params, iteration, postprocessing):
    """Append what the pass over ``loader`` left out: volumes all of whose samples were filtered are predicted empty.

    Args:
        loader (VolumeDataLoader): After a pass over it.
        predictions (list of ndarray): Extended in place, ``(n_classes, *spatial)``, zeros.
        truths (list of ndarray): Extended in place with the labels, same shape.
        folder (str or None): Where predictions are saved.
        testing_params (dict): ivadomed's, for the names of the files.
        iteration (int or None): Number of the Monte Carlo pass.
        postprocessing (dict or None): As in the configuration.
    """
    for image, labels in volumes_of(loader.dataset):
        if image in loader.seen:
            continue
        reference = next(label for label in labels if label)
        is_random = testing_params["uncertainty"]["applied"]
        target = None
        if folder:
            name = Path(reference).name.split(testing_params["target_suffix"][0])[0]
            target = str(Path(folder, f"{name}_pred{f'_{iteration:02d}' if is_random else ''}.nii.gz"))
        empty = empty_prediction(
            reference,
            target,
            n_classes=len(testing_params["target_suffix"]),
            slice_axis=imed_utils.AXIS_DCT[testing_params["slice_axis"]],
            postprocessing=None if is_random else postprocessing,
        )
        predictions.append(empty.get_fdata().transpose(3, 0, 1, 2))
        truths.append(imed_testing.get_gt(labels))


def volumes_of(dataset):
    """Yield ``(first image file, reference label files per class)`` of every volume of a dataset or of several."""
    if isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            yield from volumes_of(part)
        return
    for images, labels, *_ in dataset.filename_pairs:
        plan = getattr(dataset, "plan", None)
        yield images[0], labels if plan is None else dataset.reference_of(images[0])


def empty_prediction(reference, target, *, n_classes, slice_axis, postprocessing):
    """Return ivadomed's prediction image with zeros everywhere on the grid of ``reference``; save it to ``target``."""
    image = nibabel.as_closest_canonical(nibabel.load(imed_loader_utils.update_filename_to_nifti(reference)))
    height, width, _ = imed_loader_utils.orient_shapes_hwd(image.shape, slice_axis)
    return imed_inference.pred_to_nib(
        data_lst=[np.zeros((n_classes, height, width))],
        z_lst=[],
        fname_ref=reference,
        fname_out=target,
        slice_axis=slice_axis,
        kernel_dim="2d",
        bin_thr=-1,
        postprocessing=postprocessing,
    )


def segment_volume(original):
    """Wrap ``ivadomed.inference.segment_volume``: a volume without any slice for the model is segmented as empty.

    Channels that lie elsewhere than the first are refused.
    """

    def wrapped(folder_model, fname_images, *args, **kwargs):
        check_channels(fname_images)
        try:
            return original(folder_model, fname_images, *args, **kwargs)
        except NothingLeftError:
            logger.warning(f"slice_filter_params leaves no slice of {fname_images[0]}. Its segmentation is empty.")
        _, config = imed_models.get_model_filenames(folder_model)
        loader_params = imed_config_manager.ConfigurationManager(config).get_config()["loader_parameters"]
        targets = loader_params["target_suffix"]
        empty = empty_prediction(
            fname_images[0],
            None,
            n_classes=len(targets),
            slice_axis=imed_utils.AXIS_DCT[loader_params["slice_axis"]],
            postprocessing=None,
        )
        return imed_inference.split_classes(empty), targets

    return wrapped
