"""The options of ``ivadomed_labelfusion study``."""

import argparse

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
    _add_run(commands)
    _add_shows(commands)
    return parser


def _add_run(commands):
    text = "train, test and evaluate every candidate on every split, then make the results"
    run = commands.add_parser(
        "run",
        help=text,
        description=text.capitalize() + ".",
        epilog=RUN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
    _add_machine(run)
    _add_settings(run)


def _add_machine(run):
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


def _add_settings(run):
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


def _add_shows(commands):
    options = {"formatter_class": argparse.RawDescriptionHelpFormatter}
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
