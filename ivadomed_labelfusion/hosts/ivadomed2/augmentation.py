"""Transformations of ivadomed that fail on ordinary images, forget the label, or are left out of tests."""

from typing import Any

import numpy as np
from ivadomed import transforms as imed_transforms
from ivadomed.keywords import MetadataKW
from loguru import logger
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.exposure import equalize_adapthist as _equalize

from ivadomed_labelfusion.errors import InputError

_STOCK = imed_transforms.ElasticTransform


def equalize_adapthist(image: NDArray, **options: Any) -> NDArray[np.float64]:
    """Equalise a histogram adaptively; stands in for scikit-image's, which takes floats between -1 and 1 only.

    Args:
        image (ndarray): Of any range. scikit-image stretches images to one range itself, so the result is the same
            for an image and for its multiples.
        **options: Passed on.

    Returns:
        ndarray: From 0 to 1; zeros for a constant image.
    """
    low, high = float(image.min()), float(image.max())
    if low == high:
        return np.zeros(image.shape)
    return _equalize((np.asarray(image, dtype=np.float64) - low) / (high - low), **options)


def undo_nothing(self: object, sample: Any, metadata: Any = None) -> tuple[Any, Any]:
    """Undo a change of intensities only: nothing is to be undone in a prediction.

    Without it, ivadomed leaves the transformation out of ``--test`` and ``--segment``, so that the network sees other
    images than it was trained on.
    """
    return sample, metadata


class ElasticTransform(_STOCK):
    """Deform images elastically, all channels and labels of a sample alike; ivadomed deforms each on its own.

    Args:
        alpha_range (list of float): Range of the size of the deformation, voxels.
        sigma_range (list of float): Range of its smoothness, the standard deviation of a Gaussian, voxels.
        p (float): Probability, 0 to 1.
    """

    @imed_transforms.multichannel_capable
    @imed_transforms.two_dim_compatible
    def __call__(self, sample: NDArray, metadata: Any = None) -> tuple[NDArray, Any]:
        """Return the deformed sample of shape (height, width, depth), of the same shape and dtype."""
        if MetadataKW.ELASTIC not in metadata:
            metadata[MetadataKW.ELASTIC] = self._draw()
        drawn = metadata[MetadataKW.ELASTIC]
        if not drawn:
            return sample, metadata
        alpha, sigma, seed = drawn
        generator = np.random.default_rng(seed)
        indices = np.indices(sample.shape, dtype=np.float64)
        # no deformation along the third axis of a slice
        for axis in range(2 if sample.shape[2] == 1 else 3):
            field = gaussian_filter(generator.uniform(-1, 1, sample.shape), sigma, mode="constant", cval=0)
            indices[axis] += field * alpha
        return map_coordinates(sample, indices, order=1, mode="reflect").astype(sample.dtype), metadata

    def _draw(self) -> list[float]:
        """Return size, smoothness and seed of a deformation from numpy's global generator, empty for none."""
        # ivadomed's transformations, and so the seed of a training, use that generator
        if np.random.random() >= self.p:  # noqa: NPY002
            return []
        alpha, sigma = np.random.uniform(*self.alpha_range), np.random.uniform(*self.sigma_range)  # noqa: NPY002
        return [alpha, sigma, int(np.random.randint(2**31 - 1))]  # noqa: NPY002


def resample(original: Any) -> Any:
    """Wrap ``ivadomed.transforms.Resample.__call__``, which may leave an image without a voxel and go on."""

    def wrapped(self, sample, metadata=None):
        result = original(self, sample, metadata)
        parts = result[0] if isinstance(result[0], list) else [result[0]]
        if any(isinstance(part, np.ndarray) and part.size == 0 for part in parts):
            given = sample[0] if isinstance(sample, list) else sample
            raise InputError(
                "transformation.Resample (hspace, wspace, dspace) leaves nothing of an image of "
                f"{'x'.join(map(str, np.shape(given)))} voxels. Use smaller spacings, in mm."
            )
        return result

    return wrapped


def prepare_transforms(original: Any) -> Any:
    """Wrap ``ivadomed.transforms.prepare_transforms``: what cannot be undone is left out on the way back as well.

    ivadomed leaves it out on the way to the network only, and fails in ``--segment`` on the way back.
    """

    def wrapped(transform_dict, requires_undo=True):
        if requires_undo:
            lost = [name for name in transform_dict if not _can_be_undone(name)]
            for name in lost:
                logger.info(f"{name} is left out: it cannot be undone in a prediction.")
            transform_dict = {name: options for name, options in transform_dict.items() if name not in lost}
        return original(transform_dict, requires_undo)

    return wrapped


def _can_be_undone(name: str) -> bool:
    step = getattr(imed_transforms, name, None)
    # an unknown name is refused by ivadomed itself
    return step is None or hasattr(step, "undo_transform")
