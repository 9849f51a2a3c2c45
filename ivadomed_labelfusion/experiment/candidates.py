"""What is compared: the paper's six candidates, ensembles of one model per rater, and users' own variants.

A candidate is a configuration of the template plus overrides (JSON Merge Patch, RFC 7396: objects merge, ``null``
removes a key, everything else replaces). An ensemble has one member per rater, trained on that rater's masks alone; its
outputs are averaged.
"""

import copy
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from ivadomed_labelfusion.config.candidates import ENSEMBLES, FRAMEWORK_SETTINGS, PAPER_CANDIDATES
from ivadomed_labelfusion.config.patches import leaves, raters_first
from ivadomed_labelfusion.config.yaml_files import read_yaml
from ivadomed_labelfusion.data.raters import nested_target_suffix
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.records import is_name
from ivadomed_labelfusion.fusion import METHODS

_USER_KEYS = ("name", "base", "overrides", "raters", "ensemble")
# keys that the study gives every model itself, and what to use instead
_SET_BY_THE_STUDY = {
    "path_output": "It is a folder below --output.",
    "model_name": "It is the candidate's name.",
    "log_file": "Logs are in the folder of the model.",
    "gpu_ids": "Use --gpus.",
    "loader_parameters.path_data": "Use --bids.",
    "split_dataset.fname_split": "Use --splits, --design and --seed.",
    "split_dataset.random_seed": "Use --seed.",
    "evaluation_parameters.inter_rater.threshold": "It is what ivadomed's search finds for each model.",
}


@dataclass(frozen=True)
class Candidate:
    """One candidate.

    Attributes:
        name (str): Letters, digits, ``_`` and ``-``.
        base (str): The one of `PAPER_CANDIDATES` whose template is taken.
        overrides (dict): Merge patch on the template.
        raters (tuple of int): Positions in ``target_suffix``, counted from 1, that training sees; empty takes all. All
            raters evaluate.
        ensemble (bool): One model per rater, outputs averaged.
    """

    name: str
    base: str
    overrides: dict = field(default_factory=dict)
    raters: tuple = ()
    ensemble: bool = False


def resolve_candidates(names, user_file=None):
    """Return the candidates asked for.

    Args:
        names (str): Comma-separated: ``all`` (the paper's six and every one of ``user_file``), names of the six,
            ``conv_ensemble``, ``softseg_ensemble``, names from ``user_file``, and a framework with any other fusion
            method, such as ``conv_majority``.
        user_file (str or Path): YAML list of entries with ``name``, ``base``, and optionally ``overrides``, ``raters``
            and ``ensemble``.

    Returns:
        list of Candidate: Without repeats; the six in the paper's order, then the ensembles, the user's, and those of
        other fusion methods.

    Raises:
        InputError: For an unknown name or a wrong entry of the file.
    """
    known = {name: Candidate(name, name) for name in PAPER_CANDIDATES}
    for name in ENSEMBLES:
        known[name] = Candidate(name, name.replace("ensemble", "staple"), ensemble=True)
    own = read_user_candidates(user_file) if user_file else []
    for candidate in own:
        if candidate.name in known:
            raise InputError(f"{user_file}: the name {candidate.name} is taken or given twice. Choose another one.")
        known[candidate.name] = candidate
    # what a user calls so is the user's
    known = {**known, **{name: candidate for name, candidate in _by_method().items() if name not in known}}
    wanted = set()
    for name in (part.strip() for part in names.split(",")):
        if name == "all":
            wanted |= {*PAPER_CANDIDATES, *(candidate.name for candidate in own)}
        elif name in known:
            wanted.add(name)
        else:
            raise InputError(f"Candidates must be among all, {', '.join(known)}, got {name!r}.")
    return [candidate for name, candidate in known.items() if name in wanted]


def _by_method():
    """Return the candidates of both frameworks with every fusion method, by name."""
    return {
        f"{framework}_{method}": Candidate(
            f"{framework}_{method}",
            f"{framework}_staple",
            {"transformation": {"FuseRaters": {"method": method}}},
        )
        for framework in FRAMEWORK_SETTINGS
        for method in METHODS
    }


def read_user_candidates(path):
    """Read candidates from a YAML file.

    Raises:
        InputError: If the file is missing, no YAML, or an entry has unknown or wrong keys; the message names the entry.
    """
    path = Path(path)
    entries = read_yaml(path, cure="Check --candidates-file")
    if not isinstance(entries, list):
        raise InputError(f"{path} must hold a list of candidates, got {type(entries).__name__}.")
    return [_user_candidate(entry, f"{path}, entry {index}") for index, entry in enumerate(entries, start=1)]


def _user_candidate(entry, where):
    if not isinstance(entry, dict) or not {"name", "base"} <= set(entry):
        raise InputError(f"{where} must have the keys name and base, got {entry!r}.")
    unknown = sorted(set(entry) - set(_USER_KEYS), key=str)
    if unknown:
        raise InputError(f"{where} has the unknown key {unknown[0]!r}. Known are {', '.join(_USER_KEYS)}.")
    name, base = entry["name"], entry["base"]
    if not is_name(name):
        raise InputError(f"{where}: name must be up to 40 letters, digits, _ and -, and not 'all', got {name!r}.")
    if base not in PAPER_CANDIDATES:
        raise InputError(f"{where}: base must be one of {', '.join(PAPER_CANDIDATES)}, got {base!r}.")
    overrides, raters, ensemble = entry.get("overrides"), entry.get("raters"), entry.get("ensemble", False)
    overrides, raters = {} if overrides is None else overrides, [] if raters is None else raters
    if not isinstance(overrides, dict):
        raise InputError(f"{where}: overrides must be a mapping of configuration keys, got {overrides!r}.")
    try:
        json.dumps(overrides, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{where}: overrides must hold what JSON knows (no dates without quotes, no NaN): {error}."
        ) from None
    check_left_to_the_study(overrides, f"{where}: overrides")
    for path, value in leaves(overrides):
        # YAML 1.1 takes 1e-4 for text, in which nobody sees a wrong learning rate
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
            raise InputError(
                f"{where}: {'.'.join(map(str, path))} must be a number, but YAML reads {value} as text. "
                f"Write {float(value)!r}, or with a point and a sign as in 1.0e-4."
            )
    if (
        not isinstance(raters, list)
        or not all(type(rater) is int and rater > 0 for rater in raters)
        or len(set(raters)) < len(raters)
    ):
        raise InputError(
            f"{where}: raters must be a list of different positions in target_suffix from 1, got {raters!r}."
        )
    if not isinstance(ensemble, bool):
        raise InputError(f"{where}: ensemble must be true or false, got {ensemble!r}.")
    return Candidate(name, base, overrides, tuple(raters), ensemble)


def check_left_to_the_study(patch, where):
    """Raise an `InputError`, which starts with ``where``, if a merge patch touches a key that the study sets itself."""
    for path, _ in leaves(patch):
        touched = ".".join(map(str, path))
        for key, instead in _SET_BY_THE_STUDY.items():
            if f"{touched}.".startswith(f"{key}.") or key.startswith(f"{touched}."):
                raise InputError(f"{where} must leave {key} to the study, got {touched}. {instead}")


def training_config(config, *, raters):
    """Return a configuration that trains on some of the raters.

    One rater alone is drawn every time (weight 1, the others 0) from the full list: the loader then finds the masks as
    it does for several raters, and the threshold search still compares with the consensus of all.

    Args:
        config (dict): With a nested ``target_suffix``.
        raters (sequence of int): Positions from 1.

    Raises:
        InputError: If a position is larger than the number of raters.
    """
    config = copy.deepcopy(config)
    nested = nested_target_suffix(config["loader_parameters"]["target_suffix"])
    n_raters = len(nested[0])
    if max(raters) > n_raters:
        raise InputError(f"raters must be positions in target_suffix from 1 to {n_raters}, got {max(raters)}.")
    if len(raters) > 1:
        config["loader_parameters"]["target_suffix"] = [
            [suffixes[rater - 1] for rater in raters] for suffixes in nested
        ]
        return config
    weights = [int(rater + 1 == raters[0]) for rater in range(n_raters)]
    alone = {"policy": "weighted", "weights": weights, "unit": "volume", "seed": 0, "validation": "sampled"}
    transformation = config.setdefault("transformation", {})
    transformation.pop("FuseRaters", None)
    transformation["SampleRater"] = alone
    return raters_first(config)
