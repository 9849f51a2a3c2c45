"""Volumes that ivadomed itself reads: headers are checked, and damage names its file."""

import nibabel
from nibabel.arrayproxy import ArrayProxy

from ivadomed_labelfusion.data.volumes import load_image, readable
from ivadomed_labelfusion.errors import InputError


class _NamedProxy(ArrayProxy):
    """Voxels on disk that name their file when they cannot be read."""

    def _get_unscaled(self, slicer):
        with readable(self.file_like):
            return super()._get_unscaled(slicer)


def load(filename):
    """Open an image as ``nibabel.load`` does.

    Raises:
        InputError: Names the file if it is missing, its header is wrong, or, when its voxels are read, it is damaged.
    """
    image = load_image(filename)
    if type(image.dataobj) is ArrayProxy:
        image.dataobj.__class__ = _NamedProxy
    return image


class NamedNibabel:
    """Stands in for ``nibabel`` in ivadomed's modules: everything is nibabel's own but ``load``."""

    load = staticmethod(load)

    def __getattr__(self, name):
        return getattr(nibabel, name)


def pair_init(original):
    """Wrap ``SegmentationPair.__init__``: what is wrong with images and labels names them."""

    def wrapped(self, input_filenames, gt_filenames, *args, **kwargs):
        try:
            original(self, input_filenames, gt_filenames, *args, **kwargs)
        except RuntimeError as error:
            raise InputError(f"{', '.join(map(str, input_filenames))} and its labels: {error}") from None

    return wrapped
