"""Volumes that ivadomed itself reads: headers are checked, and damage names its file."""

import nibabel

from ivadomed_labelfusion.data.volumes import load_image
from ivadomed_labelfusion.errors import InputError


class NamedNibabel:
    """Stands in for ``nibabel`` in ivadomed's modules: everything is nibabel's own but ``load``."""

    load = staticmethod(load_image)

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
