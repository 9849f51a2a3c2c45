"""The two loader transforms. They are entries of a config's ``transformation`` block.

Both act when a dataset is loaded, on whole volumes at native resolution and before any other step; in ivadomed's chain
of transforms they therefore pass samples on unchanged, forwards and backwards.
"""

from ivadomed.transforms import ImedTransform

from ivadomed_labelfusion.sampling import POLICIES


class RaterTransform(ImedTransform):
    """Base of the loader transforms: nothing to do, and nothing to undo, for a single sample."""

    def __call__(self, sample, metadata=None):
        """Return the sample unchanged."""
        return sample, metadata

    def undo_transform(self, sample, metadata=None):
        """Return the sample unchanged."""
        return sample, metadata


class FuseRaters(RaterTransform):
    """Train on one fused label per class.

    Args:
        method (str): One of ``ivadomed_labelfusion.fusion.METHODS``.
        **options: Passed on to ``ivadomed_labelfusion.fusion.fuse_classes``.
    """

    def __init__(self, method="staple", **options):
        self.method = method
        self.options = options


class SampleRater(RaterTransform):
    """Train on the masks of one rater at a time.

    Args:
        policy (str): ``uniform``, ``balanced`` or ``weighted``, see ``ivadomed_labelfusion.sampling.draw_rater``.
        unit (str): What shares a draw in an epoch: a ``slice`` (patch, subvolume) or a whole ``volume``.
        seed (int): Seed of the draws.
        weights (list of float or "staple"): For ``weighted``: one number per rater in the order of ``target_suffix``,
            or ``staple``: the raters' Youden index (sensitivity + specificity - 1) estimated by STAPLE on each volume.
        validation (str): Targets of the validation set: ``sampled`` raters, the same in every epoch (the paper), or
            the ``average``.
    """

    def __init__(self, policy="uniform", unit="slice", seed=0, weights=None, validation="sampled"):
        if policy not in POLICIES:
            raise ValueError(f"SampleRater policy must be one of {POLICIES}, got {policy!r}.")
        self.policy = policy
        self.unit = unit
        self.seed = seed
        self.weights = weights
        self.validation = validation
