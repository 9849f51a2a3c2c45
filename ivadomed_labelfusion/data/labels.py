"""Label files for a reader that takes NIfTI files as they are: the file itself if it is plain, else a clean copy."""

from pathlib import Path

import numpy as np

from ivadomed_labelfusion.coding import Coding
from ivadomed_labelfusion.data.entities import NIFTI_EXTENSIONS, stem
from ivadomed_labelfusion.data.grid import canonical_orientation, check_on_grid
from ivadomed_labelfusion.data.values import read_mask
from ivadomed_labelfusion.data.volumes import load_image, read_volume, save_nifti


def plain_label(
    path: Path, name: str, image_path: Path, folder: Path, *, soft: bool = False, any_values: bool = False
) -> tuple[Path, Coding | None]:
    """Return a label file that is read as 0 and 1 (or in [0, 1]) on its image's grid, whoever reads it.

    Args:
        path (Path): The label.
        name (str): What it is, for messages.
        image_path (Path): Its image.
        folder (Path): Where a copy is written if the label is not plain: coded 0/255 or scaled, with its axes in
            another order than the image's, on a header that differs from the image's by rounding only, or with a fourth
            axis. A copy of an earlier run is replaced.
        soft (bool): Allow soft values.
        any_values (bool): Leave the values alone (regions of interest).

    Returns:
        tuple: The path of the label or its copy, and its `Coding` (None with ``any_values``).

    Raises:
        InputError: If the label lies on another grid than its image or is no mask.
    """
    image, label = load_image(image_path), load_image(path)
    found = check_on_grid(label, name, image, f"its image ({image_path})")
    stored = read_volume(label, path)
    data, coding = (stored, None) if any_values else read_mask(stored, name, soft=soft)
    same_header = np.array_equal(canonical_orientation(label), canonical_orientation(image))
    is_plain = coding is None or coding.exact or data.dtype.kind == "f"
    if str(path).endswith(NIFTI_EXTENSIONS) and same_header and found.is_same_axes and is_plain and label.ndim == 3:
        return path, coding
    copy = Path(folder) / f"{stem(path)}.nii.gz"
    save_nifti(copy, found.turn(data), image, overwrite=True)
    return copy, coding
