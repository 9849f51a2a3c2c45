"""Which contrasts BIDS knows: ivadomed finds no image of any other."""

from functools import lru_cache
from importlib.util import find_spec


@lru_cache(maxsize=256)
def is_bids_contrast(contrast):
    """Tell whether images of a contrast, such as ``T1w`` or ``ce-gadolinium_T1w``, have valid names.

    Args:
        contrast (str): Suffix of a file name, with entities before it where there are any.

    Returns:
        bool: True also where nobody can tell: the rules come with pybids, by which ivadomed looks for images.
    """
    if find_spec("bids_validator") is None:
        return True
    from bids_validator import BIDSValidator

    return BIDSValidator().is_bids(f"/sub-01/anat/sub-01_{contrast}.nii.gz")
