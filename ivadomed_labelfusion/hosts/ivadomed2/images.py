"""Images as ivadomed opens them."""

import nibabel
import numpy as np

from ivadomed_labelfusion.data.entities import PICTURE_EXTENSIONS
from ivadomed_labelfusion.data.grid import check_on_grid
from ivadomed_labelfusion.data.volumes import load_image
from ivadomed_labelfusion.errors import InputError


def read_file(original):
    """Wrap ``SegmentationPair.read_file``: a 4-D file of one volume is that volume.

    Labels of pictures (PNG, TIFF) have the pixel size of their image.
    """

    def wrapped(self, filename, is_gt=False):
        image = original(self, filename, is_gt)
        if len(image.shape) > 3 and all(size == 1 for size in image.shape[3:]):
            return image.slicer[(..., *[0] * (len(image.shape) - 3))]
        if is_gt and str(self.input_filenames[0]).lower().endswith(PICTURE_EXTENSIONS):
            # a label that was fused or copied to NIfTI does not know the size of the picture's pixels
            image = nibabel.Nifti1Image(np.asanyarray(image.dataobj), image.affine)
            image.header.set_zooms(self.input_handle[0].header.get_zooms()[: len(image.shape)])
        if len(image.shape) != 3:
            raise InputError(
                f"{filename} must be one volume with 3 dimensions, got {'x'.join(map(str, image.shape))}. "
                "Store its volumes as files of their own."
            )
        return image

    return wrapped


def check_channels(paths):
    """Refuse channels of one acquisition that do not lie on the grid of the first.

    Args:
        paths (list of str): Images, which the network sees stacked voxel by voxel.

    Raises:
        InputError: Names both channels, with both affines.
    """
    if len(paths) < 2:
        return
    first = load_image(paths[0])
    for path in paths[1:]:
        check_on_grid(
            load_image(path), f"the channel {path}", first, f"the channel {paths[0]}",
            advice="Register it to the first channel and resample it onto its grid.",
        )  # fmt: skip
