"""Before anything is trained: a study against its dataset, its folder and itself; then what its models start from."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path

from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.config.check import raise_on_errors
from ivadomed_labelfusion.config.patches import merge_patch
from ivadomed_labelfusion.data.bids import find_label_sets
from ivadomed_labelfusion.data.raters import nested_target_suffix
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.evaluation.settings import settings_from_config
from ivadomed_labelfusion.experiment.candidates import training_config
from ivadomed_labelfusion.experiment.plan import STUDY_FILE, Study, load_study
from ivadomed_labelfusion.experiment.records import STUDY, check_fields
from ivadomed_labelfusion.experiment.splits import (
    check_saved_splits,
    find_subjects,
    make_splits,
    read_centres,
    write_splits,
)
from ivadomed_labelfusion.files import TEMPORARY_PREFIX, read_json, write_json

# nothing of a study uses the ONNX files; --set training_parameters.export_onnx=true brings them back
_NO_EXPORT = {"export_onnx": False}
# what a study that was killed at its very start may leave behind, or its user has put there
_FIRST_ENTRIES = {".run.lock", "template", "splits", "models", "profile-slurm"}


def check_study(study):
    """Check a study against its dataset and against what its folder holds already; write nothing.

    A study may grow: candidates and splits can be added to a folder whose other settings are the same.

    Args:
        study (Study): The study asked for.

    Returns:
        tuple: ``(Study with the candidates and splits that the folder has besides, list of Split, files of each
        subject)``.

    Raises:
        InputError: If the folder holds a study with other settings or was moved, the dataset lacks what the template
            needs, or a configuration contradicts itself.
    """
    saved = _saved(study)
    _check_folder(study, is_new=saved is None)
    replaced_names = _replaced(saved, study)
    if saved:
        study = _grow(saved, study, replaced_names)
    for candidate in study.candidates:
        _check_candidate(study, candidate)
    splits, files = plan_splits(study)
    _check_masks(study)
    check_saved_splits(splits, files, study.folder / "splits")
    for path, config in _model_configs(study, splits):
        replaced = path.relative_to(study.folder / "models").parts[0] in replaced_names
        if path.exists() and not replaced and not _same_config(read_json(path), config):
            raise InputError(
                f"{path} differs from what this study would use. Repeat the settings of the first run, or choose "
                "another --output."
            )
    return study, splits, files


def _same_config(saved, config):
    """Whether a saved configuration is the one of this study; earlier versions named the split's joblib file.

    They also exported every model to ONNX, which a study does not need.
    """
    split = saved.get("split_dataset") if isinstance(saved, dict) else None
    if isinstance(split, dict) and str(split.get("fname_split")).endswith(".joblib"):
        renamed = split["fname_split"].removesuffix(".joblib") + ".json"
        saved = {**saved, "split_dataset": {**split, "fname_split": renamed}}
    training = saved.get("training_parameters") if isinstance(saved, dict) else None
    if isinstance(training, dict):
        saved = {**saved, "training_parameters": {**_NO_EXPORT, **training}}
    return saved == config


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


def _saved(study):
    """Return the study that the folder holds already, None if it holds none."""
    return load_study(study.folder) if (study.folder / STUDY_FILE).exists() else None


def _check_folder(study, *, is_new):
    folder, bids = study.folder, Path(study.bids)
    if not is_new:
        first = check_fields(
            read_json(folder / STUDY_FILE), {"folder": STUDY["folder"]}, folder / STUDY_FILE, "Restore it."
        )["folder"]
        if first != str(folder):
            raise InputError(
                f"{folder} is a study that was started as {first}, and its paths are part of every configuration. "
                "Move it back to go on, or choose another --output. Here only 'study status', 'results' and 'claims' "
                "work."
            )
    if folder == bids or bids in folder.parents:
        raise InputError(f"--output must lie outside of the dataset, got {folder}.")
    if is_new and folder.exists():
        names = {path.name for path in folder.iterdir() if not path.name.startswith(TEMPORARY_PREFIX)}
        foreign = sorted(names - _FIRST_ENTRIES)
        if foreign:
            raise InputError(f"--output must be new or hold a study, but {folder} holds {foreign[0]}. Choose another.")


def _check_candidate(study, candidate):
    config = study.config(candidate)
    raise_on_errors(config, source=f"candidate {candidate.name}")
    settings = settings_from_config(config)
    first_name, first = study.candidates[0].name, study.config(study.candidates[0])
    if config["loader_parameters"].get("target_suffix") != first["loader_parameters"].get("target_suffix"):
        raise InputError(
            f"Candidate {candidate.name} must have the target_suffix of {first_name}: all candidates are "
            "evaluated against the same raters. For training on some of them, give its raters."
        )
    if settings != settings_from_config(first):
        raise InputError(
            f"Candidate {candidate.name} must have the evaluation_parameters.inter_rater of {first_name}: "
            "a table compares only what was evaluated alike. Use --set, which is for all candidates."
        )
    lacking = set(_contrasts(study, candidate)) - set(_contrasts(study, study.candidates[0]))
    if lacking:
        raise InputError(
            f"Candidate {candidate.name} must have contrasts of {first_name}, whose images the splits "
            f"are made of, got {', '.join(sorted(lacking))}."
        )
    if candidate.raters:
        try:
            trained = training_config(config, raters=candidate.raters)
        except InputError as error:
            raise InputError(f"Candidate {candidate.name}: {error}") from None
        # one rater alone is drawn from the list of all
        raise_on_errors(trained, source=f"candidate {candidate.name} on raters {candidate.raters}")


def _contrasts(study, candidate):
    """Return the contrasts that a candidate trains on, which must be those that it is tested on."""
    contrast_params = study.config(candidate)["loader_parameters"].get("contrast_params") or {}
    contrasts = contrast_params.get("training_validation")
    if not contrasts:
        raise InputError(f"{candidate.name} must have loader_parameters.contrast_params.training_validation.")
    tested = contrast_params.get("testing", contrasts)
    if set(tested) != set(contrasts):
        raise InputError(
            f"{candidate.name}: contrast_params must have the same contrasts for testing as for training_validation, "
            f"got {', '.join(tested)} and {', '.join(contrasts)}. Set both."
        )
    return contrasts


def prepare_study(study):
    """Check a study (`check_study`), and write its settings, splits and configurations; return the grown study.

    A candidate that is given with other settings than the folder has replaces it as long as nothing of it is trained.

    Raises:
        InputError: As `check_study`, or if a saved split or configuration differs.
    """
    replaced = _replaced(_saved(study), study)
    study, splits, files = check_study(study)
    for name in replaced:
        # configurations, checkpoints and failures of the settings before
        shutil.rmtree(study.folder / "models" / name, ignore_errors=True)
    study = _keep_template(study)
    write_splits(splits, files, study.folder / "splits")
    for path, config in _model_configs(study, splits):
        if not path.exists():
            write_json(path, config)
    saved = {**asdict(study), "folder": str(study.folder)}
    write_json(study.folder / STUDY_FILE, {"version": __version__, **saved}, overwrite=True)
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
    contrasts = _contrasts(study, study.candidates[0])
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


def _replaced(old, new):
    """Return the names of candidates that a saved study has with other settings, of which nothing is trained yet."""
    before = {candidate.name: candidate for candidate in old.candidates} if old else {}
    return [
        candidate.name
        for candidate in new.candidates
        if before.get(candidate.name, candidate) != candidate
        and not any((new.folder / "models" / candidate.name).rglob("train.done.json"))
    ]


def _grow(old, new, replaced):
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
        if candidate.name not in replaced and candidates.get(candidate.name, candidate) != candidate:
            raise InputError(
                f"{old.folder} holds trained models of a candidate {candidate.name} with other settings. Give the new "
                "one another name."
            )
        candidates[candidate.name] = candidate
    grown = {"candidates": tuple(candidates.values()), "n_splits": max(old.n_splits, new.n_splits)}
    return Study(**{**{name: getattr(new, name) for name in Study.__dataclass_fields__}, **grown})


def _model_configs(study, splits):
    """Yield ``(path, configuration)`` of every file that the models of a study are started with."""
    for split in splits:
        for candidate in study.candidates:
            for model in study.members(candidate, split.name):
                yield from _train_and_test(study, candidate, model, split)


def _train_and_test(study, candidate, model, split):
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
                "fname_split": str(study.folder / "splits" / f"{split.name}.json"),
                "random_seed": split.seed,
            },
        },
    )
    full["training_parameters"] = {**_NO_EXPORT, **full.get("training_parameters", {})}
    if "SampleRater" in full.get("transformation", {}):
        full["transformation"]["SampleRater"]["seed"] = split.seed
    raters = [int(member[0].removeprefix("rater"))] if member else candidate.raters
    train = training_config(full, raters=raters) if raters else full
    # the study evaluates against all raters in a step of its own, members of ensembles only after averaging
    test = train if member else full
    evaluation = {key: value for key, value in test.get("evaluation_parameters", {}).items() if key != "inter_rater"}
    test = {**test, "command": "test", "evaluation_parameters": evaluation}
    return (folder / "train.json", train), (folder / "test.json", test)
