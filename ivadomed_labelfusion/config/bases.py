"""What all candidates of one of the paper's datasets share: one configuration per dataset.

Values are the paper's (Lemay et al. 2022, Sections 2.4 and 2.5). `candidates` sets what is None or empty here and is
not ivadomed's own "none": names, loss, model.
"""


def _base(
    *,
    folder: str,
    classes: tuple,
    n_raters: int,
    contrasts: tuple,
    test_by: str | None,
    learning_rate: float,
    depth: int,
    resample_mm: tuple,
    crop: tuple,
) -> dict:
    """Return the shared configuration of a dataset."""
    raters = range(1, n_raters + 1)
    return {
        "command": "train",
        "gpu_ids": [0],
        "path_output": None,
        "model_name": None,
        "debugging": False,
        "log_file": "log",
        "loader_parameters": {
            "path_data": [f"data/{folder}"],
            "target_suffix": [[f"_desc-rater{rater}_label-{name}_seg" for rater in raters] for name in classes],
            "extensions": [".nii.gz"],
            "roi_params": {"suffix": None, "slice_filter_roi": None},
            "contrast_params": {"training_validation": list(contrasts), "testing": list(contrasts), "balance": {}},
            "slice_filter_params": {"filter_empty_mask": False, "filter_empty_input": True},
            "slice_axis": "axial",
            "multichannel": len(contrasts) > 1,
            "soft_gt": None,
        },
        "split_dataset": {
            "fname_split": None,
            "random_seed": 1,
            "split_method": "participant_id",
            "data_testing": {"data_type": test_by, "data_value": []},
            "balance": None,
            "train_fraction": 0.6,
            "test_fraction": 0.2,
        },
        "training_parameters": {
            "batch_size": 24,
            "loss": None,
            "training_time": {
                "num_epochs": 200,
                "early_stopping_patience": 50,
                "early_stopping_epsilon": 0.001,
            },
            "scheduler": {"initial_lr": learning_rate, "lr_scheduler": {"name": "CosineAnnealingLR"}},
            "balance_samples": {"applied": False, "type": "gt"},
            "mixup_alpha": None,
            "transfer_learning": {"retrain_model": None, "retrain_fraction": 1.0, "reset": True},
        },
        "default_model": {
            "name": None,
            "dropout_rate": 0.3,
            "bn_momentum": 0.1,
            "final_activation": None,
            "depth": depth,
            "is_2d": True,
        },
        "uncertainty": {"epistemic": False, "aleatoric": False, "n_it": 0},
        "postprocessing": {},
        "evaluation_parameters": {"object_detection_metrics": False, "inter_rater": {"reference": "staple"}},
        "transformation": {
            "Resample": dict(zip(("hspace", "wspace", "dspace"), resample_mm, strict=True)),
            "CenterCrop": {"size": list(crop)},
            "RandomAffine": {
                "degrees": 20,
                "translate": [0.03, 0.03],
                "scale": [0.1, 0.1],
                "applied_to": ["im", "gt"],
                "dataset_type": ["training"],
            },
            "NumpyToTensor": {},
            "NormalizeInstance": {"applied_to": ["im"]},
        },
    }


BASES = {
    "scgm": _base(
        folder="SCGM",
        classes=("GM", "WM"),
        n_raters=4,
        contrasts=("T2starw",),
        test_by="institution_id",
        learning_rate=0.001,
        depth=3,
        resample_mm=(0.25, 0.25, 2),
        crop=(128, 128),
    ),
    "ms": _base(
        folder="MSSEG2016",
        classes=("lesion",),
        n_raters=7,
        contrasts=("FLAIR", "T1w", "ce-gadolinium_T1w", "T2w", "PDw"),
        test_by=None,
        learning_rate=5e-05,
        depth=4,
        resample_mm=(1, 1, 1),
        crop=(160, 124),
    ),
}
