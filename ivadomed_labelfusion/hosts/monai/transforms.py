"""Dictionary transforms: one label out of several raters' ones."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable
from monai.utils import convert_to_dst_type

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.passes import Passes, asking_loader
from ivadomed_labelfusion.sampling import POLICIES, draw_rater, normalised_weights, youden_weights


class _RaterTransform(MapTransform):
    """Base: the raters' labels of a sample.

    Each label is ``(C, *spatial)``, C >= 1 foreground classes, 2D or 3D, an array, Tensor or MetaTensor; all of one
    shape. With ``allow_missing_keys`` a rater whose key is absent, or None, is left out.
    """

    def __init__(self, keys: KeysCollection, label_key: str, allow_missing_keys: bool):
        super().__init__(keys, allow_missing_keys)
        self.label_key = label_key

    def present(self, data: Mapping) -> list:
        """Return the positions among ``keys`` of the raters who marked a sample.

        Raises:
            InputError: If nobody did, one did not and that is not allowed, or shapes differ.
        """
        there = [place for place, key in enumerate(self.keys) if data.get(key) is not None]
        lacking = [str(key) for key in self.keys if data.get(key) is None]
        if not there or (lacking and not self.allow_missing_keys):
            raise InputError(
                f"{type(self).__name__} must find the raters {', '.join(map(str, self.keys))} in every sample, "
                f"{', '.join(lacking)} is missing. Set allow_missing_keys=True to go on without some of them."
            )
        shapes = {self.keys[place]: tuple(data[self.keys[place]].shape) for place in there}
        if len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) < 2:
            listed = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
            raise InputError(f"The raters' labels must be (channels, *spatial) of one shape, got {listed}.")
        return there

    def masks(self, data: Mapping, there: Sequence[int]) -> np.ndarray:
        """Return ``(R, C, *spatial)`` of the raters who are present."""
        return np.stack([_array(data[self.keys[place]]) for place in there])


class FuseRatersd(_RaterTransform):
    """Fuse the raters' labels into one.

    Fuse before labels are interpolated (cropping and flipping do no harm): resampled linearly they are soft, which
    only ``average`` takes. Pending lazy operations are applied first; a lazy chain interpolates linearly unless its
    ``overrides`` say ``nearest``.

    Args:
        keys (str or sequence of str): One per rater.
        label_key (str): Gets the fused label ``(C, *spatial)``, with the first rater's affine and history.
        method (str): One of ``fusion.METHODS``.
        soft (bool): Probabilities as float32 (the methods that average always), not 0 and 1 as uint8.
        allow_missing_keys (bool): Fuse the raters who are there.
        **options: Of ``fusion.fuse_classes``: ``ties``, ``region``, ``multiclass``, ...

    Raises:
        InputError: If the method is unknown; when called, if raters are missing or their labels are no masks.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        method: str = "staple",
        soft: bool = False,
        allow_missing_keys: bool = False,
        **options,
    ):
        super().__init__(keys, label_key, allow_missing_keys)
        fusion.check_method(method, [name for name in options if name not in ("region", "margin", "multiclass")])
        self.method, self.soft, self.options = method, soft or fusion.METHODS[method].soft, options

    def __call__(self, data: Mapping[Hashable, object]) -> dict:
        """Return the sample with the fused label."""
        there = self.present(data)
        masks, options = self.masks(data, there), dict(self.options)
        if options.get("weights") is not None and len(options["weights"]) == len(self.keys):
            options["weights"] = [options["weights"][place] for place in there]
        names = [str(self.keys[place]) for place in there]
        fused = fusion.fuse_classes(masks, self.method, soft=self.soft, names=names, **options)
        return {**data, self.label_key: _like(fused, data[self.keys[there[0]]])}


class RandRaterd(Randomizable, _RaterTransform):
    """Take the label of one rater, drawn anew whenever a sample is loaded.

    With a seed, a draw is a function of seed, case and pass over the data alone: the same with any number of workers,
    with ``CacheDataset``, in any order. Passes are counted for any torch or MONAI ``DataLoader``; where there is none,
    or its workers are persistent, call `set_epoch`. Without a seed, draws come from ``self.R`` as in MONAI's own
    transforms.

    Args:
        keys (str or sequence of str): One per rater.
        label_key (str): Gets the drawn rater's label itself.
        rater_key (str): If given, gets the drawn rater's key.
        case_key (str): Entry that names the case; by default the file of the first rater's label.
        policy (str): ``uniform``, ``balanced`` (every rater once before any repeats, per case) or ``weighted``.
        weights (sequence of float or "staple"): For ``weighted``: one per key, or STAPLE's opinion of the raters.
        seed (int): Seed of the draws.
        allow_missing_keys (bool): Draw among the raters who are there.

    Raises:
        InputError: If an argument is not as described, or a case has no name.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        *,
        rater_key: str | None = None,
        case_key: str | None = None,
        policy: str = "uniform",
        weights: Sequence[float] | str | None = None,
        seed: int | None = None,
        allow_missing_keys: bool = False,
    ):
        super().__init__(keys, label_key, allow_missing_keys)
        if policy not in POLICIES:
            raise InputError(f"RandRaterd policy must be one of {', '.join(POLICIES)}, got {policy!r}.")
        if policy == "weighted" and weights != "staple":
            normalised_weights(weights, len(self.keys))
        if policy == "balanced" and seed is None:
            raise InputError("RandRaterd with the policy balanced must have a seed, got None. Give seed=0.")
        self.rater_key, self.case_key, self.policy, self.weights, self.seed = rater_key, case_key, policy, weights, seed
        self._passes = Passes(0)
        # shared, so that workers who are alive already see it; -1 counts by itself
        self._epoch = torch.full((1,), -1, dtype=torch.int64).share_memory_()
        self._drawn = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which pass over the data comes next, from 0; counted no longer by itself from then on."""
        self._epoch[0] = epoch

    def randomize(self, data: Mapping) -> None:
        """Draw the rater of a sample."""
        there = self.present(data)
        weights = self._weights(data, there)
        if self.seed is None:
            shares = None if weights is None else normalised_weights(weights, len(there))
            self._drawn = there[int(self.R.choice(len(there), p=shares))]
            return
        drawn = draw_rater(
            len(there),
            policy=self.policy,
            seed=self.seed,
            case=self._case(data, there),
            epoch=self._pass(),
            weights=weights,
        )
        self._drawn = there[drawn]

    def __call__(self, data: Mapping[Hashable, object]) -> dict:
        """Return the sample with one rater's label."""
        self.randomize(data)
        key = self.keys[self._drawn]
        named = {} if self.rater_key is None else {self.rater_key: key}
        return {**data, **named, self.label_key: data[key]}

    def _weights(self, data, there):
        if self.policy != "weighted":
            return None
        if self.weights != "staple":
            return [self.weights[place] for place in there]
        masks = self.masks(data, there)
        results = [fusion.staple(masks[:, index]) for index in range(masks.shape[1])]
        return youden_weights([found.sensitivity for found in results], [found.specificity for found in results])

    def _case(self, data, there):
        if self.case_key is not None:
            name = data.get(self.case_key)
        else:
            name = getattr(data[self.keys[there[0]]], "meta", {}).get("filename_or_obj")
        if name is None:
            raise InputError(
                "RandRaterd with a seed must know the case of every sample, but the label names no file. Name the "
                "case: case_key."
            )
        # a number that neither the process nor the order of cases changes
        return int.from_bytes(hashlib.sha256(str(name).encode()).digest()[:4], "big")

    def _pass(self):
        if int(self._epoch[0]) >= 0:
            return int(self._epoch[0])
        asking = asking_loader()
        if asking is not None and asking[1]:
            raise InputError(
                "Persistent workers do not tell one pass over the data from the next. Call RandRaterd.set_epoch(epoch) "
                "before each, or leave persistent_workers out."
            )
        return self._passes.number(0)


def _array(label):
    return label.detach().cpu().numpy() if isinstance(label, torch.Tensor) else np.asarray(label)


def _like(fused, label):
    """Return a fused label in the first rater's class, on its device, with its metadata."""
    return convert_to_dst_type(fused, dst=label, dtype=fused.dtype)[0]
