"""Training: epochs that the draws can count, and a resumed training that ends where an uninterrupted one would."""

import copy
import warnings
from pathlib import Path

import torch
from ivadomed import training as imed_training
from torch.utils.data import DataLoader

from ivadomed_labelfusion.environment import version_numbers
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2 import transfer
from ivadomed_labelfusion.hosts.ivadomed2.context import current_context
from ivadomed_labelfusion.hosts.ivadomed2.early_stopping import with_mode
from ivadomed_labelfusion.hosts.ivadomed2.loading import TrainingTorch, read_checkpoint
from ivadomed_labelfusion.hosts.ivadomed2.speed.batches import BatchSource, CountedSampler
from ivadomed_labelfusion.hosts.ivadomed2.speed.network import computing_as_asked, watch_steps


class EpochDataLoader(DataLoader):
    """``DataLoader`` that tells its dataset when a pass over the data begins, and asks it for whole batches.

    The epoch is set in the parent process before workers start, so draws do not depend on their number.

    Attributes:
        takes_batches (bool): Whether a dataset that makes whole batches is asked for them.
    """

    takes_batches = True

    def __init__(self, dataset, *args, pin_memory=False, sampler=None, **kwargs):
        if self.takes_batches and getattr(dataset, "makes_batches", False):
            sampler = sampler if sampler is None else CountedSampler(sampler, len(dataset))
            # on a GPU, batches lie there already
            pin_memory = pin_memory and not dataset.on_gpu
            dataset, kwargs["collate_fn"] = BatchSource(dataset), _as_it_is
        # pinning without a GPU only warns
        pin_memory = pin_memory and torch.cuda.is_available()
        super().__init__(dataset, *args, pin_memory=pin_memory, sampler=sampler, **kwargs)

    def __iter__(self):
        """Start the next epoch and iterate over its batches."""
        if hasattr(self.dataset, "start_epoch"):
            self.dataset.start_epoch()
        return super().__iter__()


def _as_it_is(batch):
    return batch


def train(original):
    """Wrap ``ivadomed.training.train`` so that ``--resume-training`` does only the epochs that are left.

    ivadomed itself trains all epochs again and lets a worse epoch replace the best model so far.
    """

    def wrapped(model_params, dataset_train, dataset_val, training_params, path_output, device, *args, **kwargs):
        for role, samples in (("training", dataset_train), ("validation", dataset_val)):
            if samples is not None and not len(samples):
                raise InputError(
                    f"the {role} set must have samples, but slice_filter_params and patch_filter_params leave none of "
                    "its images. Check them, the masks and the transformation."
                )
        if dataset_val and kwargs.get("n_gif", 0) > len(dataset_val):
            raise InputError(f"--gif (-g) must be at most {len(dataset_val)}, the validation slices.")
        place = torch.device(device if kwargs.get("cuda_available", True) else "cpu")
        for samples in (dataset_train, dataset_val):
            if hasattr(samples, "make_batches_on"):
                samples.make_batches_on(place)
        checkpoint, done = Path(path_output, "checkpoint.pth.tar"), 0
        if kwargs.get("resume_training") and checkpoint.is_file():
            state = read_checkpoint(checkpoint)
            done = state["epoch"] - 1
            training_params = copy.deepcopy(training_params)
            times = training_params["training_time"]
            times["num_epochs"] = max(0, times["num_epochs"] - done)
            if times.get("early_stopping_mode") != "best":
                # ivadomed counts the epochs without improvement from 0 again
                times["early_stopping_patience"] -= state["patience_count"]
            if hasattr(dataset_train, "skip_epochs"):
                dataset_train.skip_epochs(done)
            if isinstance(imed_training.torch, TrainingTorch):
                imed_training.torch.best_validation_loss = state["validation_loss"]
                imed_training.torch.best_epoch = done
        training_params = with_mode(training_params, imed_training.torch, done)
        try:
            with transfer.asking_for(model_params), computing_as_asked(model_params, training_params, place):
                return original(
                    model_params, dataset_train, dataset_val, training_params, path_output, device, *args, **kwargs
                )
        finally:
            if isinstance(imed_training.torch, TrainingTorch):
                imed_training.torch.best_validation_loss, imed_training.torch.best_epoch = float("inf"), 0

    return wrapped


def get_scheduler(original):
    """Wrap ``ivadomed.training.get_scheduler``: ivadomed's defaults give every schedule the bounds of ``CyclicLR``."""

    def wrapped(params, optimizer, num_epochs=0):
        watch_steps(optimizer)
        if params["name"] == "CosineAnnealingWarmRestarts":
            params = {name: value for name, value in params.items() if name not in ("base_lr", "max_lr")}
        return original(params, optimizer, num_epochs)

    return wrapped


class NotWantedError(Exception):
    """ivadomed logs why a model was not exported, and goes on."""


def save_onnx_model(original):
    """Wrap ``ivadomed.utils.save_onnx_model``: torch >= 2.9 no longer exports as it asks for, older ones do.

    With ``training_parameters.export_onnx`` false nothing is exported, and an earlier export is removed.
    """

    def wrapped(model, inputs, model_path):
        if not current_context().get("training_parameters", {}).get("export_onnx", True):
            Path(model_path).unlink(missing_ok=True)
            raise NotWantedError("training_parameters.export_onnx is false, so none is written")
        # before 2.9 the exporter that is used here fails on up-sampling
        export = original if version_numbers(torch.__version__) < (2, 9) else _export_onnx
        export(model, inputs, model_path)

    return wrapped


def _export_onnx(model, inputs, model_path):
    """Export a model to ONNX.

    Batch size and spatial size stay free, as in ivadomed; the number of channels is the model's. The model is put into
    evaluation mode.

    Args:
        model (torch.nn.Module): The model.
        inputs (Tensor): A batch, for the number of channels and dimensions.
        model_path (str): Target.
    """
    model.eval()
    # the exporter takes a size of 1 for a constant
    inputs = torch.cat([inputs, inputs]) if len(inputs) == 1 else inputs
    free = {axis: torch.export.Dim.DYNAMIC for axis in range(inputs.dim()) if axis != 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (inputs,),
            model_path,
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=(free,),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
