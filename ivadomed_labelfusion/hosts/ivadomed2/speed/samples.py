"""The part of a dataset that makes whole batches."""

from dataclasses import dataclass

from loguru import logger

from ivadomed_labelfusion.hosts.ivadomed2.plan import ROLES
from ivadomed_labelfusion.hosts.ivadomed2.speed.batches import Batches, Chosen
from ivadomed_labelfusion.hosts.ivadomed2.speed.steps import Steps

_AXES = "xyz"


@dataclass(frozen=True)
class Speed:
    """That a dataset makes whole batches, and from what it draws.

    Attributes:
        seed (int): Seed of the random transformations.
        role (str): ``training``, ``validation`` or ``testing``.
    """

    seed: int
    role: str

    @classmethod
    def asked_for(cls, loader_params, context, role):
        """Return it unless ``loader_parameters.fast_loader`` is false.

        Args:
            loader_params (dict): ivadomed's.
            context (dict): The whole configuration, empty outside of a command.
            role (str): ``training``, ``validation`` or ``testing``.
        """
        if not loader_params.get("fast_loader", True):
            return None
        return cls(context.get("split_dataset", {}).get("random_seed", 0), role)


class QuickSamples:
    """A loaded dataset of ivadomed that can give whole batches.

    Attributes:
        speed (Speed or None): None where only single samples are wanted.
        epoch (int): Number of the running epoch; each has draws of its own.
    """

    speed = None
    epoch = 0
    _batches = None

    @property
    def makes_batches(self):
        """Whether ``batch`` can be called."""
        return self._batches is not None

    @property
    def on_gpu(self):
        """Whether batches lie on a GPU."""
        return self.makes_batches and self._batches.device.type == "cuda"

    def start_epoch(self):
        """Move on to the draws of the next epoch."""
        self.epoch += 1

    def skip_epochs(self, done):
        """Go on with the draws after so many epochs."""
        self.epoch = done

    def make_batches_on(self, device):
        """Make batches on a device, such as that of the model (a torch.device)."""
        if self.makes_batches:
            self._batches.device = device

    def prepare_batches(self, *, n_axes):
        """Find out whether whole batches can be made of what was loaded, and say it in the log."""
        items = self._packed_items()
        if self.speed is None or self.task != "segmentation" or not len(items):
            return
        steps = Steps.of(self.transform, n_axes)
        if steps is None or any(not item.masks or not item.input_metadata for item in items.packed):
            logger.info(
                f"Loader ({self.speed.role}): sample by sample, as in ivadomed; its transformations ask for it."
            )
            return
        self._batches = Batches(
            self._choose,
            steps,
            (self.speed.seed, ROLES[self.speed.role]),
            n_samples=len(self),
            n_axes=n_axes,
            soft_gt=self.soft_gt,
            dropout=self.is_input_dropout,
        )
        logger.info(
            f"Loader ({self.speed.role}): {steps.described()}. loader_parameters.fast_loader: false turns it off."
        )

    def batch(self, indices):
        """Return a whole batch of the running epoch, see `Batches.of`."""
        return self._batches.of(indices, self.epoch)

    def _packed_items(self):
        whole_slices = getattr(self, "is_2d_patch", None) is False
        return self.indexes if whole_slices else self.handlers

    def _choose(self, index):
        """Return what a sample is made of (`Chosen`); labels of several raters are those of all."""
        items = self._packed_items()
        if items is self.indexes:
            pair = items.packed[index]
            window = tuple(slice(0, size) for size in pair.images[0].shape)
            images = pair.images
        else:
            place = self.indexes[index]
            pair = items.packed[place["handler_index"]]
            axes = _AXES[: pair.images[0].ndim]
            window = tuple(slice(place[f"{axis}_min"], place[f"{axis}_max"]) for axis in axes)
            images = [image[window] for image in pair.images]
        return Chosen(images, pair.masks, window, pair.input_metadata, pair.gt_metadata)
