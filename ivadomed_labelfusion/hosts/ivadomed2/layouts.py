"""The dataset on disk: its index with every version of pybids, and its version where there is no git."""

import shutil
from pathlib import Path

import bids


class LenientBids:
    """Stand-in for the module ``bids``: its layouts index every file below ``derivatives``, whatever its name.

    pybids until 0.15.5 did so by itself; later ones pass the validation of the raw data on to the derivatives and drop
    names such as ``sub-01_T2w_seg-manual.nii.gz``, which are ivadomed's own. The raw data are validated as asked for.
    """

    def __getattr__(self, name):
        return getattr(bids, name)

    @staticmethod
    def BIDSLayout(root, *, derivatives=False, **options):
        """Return ``bids.BIDSLayout`` with its derivatives.

        Args:
            root (str): The dataset.
            derivatives (bool or str or list of str): True for ``<root>/derivatives``, or the folders.
            **options: As for ``bids.BIDSLayout``; they concern the raw data.

        Returns:
            bids.BIDSLayout
        """
        layout = bids.BIDSLayout(root, **options)
        if derivatives:
            folders = Path(root, "derivatives") if derivatives is True else derivatives
            # no sidecars: ivadomed's table has nothing but the paths of derivatives
            indexer = bids.BIDSLayoutIndexer(validate=False, index_metadata=False)
            layout.add_derivatives(folders, validate=False, indexer=indexer)
        return layout


def get_commit(original):
    """Wrap ``ivadomed.utils.__get_commit``: without the program ``git`` a dataset has no commit, as outside a clone."""

    def wrapped(path_to_git_folder=None):
        return original(path_to_git_folder) if shutil.which("git") else "?!?"

    return wrapped
