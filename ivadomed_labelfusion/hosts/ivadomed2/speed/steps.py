"""The transformations of a sample: which of them are done here, and the random draws of an epoch."""

from dataclasses import dataclass

import numpy as np
from ivadomed.keywords import MetadataKW
from ivadomed.transforms import NormalizeInstance, RandomAffine, RandomReverse

from ivadomed_labelfusion.hosts.ivadomed2.speed.affine import affine_maps
from ivadomed_labelfusion.hosts.ivadomed2.transforms import FuseRaters, SampleRater

_DONE_HERE = (RandomAffine, RandomReverse, NormalizeInstance)
_NOTHING_TO_DO = (FuseRaters, SampleRater)
_PLANES = np.array([(0, 1), (0, 2), (1, 2)])


@dataclass(frozen=True)
class Steps:
    """The steps of one dataset, in order.

    Attributes:
        image, label (tuple of ImedTransform): Of images and of labels; a step of both is the same object.
    """

    image: tuple
    label: tuple

    @classmethod
    def of(cls, compose, n_axes):
        """Return the steps of ivadomed's ``Compose``, None if a step needs ivadomed's own path for whole samples.

        Args:
            compose (Compose): Of a loaded dataset.
            n_axes (int): Axes of its samples.
        """
        kinds = {
            kind: tuple(step for step in compose.transform[kind].transforms if type(step) not in _NOTHING_TO_DO)
            for kind in ("im", "gt", "roi")
        }
        for step in kinds["im"] + kinds["gt"]:
            if type(step) is RandomAffine and not _stays_in_plane(step, n_axes):
                return None
        # the region of interest of a slice comes first, and what it draws holds for the image
        if any(step not in kinds["im"] for step in kinds["roi"] if type(step) in _DONE_HERE):
            return None
        return cls(kinds["im"], kinds["gt"])

    @property
    def host_steps(self):
        """The steps that ivadomed's own code does, sample by sample."""
        return tuple(dict.fromkeys(step for step in self.image + self.label if type(step) not in _DONE_HERE))

    def described(self):
        """Return what is done how, for the log."""
        own = [type(step).__name__ for step in self.image + self.label if type(step) in _DONE_HERE]
        words = f"{', '.join(dict.fromkeys(own)) or 'no transformation'} done batch by batch"
        others = ", ".join(dict.fromkeys(type(step).__name__ for step in self.host_steps))
        return words + (f"; {others} sample by sample in ivadomed's own code" if others else "")


def _stays_in_plane(step, n_axes):
    """Whether a slice keeps its place: ivadomed moves it out of sight by a third value of ``scale``."""
    return n_axes == 3 or (step.scale[2] == 0 and (step.translate is None or step.translate[2] < 0.5))


class Draws:
    """The random numbers of all samples of a dataset in one epoch, from ivadomed's distributions.

    They are functions of the seed, the epoch, the sample and how often it was shown in the epoch: neither the order of
    samples nor batches or loader workers change them.

    Args:
        key (tuple of int): Seed, role, epoch and how often the samples were shown before, >= 0.
        n_samples (int): Length of the dataset.
        n_axes (int): Axes of a sample.
    """

    def __init__(self, key, n_samples, n_axes):
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
        numbers = generator.random((n_samples, 7))
        self._angle, self._scale, self._shift = numbers[:, 0], numbers[:, 1:4], numbers[:, 4:7]
        self._plane = generator.integers(1 if n_axes == 2 else 3, size=n_samples)
        self._flips = generator.integers(2, size=(n_samples, 3)) == 1
        self._seeds = generator.integers(2**32, size=n_samples)
        self._affine = {}

    def affine(self, step, shape):
        """Return the `Affine` of a ``RandomAffine`` for all samples, of one shape."""
        if (step, shape) not in self._affine:
            low, high = step.degrees
            angle = np.radians(low + (high - low) * self._angle)
            scale = 1 + np.asarray(step.scale, dtype=np.float64) * (2 * self._scale - 1)
            translation = np.zeros((len(angle), 3))
            if step.translate is not None:
                reach = np.asarray(step.translate, dtype=np.float64) * (*shape, *[1] * (3 - len(shape)))
                translation = np.round(reach * (2 * self._shift - 1))
            planes = _PLANES[self._plane]
            maps = affine_maps(angle, planes, scale, translation, shape)
            self._affine[step, shape] = Affine(angle, planes, scale, translation, *maps)
        return self._affine[step, shape]

    def flips(self, index):
        """Return the axes that ``RandomReverse`` turns, a bool for each of three."""
        return self._flips[index]

    def seed(self, index):
        """Return the seed of the steps that ivadomed's own code does for a sample, an int below 2**32."""
        return int(self._seeds[index])

    def parameters(self, steps, index, shape):
        """Return the parameters of a sample as ivadomed's steps write them into its metadata."""
        found = {}
        for step in steps:
            if type(step) is RandomAffine:
                affine = self.affine(step, shape)
                found[MetadataKW.ROTATION] = [float(affine.angle[index]), affine.planes[index].tolist()]
                found[MetadataKW.SCALE] = affine.scale[index].tolist()
                found[MetadataKW.TRANSLATION] = tuple(affine.translation[index].tolist())
            elif type(step) is RandomReverse:
                found[MetadataKW.REVERSE] = self._flips[index].tolist()
        return found


@dataclass(frozen=True)
class Affine:
    """The parameters and maps of N samples, see `affine_maps`."""

    angle: np.ndarray
    planes: np.ndarray
    scale: np.ndarray
    translation: np.ndarray
    matrices: np.ndarray
    offsets: np.ndarray
