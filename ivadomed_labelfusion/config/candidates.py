"""The paper's six candidates as settings on one configuration per dataset: 2 frameworks x 3 ways to use the raters.

The shipped templates are these candidates written out (`templates`); a study puts them on any configuration.
"""

from ivadomed_labelfusion.config.bases import BASES
from ivadomed_labelfusion.config.patches import with_settings
from ivadomed_labelfusion.data.raters import nested_target_suffix
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import read_json

# conventional: binary labels and a Dice loss
_CONVENTIONAL = {
    "loader_parameters.soft_gt": False,
    "default_model.name": "Unet",
    "default_model.normalization": None,
}
_ONE_CLASS = {"training_parameters.loss": {"name": "DiceLoss"}, "default_model.final_activation": "sigmoid"}
_CLASSES = {"training_parameters.loss": {"name": "MultiClassDiceLoss"}, "default_model.final_activation": "softmax"}
# SoftSeg: soft labels, Adaptive Wing loss, normalised ReLU
_SOFTSEG = {
    "loader_parameters.soft_gt": True,
    "training_parameters.loss": {"name": "AdapWingLoss", "theta": 0.5, "alpha": 2.1, "omega": 8, "epsilon": 1},
    "default_model.name": "SoftSegUnet",
    "default_model.final_activation": "relu",
    "default_model.normalization": "batch",
}
# for one class, and for several
FRAMEWORK_SETTINGS = {
    "conv": ({**_CONVENTIONAL, **_ONE_CLASS}, {**_CONVENTIONAL, **_CLASSES}),
    "softseg": (_SOFTSEG, _SOFTSEG),
}
FUSION_SETTINGS = {
    "staple": {"transformation.FuseRaters": {"method": "staple"}, "transformation.SampleRater": None},
    "average": {"transformation.FuseRaters": {"method": "average"}, "transformation.SampleRater": None},
    "random": {
        "transformation.FuseRaters": None,
        "transformation.SampleRater": {"policy": "uniform", "unit": "slice", "seed": 1, "validation": "sampled"},
    },
}
PAPER_CANDIDATES = tuple(f"{framework}_{fusion}" for framework in FRAMEWORK_SETTINGS for fusion in FUSION_SETTINGS)
ENSEMBLES = tuple(f"{framework}_ensemble" for framework in FRAMEWORK_SETTINGS)
DATASETS = tuple(BASES)


def base_config(template: str, base: str) -> dict:
    """Return the configuration of one of the six on a template.

    Args:
        template: ``scgm``, ``ms``, or the path of a configuration for another dataset. Of a path, everything is kept
            but what a framework and a fusion decide; its number of classes decides on Dice loss and activation.
        base: One of `PAPER_CANDIDATES`.

    Raises:
        InputError: If the file is missing, has no ``target_suffix``, or a section that is no object.
    """
    if template in DATASETS:
        name = f"{template}_{base}"
        own = {"path_output": f"output/{name}", "model_name": name}
        return with_settings({**BASES[template], **own}, candidate_settings(base, multiclass=template == "scgm"))
    config = read_json(template)
    try:
        suffixes = nested_target_suffix(config["loader_parameters"]["target_suffix"])
    except (KeyError, TypeError):
        raise InputError(
            f"{template} must have loader_parameters.target_suffix: one list of raters per class."
        ) from None
    return with_settings(config, candidate_settings(base, multiclass=len(suffixes) > 1), where=template)


def candidate_settings(name: str, *, multiclass: bool) -> dict:
    """Return what makes a configuration one of the six, for `patches.with_settings`.

    >>> candidate_settings("softseg_staple", multiclass=False)["transformation.FuseRaters"]
    {'method': 'staple'}
    """
    framework, fusion = name.split("_")
    return {**FRAMEWORK_SETTINGS[framework][multiclass], **FUSION_SETTINGS[fusion]}
