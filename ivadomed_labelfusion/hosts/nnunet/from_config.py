"""What an ivadomed configuration means for nnU-Net: the dataset, split and trainer, and what does not carry over."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ivadomed_labelfusion.config import raise_on_errors
from ivadomed_labelfusion.data.raters import nested_target_suffix
from ivadomed_labelfusion.data.texts import read_participants
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.nnunet.folds import draw_parts, read_parts
from ivadomed_labelfusion.hosts.nnunet.names import trainer_name

_FUSIONS = {"average": "Average", "staple": "Staple", "majority": "Majority"}


@dataclass(frozen=True)
class Migration:
    """A configuration in nnU-Net's terms.

    Attributes:
        bids_dir (str or None): ``loader_parameters.path_data``, if it is one dataset.
        options (dict): Of `dataset.Export`: raters, contrasts, missing raters, seed.
        split (callable): Of `dataset.export_dataset`.
        trainer (str): The trainer of the same fusion and framework.
        left_out (list of str): Settings that nnU-Net decides by itself.
    """

    bids_dir: str | None
    options: dict
    split: object
    trainer: str
    left_out: list


def migrate(config: Mapping, bids_dir=None, *, source: str = "the configuration") -> Migration:
    """Say a configuration in nnU-Net's terms.

    Args:
        config (Mapping): The content of an ivadomed configuration.
        bids_dir (str or Path): The dataset, in the place of ``path_data``.
        source (str): What messages call the configuration.

    Raises:
        InputError: If the configuration has errors, several datasets, or a fusion that no trainer has.
    """
    raise_on_errors(config, source=source)
    loader = config.get("loader_parameters", {})
    if "target_suffix" not in loader:
        raise InputError("loader_parameters.target_suffix must name the raters, it is missing.")
    paths = loader.get("path_data") or []
    paths = [paths] if isinstance(paths, str) else list(paths)
    if bids_dir is None and len(paths) != 1:
        raise InputError(f"loader_parameters.path_data must be one dataset, got {len(paths)}. Name one: DATA.")
    bids_dir = str(bids_dir or paths[0])
    nested = nested_target_suffix(loader["target_suffix"])
    contrasts = tuple(loader.get("contrast_params", {}).get("training_validation", ()))
    split = config.get("split_dataset", {})
    options = {
        "target_suffix": nested,
        "contrasts": contrasts,
        "separate": not loader.get("multichannel", False),
        "allow_missing": bool(loader.get("allow_missing_raters", False)),
        "seed": int(split.get("random_seed", 0)),
    }
    return Migration(bids_dir, options, _split(split, bids_dir), _trainer(config, len(nested[0])), _left_out(config))


def _trainer(config, n_raters):
    transforms = config.get("transformation", {})
    method = transforms.get("FuseRaters", {}).get("method", "staple") if "FuseRaters" in transforms else None
    if method is not None and method not in _FUSIONS:
        raise InputError(
            f"transformation.FuseRaters.method must be {', '.join(_FUSIONS)} for nnU-Net, got {method!r}. "
            "Fuse first ('ivadomed_labelfusion fuse --bids') and export the fused labels with --raters."
        )
    fusion = "Random" if method is None and n_raters > 1 else _FUSIONS.get(method, "Majority")
    model = config.get("default_model", {}).get("name", "")
    soft = "Soft" if config.get("loader_parameters", {}).get("soft_gt") else "Conv"
    return trainer_name(fusion, "SoftSeg" if str(model).startswith("SoftSeg") else soft)


def _split(split, bids_dir):
    if split.get("fname_split"):
        path = split["fname_split"]
        return lambda subjects: read_parts([path])
    testing = split.get("data_testing", {})
    column, values = testing.get("data_type"), testing.get("data_value") or []
    seed = int(split.get("random_seed", 0))
    if column and values:
        test = _with_value(bids_dir, column, [str(value) for value in values])
        return partial(_named, test, seed)
    return partial(draw_parts, test=float(split.get("test_fraction", 0.2)), seed=seed)


def _named(test, seed, subjects):
    return draw_parts(subjects, test=sorted(set(test) & set(subjects)), seed=seed)


def _with_value(bids_dir, column, values):
    """Return the subjects whose column of participants.tsv has one of the values."""
    path = Path(bids_dir) / "participants.tsv"
    rows = read_participants(bids_dir, why=f"split_dataset.data_testing selects by its column {column}")
    # ivadomed takes names with and without the prefix
    found = [
        "sub-" + row["participant_id"].strip().removeprefix("sub-")
        for row in rows
        if row.get("participant_id") and (row.get(column) or "").strip() in values
    ]
    if not found:
        raise InputError(f"{path} must have subjects with {column} {' or '.join(values)}, it has none.")
    return found


def _left_out(config):
    """Name the settings that nnU-Net decides by itself."""
    transforms = set(config.get("transformation", {})) - {"FuseRaters", "SampleRater", "NumpyToTensor"}
    names = [f"transformation.{name}" for name in sorted(transforms)]
    names += [
        name for name in ("training_parameters", "default_model", "postprocessing", "uncertainty") if name in config
    ]
    policy = config.get("transformation", {}).get("SampleRater", {}).get("policy", "uniform")
    return names + ([f"SampleRater.policy {policy} (drawn uniformly)"] if policy != "uniform" else [])
