"""Making trainers for tests in this process."""

import json


def make_trainer(workspace, name, configuration="2d", fold=0, **changes):
    """Return a trainer of the tiny dataset on the CPU; ``changes`` are attributes, set before anything runs."""
    import torch
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    plans = json.loads((workspace.preprocessed / "nnUNetPlans.json").read_text())
    # a small network: what is tested is around it
    for entry in plans["configurations"].values():
        if "architecture" in entry:
            kwargs = entry["architecture"]["arch_kwargs"]
            kwargs["features_per_stage"] = [4] * kwargs["n_stages"]
    plans["continue_training"] = False
    description = json.loads((workspace.preprocessed / "dataset.json").read_text())
    trainer = recursive_find_trainer_class_by_name(name)(plans, configuration, fold, description, torch.device("cpu"))
    for key, value in changes.items():
        setattr(trainer, key, value)
    return trainer
