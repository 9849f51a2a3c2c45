"""``ivadomed_labelfusion study``: candidates x splits, the paper's tables and figures."""

import json
import sys
from pathlib import Path

from ivadomed_labelfusion.cli.console import print_plan, print_status, print_table, print_verdicts
from ivadomed_labelfusion.cli.study_options import get_parser
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.extras import require
from ivadomed_labelfusion.files import parse_json, resolve


def main(args=None):
    """Run the command.

    Returns:
        int: 0 success, 1 if models failed, 2 bad input.
    """
    parsed = get_parser().parse_args(args)
    return {"run": _run, "status": _status, "results": _results, "claims": _claims}[parsed.command](parsed)


def _n_splits(text):
    from ivadomed_labelfusion.experiment.records import MOST_SPLITS

    # longer numbers are not even read
    number = int(text) if text.isdecimal() and len(text) < 20 else 0
    if number > MOST_SPLITS or (text.isdecimal() and len(text) >= 20):
        raise InputError(f"--splits must be at most {MOST_SPLITS}, got {text[:40]}.")
    if number < 1:
        raise InputError(f"--splits must be paper or a number of at least 1, got {text[:40]}.")
    return number


def _overrides(parsed):
    from ivadomed_labelfusion.config.patches import merge_patch
    from ivadomed_labelfusion.experiment.candidates import check_left_to_the_study

    shorthands = {
        "training_parameters.training_time.num_epochs": parsed.epochs,
        "default_model.n_filters": parsed.filters,
        "default_model.depth": parsed.depth,
        "training_parameters.batch_size": parsed.batch_size,
    }
    settings = [(key, value) for key, value in shorthands.items() if value is not None]
    for text in parsed.set:
        key, found, value = text.partition("=")
        if not found or not all(key.split(".")):
            raise InputError(f"--set must be KEY=VALUE with a key such as default_model.depth, got {text!r}.")
        try:
            settings.append((key, parse_json(value)))
        except json.JSONDecodeError:
            # a bare word is a string, as people write it
            settings.append((key, value))
        except InputError as error:
            raise InputError(f"--set {key} {error}") from None
    patch = {}
    for key, value in settings:
        if value is None:
            raise InputError(f"--set gives keys a value, got {key}=null. Remove a key with a candidate's overrides.")
        for part in reversed(key.split(".")):
            value = {part: value}
        check_left_to_the_study(value, "--set")
        patch = merge_patch(patch, value)
    return patch


def _study_from_arguments(parsed):
    from ivadomed_labelfusion.config.candidates import DATASETS
    from ivadomed_labelfusion.experiment.candidates import resolve_candidates
    from ivadomed_labelfusion.experiment.plan import Study
    from ivadomed_labelfusion.experiment.run import count_gpus
    from ivadomed_labelfusion.experiment.splits import PAPER_SPLITS

    template = parsed.template
    if template not in DATASETS:
        if not Path(template).is_file():
            raise InputError(f"--template must be scgm, ms or a configuration file, got {template}.")
        template = str(resolve(template))
    if not Path(parsed.bids).is_dir():
        raise InputError(f"--bids must be a BIDS dataset, {parsed.bids} is no folder.")
    design = parsed.design or ("centre" if template == "scgm" else "random")
    if parsed.splits == "paper":
        if template not in DATASETS:
            raise InputError("A template of your own needs the number of splits, for example --splits 20.")
        n_splits = PAPER_SPLITS[design]
    else:
        n_splits = _n_splits(parsed.splits)
    gpus = count_gpus() if parsed.gpus is None else parsed.gpus
    slots = gpus * parsed.models_per_gpu
    cores = parsed.cores or max(1, slots)
    return Study(
        folder=resolve(parsed.output),
        bids=str(resolve(parsed.bids)),
        template=template,
        design=design,
        candidates=tuple(resolve_candidates(parsed.candidates, parsed.candidates_file)),
        n_splits=n_splits,
        study_seed=parsed.seed,
        overrides=_overrides(parsed),
        cores=cores,
        gpus=gpus,
        threads=parsed.threads or (max(1, cores // slots) if slots else 1),
        scheduled=parsed.profile is not None,
        models_per_gpu=parsed.models_per_gpu,
    )


def _run(parsed):
    from ivadomed_labelfusion.experiment import run
    from ivadomed_labelfusion.experiment.prepare import check_study, prepare_study
    from ivadomed_labelfusion.paper.results import has_comparison, has_finished_models, write_study_results

    if not parsed.dry_run:
        require("study", "ivadomed", what="study run")
    study = _study_from_arguments(parsed)
    if parsed.profile and parsed.models_per_gpu > 1:
        raise InputError("--models-per-gpu shares out the GPUs of this machine; with --profile the cluster does that.")
    if parsed.profile:
        run.check_profile(parsed.profile)
    if parsed.gpus and not parsed.profile and parsed.gpus > run.count_gpus():
        print(f"warning: --gpus {parsed.gpus}, but this machine has {run.count_gpus()}.", file=sys.stderr)
    if parsed.profile and parsed.gpus is None and not study.gpus:
        print(
            "warning: this machine has no GPU, so the cluster's trainings will not ask for one. Add --gpus 1 if they "
            "shall, --gpus 0 if not.",
            file=sys.stderr,
        )
    if parsed.dry_run:
        print_plan(study)
        return 0
    check_study(study)
    with run.only_run(study.folder) as lock:
        study = prepare_study(study)
        try:
            status = run.run_workflow(study, lock, profile=parsed.profile)
        except KeyboardInterrupt:
            print("\nInterrupted. Repeat the command to go on.", file=sys.stderr)
            return 130
        print_status(study, every_model=False)
        if has_finished_models(study):
            # what was asked for once is kept up to date
            written = write_study_results(study, compare_paper=has_comparison(study))
            print(f"\nResults of the finished models: {study.folder / 'results' / 'README.md'}")
            print("\n".join(written.notes))
    return 1 if status else 0


def _status(parsed):
    from ivadomed_labelfusion.experiment.plan import load_study

    print_status(load_study(parsed.study), every_model=parsed.models)
    return 0


def _results(parsed):
    from rich.console import Console

    from ivadomed_labelfusion.experiment.plan import load_study
    from ivadomed_labelfusion.paper.results import has_comparison, write_study_results

    study = load_study(parsed.study)
    # what was asked for once is kept up to date
    compare_paper = parsed.compare_paper or has_comparison(study)
    with Console(stderr=True).status("Making tables and figures"):
        results = write_study_results(
            study,
            compare_paper=compare_paper,
            mixed=parsed.mixed_model,
            composite_over_all=parsed.composite_over == "all",
        )
    for table in results.tables.values():
        print_table(table)
    for note in results.notes:
        print(note)
    print(f"{len(results.files)} files in {study.folder / 'results'}")
    return 0


def _claims(parsed):
    from ivadomed_labelfusion.experiment.plan import load_study
    from ivadomed_labelfusion.paper.results import write_claims

    study = load_study(parsed.study)
    verdicts, notes, files = write_claims(study)
    print_verdicts(verdicts, notes, files)
    return 0
