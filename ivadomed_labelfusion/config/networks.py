"""Networks that cannot be built, or cannot take the pieces of image they would be given.

ivadomed itself finds these out after everything has been loaded, or after the first step of the training.
"""

import math
from collections.abc import Mapping

from ivadomed_labelfusion.config.keys import MODELS, PLUGIN_MODELS

# the modified 3D U-Net halves its input so often, whatever "depth" says
_HALVINGS_OF_MODIFIED = 4
_DEFAULT_DEPTH = 3
# what ivadomed 2.9 itself can no longer train, whatever the raters
_BROKEN = {
    "HeMISUnet": "its loader of missing contrasts is gone from ivadomed",
    "resnet18": "ivadomed fails to load labels for classification",
    "densenet121": "ivadomed fails to load labels for classification",
}
_ACTIVATIONS = ("sigmoid", "relu", "softmax")
_MODIFIED = ("Modified3DUNet", "UNet3D", "SoftSegModified3DUNet")


def wrong_networks(config):
    """Yield ``(key, message)`` of every setting of the network that ivadomed would fail with.

    Args:
        config (Mapping): A configuration whose sections are objects; keys that are absent are fine.
    """
    default = _section(config, "default_model")
    applied = [name for name in MODELS if _section(config, name).get("applied") is True]
    name = default.get("name")
    if name in PLUGIN_MODELS and applied:
        yield (
            f"{applied[0]}.applied",
            f"{applied[0]} would be trained in the place of {name} (default_model.name). Set it to false, or use a "
            'default_model such as "Unet".',
        )
    elif len(applied) > 1 and set(applied) != {"Modified3DUNet", "FiLMedUnet"}:
        yield f"{applied[1]}.applied", f"{' and '.join(applied)} exclude each other. Set all but one to false."
    else:
        yield from _broken(applied, name)
    if "FiLMedUnet" in applied:
        yield from _wrong_film(_section(config, "FiLMedUnet"), default, any(part in applied for part in _MODIFIED))
    elif any(default.get("film_layers") or []):
        yield "default_model.film_layers", "acts in FiLMedUnet only. Set FiLMedUnet.applied to true, or remove it."
    yield from _flat_model(config)
    yield from _wrong_activation(config, default)
    block, model = _trained(config)
    crop = _section(_section(config, "transformation"), "CenterCrop").get("size")
    if uses_subvolumes(config):
        yield from _wrong_subvolumes(block, model, crop, is_modified=model["name"] in _MODIFIED)
    elif "length_2D" in model or "stride_2D" in model:
        yield from _wrong_patches(block, model, crop)
    yield from _wrong_passes(config)


def uses_subvolumes(config):
    """Tell whether a configuration trains a 3D model, whose samples are subvolumes.

    Args:
        config (Mapping): A configuration whose sections are objects; keys that are absent are fine.
    """
    _, model = _trained(config)
    return model["name"] in _MODIFIED or model.get("is_2d") is False


def _trained(config):
    """Return the name of the block that decides on the samples of the trained model, and its settings."""
    default = _section(config, "default_model")
    # FiLM takes the samples of the model that it is put upon
    applied = [name for name in MODELS if _section(config, name).get("applied") is True and name != "FiLMedUnet"]
    if applied:
        return applied[0], {**default, **_section(config, applied[0]), "name": applied[0]}
    return "default_model", {**default, "name": str(default.get("name"))}


def _section(config, name):
    value = config.get(name)
    return value if isinstance(value, Mapping) else {}


def _broken(applied, name):
    """Yield the models that ivadomed itself cannot train."""
    for model, reason in _BROKEN.items():
        for key in [f"{model}.applied"] * (model in applied) + ["default_model.name"] * (model == name):
            yield key, f"{model} cannot be trained: {reason}. Use another model."
    if name == "UNet3D":
        yield "default_model.name", "UNet3D cannot be built by ivadomed. Use Modified3DUNet, its newer name."


def _flat_model(config):
    """Yield a 3D model by name that would be segmented slice by slice."""
    default = _section(config, "default_model")
    if default.get("name") == "Modified3DUNet" and default.get("is_2d", True) is not False:
        yield "default_model.is_2d", "Modified3DUNet needs false (the default is true)."


def _wrong_activation(config, default):
    activation = default.get("final_activation")
    classes = _section(config, "loader_parameters").get("target_suffix")
    if activation is not None and activation not in _ACTIVATIONS:
        yield "default_model.final_activation", f"must be one of {', '.join(_ACTIVATIONS)}, got {activation!r}."
    elif activation == "softmax" and isinstance(classes, list) and len(classes) == 1:
        yield (
            "default_model.final_activation",
            "softmax of one class is 1 everywhere, whatever the network learns. Use sigmoid.",
        )


def _sizes(value, n):
    """Tell whether a value is a list of n whole numbers above 0."""
    return isinstance(value, list) and len(value) == n and all(type(size) is int and size > 0 for size in value)


def _wrong_film(film, default, is_modified):
    if not film.get("metadata"):
        yield "FiLMedUnet.metadata", "must be contrasts, or a column of participants.tsv. Name it."
    if film.get("metadata") == "mri_params":
        yield "FiLMedUnet.metadata", "mri_params fails in ivadomed. Use contrasts, or a column of participants.tsv."
    layers = film.get("film_layers")
    depth = film.get("depth", default.get("depth", _DEFAULT_DEPTH))
    if isinstance(layers, list) and type(depth) is int and len(layers) != 2 * depth + 2:
        yield (
            "FiLMedUnet.film_layers",
            f"must have 2 x depth + 2 = {2 * depth + 2} entries, got {len(layers)}. Give every layer a 0 or a 1.",
        )
    if not isinstance(layers, list) or not any(layers):
        yield (
            "FiLMedUnet.film_layers",
            f"must have a 1 for every layer that is modulated, at least one, got {layers!r}.",
        )
    if is_modified and depth != _HALVINGS_OF_MODIFIED:
        yield "default_model.depth", f"must be {_HALVINGS_OF_MODIFIED} for FiLM in Modified3DUNet, got {depth!r}."


def _wrong_tiling(block, model, crop, kind, n):
    """Yield what is wrong with the length and stride of patches (n = 2) or subvolumes (n = 3) beside the depth."""
    length, stride = model.get(f"length_{kind}"), model.get(f"stride_{kind}")
    for key, value in ((f"length_{kind}", length), (f"stride_{kind}", stride)):
        if not _sizes(value, n):
            yield f"{block}.{key}", f"must be a list of {n} whole numbers of at least 1, got {value!r}."
            return
    if any(step > size for step, size in zip(stride, length, strict=True)):
        yield f"{block}.stride_{kind}", f"must be at most length_{kind} {length} on every axis, got {stride}."
    if _sizes(crop, n) and any(size > side for size, side in zip(length, crop, strict=True)):
        yield (
            f"{block}.length_{kind}",
            f"must be at most transformation.CenterCrop.size {crop} on every axis, got {length}.",
        )


def _wrong_patches(block, model, crop):
    if not model.get("length_2D") and not model.get("stride_2D"):
        return
    problems = list(_wrong_tiling(block, model, crop, "2D", 2))
    yield from problems
    depth = model.get("depth", _DEFAULT_DEPTH)
    if not problems and type(depth) is int and min(model["length_2D"]) < 2**depth:
        yield (
            f"{block}.depth",
            f"{depth} halves the {min(model['length_2D'])} pixels of length_2D to nothing. Use at most "
            f"{min(model['length_2D']).bit_length() - 1}, or larger patches.",
        )


def _wrong_subvolumes(block, model, crop, *, is_modified):
    problems = list(_wrong_tiling(block, model, crop, "3D", 3))
    yield from problems
    if problems:
        return
    length, stride = model["length_3D"], model["stride_3D"]
    if any(size % 16 for size in length):
        yield f"{block}.length_3D", f"must be multiples of 16, got {length}."
    if crop is not None and not _sizes(crop, 3):
        yield "transformation.CenterCrop.size", f"must be a list of 3 whole numbers for a 3D model, got {crop!r}."
    elif crop is not None and any((c - n) % s for c, n, s in zip(crop, length, stride, strict=True)):
        yield (
            f"{block}.stride_3D",
            f"{stride} does not lead from the first to the last subvolume {length} of transformation.CenterCrop.size "
            f"{crop}: size - length must be a multiple of the stride on every axis.",
        )
    halvings = _HALVINGS_OF_MODIFIED if is_modified else model.get("depth", _DEFAULT_DEPTH)
    if type(halvings) is int and math.prod(size // 2**halvings for size in length) < 2:
        key = "length_3D" if is_modified else "depth"
        yield (
            f"{block}.{key}",
            f"the network halves length_3D {length} {halvings} times, to less than 2 voxels. Use larger subvolumes"
            f"{'' if is_modified else ', or a smaller depth'}.",
        )


def _wrong_passes(config):
    settings = _section(config, "uncertainty")
    if settings.get("n_it") == 1 and (settings.get("epistemic") is True or settings.get("aleatoric") is True):
        yield "uncertainty.n_it", "must be 0 or at least 2: one random pass has no spread, got 1."
    slices = _section(_section(config, "loader_parameters"), "slice_filter_params")
    if slices.get("filter_classification") is True and not slices.get("classifier_path"):
        yield "loader_parameters.slice_filter_params.classifier_path", "filter_classification needs a model. Name it."
    transfer = _section(_section(config, "training_parameters"), "transfer_learning")
    if transfer.get("retrain_model") and transfer.get("retrain_fraction") == 0:
        yield (
            "training_parameters.transfer_learning.retrain_fraction",
            "must be above 0: with 0 every layer is frozen, and nothing is trained.",
        )
