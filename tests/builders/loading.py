"""Building ivadomed's datasets in tests the way ``ivadomed.main`` does."""

import copy

from ivadomed import config_manager
from ivadomed import transforms as imed_transforms
from ivadomed.loader import loader as imed_loader

from tests.builders.tiny import write_config


def context_of(config, folder, command="train"):
    """Return the full configuration that ivadomed makes of a user's file."""
    path = write_config(folder / "config.json", config)
    context = config_manager.ConfigurationManager(str(path)).get_config()
    context["command"] = command
    return context


def table(context, folder):
    """Return ``(table of files, loader parameters)``."""
    from ivadomed import main

    loader = main.set_loader_params(context, context["command"] == "train")
    _, loader = main.set_model_params(context, loader)
    (folder / "out").mkdir(exist_ok=True)
    return main.BidsDataframe(loader, str(folder / "out"), derivatives=True, split_method="participant_id"), loader


def dataset(config, folder, role="training", *, subjects=None, frame=None):
    """Return a loaded dataset of all subjects (or some) in one role, as ``ivadomed --train`` would load it."""
    context = context_of(config, folder, "test" if role == "testing" else "train")
    bids_df, loader = table(context, folder) if frame is None else frame
    transforms = dict(
        zip(
            ("training", "validation", "testing"),
            imed_transforms.get_subdatasets_transforms(context["transformation"]),
            strict=True,
        )
    )[role]
    files = bids_df.get_subject_fnames()
    if subjects is not None:
        files = [name for name in files if name.split("_")[0] in subjects]
    return imed_loader.load_dataset(
        bids_df,
        **{
            **copy.deepcopy(loader),
            "data_list": files,
            "transforms_params": copy.deepcopy(transforms),
            "dataset_type": role,
            "requires_undo": role == "testing",
        },
        device=None,
        cuda_available=False,
    )
