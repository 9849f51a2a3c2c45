"""What a dataset does with its raters: fuse them, or draw one per sample."""

from dataclasses import dataclass, field

from ivadomed_labelfusion.hosts.ivadomed2.transforms import FuseRaters, SampleRater
from ivadomed_labelfusion.sampling import draw_rater

ROLES = {"training": 0, "validation": 1, "testing": 2}


@dataclass
class RaterPlan:
    """What a dataset does with its raters.

    Attributes:
        role (str): ``training``, ``validation`` or ``testing``.
        fuse (FuseRaters or None): Train on this fusion.
        sample (SampleRater): Else train on raters drawn like this.
        epoch (int): Set by the epoch-counting loader at the start of each pass over the data.
    """

    role: str
    fuse: FuseRaters = None
    sample: SampleRater = field(default_factory=SampleRater)
    epoch: int = 0

    @classmethod
    def from_transforms(cls, transforms_params, role):
        """Build the plan from the ``transformation`` block of one sub-dataset.

        Without either transform a nested ``target_suffix`` keeps ivadomed's meaning: uniform sampling per slice.
        """

        def options(name):
            return {
                key: value
                for key, value in transforms_params[name].items()
                if key not in ("applied_to", "preprocessing", "dataset_type")
            }

        sample = SampleRater(**options("SampleRater")) if "SampleRater" in transforms_params else SampleRater()
        fuse = FuseRaters(**options("FuseRaters")) if "FuseRaters" in transforms_params else None
        if fuse is None and role == "validation" and sample.validation == "average":
            fuse = FuseRaters("average")
        return cls(role, fuse, sample)

    def draw(self, masks, sample_index, volume_index, weights, *, n_passes=0):
        """Return the position, among the raters present, of the rater for one sample.

        It is that of this epoch, or with ``n_passes`` of so many epochs later.
        """
        case = volume_index if self.sample.unit == "volume" else sample_index
        return draw_rater(
            len(masks.raters),
            policy=self.sample.policy,
            seed=self.sample.seed,
            case=(ROLES[self.role], case),
            # validation draws are the same in every epoch, so that early stopping compares equal things
            epoch=self.epoch + n_passes if self.role == "training" else 0,
            weights=weights,
        )
