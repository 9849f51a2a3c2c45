"""Voxels on disk that name their file when they cannot be read, wherever nibabel reads them."""

import zlib

from nibabel.arrayproxy import ArrayProxy

from ivadomed_labelfusion.errors import InputError


class _NamedProxy(ArrayProxy):
    """Voxels that are read when they are asked for."""

    def _get_unscaled(self, slicer):
        try:
            return super()._get_unscaled(slicer)
        except (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error) as error:
            raise InputError(
                f"{self.file_like} cannot be read to its end, it seems to be damaged: {error}. Copy it anew."
            ) from None


def with_named_voxels(image):
    """Return an image that nibabel has opened, whose voxels raise an InputError with their file if they are damaged."""
    if type(image.dataobj) is ArrayProxy:
        image.dataobj.__class__ = _NamedProxy
    return image
