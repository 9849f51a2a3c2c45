"""Images as ivadomed opens them."""

from ivadomed_labelfusion.errors import InputError


def read_file(original):
    """Wrap ``SegmentationPair.read_file``: a 4-D file of one volume is that volume."""

    def wrapped(self, filename, is_gt=False):
        image = original(self, filename, is_gt)
        if len(image.shape) > 3 and all(size == 1 for size in image.shape[3:]):
            return image.slicer[(..., *[0] * (len(image.shape) - 3))]
        if len(image.shape) != 3:
            raise InputError(
                f"{filename} must be one volume with 3 dimensions, got {'x'.join(map(str, image.shape))}. "
                "Store its volumes as files of their own."
            )
        return image

    return wrapped
