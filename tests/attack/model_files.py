"""Cases of configurations, splits, models and checkpoints."""

import json
import shutil

import joblib
import numpy as np
import torch

from tests.attack import damage
from tests.attack.case import Case
from tests.attack.outcome import ivadomed, ours
from tests.attack.world import CONTRAST
from tests.builders.tiny import write_config


def configurations(world, rng, count):
    """Configurations with one value changed, met by the check."""
    texts = damage.json_texts(world.config)
    for number in range(count):
        folder = world.new()
        path = folder / "config.json"
        if number < len(texts):
            name = list(texts)[number]
            path.write_text(texts[name], encoding="utf-8")
        else:
            content, name = damage.change_json(rng, world.config)
            path.write_text(json.dumps(content))
        yield Case(name, ours("check", path))


def trainings(world, rng, count):
    """Configurations with one value changed, met by ``ivadomed --train``: what the check takes must train."""
    texts = damage.json_texts(world.config)
    # the first import of ivadomed is no part of a case
    world.trained()
    for number in range(count):
        folder = world.new()
        path = folder / "config.json"
        if number < 6:
            name = ("null", "list", "deep", "6000 digits", "twice", "null byte")[number]
            path.write_text(texts[name], encoding="utf-8")
        else:
            content, name = damage.change_json(rng, world.config, keep=("path_output", "command"))
            if isinstance(content.get("path_output"), str):
                content["path_output"] = str(folder / "out")
            path.write_text(json.dumps(content))
        yield Case(name, ivadomed("--train", "-c", path, "-po", folder / "out"))


def splits(world, rng, count):
    """Split files, met by ``ivadomed --train``."""
    world.trained()
    names = {part: [f"sub-0{number}_{CONTRAST}.nii.gz"] for number, part in enumerate(("train", "valid", "test"), 1)}
    mark = world.new() / "executed"
    bomb = damage.Payload(mark)
    contents = [
        ("payload", bomb),
        ("payload in a list", {**names, "test": [bomb]}),
        ("payload in an array", {**names, "train": np.array([bomb], dtype=object)}),
        ("text", "x"),
        ("list", []),
        ("numbers", {**names, "test": [1]}),
        ("other images", {**names, "test": ["sub-99_x.nii.gz"]}),
        ("nothing", {"train": [], "valid": [], "test": []}),
    ]
    for number in range(count):
        folder = world.new()
        path = folder / "split.joblib"
        if number < len(contents):
            name, content = contents[number]
            joblib.dump(content, path)
        else:
            name = "damaged"
            joblib.dump(names, path)
            path.write_bytes(damage.damage_bytes(rng, path.read_bytes()))
        config = json.loads(json.dumps(world.config))
        config["split_dataset"]["fname_split"] = str(path)
        yield Case(
            name, ivadomed("--train", "-c", write_config(folder / "c.json", config), "-po", folder / "out"), mark
        )


def models(world, rng, count):
    """Models and checkpoints, met by ``--test`` and ``--resume-training``."""
    out, config = world.trained()
    mark = world.new() / "executed"
    checkpoint = torch.load(out / "checkpoint.pth.tar", weights_only=True)
    odd = [
        ("payload", damage.Payload(mark)),
        ("dictionary", {"a": 1}),
        ("list", [1]),
        ("tensor", torch.zeros(3)),
        ("empty network", torch.nn.Sequential()),
        ("other network", torch.nn.Linear(2, 2)),
        ("text", "x"),
        ("function", print),
        ("nothing", None),
    ]
    changes = [
        ("epoch", "x"),
        ("epoch", -3),
        ("epoch", 10**12),
        ("validation_loss", None),
        ("validation_loss", float("nan")),
        ("patience_count", []),
        ("optimizer", {}),
        ("optimizer", {"state": 3, "param_groups": []}),
        ("scheduler", 3),
        ("scheduler", {"T_max": "x"}),
        ("state_dict", {}),
        ("random", 3),
        ("random", {"python": ()}),
        ("gif_dict", None),
    ]
    for number in range(count):
        folder = world.new()
        own = folder / "out"
        shutil.copytree(out, own)
        if number % 2:
            target, index = own / "checkpoint.pth.tar", number // 2
            if index < len(changes):
                name = f"checkpoint {changes[index]}"
                torch.save({**checkpoint, changes[index][0]: changes[index][1]}, target)
            else:
                name = "damaged checkpoint"
                target.write_bytes(damage.damage_bytes(rng, target.read_bytes()))
            command = ivadomed("--train", "-c", config, "-po", own, "--resume-training")
        else:
            target, index = own / "best_model.pt", number // 2
            if index < len(odd):
                name = f"model: {odd[index][0]}"
                torch.save(odd[index][1], target)
            else:
                name = "damaged model"
                target.write_bytes(damage.damage_bytes(rng, target.read_bytes()))
            command = ivadomed("--test", "-c", config, "-po", own)
        yield Case(name, command, mark)
