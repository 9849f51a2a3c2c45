"""Every key that ivadomed 2.9 or this plugin reads in a configuration file, and what its value must be: `SCHEMA`.

Where a wrong value would end in an error of ivadomed's own, or in silence, its `Kind` says what is right. A contract
test compares the table with the installed ivadomed.
"""

from dataclasses import replace

from ivadomed_labelfusion.config import kinds
from ivadomed_labelfusion.config.kinds import Kind
from ivadomed_labelfusion.fusion import METHODS, all_options

# name -> parameters
LOSS_PARAMETERS = {
    "DiceLoss": ("smooth",),
    "FocalLoss": ("gamma", "alpha", "eps"),
    "GeneralizedDiceLoss": ("epsilon", "include_background"),
    "FocalDiceLoss": ("beta", "gamma", "alpha"),
    "MultiClassDiceLoss": ("classes_of_interest",),
    "BinaryCrossEntropyLoss": (),
    "TverskyLoss": ("alpha", "beta", "smooth"),
    "FocalTverskyLoss": ("alpha", "beta", "gamma", "smooth"),
    "AdapWingLoss": ("theta", "alpha", "omega", "epsilon"),
    "L2loss": (),
    "LossCombination": ("losses_list", "params_list"),
}
LOSSES = tuple(LOSS_PARAMETERS)

# losses that treat the label as a set: their optimum on a soft label is not the label itself
OVERLAP_LOSSES = (
    "DiceLoss",
    "GeneralizedDiceLoss",
    "FocalDiceLoss",
    "MultiClassDiceLoss",
    "TverskyLoss",
    "FocalTverskyLoss",
)

# name -> parameters; the first two are ivadomed's defaults for all
SCHEDULER_PARAMETERS = {
    "CosineAnnealingLR": ("base_lr", "max_lr"),
    "CosineAnnealingWarmRestarts": ("base_lr", "max_lr", "T_0", "T_mult", "eta_min"),
    "CyclicLR": ("base_lr", "max_lr", "step_size_up", "step_size_down"),
}

MODELS = ("Unet", "FiLMedUnet", "HeMISUnet", "Modified3DUNet", "UNet3D", "Countception", "resnet18", "densenet121")

PLUGIN_MODELS = ("SoftSegUnet", "SoftSegModified3DUNet")

_MODEL = {
    "name": kinds.TEXT,
    "applied": kinds.FLAG,
    "depth": kinds.at_most(kinds.COUNT, 20),
    "n_filters": kinds.at_most(kinds.COUNT, 4096),
    "dropout_rate": kinds.SHARE,
    "bn_momentum": kinds.SHARE,
    "is_2d": kinds.FLAG,
    "length_2D": kinds.at_most(kinds.PATCH, 10_000),
    "stride_2D": kinds.at_most(kinds.PATCH, 10_000),
    "length_3D": kinds.at_most(kinds.PATCH, 10_000),
    "stride_3D": kinds.at_most(kinds.PATCH, 10_000),
    "in_channel": kinds.at_most(kinds.COUNT, 10_000),
    "out_channel": kinds.at_most(kinds.COUNT, 10_000),
    "n_metadata": kinds.at_most(kinds.WHOLE, 10_000),
    "attention": kinds.FLAG,
    "missing_probability": kinds.SHARE,
    "missing_probability_growth": kinds.at_most(kinds.NOT_NEGATIVE, 1e6),
    "film_layers": Kind(
        "a list of 0 and 1",
        kinds.list_of(lambda layer: kinds.is_whole(layer) and layer in (0, 1)),
        kinds.array({"enum": [0, 1], "type": "integer"}),
    ),
    "multichannel": kinds.FLAG,
    **dict.fromkeys(
        (
            "final_activation",
            "metadata",
            "film_onehotencoder",
            "contrasts",
            "target_lst",
            "roi_lst",
            "path_hdf5",
            "csv_path",
            "ram",
            "folder_name",
        ),
        kinds.UNCHECKED,
    ),
}
# what any entry of "transformation" may have beside its own parameters
_COMMON = {"applied_to": kinds.APPLIED, "dataset_type": kinds.ROLES, "preprocessing": kinds.FLAG}
_CROP = {"size": kinds.at_most(kinds.SIZE, 10_000)}
_SPACE = kinds.at_most(kinds.POSITIVE, 1000)
_IVADOMED_TRANSFORMS = {
    "Resample": {"hspace": _SPACE, "wspace": _SPACE, "dspace": _SPACE},
    "NormalizeInstance": {},
    "CenterCrop": _CROP,
    "ROICrop": _CROP,
    "BoundingBoxCrop": _CROP,
    "DilateGT": {"dilation_factor": kinds.at_most(kinds.NOT_NEGATIVE, 100)},
    "RandomAffine": {
        "degrees": Kind(
            "a number of at least 0 or a list of 2 numbers",
            lambda value: kinds.NOT_NEGATIVE.is_right(value) or kinds.list_of(kinds.is_number, 2)(value),
            {"anyOf": [kinds.NOT_NEGATIVE.schema, kinds.array(kinds.NUMBER.schema, 2)]},
        ),
        "translate": kinds.or_null(kinds.SHARES),
        "scale": kinds.or_null(kinds.SHARES),
    },
    "RandomReverse": {},
    "RandomShiftIntensity": {"shift_range": kinds.RANGE, "prob": kinds.SHARE},
    "ElasticTransform": {"alpha_range": kinds.RANGE, "sigma_range": kinds.RANGE, "p": kinds.SHARE},
    "AdditiveGaussianNoise": {"mean": kinds.NUMBER, "std": kinds.NOT_NEGATIVE},
    "Clahe": {"clip_limit": kinds.POSITIVE, "kernel_size": kinds.at_most(kinds.SIZE, 10_000)},
    "HistogramClipping": {"min_percentile": kinds.PERCENT, "max_percentile": kinds.PERCENT},
    "RandomGamma": {"log_gamma_range": kinds.RANGE, "p": kinds.SHARE},
    "RandomBiasField": {
        "coefficients": kinds.NUMBER_OR_RANGE,
        "order": kinds.at_most(kinds.WHOLE, 20),
        "p": kinds.SHARE,
    },
    "RandomBlur": {"sigma_range": kinds.RANGE, "p": kinds.SHARE},
    "NumpyToTensor": {},
}
_PLUGIN_TRANSFORMS = {
    "FuseRaters": {
        "method": kinds.choice(*METHODS),
        "multiclass": kinds.UNCHECKED,
        "region": kinds.UNCHECKED,
        "margin": kinds.WHOLE,
        "weights": kinds.UNCHECKED,
        **{name: kinds.of_option(option) for name, (option, _) in all_options().items()},
    },
    "SampleRater": {
        "policy": kinds.choice("uniform", "balanced", "weighted"),
        "unit": kinds.choice("slice", "volume"),
        "seed": kinds.UNCHECKED,
        "weights": kinds.UNCHECKED,
        "validation": kinds.choice("sampled", "average"),
    },
}
# name -> parameters
TRANSFORM_COMMON = tuple(_COMMON)
TRANSFORMS = {name: tuple(parameters) for name, parameters in _IVADOMED_TRANSFORMS.items()}
PLUGIN_TRANSFORMS = {name: tuple(parameters) for name, parameters in _PLUGIN_TRANSFORMS.items()}
# parameters of FuseRaters besides the options of its method
FUSION_COMMON = ("method", "multiclass", "region", "margin", "weights")
_FILTER = dict.fromkeys(("filter_empty_mask", "filter_empty_input", "filter_absent_class"), kinds.FLAG)


SCHEMA = {
    # for editors, see `ivadomed_labelfusion check --schema`
    "$schema": kinds.UNCHECKED,
    "command": kinds.or_null(kinds.one_of("train", "test", "segment")),
    "gpu_ids": kinds.GPUS,
    "path_output": kinds.TEXT,
    "model_name": kinds.TEXT,
    "log_file": kinds.TEXT,
    "debugging": kinds.FLAG,
    # written by ivadomed into the configuration it saves
    "training_sha256": kinds.UNCHECKED,
    # names from before ivadomed 2.7, which ivadomed renames itself
    "log_directory": kinds.UNCHECKED,
    "bids_path": kinds.UNCHECKED,
    "object_detection_params": dict.fromkeys(
        ("object_detection_path", "safety_factor", "gpu_ids", "path_output"), kinds.UNCHECKED
    ),
    "wandb": dict.fromkeys(
        ("wandb_api_key", "project_name", "group_name", "run_name", "log_grads_every"), kinds.UNCHECKED
    ),
    "loader_parameters": {
        "path_data": kinds.PATHS,
        "bids_path": kinds.UNCHECKED,
        "bids_config": kinds.or_null(kinds.TEXT),
        "bids_validate": kinds.FLAG,
        "subject_selection": {
            "n": Kind(
                "a list of whole numbers of at least 0",
                kinds.list_of(kinds.WHOLE.is_right),
                kinds.array(kinds.WHOLE.schema),
            ),
            "metadata": kinds.NAMES,
            "value": Kind("a list", lambda value: isinstance(value, list), {"type": "array"}),
        },
        "target_suffix": kinds.SUFFIXES,
        "target_ground_truth": kinds.UNCHECKED,
        "extensions": kinds.NAMES,
        "target_sessions": kinds.or_null(kinds.NAMES),
        "roi_params": {"suffix": kinds.or_null(kinds.ANY_TEXT), "slice_filter_roi": kinds.or_null(kinds.WHOLE)},
        "contrast_params": {
            "training_validation": kinds.NAMES,
            "testing": kinds.NAMES,
            "balance": kinds.WEIGHTS,
            "contrast_lst": kinds.NAMES,
        },
        "slice_filter_params": {
            **_FILTER,
            "filter_classification": kinds.FLAG,
            "classifier_path": kinds.or_null(kinds.ANY_TEXT),
        },
        "patch_filter_params": _FILTER,
        "slice_axis": kinds.choice("axial", "sagittal", "coronal"),
        "multichannel": kinds.FLAG,
        "soft_gt": kinds.FLAG,
        "is_input_dropout": kinds.FLAG,
        "metadata_type": kinds.or_null(kinds.ANY_TEXT),
        "allow_missing_raters": kinds.FLAG,
        "fast_loader": kinds.FLAG,
    },
    "split_dataset": {
        "fname_split": kinds.or_null(kinds.ANY_TEXT),
        # the largest that numpy takes
        "random_seed": kinds.at_most(kinds.WHOLE, 2**32 - 1),
        "split_method": kinds.TEXT,
        "data_testing": {
            "data_type": kinds.or_null(kinds.ANY_TEXT),
            "data_value": Kind(
                "a list of texts or numbers",
                kinds.list_of(lambda value: isinstance(value, str) or kinds.is_number(value)),
                kinds.array({"type": ["string", "number"]}),
            ),
        },
        "balance": kinds.or_null(kinds.ANY_TEXT),
        "train_fraction": kinds.SHARE,
        "test_fraction": kinds.SHARE,
        "method": kinds.UNCHECKED,
        "center_test": kinds.UNCHECKED,
    },
    "training_parameters": {
        "batch_size": kinds.at_most(kinds.COUNT, 100_000),
        # ivadomed drops what is no object here, and silently takes its own default
        "loss": replace(kinds.OBJECT, inside={"name": kinds.choice(*LOSSES)}),
        "training_time": {
            "num_epochs": kinds.at_most(kinds.COUNT, 10**7),
            "early_stopping_patience": kinds.COUNT,
            "early_stopping_epsilon": kinds.NOT_NEGATIVE,
            "early_stopping_mode": kinds.one_of("host", "best"),
        },
        "scheduler": {
            "initial_lr": kinds.at_most(kinds.POSITIVE, 1e6),
            "lr_scheduler": replace(kinds.OBJECT, inside={"name": kinds.choice(*SCHEDULER_PARAMETERS)}),
        },
        "balance_samples": {"applied": kinds.FLAG, "type": kinds.TEXT},
        "mixup_alpha": kinds.or_null(kinds.POSITIVE),
        "export_onnx": kinds.FLAG,
        "amp": Kind(
            "bf16, fp16 or false",
            lambda value: value is False or value in ("bf16", "fp16"),
            {"enum": ["bf16", "fp16", False]},
        ),
        "channels_last": kinds.FLAG,
        "compile": kinds.FLAG,
        "transfer_learning": {
            "retrain_model": kinds.or_null(kinds.ANY_TEXT),
            "retrain_fraction": kinds.SHARE,
            "reset": kinds.FLAG,
        },
    },
    "default_model": {
        **_MODEL,
        "name": replace(
            kinds.choice(*MODELS, *PLUGIN_MODELS), expected=kinds.TEXT.expected, is_right=kinds.TEXT.is_right
        ),
        "normalization": kinds.choice("batch", "sample", "running"),
    },
    **{name: _MODEL for name in MODELS if name != "Unet"},
    "uncertainty": {
        "epistemic": kinds.FLAG,
        "aleatoric": kinds.FLAG,
        "n_it": kinds.at_most(kinds.WHOLE, 10_000),
        "applied": kinds.FLAG,
    },
    "postprocessing": {
        "binarize_prediction": {"thr": kinds.NUMBER},
        "binarize_maxpooling": kinds.UNCHECKED,
        "uncertainty": {"thr": kinds.NUMBER, "suffix": kinds.TEXT},
        "fill_holes": kinds.UNCHECKED,
        "keep_largest": kinds.UNCHECKED,
        "remove_noise": {"thr": kinds.NUMBER},
        "remove_small": {"unit": kinds.UNIT, "thr": kinds.ONE_OR_MORE},
    },
    "evaluation_parameters": {
        "object_detection_metrics": kinds.FLAG,
        "target_size": {"unit": kinds.UNIT, "thr": kinds.BINS},
        "overlap": {"unit": kinds.UNIT_OR_RATIO, "thr": kinds.ONE_OR_MORE},
        # checked by ivadomed_labelfusion.evaluation
        "inter_rater": kinds.UNCHECKED,
    },
    "transformation": {
        name: {**parameters, **_COMMON} for name, parameters in {**_IVADOMED_TRANSFORMS, **_PLUGIN_TRANSFORMS}.items()
    },
}


# sections that ivadomed itself bears to be null
NULLABLE = (
    "wandb",
    "object_detection_params",
    "loader_parameters.subject_selection",
    "evaluation_parameters.target_size",
    "evaluation_parameters.overlap",
)
