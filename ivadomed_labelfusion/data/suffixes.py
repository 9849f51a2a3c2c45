"""Which contrasts BIDS knows: ivadomed finds no image of any other."""

from functools import lru_cache


@lru_cache(maxsize=256)
def is_bids_contrast(contrast):
    """Tell whether images of a contrast, such as ``T1w`` or ``ce-gadolinium_T1w``, have valid names.

    Args:
        contrast (str): Suffix of a file name, with entities before it where there are any.
    """
    # comes with pybids, by whose rules ivadomed looks for images
    from bids_validator import BIDSValidator

    return BIDSValidator().is_bids(f"/sub-01/anat/sub-01_{contrast}.nii.gz")
