"""nnU-Net's network ending in the normalised ReLU, and its probabilities averaged over tiles, mirrors and folds."""

import functools

import torch
from torch import nn

from ivadomed_labelfusion.activation import NormalisedReLU, share_of_classes


class SoftSegNetwork(nn.Module):
    """A network of nnU-Net with the normalised ReLU in the place of softmax, in training and at inference.

    One foreground class is one channel, divided by a running average of the batch maximum (a patch's own maximum would
    lift the noise of an empty patch to 1); several classes have a channel each and one for the background.

    Args:
        body (Module): nnU-Net's network, with one output channel for one class, else background and classes.
    """

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body
        self.activation = NormalisedReLU("running")
        # the coarser outputs of deep supervision are used in training only, and must not move the average
        self.coarse_activation = NormalisedReLU("batch")

    @property
    def decoder(self):
        """The part whose deep supervision nnU-Net switches on and off."""
        return self.body.decoder

    def forward(self, x: torch.Tensor):
        """Return probabilities ``(N, K, *spatial)``, background first, summing to 1; a list with deep supervision."""
        outputs = self.body(x)
        if isinstance(outputs, list | tuple):
            first, *coarse = outputs
            activations = [self.activation, *[self.coarse_activation] * len(coarse)]
            return [_probabilities(output, use) for output, use in zip([first, *coarse], activations, strict=True)]
        return _probabilities(outputs, self.activation)


def _probabilities(output, activation):
    if output.shape[1] > 1:
        return share_of_classes(torch.relu(output.float()))
    foreground = activation(output)
    return torch.cat([1 - foreground, foreground], dim=1)


def average_probabilities(plans_manager) -> None:
    """Make nnU-Net take a network's outputs for probabilities, so that they are what it averages.

    It averages outputs over tiles, mirrors and folds, resamples them, and only then applies a non-linearity, which is
    softmax unless the label manager has another. The manager of these plans gets the identity.

    Args:
        plans_manager (PlansManager): Of this training or prediction; nothing else changes.
    """
    plans_manager.get_label_manager = functools.partial(_label_manager, plans_manager.label_manager_class)


def _label_manager(label_manager_class, dataset_json, **options):
    return label_manager_class(
        label_dict=dataset_json["labels"],
        regions_class_order=dataset_json.get("regions_class_order"),
        **{"inference_nonlin": _identity, **options},
    )


def _identity(probabilities):
    return probabilities
