"""The trainers: nnU-Net's own, with targets made of all raters. Nothing of nnU-Net is patched."""

import copy
from functools import cache

import numpy as np
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import get_tp_fp_fn_tn
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from nnunetv2.utilities.helpers import dummy_context

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.losses import AdaptiveWingLoss, SoftDiceCrossEntropy
from ivadomed_labelfusion.hosts.nnunet.loader import ROLES, RaterDataset, SeededLoader
from ivadomed_labelfusion.hosts.nnunet.names import FUSIONS, KEY, LOSSES, short_run, trainer_name, trainer_names
from ivadomed_labelfusion.hosts.nnunet.network import SoftSegNetwork, average_probabilities
from ivadomed_labelfusion.hosts.nnunet.preparation import install_folds, prepare_raters, read_case
from ivadomed_labelfusion.hosts.nnunet.targets import make_target, most_probable
from ivadomed_labelfusion.sampling import draw_rater


class RaterTrainer(nnUNetTrainer):
    """nnU-Net's trainer with targets made of all raters; subclasses name the fusion and the loss.

    The dataset comes from ``ivadomed_labelfusion nnunet export``. Its seed decides weights, patches, augmentation and
    raters; on the CPU the same seed gives the same model, whatever the number of workers.
    """

    fusion = "Average"
    loss_name = "Soft"

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's own signature, which it inspects
    ):
        if KEY not in dataset_json:
            raise InputError(
                f"{type(self).__name__} must train on a dataset that holds all raters, and {plans['dataset_name']} "
                "holds none. Write one with: ivadomed_labelfusion nnunet export"
            )
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.is_cascaded:
            raise InputError(f"{type(self).__name__} knows no cascade, got {configuration}. Train 2d or 3d_fullres.")
        self.raters = dataset_json[KEY]["names"]
        self.n_labels = len(dataset_json["labels"])
        fold_number = 2**16 if fold == "all" else int(fold)
        self.key = (int(dataset_json[KEY]["seed"]), fold_number, self.local_rank)
        self.cases = {}

    @property
    def is_hard(self):
        """Whether targets are labels, not probabilities."""
        return self.loss_name == "Conv"

    def initialize(self):
        """Build the network with weights that the seed decides."""
        torch.manual_seed(np.random.SeedSequence(self.key[:2]).generate_state(1)[0].item())
        super().initialize()

    def _build_loss(self):
        if self.is_hard:
            return super()._build_loss()
        if self.loss_name == "SoftSeg":
            # the parameters of Lemay et al. 2022, Table 5
            loss = _ForegroundLoss(AdaptiveWingLoss(omega=8.0))
        else:
            # every Dice would turn drawn raters into their majority
            loss = SoftDiceCrossEntropy(dice=self.fusion != "Random", batch_dice=self.configuration_manager.batch_dice)
        if not self.enable_deep_supervision:
            return loss
        # as nnU-Net: half the weight for half the resolution, none for the coarsest
        weights = np.array([1 / 2**level for level in range(len(self._get_deep_supervision_scales()))])
        weights[-1] = 1e-6 if self.is_ddp and not self._do_i_compile() else 0
        if not weights.any():
            weights[:] = 1
        return DeepSupervisionWrapper(loss, weights / weights.sum())

    def do_split(self):
        """Return the cases of this fold, of the exported folds."""
        install_folds(self)
        return super().do_split()

    def get_tr_and_val_datasets(self):
        """Return the two datasets with all raters' label maps, prepared if need be."""
        parts = self.do_split()
        cases = sorted(set().union(*parts))
        prepared = prepare_raters(self, cases)
        self.cases = {case: read_case(prepared, case, self.raters, self.n_labels) for case in cases}
        return tuple(RaterDataset(self.preprocessed_dataset_folder, prepared, list(part)) for part in parts)

    def get_dataloaders(self):
        """Return nnU-Net's loaders, with batches that the seed decides."""
        patch_size, scales = self.configuration_manager.patch_size, self._get_deep_supervision_scales()
        rotation, dummy_2d, initial_patch_size, mirror_axes = (
            self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        train_transforms = self.get_training_transforms(
            patch_size,
            rotation,
            scales,
            mirror_axes,
            dummy_2d,
            use_mask_for_norm=self.configuration_manager.use_mask_for_norm,
            foreground_labels=self.label_manager.foreground_labels,
        )
        validation_transforms = self.get_validation_transforms(
            scales, foreground_labels=self.label_manager.foreground_labels
        )
        training, validation = self.get_tr_and_val_datasets()
        n_workers = get_allowed_n_proc_DA()
        n_validation_workers = max(1, n_workers // 2) if n_workers else 0
        return (
            self._loader(
                training,
                (initial_patch_size, patch_size),
                train_transforms,
                key=(*self.key, ROLES["training"]),
                n_workers=n_workers,
                start=self.current_epoch * self.num_iterations_per_epoch,
            ),
            self._loader(
                validation,
                (patch_size, patch_size),
                validation_transforms,
                key=(*self.key, ROLES["validation"]),
                n_workers=n_validation_workers,
                cycle=self.num_val_iterations_per_epoch,
            ),
        )

    def _loader(self, dataset, patch_sizes, transforms, *, n_workers, **stream):
        loader = SeededLoader(
            dataset,
            self.batch_size,
            *patch_sizes,
            self.label_manager,
            oversample_foreground_percent=self.oversample_foreground_percent,
            probabilistic_oversampling=self.probabilistic_oversampling,
            transforms=transforms,
            n_workers=n_workers,
            **stream,
        )
        if not n_workers:
            return SingleThreadedAugmenter(loader, None)
        # in order, unlike nnU-Net's own
        return MultiThreadedAugmenter(
            loader, None, n_workers, num_cached_per_queue=2, pin_memory=self.device.type == "cuda", wait_time=0.002
        )

    def targets(self, batch: dict, role: str):
        """Return the batch's target on the device: a tensor, or one per output of deep supervision.

        Args:
            batch (dict): From `SeededLoader`.
            role (str): ``training`` or ``validation``.
        """
        cases = [self.cases[case] for case in batch["keys"]]
        drawn = [self._draw(case, role, batch["number"], place) for place, case in enumerate(cases)]

        def make(maps):
            votes = maps.to(self.device, non_blocking=True)[:, 1:]
            return make_target(self.fusion, votes, cases, self.n_labels, drawn, hard=self.is_hard)

        target = batch["target"]
        return [make(maps) for maps in target] if isinstance(target, list) else make(target)

    def _draw(self, case, role, number, place):
        present = torch.nonzero(case.present).flatten().tolist()
        return present[
            draw_rater(len(present), seed=self.key[0], case=(*self.key[1:], ROLES[role], place), epoch=number)
        ]

    def train_step(self, batch: dict) -> dict:
        """Train on one batch."""
        return super().train_step({**batch, "target": self.targets(batch, "training")})

    def validation_step(self, batch: dict) -> dict:
        """Return loss and overlap on one batch; soft targets are compared by their most probable label."""
        data, target = batch["data"].to(self.device, non_blocking=True), self.targets(batch, "validation")
        with torch.autocast(self.device.type) if self.device.type == "cuda" else dummy_context():
            output = self.network(data)
            loss = self.loss(output, target)
        if self.enable_deep_supervision:
            output, target = output[0], target[0]
        labels = target if self.is_hard else most_probable(target)[:, None]
        predicted = torch.zeros(output.shape, device=output.device, dtype=torch.float16)
        predicted.scatter_(1, output.argmax(1)[:, None], 1)
        counts = get_tp_fp_fn_tn(predicted, labels, axes=[0, *range(2, output.ndim)])[:3]
        hits, false_alarms, misses = (count.detach().cpu().numpy()[1:] for count in counts)
        return {"loss": loss.detach().cpu().numpy(), "tp_hard": hits, "fp_hard": false_alarms, "fn_hard": misses}

    def save_checkpoint(self, filename: str) -> None:
        """Save the model so that nnU-Net alone can predict with it: the network is its own, so it names its trainer."""
        stock = copy.copy(self)
        stock.__class__ = nnUNetTrainer
        stock.save_checkpoint(filename)


class SoftSegTrainer(RaterTrainer):
    """The trainer of SoftSeg's network, which nnU-Net alone does not know: predicting needs this package."""

    loss_name = "SoftSeg"

    @staticmethod
    def build_network_architecture(
        plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision=True
    ):
        """Return nnU-Net's network ending in the normalised ReLU, and have its probabilities averaged."""
        one_class = num_output_channels == 2
        body = nnUNetTrainer.build_network_architecture(
            plans_manager,
            configuration_manager,
            num_input_channels,
            1 if one_class else num_output_channels,
            enable_deep_supervision,
        )
        average_probabilities(plans_manager)
        return SoftSegNetwork(body)

    def save_checkpoint(self, filename: str) -> None:
        """Save the model; the checkpoint names this trainer, without which its network cannot be built."""
        nnUNetTrainer.save_checkpoint(self, filename)


class _ForegroundLoss(torch.nn.Module):
    """A loss of the foreground channels; the background is what they leave."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, output, target):
        return self.loss(output[:, 1:], target[:, 1:])


@cache
def trainer_class(name: str):
    """Return the trainer of a name, None if it is none of ours.

    ``nnUNetTrainerRatersAverageSoft_5epochs`` and ``..._5epochs_10iterations`` are shorter runs of a trainer.
    """
    short = short_run(name)
    if short is not None:
        base, epochs, iterations = short
        return _shortened(trainer_class(base), name, epochs, iterations)
    if name not in trainer_names():
        return None
    fusion, loss = next((fusion, loss) for fusion in FUSIONS for loss in LOSSES if trainer_name(fusion, loss) == name)
    base = SoftSegTrainer if loss == "SoftSeg" else RaterTrainer
    return type(name, (base,), {"fusion": fusion, "loss_name": loss, "__module__": __name__})


def _shortened(base, name, epochs, iterations):
    def initialise(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - as above
    ):
        base.__init__(self, plans, configuration, fold, dataset_json, device)
        self.num_epochs = epochs
        if iterations is not None:
            self.num_iterations_per_epoch = iterations
            self.num_val_iterations_per_epoch = max(1, iterations // 5)

    return type(name, (base,), {"__init__": initialise, "__module__": __name__})
