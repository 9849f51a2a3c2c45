"""Bounding boxes that another model finds (``object_detection_params``)."""

from collections.abc import Mapping

from ivadomed_labelfusion.errors import InputError


def box_of(boxes: Mapping[str, list], path: str) -> list[int]:
    """Return the first box of an image, 6 voxel indices.

    Args:
        boxes (Mapping): Path of an image -> its boxes, as ``bounding_boxes.json`` in the output folder has them.
        path (str): The image.

    Raises:
        InputError: If the image has none.
    """
    if path not in boxes:
        raise InputError(
            f"bounding_boxes.json in path_output has no box of {path}. Remove that file to find all boxes anew."
        )
    if not boxes[path]:
        raise InputError(
            f"The model of object_detection_params.object_detection_path finds nothing in {path}. Leave the image out, "
            "or take another model."
        )
    return boxes[path][0]
