"""A study on disk: its settings (``study.json``), its models, and the configuration of each.

::

    OUTPUT/
      study.json                     settings of the study
      splits/split-01.json, .joblib  subjects of each split; seeds.json
      models/<candidate>/<split>/    one model: train.json, test.json, ivadomed's output, evaluation/
      models/<ensemble>/<split>/rater1/ ...   its members
      results/                       results.csv, models.csv, tables, figures, claims
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ivadomed_labelfusion import __version__
from ivadomed_labelfusion.bids import find_label_sets, nested_target_suffix
from ivadomed_labelfusion.config.check import raise_on_errors
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import TEMPORARY_PREFIX, read_json, write_json
from ivadomed_labelfusion.study.candidates import (
    DATASETS,
    Candidate,
    base_config,
    leaves,
    merge_patch,
    raters_first,
    training_config,
)
from ivadomed_labelfusion.study.splits import find_subjects, make_splits, read_centres, read_split, write_splits

SETTINGS = "study.json"
# what a study that was killed at its very start may leave behind, or its user has put there
_FIRST_ENTRIES = {".run.lock", "template", "splits", "models", "profile-slurm"}
# per kind of job: memory in MB and time in minutes that a cluster is asked for
RESOURCES = {
    "train": {"mem_mb": 16000, "runtime": 1440},
    "test": {"mem_mb": 8000, "runtime": 120},
    "evaluate": {"mem_mb": 8000, "runtime": 120},
}


@dataclass(frozen=True)
class Study:
    """Settings of a study.

    Attributes:
        folder (Path): Where it lives.
        bids (str): Absolute path of the BIDS dataset.
        template (str): ``scgm``, ``ms`` or the absolute path of a configuration.
        design (str): ``centre`` (each centre in turn is the test set) or ``random`` (60/20/20).
        candidates (tuple of Candidate): What is compared.
        n_splits (int): Splits.
        study_seed (int): From which the splits' seeds derive.
        overrides (dict): Merge patch on every configuration.
        cores (int): Cores of this machine for the study.
        gpus (int): GPUs of this machine for the study; on a cluster, of each training.
        threads (int): Threads of a training.
        scheduled (bool): Whether a cluster's scheduler places the jobs and chooses their GPUs.
    """

    folder: Path
    bids: str
    template: str
    design: str
    candidates: tuple
    n_splits: int
    study_seed: int = 0
    overrides: dict = field(default_factory=dict)
    cores: int = 1
    gpus: int = 0
    threads: int = 1
    scheduled: bool = False

    @property
    def dataset(self):
        """``scgm`` or ``ms``, the paper's dataset that the template belongs to, else None."""
        return self.template if self.template in DATASETS else None

    @property
    def split_names(self):
        """Names of the splits in order."""
        return [f"split-{index + 1:02d}" for index in range(self.n_splits)]

    def model_folder(self, model):
        """Return the folder of a model such as ``conv_staple/split-01``."""
        return self.folder / "models" / model

    def config(self, candidate):
        """Return a candidate's configuration on all raters, without split, data and output."""
        base = base_config(self.template, candidate.base)
        return raters_first(merge_patch(merge_patch(base, self.overrides), candidate.overrides))

    def n_raters(self, candidate):
        """Return the number of raters in a candidate's ``target_suffix``."""
        return len(nested_target_suffix(self.config(candidate)["loader_parameters"]["target_suffix"])[0])

    def members(self, candidate, split):
        """Return the models to train for a candidate and split: itself, or one per rater of an ensemble."""
        model = f"{candidate.name}/{split}"
        if not candidate.ensemble:
            return [model]
        return [f"{model}/rater{rater}" for rater in candidate.raters or range(1, self.n_raters(candidate) + 1)]

    def candidate(self, name):
        """Return the candidate of this name."""
        return next(candidate for candidate in self.candidates if candidate.name == name)

    def models(self):
        """Return ``{"<candidate>/<split>": [models to train]}``, split by split."""
        return {
            f"{candidate.name}/{split}": self.members(candidate, split)
            for split in self.split_names
            for candidate in self.candidates
        }

    def changed_settings(self):
        """Return what differs from the template, for all candidates and for the user's own, as notes under results."""
        template = base_config(self.template, self.candidates[0].base)
        lines = [
            f"{'.'.join(path)} = {value} (template: {_look_up(template, path)})"
            for path, value in leaves(self.overrides)
            if _look_up(template, path) != value
        ]
        notes = ["Settings that differ from the template: " + "; ".join(lines) + "."] if lines else []
        for candidate in self.candidates:
            own = [f"base {candidate.base}"]
            own += [f"overrides {json.dumps(candidate.overrides)}"] if candidate.overrides else []
            own += [f"trained on raters {', '.join(map(str, candidate.raters))}"] if candidate.raters else []
            if len(own) > 1:
                notes.append(f"Candidate {candidate.name}: {'; '.join(own)}.")
        return notes


def _look_up(config, path):
    for key in path:
        if not isinstance(config, dict) or key not in config:
            return "ivadomed's default"
        config = config[key]
    return config


def load_study(folder):
    """Return the study saved in ``folder``.

    Raises:
        InputError: If there is none.
    """
    folder = Path(folder).resolve()
    if not (folder / SETTINGS).exists():
        raise InputError(f"{folder} must hold a study ({SETTINGS}). Start one with 'ivadomed_labelfusion study run'.")
    content = read_json(folder / SETTINGS)
    candidates = tuple(Candidate(**{**entry, "raters": tuple(entry["raters"])}) for entry in content["candidates"])
    known = {key: value for key, value in content.items() if key not in ("candidates", "version")}
    kept = folder / "template" / Path(known["template"]).name
    if kept.exists():
        # the study may have been copied since
        known["template"] = str(kept)
    return Study(**{**known, "folder": folder, "candidates": candidates})


def check_study(study):
    """Check a study against its dataset and against what its folder holds already; write nothing.

    A study may grow: candidates and splits can be added to a folder whose other settings are the same.

    Args:
        study (Study): The study asked for.

    Returns:
        tuple: ``(Study with the candidates and splits that the folder has besides, list of Split, files of each
        subject)``.

    Raises:
        InputError: If the folder holds a study with other settings, the dataset lacks what the template needs, or a
            configuration contradicts itself.
    """
    _check_folder(study)
    if (study.folder / SETTINGS).exists():
        study = _grow(load_study(study.folder), study)
    for candidate in study.candidates:
        _check_candidate(study, candidate)
    splits, files = plan_splits(study)
    _check_masks(study)
    return study, splits, files


def _check_masks(study):
    """Refuse a candidate that trains on raters of whom none marked some image: a single rater often."""
    nested = nested_target_suffix(study.config(study.candidates[0])["loader_parameters"]["target_suffix"])
    label_sets = find_label_sets(study.bids, nested)
    for candidate in study.candidates:
        raters = candidate.raters or range(1, len(nested[0]) + 1)
        for group in [[rater] for rater in raters] if candidate.ensemble else [raters]:
            for label_set in label_sets:
                if all(None in [paths[rater - 1] for paths in label_set.files] for rater in group):
                    raise InputError(
                        f"Candidate {candidate.name} trains a model on rater {', '.join(map(str, group))} of "
                        f"target_suffix, who did not mark {label_set.image_stem}. Add the masks, or leave out the "
                        "candidate or the raters."
                    )


def _check_folder(study):
    folder, bids = study.folder, Path(study.bids)
    if folder == bids or bids in folder.parents:
        raise InputError(f"--output must lie outside of the dataset, got {folder}.")
    if folder.exists() and not (folder / SETTINGS).exists():
        names = {path.name for path in folder.iterdir() if not path.name.startswith(TEMPORARY_PREFIX)}
        foreign = sorted(names - _FIRST_ENTRIES)
        if foreign:
            raise InputError(f"--output must be new or hold a study, but {folder} holds {foreign[0]}. Choose another.")


def _check_candidate(study, candidate):
    config = study.config(candidate)
    raise_on_errors(config, source=f"candidate {candidate.name}")
    first = study.config(study.candidates[0])
    if config["loader_parameters"].get("target_suffix") != first["loader_parameters"].get("target_suffix"):
        raise InputError(
            f"Candidate {candidate.name} must have the target_suffix of {study.candidates[0].name}: all candidates are "
            "evaluated against the same raters. For training on some of them, give its raters."
        )
    if candidate.raters:
        try:
            training_config(config, raters=candidate.raters)
        except InputError as error:
            raise InputError(f"Candidate {candidate.name}: {error}") from None


def prepare_study(study):
    """Check a study (`check_study`), and write its settings, splits and configurations; return the grown study.

    Raises:
        InputError: As `check_study`, or if a saved split or configuration differs.
    """
    study, splits, files = check_study(study)
    study = _keep_template(study)
    write_splits(splits, files, study.folder / "splits")
    for split in study.split_names:
        content = read_split(study.folder / "splits", split)
        for candidate in study.candidates:
            for model in study.members(candidate, split):
                _write_configs(study, candidate, model, content)
    saved = {key: value for key, value in asdict(study).items() if key != "folder"}
    write_json(study.folder / SETTINGS, {"version": __version__, **saved}, overwrite=True)
    return study


def _keep_template(study):
    """Copy a user's template into the study, which then no longer depends on the file."""
    kept = study.folder / "template" / Path(study.template).name
    if study.dataset or str(kept) == study.template:
        return study
    if not kept.exists():
        write_json(kept, read_json(study.template))
    return replace(study, template=str(kept))


def plan_splits(study):
    """Return ``(splits, files of each subject)`` of a study, from its dataset."""
    loader = study.config(study.candidates[0])["loader_parameters"]
    try:
        contrasts = loader["contrast_params"]["training_validation"]
    except KeyError:
        raise InputError(f"{study.template} must have loader_parameters.contrast_params.training_validation.") from None
    tested = loader["contrast_params"].get("testing", contrasts)
    if set(tested) != set(contrasts):
        raise InputError(
            "contrast_params must have the same contrasts for testing as for training_validation, got "
            f"{', '.join(tested)} and {', '.join(contrasts)}. Set both, for example with two --set."
        )
    files = find_subjects(
        study.bids,
        loader["target_suffix"],
        contrasts,
        multichannel=bool(loader.get("multichannel")),
        allow_missing=bool(loader.get("allow_missing_raters")),
    )
    centre_of = read_centres(study.bids, files) if study.design == "centre" else None
    options = {"design": study.design, "n": study.n_splits, "study_seed": study.study_seed, "centre_of": centre_of}
    return make_splits(files, **options), files


def _grow(old, new):
    if not new.dataset and not old.dataset and read_json(old.template) == read_json(new.template):
        new = replace(new, template=old.template)
    before, now = asdict(old), asdict(new)
    for key in ("bids", "template", "design", "study_seed", "overrides"):
        if before[key] != now[key]:
            raise InputError(
                f"{old.folder} holds a study with {key} {before[key]!r}, got {now[key]!r}. "
                "Repeat the settings of the first run, or choose another --output."
            )
    candidates = {candidate.name: candidate for candidate in old.candidates}
    for candidate in new.candidates:
        if candidates.setdefault(candidate.name, candidate) != candidate:
            raise InputError(
                f"{old.folder} holds a candidate {candidate.name} with other settings. Give the new one another name."
            )
    grown = {"candidates": tuple(candidates.values()), "n_splits": max(old.n_splits, new.n_splits)}
    return Study(**{**{name: getattr(new, name) for name in Study.__dataclass_fields__}, **grown})


def _write_configs(study, candidate, model, split):
    folder = study.model_folder(model)
    member = model.split("/")[2:]
    full = merge_patch(
        study.config(candidate),
        {
            "path_output": str(folder),
            "model_name": candidate.name,
            "log_file": "log",
            "gpu_ids": [0],
            "loader_parameters": {"path_data": [study.bids]},
            # ivadomed reads the subjects from the file; the seed makes weights and augmentation repeat
            "split_dataset": {
                "fname_split": str(study.folder / "splits" / f"{split['name']}.joblib"),
                "random_seed": split["seed"],
            },
        },
    )
    if "SampleRater" in full["transformation"]:
        full["transformation"]["SampleRater"]["seed"] = split["seed"]
    raters = [int(member[0].removeprefix("rater"))] if member else candidate.raters
    train = training_config(full, raters=raters) if raters else full
    # the study evaluates against all raters in a step of its own, members of ensembles only after averaging
    test = train if member else full
    evaluation = {key: value for key, value in test.get("evaluation_parameters", {}).items() if key != "inter_rater"}
    test = {**test, "command": "test", "evaluation_parameters": evaluation}
    for name, config in (("train.json", train), ("test.json", test)):
        path = folder / name
        if path.exists() and read_json(path) != config:
            raise InputError(
                f"{path} differs from what this study would use. Repeat the settings of the first run, or choose "
                "another --output."
            )
        if not path.exists():
            write_json(path, config)


def class_names(study):
    """Return the names of the classes, as the evaluation calls them in its columns."""
    from ivadomed_labelfusion.evaluation.dataset import names_of_suffixes

    loader = study.config(study.candidates[0])["loader_parameters"]
    return tuple(names_of_suffixes(nested_target_suffix(loader["target_suffix"]))[0])


def uses_one_class(study):
    """Whether there is one class, for which ivadomed searches a threshold after training."""
    loader = study.config(study.candidates[0])["loader_parameters"]
    return len(loader["target_suffix"]) == 1
