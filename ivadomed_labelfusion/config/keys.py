"""Every key that ivadomed 2.9 or this plugin reads in a configuration file.

A section maps its keys to the keys one level below, to None where anything may follow, or to an empty dict for a plain
value. A contract test compares the table with the installed ivadomed.
"""

VALUE = {}
ANY = None

# keys that any entry of "transformation" may have beside its own parameters
TRANSFORM_COMMON = ("applied_to", "dataset_type", "preprocessing")

# name -> parameters
TRANSFORMS = {
    "Resample": ("hspace", "wspace", "dspace"),
    "NormalizeInstance": (),
    "CenterCrop": ("size",),
    "ROICrop": ("size",),
    "BoundingBoxCrop": ("size",),
    "DilateGT": ("dilation_factor",),
    "RandomAffine": ("degrees", "translate", "scale"),
    "RandomReverse": (),
    "RandomShiftIntensity": ("shift_range", "prob"),
    "ElasticTransform": ("alpha_range", "sigma_range", "p"),
    "AdditiveGaussianNoise": ("mean", "std"),
    "Clahe": ("clip_limit", "kernel_size"),
    "HistogramClipping": ("min_percentile", "max_percentile"),
    "RandomGamma": ("log_gamma_range", "p"),
    "RandomBiasField": ("coefficients", "order", "p"),
    "RandomBlur": ("sigma_range", "p"),
    "NumpyToTensor": (),
}

PLUGIN_TRANSFORMS = {
    "FuseRaters": (
        "method",
        "multiclass",
        "region",
        "margin",
        "weights",
        "ties",
        "confidence_weight",
        "tol",
        "max_iter",
        "alpha",
    ),
    "SampleRater": ("policy", "unit", "seed", "weights", "validation"),
}

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

_MODEL = dict.fromkeys(
    (
        "applied",
        "name",
        "dropout_rate",
        "bn_momentum",
        "depth",
        "is_2d",
        "final_activation",
        "n_filters",
        "length_2D",
        "stride_2D",
        "length_3D",
        "stride_3D",
        "in_channel",
        "out_channel",
        "n_metadata",
        "metadata",
        "film_layers",
        "film_onehotencoder",
        "attention",
        "missing_probability",
        "missing_probability_growth",
        "contrasts",
        "target_lst",
        "roi_lst",
        "path_hdf5",
        "csv_path",
        "ram",
        "folder_name",
        "multichannel",
    ),
    ANY,
)

# what keys may say that take one of a few words
CHOICES = {
    "loader_parameters.slice_axis": ("axial", "sagittal", "coronal"),
    "training_parameters.loss.name": LOSSES,
    "training_parameters.scheduler.lr_scheduler.name": (
        "CosineAnnealingLR",
        "CosineAnnealingWarmRestarts",
        "CyclicLR",
    ),
    "default_model.name": MODELS + PLUGIN_MODELS,
    "default_model.normalization": ("batch", "sample", "running"),
    "transformation.SampleRater.policy": ("uniform", "balanced", "weighted"),
    "transformation.SampleRater.unit": ("slice", "volume"),
    "transformation.SampleRater.validation": ("sampled", "average"),
}

KNOWN_KEYS = {
    # for editors, see `ivadomed_labelfusion check --schema`
    "$schema": VALUE,
    "command": VALUE,
    "gpu_ids": VALUE,
    "path_output": VALUE,
    "model_name": VALUE,
    "debugging": VALUE,
    "log_file": VALUE,
    # written by ivadomed into the configuration it saves
    "training_sha256": ANY,
    # names from before ivadomed 2.7, which ivadomed renames itself
    "log_directory": VALUE,
    "bids_path": VALUE,
    "object_detection_params": dict.fromkeys(
        ("object_detection_path", "safety_factor", "gpu_ids", "path_output"), VALUE
    ),
    "wandb": dict.fromkeys(("wandb_api_key", "project_name", "group_name", "run_name", "log_grads_every"), VALUE),
    "loader_parameters": {
        "path_data": VALUE,
        "bids_path": VALUE,
        "bids_config": VALUE,
        "bids_validate": VALUE,
        "subject_selection": dict.fromkeys(("n", "metadata", "value"), VALUE),
        "target_suffix": VALUE,
        "target_ground_truth": VALUE,
        "target_sessions": VALUE,
        "extensions": VALUE,
        "roi_params": dict.fromkeys(("suffix", "slice_filter_roi"), VALUE),
        "contrast_params": {"training_validation": VALUE, "testing": VALUE, "balance": ANY, "contrast_lst": VALUE},
        "slice_filter_params": dict.fromkeys(
            (
                "filter_empty_mask",
                "filter_empty_input",
                "filter_absent_class",
                "filter_classification",
                "classifier_path",
            ),
            VALUE,
        ),
        "patch_filter_params": dict.fromkeys(("filter_empty_mask", "filter_empty_input", "filter_absent_class"), VALUE),
        "slice_axis": VALUE,
        "multichannel": VALUE,
        "soft_gt": VALUE,
        "is_input_dropout": VALUE,
        "metadata_type": VALUE,
        "allow_missing_raters": VALUE,
        "fast_loader": VALUE,
    },
    "split_dataset": {
        "fname_split": VALUE,
        "random_seed": VALUE,
        "split_method": VALUE,
        "data_testing": dict.fromkeys(("data_type", "data_value"), VALUE),
        "balance": VALUE,
        "train_fraction": VALUE,
        "test_fraction": VALUE,
        "method": VALUE,
        "center_test": VALUE,
    },
    "training_parameters": {
        "batch_size": VALUE,
        "loss": ANY,
        "training_time": dict.fromkeys(
            ("num_epochs", "early_stopping_patience", "early_stopping_epsilon", "early_stopping_mode"), VALUE
        ),
        "scheduler": {"initial_lr": VALUE, "lr_scheduler": ANY},
        "balance_samples": dict.fromkeys(("applied", "type"), VALUE),
        "mixup_alpha": VALUE,
        "export_onnx": VALUE,
        "amp": VALUE,
        "channels_last": VALUE,
        "compile": VALUE,
        "transfer_learning": dict.fromkeys(("retrain_model", "retrain_fraction", "reset"), VALUE),
    },
    "default_model": {**_MODEL, "normalization": VALUE},
    **{name: _MODEL for name in MODELS if name != "Unet"},
    "uncertainty": dict.fromkeys(("epistemic", "aleatoric", "n_it", "applied"), VALUE),
    "postprocessing": {
        "binarize_prediction": {"thr": VALUE},
        "binarize_maxpooling": ANY,
        "uncertainty": dict.fromkeys(("thr", "suffix"), VALUE),
        "fill_holes": ANY,
        "keep_largest": ANY,
        "remove_noise": {"thr": VALUE},
        "remove_small": dict.fromkeys(("unit", "thr"), VALUE),
    },
    "evaluation_parameters": {
        "object_detection_metrics": VALUE,
        "target_size": dict.fromkeys(("unit", "thr"), VALUE),
        "overlap": dict.fromkeys(("unit", "thr"), VALUE),
        # checked by ivadomed_labelfusion.evaluation
        "inter_rater": ANY,
    },
    "transformation": {
        name: dict.fromkeys((*parameters, *TRANSFORM_COMMON), ANY)
        for name, parameters in {**TRANSFORMS, **PLUGIN_TRANSFORMS}.items()
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
