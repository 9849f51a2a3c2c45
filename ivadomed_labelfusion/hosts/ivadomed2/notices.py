"""What ivadomed leaves unsaid about a dataset that it has loaded."""

import nibabel
from ivadomed.loader.mri2d_segmentation_dataset import MRI2DSegmentationDataset
from loguru import logger

from ivadomed_labelfusion.data.entities import PICTURE_EXTENSIONS

# a thickness written with one decimal less is the same
TOLERANCE_MM = 0.05


def warn_of_ignored_dspace(dataset, transforms_params):
    """Warn that ``Resample.dspace`` does nothing in 2D, if the slices of an image have another thickness.

    Args:
        dataset (MRI2DSegmentationDataset or another): As loaded; only 2D datasets are looked at.
        transforms_params (dict): The ``transformation`` block of its role.

    Returns:
        str or None: The warning.
    """
    dspace = (transforms_params.get("Resample") or {}).get("dspace")
    if dspace is None or not isinstance(dataset, MRI2DSegmentationDataset) or not dataset.filename_pairs:
        return None
    path = dataset.filename_pairs[0][0][0]
    # a picture has no thickness
    if str(path).lower().endswith(PICTURE_EXTENSIONS):
        return None
    header = nibabel.as_closest_canonical(nibabel.load(path)).header
    thickness = float(header.get_zooms()[dataset.slice_axis])
    if abs(thickness - dspace) <= TOLERANCE_MM:
        return None
    message = (
        f"transformation.Resample.dspace is {dspace:g} mm, but a 2D model takes slices as they are, here "
        f"{thickness:.3g} mm thick ({path}). Remove dspace, or resample the images before."
    )
    logger.warning(message)
    return message
