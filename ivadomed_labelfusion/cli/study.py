"""``ivadomed_labelfusion study``: candidates x splits, the paper's tables and figures."""

import argparse
import json
import sys
from pathlib import Path

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.extras import require
from ivadomed_labelfusion.files import parse_json, resolve

# of cores, epochs, filters: beyond it lies a mistake in typing
LARGEST_NUMBER = 2**31

EPILOG = """examples:
  ivadomed_labelfusion study run --bids MSSEG2016 --output study_ms --template ms --splits paper --cores 8
  ivadomed_labelfusion study status study_ms
  ivadomed_labelfusion study results study_ms --compare-paper
  ivadomed_labelfusion study claims study_ms
"""

RUN_EPILOG = """examples:
  the paper's experiment, every GPU of this machine:
    ivadomed_labelfusion study run --bids SCGM --output study_scgm --template scgm --splits paper --cores 16

  what would be done:
    ivadomed_labelfusion study run --bids SCGM --output study_scgm --template scgm --splits paper --dry-run

  a small study on a small machine (the results say that the settings were reduced):
    ivadomed_labelfusion study run --bids phantom --output small --template ms --splits 5 --cores 2 \\
        --candidates all,conv_ensemble --epochs 30 --filters 8

  on a cluster (edit study_scgm/profile-slurm/config.yaml for account and partition, then repeat the command):
    ivadomed_labelfusion study run --bids SCGM --output study_scgm --template scgm --profile slurm --gpus 1

Killed or interrupted? Repeat the command: finished models are not redone, half-trained ones go on from their
checkpoint. A failed model is tried again once and does not stop the others. More candidates or splits may be added.

own candidates (--candidates-file), a YAML list:
  - name: softseg_majority
    base: softseg_average
    overrides: {transformation: {FuseRaters: {method: majority}}}
  - name: softseg_average_3_raters
    base: softseg_average
    raters: [1, 2, 3]
"""

CLAIMS_EPILOG = """rule: a finding is broken into comparisons of one metric, paired by split and image. A comparison is
supported when the 95 % interval of its mean lies wholly on the finding's side of zero, and contradicted when it lies
wholly on the other side, at a p-value adjusted (Holm) for the finding's comparisons. A finding holds when every
comparison is supported and does not hold when one is contradicted, even if others cannot be made; otherwise it is
undecided, also with candidates missing, fewer than five subjects (for the ECE of models: splits) or three splits.
Where the paper finds no significant difference, finding none here counts only with as many models as the paper had.

intervals: over subjects and splits together (for the ECE of models: splits), Student's made wider for skewed values;
with fewer than 20 (10) of either they are taken at 97 % (98 %). Under the null they leave out zero in at most 7 % of
cases from 5 subjects (splits) on, also for skewed values. Results are read, never changed.

example:
  ivadomed_labelfusion study claims study_ms
"""


def get_parser():
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        prog="ivadomed_labelfusion study",
        description="Train candidates over many splits and make the paper's tables and figures.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    options = {"formatter_class": argparse.RawDescriptionHelpFormatter}

    text = "train, test and evaluate every candidate on every split, then make the results"
    run = commands.add_parser("run", help=text, description=text.capitalize() + ".", epilog=RUN_EPILOG, **options)
    run.add_argument("--bids", metavar="DIR", required=True, help="BIDS dataset with the raters' masks")
    run.add_argument("--output", metavar="DIR", required=True, help="folder of the study")
    run.add_argument(
        "--template", metavar="scgm|ms|FILE", required=True, help="shipped templates, or a configuration of your own"
    )
    run.add_argument(
        "--candidates",
        metavar="NAMES",
        default="all",
        help="comma-separated: all (the six and those of --candidates-file), conv_staple, ..., conv_ensemble, "
        "softseg_ensemble (default: all)",
    )
    run.add_argument("--candidates-file", metavar="YAML", help="candidates of your own, see below")
    run.add_argument(
        "--splits",
        metavar="paper|N",
        default="paper",
        help="paper: 40 for scgm (each centre in turn is the test set), 20 random 60/20/20 for ms; N: the first N of "
        "them (default: paper)",
    )
    run.add_argument(
        "--design",
        choices=("centre", "random"),
        help="test on each centre in turn or at random (default: centre for scgm, random otherwise)",
    )
    run.add_argument("--seed", metavar="N", type=_not_negative, default=0, help="seed of the splits (default: 0)")
    run.add_argument(
        "--cores", metavar="N", type=_positive, help="cores to use here (default: one per training on a GPU, or 1)"
    )
    run.add_argument(
        "--gpus",
        metavar="N",
        type=_not_negative,
        help="GPUs to use here, one training each (default: all); with --profile, 1 makes every training ask for one",
    )
    run.add_argument(
        "--models-per-gpu",
        metavar="N",
        type=_positive,
        default=1,
        help="trainings that share a GPU, as far as its memory allows (default: 1); small networks leave it idle",
    )
    run.add_argument(
        "--threads",
        metavar="N",
        type=_positive,
        help="threads of a training (default: 1 without a GPU, so that each core trains a model; cores / GPUs with)",
    )
    run.add_argument("--profile", metavar="slurm|DIR", help="run on a cluster with this Snakemake profile")
    run.add_argument("--epochs", metavar="N", type=_positive, help="replace the template's number of epochs")
    run.add_argument("--filters", metavar="N", type=_positive, help="replace the U-Net's filters of the first level")
    run.add_argument("--depth", metavar="N", type=_positive, help="replace the U-Net's depth")
    run.add_argument("--batch-size", metavar="N", type=_positive, help="replace the batch size")
    run.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="replace any key of the configurations, such as training_parameters.scheduler.initial_lr=0.01 (JSON)",
    )
    run.add_argument("--dry-run", action="store_true", help="print what would be done; write nothing")

    text = "show which models are done, running, failed and to go"
    status = commands.add_parser("status", help=text, description=text.capitalize() + ".", epilog=EPILOG, **options)
    status.add_argument("study", metavar="DIR", help="folder of the study")
    status.add_argument("--models", action="store_true", help="list every model, not only candidates and failures")

    text = "make tables and figures from the finished models"
    results = commands.add_parser("results", help=text, description=text.capitalize() + ".", epilog=EPILOG, **options)
    results.add_argument("study", metavar="DIR", help="folder of the study")
    results.add_argument("--compare-paper", action="store_true", help="also set the paper's Tables 2-4 beside ours")

    results.add_argument(
        "--mixed-model",
        action="store_true",
        help="also fit score ~ candidate + (1|subject) + (1|split); needs statsmodels",
    )
    results.add_argument(
        "--composite-over",
        choices=("six", "all"),
        default="six",
        help="candidates that give the composite score's z-scores (default: the paper's six)",
    )

    text = "check the paper's findings on the results at hand"
    claims = commands.add_parser(
        "claims", help=text, description=text.capitalize() + ".", epilog=CLAIMS_EPILOG, **options
    )
    claims.add_argument("study", metavar="DIR", help="folder of the study")
    return parser


def main(args=None):
    """Run the command.

    Returns:
        int: 0 success, 1 if models failed, 2 bad input.
    """
    parsed = get_parser().parse_args(args)
    return {"run": _run, "status": _status, "results": _results, "claims": _claims}[parsed.command](parsed)


def _positive(text):
    return _whole_number(text, 1)


def _not_negative(text):
    return _whole_number(text, 0)


def _whole_number(text, lowest):
    try:
        value = int(text)
    except ValueError:
        value = lowest - 1
    if not lowest <= value <= LARGEST_NUMBER:
        raise argparse.ArgumentTypeError(
            f"must be a whole number of at least {lowest} and at most {LARGEST_NUMBER}, got {text[:40]}"
        )
    return value


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
    from ivadomed_labelfusion.paper.results import has_comparison, has_finished_models, write_results

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
        _print_plan(study)
        return 0
    check_study(study)
    with run.only_run(study.folder) as lock:
        study = prepare_study(study)
        try:
            status = run.run_workflow(study, lock, profile=parsed.profile)
        except KeyboardInterrupt:
            print("\nInterrupted. Repeat the command to go on.", file=sys.stderr)
            return 130
        _print_status(study, every_model=False)
        if has_finished_models(study):
            # what was asked for once is kept up to date
            written = write_results(study, compare_paper=has_comparison(study))
            print(f"\nResults of the finished models: {study.folder / 'results' / 'README.md'}")
            print("\n".join(written.notes))
    return 1 if status else 0


def _print_plan(study):
    from rich.console import Console
    from rich.table import Table

    from ivadomed_labelfusion.experiment.prepare import check_study

    study, splits, files = check_study(study)
    console = Console()
    table = Table(title=f"{len(files)} subjects, {len(splits)} split{'' if len(splits) == 1 else 's'}")
    for heading in ("split", "seed", "test centre", "train", "valid", "test"):
        table.add_column(heading)
    for split in splits:
        counts = [str(len(part)) for part in (split.train, split.valid, split.test)]
        table.add_row(split.name, str(split.seed), split.test_centre or "", *counts)
    console.print(table)
    trainings = [study.model_folder(member) for members in study.models().values() for member in members]
    done = sum((folder / "train.done.json").exists() for folder in trainings)
    names = ", ".join(candidate.name for candidate in study.candidates)
    print(f"Candidates: {names}")
    print(f"{len(trainings)} trainings, each followed by a test and an evaluation; {done} of them are done already.")
    for note in study.changed_settings():
        print(note)


def _print_status(study, *, every_model):
    from rich.console import Console
    from rich.table import Table

    from ivadomed_labelfusion.experiment.status import STATES, TO_GO, duration_text, model_statuses, progress

    statuses = model_statuses(study)
    console = Console()
    table = Table(title=f"{study.folder.name}: {len(statuses)} models")
    table.add_column("candidate", overflow="fold")
    for state in STATES:
        table.add_column(state, justify="right")
    for candidate in study.candidates:
        own = [item.state for item in statuses if item.candidate == candidate.name]
        table.add_row(candidate.name, *(str(own.count(state) or "") for state in STATES))
    every = [item.state for item in statuses]
    table.add_section()
    table.add_row("all", *(str(every.count(state)) for state in STATES))
    console.print(table)
    for item in statuses:
        if every_model or (item.detail and item.state != TO_GO):
            print(f"{item.candidate}/{item.split}: {item.state}" + (f": {item.detail}" if item.detail else ""))
    now = progress(study)
    if every.count("done") < len(every):
        number, kind = (study.gpus, "GPU") if study.gpus else (study.cores, "core")
        workers = f"{number} {kind}{'' if number == 1 else 's'}"
        if study.scheduled:
            workers = "one node; divide by the number of jobs that your cluster runs at once"
        if not now.running:
            print("Nothing runs now. Repeat 'study run' to go on.")
        print(
            "Time left: not known before the first epoch is done."
            if now.seconds_left is None
            else f"Time left: about {duration_text(now.seconds_left)} on {workers}."
        )


def _status(parsed):
    from ivadomed_labelfusion.experiment.plan import load_study

    _print_status(load_study(parsed.study), every_model=parsed.models)
    return 0


def _results(parsed):
    from rich.console import Console

    from ivadomed_labelfusion.experiment.plan import load_study
    from ivadomed_labelfusion.paper.results import has_comparison, write_results

    study = load_study(parsed.study)
    # what was asked for once is kept up to date
    compare_paper = parsed.compare_paper or has_comparison(study)
    with Console(stderr=True).status("Making tables and figures"):
        results = write_results(
            study,
            compare_paper=compare_paper,
            mixed=parsed.mixed_model,
            composite_over_all=parsed.composite_over == "all",
        )
    for table in results.tables.values():
        _print_table(table)
    for note in results.notes:
        print(note)
    print(f"{len(results.files)} files in {study.folder / 'results'}")
    return 0


def _print_table(table):
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ivadomed_labelfusion.tables.render import to_markdown

    console = Console()
    # a file or a pipe gets Markdown, and so does a terminal too narrow for the table
    if not console.is_terminal or console.width < 10 * len(table.header) + 20:
        print(to_markdown(table))
        return
    shown = Table(title=table.title)
    for index, heading in enumerate(table.header):
        # a Text, because rich would take [nats] for markup
        shown.add_column(Text(heading), justify="left" if index == 0 else "right")
    for row in table.rows:
        shown.add_row(*(Text(cell.text + cell.marks, style="bold" if cell.bold else "") for cell in row))
    console.print(shown)
    for note in table.notes:
        console.print(Text(note, style="dim"))


def _claims(parsed):
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ivadomed_labelfusion.experiment.plan import load_study
    from ivadomed_labelfusion.paper.results import write_claims

    study = load_study(parsed.study)
    verdicts, notes, files = write_claims(study)
    console = Console()
    if console.is_terminal:
        table = Table(title="The paper's findings on these results", show_lines=True)
        for heading in ("finding", "verdict", "numbers"):
            table.add_column(heading)
        for item in verdicts:
            table.add_row(Text(item.claim.statement), item.verdict, Text("\n".join(item.evidence)))
        console.print(table)
    else:
        for item in verdicts:
            print(f"{item.verdict}: {item.claim.statement} ({item.claim.source})")
            print("\n".join(f"    {line}" for line in item.evidence))
    for note in notes:
        print(note)
    print(f"Written: {', '.join(str(path) for path in files)}")
    return 0
