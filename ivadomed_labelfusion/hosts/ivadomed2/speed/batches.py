"""Batches of a loaded dataset, made as a whole; ivadomed makes samples one by one, from deep copies of all raters."""

import contextlib
import random
from dataclasses import dataclass

import numpy as np
import torch
from ivadomed.keywords import MetadataKW
from ivadomed.loader import utils as imed_loader_utils
from ivadomed.loader.sample_meta_data import SampleMetadata
from ivadomed.transforms import NormalizeInstance, RandomAffine, RandomReverse

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2.speed.affine import SamplingPoints, sample_batch
from ivadomed_labelfusion.hosts.ivadomed2.speed.steps import Draws

# below, ivadomed takes a sample for uniform and only subtracts its mean
_UNIFORM = 1e-5


@dataclass(frozen=True)
class Chosen:
    """What a sample is made of.

    Attributes:
        images (list of ndarray): One per channel, the part that the sample shows.
        masks (list of PackedMask): One per class, of the whole slice or volume.
        window (tuple of slice): The part that the sample shows.
        input_metadata, gt_metadata (list): ivadomed's, shared with the dataset.
    """

    images: list
    masks: list
    window: tuple
    input_metadata: list
    gt_metadata: list

    @property
    def shape(self):
        """The sample's own shape."""
        return self.images[0].shape


class Batches:
    """Makes the batches of one dataset.

    Args:
        choose (callable): ``choose(index)`` returns the `Chosen` of a sample in the running epoch.
        steps (Steps): Its transformations.
        key (tuple of int): Seed and role, from which the draws are made.
        n_samples (int): Length of the dataset.
        n_axes (int): Axes of a sample.
        soft_gt (bool): Whether labels stay soft; else they become 0 and 1 (uint8) at 0.5.
        dropout (bool): Whether ivadomed drops channels at random.
    """

    def __init__(self, choose, steps, key, *, n_samples, n_axes, soft_gt, dropout):
        self._choose, self._steps, self._key = choose, steps, key
        self._n_samples, self._n_axes = n_samples, n_axes
        self._soft_gt, self._dropout = soft_gt, dropout
        self._draws = {}
        self.device = torch.device("cpu")

    def of(self, indices, epoch):
        """Return a batch as ivadomed's loader and ``imed_collate`` do.

        Args:
            indices (list of int): Places in the dataset; plus ``n_samples`` for each time shown before in this epoch.
            epoch (int): Number of the epoch.

        Returns:
            dict: ``input`` (N, C, *shape) float32, ``gt`` (N, K, *shape) float32 or uint8, lists of metadata.

        Raises:
            InputError: If the samples differ in shape.
        """
        places = [divmod(index, self._n_samples) for index in indices]
        chosen = [self._choose(index) for _, index in places]
        shapes = sorted({sample.shape for sample in chosen})
        if len(shapes) > 1:
            raise InputError(
                f"all samples of a batch must have one shape, got {shapes[0]} and {shapes[1]}. Add "
                "transformation.CenterCrop, or set training_parameters.batch_size to 1."
            )
        draws = [self._draws_of(epoch, shown) for shown, _ in places]
        metadata = [
            self._metadata(sample, drawn, index)
            for sample, drawn, (_, index) in zip(chosen, draws, places, strict=True)
        ]
        whole = self.device.type != "cpu" and not self._steps.host_steps and not self._dropout
        make = self._at_once if whole else self._one_by_one
        images, labels = make(chosen, draws, [index for _, index in places], metadata)
        return {
            "input": images,
            "gt": labels,
            "roi": [None] * len(chosen),
            MetadataKW.INPUT_METADATA: [of_images for of_images, _ in metadata],
            MetadataKW.GT_METADATA: [of_labels for _, of_labels in metadata],
            MetadataKW.ROI_METADATA: [None] * len(chosen),
        }

    def _draws_of(self, epoch, shown):
        if (epoch, shown) not in self._draws:
            self._draws = {place: drawn for place, drawn in self._draws.items() if place[0] == epoch}
            self._draws[epoch, shown] = Draws((*self._key, epoch, shown), self._n_samples, self._n_axes)
        return self._draws[epoch, shown]

    def _metadata(self, sample, draws, index):
        """Return own copies of a sample's metadata, with its place and what is drawn for it."""
        limits = [limit for part in sample.window for limit in (part.start, part.stop)]
        drawn = [draws.parameters(steps, index, sample.shape) for steps in (self._steps.image, self._steps.label)]
        of_images = [
            SampleMetadata({**entry.metadata, MetadataKW.COORD: limits, **drawn[0]}) for entry in sample.input_metadata
        ]
        return of_images, [SampleMetadata({**entry.metadata, **drawn[1]}) for entry in sample.gt_metadata]

    def _one_by_one(self, chosen, draws, indices, metadata):
        images, labels = [], []
        for sample, drawn, index, (of_images, of_labels) in zip(chosen, draws, indices, metadata, strict=True):
            points = _Points(drawn, index, sample.shape)
            seed = drawn.seed(index) if self._steps.host_steps or self._dropout else None
            with _seeded(seed):
                parts = [_Part(image, tuple(slice(0, size) for size in sample.shape)) for image in sample.images]
                image = _through(parts, self._steps.image, points, of_images)
                imed_loader_utils.update_metadata(of_images, of_labels)
                parts = [_Part.of_mask(mask, sample.window) for mask in sample.masks]
                label = _through(parts, self._steps.label, points, of_labels)
                if self._dropout:
                    sample_of_all = {"input": torch.from_numpy(np.stack(image))}
                    image = imed_loader_utils.dropout_input(sample_of_all)["input"].numpy()
            images.append(image)
            labels.append(label)
        images, labels = np.array(images), np.array(labels)
        return torch.from_numpy(images), torch.from_numpy(labels if self._soft_gt else (labels >= 0.5).view(np.uint8))

    def _at_once(self, chosen, draws, indices, metadata):
        images = torch.from_numpy(np.stack([np.stack(sample.images) for sample in chosen]))
        labels = torch.from_numpy(
            np.stack([np.stack([mask.dense()[sample.window] for mask in sample.masks]) for sample in chosen])
        )
        images = self._steps_at_once(images, self._steps.image, draws, indices)
        labels = self._steps_at_once(labels, self._steps.label, draws, indices)
        return images, labels if self._soft_gt else (labels >= 0.5).to(torch.uint8)

    def _steps_at_once(self, values, steps, draws, indices):
        """Return a batch, (N, C, *shape) float32, after its steps, on the device."""
        shape = tuple(values.shape[2:])
        pairs = list(zip(draws, indices, strict=True))
        if self.device.type == "cuda":
            values = values.pin_memory()
        values = values.to(self.device, non_blocking=True)
        for step in steps:
            if type(step) is RandomAffine:
                matrices = np.stack([drawn.affine(step, shape).matrices[index] for drawn, index in pairs])
                offsets = np.stack([drawn.affine(step, shape).offsets[index] for drawn, index in pairs])
                maps = (torch.from_numpy(part).to(self.device) for part in (matrices, offsets))
                values = sample_batch(values, *maps)
            elif type(step) is RandomReverse:
                for axis in range(len(shape)):
                    turned = torch.tensor([bool(drawn.flips(index)[axis]) for drawn, index in pairs])
                    turned = turned.to(self.device).view(-1, *[1] * (values.dim() - 1))
                    values = torch.where(turned, values.flip(2 + axis), values)
            else:
                axes = tuple(range(2, values.dim()))
                spread = values.std(dim=axes, correction=0, keepdim=True)
                values = values - values.mean(dim=axes, keepdim=True)
                values = values / torch.where(spread < _UNIFORM, torch.ones_like(spread), spread)
        return values


class _Points:
    """The sampling points of one sample, found when the first channel needs them."""

    def __init__(self, draws, index, shape):
        self._draws, self._index, self._shape = draws, index, shape
        self._points = {}

    def of(self, step):
        if step not in self._points:
            affine = self._draws.affine(step, self._shape)
            self._points[step] = SamplingPoints(affine.matrices[self._index], affine.offsets[self._index], self._shape)
        return self._points[step]

    def flips(self):
        return self._draws.flips(self._index)


@dataclass
class _Part:
    """One channel or class on its way through the steps; outside of ``box`` it is 0, and everywhere if that is None."""

    values: np.ndarray
    box: tuple

    @classmethod
    def of_mask(cls, mask, window):
        values = mask.dense()[window]
        if mask.box is None:
            return cls(values, None)
        box = tuple(
            slice(max(part.start, limit.start) - limit.start, min(part.stop, limit.stop) - limit.start)
            for part, limit in zip(mask.box, window, strict=True)
        )
        return cls(values, box if all(part.start < part.stop for part in box) else None)

    def sampled(self, points):
        values = np.zeros(self.values.shape, np.float32)
        if self.box is None:
            return _Part(values, None)
        region = points.reach(self.box)
        points.sample(self.values, values, region)
        return _Part(values, region)

    def turned(self, flips):
        axes = [axis for axis in range(self.values.ndim) if flips[axis]]
        box = self.box and tuple(
            slice(size - part.stop, size - part.start) if axis in axes else part
            for axis, (part, size) in enumerate(zip(self.box, self.values.shape, strict=True))
        )
        return _Part(np.flip(self.values, axes), box)

    def normalised(self):
        centred = self.values - self.values.mean()
        spread = np.sqrt(np.square(centred).mean())
        if spread >= _UNIFORM:
            centred /= spread
        return _Part(centred, tuple(slice(0, size) for size in centred.shape))


def _through(parts, steps, points, metadata):
    """Return the channels or classes of one sample after the steps, a list of arrays."""
    for step in steps:
        if type(step) is RandomAffine:
            parts = [part.sampled(points.of(step)) for part in parts]
        elif type(step) is RandomReverse:
            parts = [part.turned(points.flips()) for part in parts]
        elif type(step) is NormalizeInstance:
            parts = [part.normalised() for part in parts]
        else:
            values, _ = step([part.values for part in parts], metadata)
            parts = [_Part(np.asarray(value), tuple(slice(0, size) for size in value.shape)) for value in values]
    return [part.values for part in parts]


@contextlib.contextmanager
def _seeded(seed):
    """Let ivadomed's own steps draw from this seed, and the rest of the program go on as if they had not drawn."""
    if seed is None:
        yield
        return
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.random.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


class BatchSource(torch.utils.data.Dataset):
    """A dataset for torch's ``DataLoader`` that gives whole batches.

    Args:
        samples (RaterSamples): Has ``batch(indices)``.
    """

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitems__(self, indices):
        """Return a whole batch; torch's loader asks for it where it finds this method."""
        return self.samples.batch(indices)

    def __getattr__(self, name):
        if name == "samples":
            # not there yet while a copy is being made
            raise AttributeError(name)
        return getattr(self.samples, name)


class CountedSampler(torch.utils.data.Sampler):
    """A sampler that tells how often a sample was shown before in this pass, by adding the length of the dataset.

    Args:
        sampler (Sampler): Any sampler.
        n_samples (int): Length of the dataset.
    """

    def __init__(self, sampler, n_samples):
        self._sampler, self._n_samples = sampler, n_samples

    def __len__(self):
        return len(self._sampler)

    def __iter__(self):
        """Yield the places of the samples."""
        shown = {}
        for index in self._sampler:
            yield index + self._n_samples * shown.get(index, 0)
            shown[index] = shown.get(index, 0) + 1
