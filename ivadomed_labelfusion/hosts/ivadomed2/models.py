"""SoftSeg models: ivadomed's U-Nets with the normalised ReLU of this project.

They are classes of their own, so that a checkpoint names this package and cannot load silently without it.
"""

from ivadomed.models import Modified3DUNet, Unet

from ivadomed_labelfusion.activation import NormalisedReLU


class SoftSegUnet(Unet):
    """ivadomed's U-Net (2D or 3D convolutions) ending in the normalised ReLU.

    Args:
        normalization (str): ``batch`` (the paper), ``sample`` or ``running``, see ``NormalisedReLU``.
        final_activation (str): Accepted because ivadomed passes the whole ``default_model`` block; always "relu".
        **kwargs: As for ``ivadomed.models.Unet``.
    """

    def __init__(self, normalization="batch", final_activation="relu", **kwargs):
        # "softmax" makes the decoder call its softmax module, which is then replaced by ours
        super().__init__(final_activation="softmax", **kwargs)
        self.decoder.softmax = NormalisedReLU(normalization)


class SoftSegModified3DUNet(Modified3DUNet):
    """ivadomed's modified 3D U-Net ending in the normalised ReLU, with classes that sum to 1 with the background.

    Args:
        normalization (str): ``batch`` (the paper), ``sample`` or ``running``, see ``NormalisedReLU``.
        final_activation (str): Accepted because ivadomed passes the whole ``default_model`` block; always "relu".
        **kwargs: As for ``ivadomed.models.Modified3DUNet``.
    """

    def __init__(self, normalization="batch", final_activation="relu", **kwargs):
        # as above: the host's own forward then applies our activation before it removes the background
        super().__init__(final_activation="softmax", **kwargs)
        self.softmax = NormalisedReLU(normalization)
