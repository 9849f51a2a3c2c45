"""A study on disk: its settings (``study.json``), its models, and the configuration of each.

::

    OUTPUT/
      study.json                     settings of the study
      splits/split-01.json           subjects of each split; seeds.json
      models/<candidate>/<split>/    one model: train.json, test.json, ivadomed's output, evaluation/
      models/<ensemble>/<split>/rater1/ ...   its members
      results/                       results.csv, models.csv, tables, figures, claims
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.config.candidates import DATASETS, ENSEMBLES, PAPER_CANDIDATES, base_config
from ivadomed_labelfusion.config.patches import leaves, merge_patch, raters_first
from ivadomed_labelfusion.data.raters import nested_target_suffix
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.evaluation.reference import reference_name
from ivadomed_labelfusion.evaluation.settings import settings_from_config
from ivadomed_labelfusion.experiment.candidates import Candidate, check_left_to_the_study
from ivadomed_labelfusion.experiment.records import CANDIDATE, STUDY, check_fields
from ivadomed_labelfusion.files import check_stays_inside, read_json, resolve

STUDY_FILE = "study.json"
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
        models_per_gpu (int): Trainings that share a GPU.
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
    models_per_gpu: int = 1

    @property
    def dataset(self):
        """``scgm`` or ``ms``, the paper's dataset that the template belongs to, else None."""
        return self.template if self.template in DATASETS else None

    @property
    def gpu_slots(self):
        """Trainings that the GPUs of this machine take at once."""
        return self.gpus * self.models_per_gpu

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
            own += ["one model per rater, outputs averaged"] if candidate.ensemble else []
            own += [f"overrides {json.dumps(candidate.overrides)}"] if candidate.overrides else []
            own += [f"trained on raters {', '.join(map(str, candidate.raters))}"] if candidate.raters else []
            if len(own) > 1 and candidate.name not in ENSEMBLES:
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
        InputError: If there is none, if it is damaged, or if links lead out of it.
    """
    folder = resolve(folder)
    if not (folder / STUDY_FILE).exists():
        raise InputError(f"{folder} must hold a study ({STUDY_FILE}). Start one with 'ivadomed_labelfusion study run'.")
    # it may come from somebody else
    check_stays_inside(folder)
    content = read_json(folder / STUDY_FILE)
    names = set(Study.__dataclass_fields__) | {"version"}
    if isinstance(content, dict):
        # studies of before there was a choice
        content.setdefault("models_per_gpu", 1)
    if not isinstance(content, dict) or set(content) != names:
        version = content.get("version", "unknown") if isinstance(content, dict) else "unknown"
        raise InputError(
            f"{folder / STUDY_FILE} must be of this version ({__version__}), but it is of version {version} or damaged."
        )
    candidates = _saved_candidates(content, folder / STUDY_FILE)
    known = {key: value for key, value in content.items() if key not in ("candidates", "version")}
    kept = folder / "template" / Path(known["template"]).name
    if kept.exists():
        # the study may have been copied since
        known["template"] = str(kept)
    return Study(**{**known, "folder": folder, "candidates": candidates})


def _saved_candidates(content, path):
    """Return the candidates of a saved study after checking everything in it: it may come from somebody else.

    Raises:
        InputError: Names the wrong value. Names become folders and words of a command, so they hold nothing else.
    """
    cure = f"Restore {path.name}, or start the study anew in another folder."
    check_fields(content, STUDY, path, cure)
    if not content["candidates"]:
        raise InputError(f"{path}: candidates must not be empty. {cure}")
    if content["template"] not in DATASETS and not Path(content["template"]).name.strip("."):
        raise InputError(f"{path}: template must be scgm, ms or a file, got {content['template']!r}. {cure}")
    check_left_to_the_study(content["overrides"], f"{path}: overrides")
    candidates = []
    for entry in content["candidates"]:
        check_fields(entry, CANDIDATE, f"{path}, a candidate", cure)
        unknown = sorted(set(entry) - set(CANDIDATE))
        if unknown or entry["base"] not in PAPER_CANDIDATES:
            wrong = f"unknown key {unknown[0]!r}" if unknown else f"base {entry['base']!r}"
            raise InputError(f"{path}: candidate {entry['name']} has the {wrong}. {cure}")
        check_left_to_the_study(entry["overrides"], f"{path}: overrides of {entry['name']}")
        candidates.append(Candidate(**{**entry, "raters": tuple(entry["raters"])}))
    if len({candidate.name for candidate in candidates}) < len(candidates):
        raise InputError(f"{path}: every candidate must have a name of its own. {cure}")
    return tuple(candidates)


def class_names(study):
    """Return the names of the classes, as the evaluation calls them in its columns."""
    from ivadomed_labelfusion.data.raters import names_of_suffixes

    loader = study.config(study.candidates[0])["loader_parameters"]
    return tuple(names_of_suffixes(nested_target_suffix(loader["target_suffix"]))[0])


def consensus_name(study):
    """Return the name of the consensus that predictions are compared with, for titles."""
    return reference_name(settings_from_config(study.config(study.candidates[0])).reference)


def uses_one_class(study):
    """Whether there is one class, for which ivadomed searches a threshold after training."""
    loader = study.config(study.candidates[0])["loader_parameters"]
    return len(loader["target_suffix"]) == 1
