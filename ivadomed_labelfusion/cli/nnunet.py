"""``ivadomed_labelfusion nnunet``: a dataset for nnU-Net with all raters, and the trainers that learn from it."""

import argparse
import sys
from functools import partial

from ivadomed_labelfusion.errors import InputError

EXAMPLES = {
    None: """examples:
  ivadomed_labelfusion nnunet export MSSEG2016 --dataset 501 --name Lesions
  export nnUNet_extTrainer=$(ivadomed_labelfusion nnunet trainers --path)
  nnUNetv2_plan_and_preprocess -d 501 --verify_dataset_integrity
  nnUNetv2_train 501 2d 0 -tr nnUNetTrainerRatersAverageSoft
  nnUNetv2_predict -d 501 -c 2d -f 0 -tr nnUNetTrainerRatersAverageSoft --save_probabilities \\
      -i $nnUNet_raw/Dataset501_Lesions/imagesTs -o predictions
  ivadomed_labelfusion evaluate --predictions predictions --bids MSSEG2016 -o results \\
      --target-suffix _desc-rater{1..7}_label-lesion_seg
""",
    "export": """examples:
  all raters and classes of a dataset, a fifth of the subjects kept apart to test, five folds:
    ivadomed_labelfusion nnunet export MSSEG2016 --dataset 501 --name Lesions

  some raters, two channels, chosen test subjects:
    ivadomed_labelfusion nnunet export MSSEG2016 --dataset 502 --name Two --contrasts FLAIR T1w \\
        --raters _desc-rater{1..3}_label-lesion_seg --test sub-01 sub-02

  two classes (one --raters per class, the same raters in the same order):
    ivadomed_labelfusion nnunet export SCGM --dataset 503 --name Cord \\
        --raters '_desc-rater*_label-GM_seg' --raters '_desc-rater*_label-WM_seg'

  what an ivadomed configuration trains on, and the trainer that does the same:
    ivadomed_labelfusion nnunet export --from-config ms_softseg_average.json --dataset 504 --name Lesions

The dataset is written below $nnUNet_raw (or --output). Exit status: 0 done, 2 bad input.
""",
    "trainers": """examples:
  ivadomed_labelfusion nnunet trainers
  export nnUNet_extTrainer=$(ivadomed_labelfusion nnunet trainers --path)
""",
}


def get_parser():
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        prog="ivadomed_labelfusion nnunet",
        description="nnU-Net on all raters: export a dataset for its unchanged commands, and name the trainers.",
        epilog=EXAMPLES[None],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")
    _add_export(
        commands.add_parser(
            "export",
            help="write a dataset for nnU-Net with all raters",
            description="Write images, label maps and every rater's masks of a BIDS dataset as a dataset of nnU-Net.",
            epilog=EXAMPLES["export"],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    trainers = commands.add_parser(
        "trainers",
        help="list the trainers and how nnU-Net finds them",
        description="List the trainers. nnU-Net finds them through the variable nnUNet_extTrainer.",
        epilog=EXAMPLES["trainers"],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    trainers.add_argument("--path", action="store_true", help="print the folder for nnUNet_extTrainer and nothing else")
    return parser


def _add_export(parser):
    parser.add_argument("data", metavar="DATA", nargs="?", help="BIDS dataset with the raters' masks")
    parser.add_argument("--dataset", metavar="ID", type=int, required=True, help="number of the dataset, 1 to 999")
    parser.add_argument("--name", metavar="NAME", required=True, help="its name: Dataset501_NAME")
    parser.add_argument(
        "--raters", metavar="SUFFIX", nargs="+", action="append",
        help="the raters' suffixes of one class; repeat the option for each class; '*' stands for any name "
        "(default: all _desc-<rater>_label-<class>_seg of the dataset)",
    )  # fmt: skip
    parser.add_argument(
        "--contrasts", metavar="NAME", nargs="+", help="the channels in order (default: the images that have masks)"
    )
    parser.add_argument("--from-config", metavar="FILE", help="take data, raters, contrasts and split from ivadomed's")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--test", metavar="SUB", nargs="+", help="these subjects are kept apart to test")
    parts.add_argument("--test-fraction", metavar="X", type=float, help="share of subjects to test (default 0.2)")
    parts.add_argument(
        "--split", metavar="FILE", nargs="+", help="splits of a study, or JSON with train, valid, test: a fold each"
    )
    parser.add_argument("--folds", metavar="N", type=int, default=5, help="folds to train and validate (default 5)")
    parser.add_argument(
        "--seed", metavar="N", type=int, help="of the split, and of every training on the dataset (default 0)"
    )
    parser.add_argument("--allow-missing", action="store_true", help="go on without raters who lack a mask")
    parser.add_argument("-o", "--output", metavar="DIR", help="where datasets lie (default: $nnUNet_raw)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export of this dataset")


def main(args=None):
    """Run the command.

    Returns:
        int: 0.
    """
    arguments = get_parser().parse_args(args)
    return _list_trainers(arguments) if arguments.action == "trainers" else _export(arguments)


def _list_trainers(arguments):
    from ivadomed_labelfusion.hosts.nnunet.names import trainer_names, trainers_folder

    if arguments.path:
        print(trainers_folder())
        return 0
    names = trainer_names()
    width = max(map(len, names))
    for name, text in names.items():
        print(f"{name:<{width}}  {text}")
    print("\nA name may end in _5epochs or _5epochs_10iterations (per epoch) for a shorter run.")
    print("So that nnU-Net finds them:\n  export nnUNet_extTrainer=$(ivadomed_labelfusion nnunet trainers --path)")
    return 0


def _export(arguments):
    import os

    from ivadomed_labelfusion.hosts.nnunet.dataset import Export, export_dataset

    output = arguments.output or os.environ.get("nnUNet_raw")  # noqa: SIM112 - its own spelling
    if not output:
        raise InputError("nnUNet_raw must name nnU-Net's folder of datasets, it is not set. Set it, or give --output.")
    if arguments.seed is not None and arguments.seed < 0:
        raise InputError(f"--seed must be a whole number >= 0, got {arguments.seed}.")
    bids_dir, options, split, trainer, left_out = _from_config(arguments) if arguments.from_config else (
        arguments.data, {}, None, None, []
    )  # fmt: skip
    if bids_dir is None:
        raise InputError("Name the BIDS dataset: ivadomed_labelfusion nnunet export DATA ...")
    options = {**options, **_options(arguments, bids_dir, options)}
    split = _split(arguments, options["seed"]) if split is None or _chooses_split(arguments) else split
    export = Export(arguments.dataset, arguments.name, bids_dir, **options)
    done = export_dataset(export, output, split, overwrite=arguments.overwrite, progress=_progress)
    _report(done, export, trainer or "nnUNetTrainerRatersAverageSoft", left_out)
    return 0


def _from_config(arguments):
    from ivadomed_labelfusion.files import read_json
    from ivadomed_labelfusion.hosts.nnunet.from_config import migrate

    try:
        found = migrate(read_json(arguments.from_config), arguments.data, source=arguments.from_config)
    except InputError as error:
        text = str(error)
        raise InputError(text if arguments.from_config in text else f"{arguments.from_config}: {text}") from None
    return found.bids_dir, found.options, found.split, found.trainer, found.left_out


def _options(arguments, bids_dir, known):
    """Return what the command line says of `Export`, and the defaults of what nothing says."""
    from ivadomed_labelfusion.data.bids import expand_suffixes
    from ivadomed_labelfusion.hosts.nnunet.dataset import all_suffixes

    chosen = {}
    if arguments.raters:
        chosen["target_suffix"] = expand_suffixes(bids_dir, arguments.raters)
    elif "target_suffix" not in known:
        chosen["target_suffix"] = all_suffixes(bids_dir)
    if arguments.contrasts:
        chosen |= {"contrasts": tuple(arguments.contrasts), "separate": False}
    if arguments.allow_missing:
        chosen["allow_missing"] = True
    if arguments.seed is not None or "seed" not in known:
        chosen["seed"] = arguments.seed or 0
    return chosen


def _chooses_split(arguments):
    return bool(arguments.test or arguments.split) or arguments.test_fraction is not None


def _split(arguments, seed):
    from ivadomed_labelfusion.hosts.nnunet.folds import draw_parts, read_parts

    if arguments.split:
        return lambda subjects: read_parts(arguments.split)
    share = 0.2 if arguments.test_fraction is None else arguments.test_fraction
    return partial(draw_parts, test=arguments.test or share, n_folds=arguments.folds, seed=seed)


def _progress(cases):
    from rich.console import Console
    from rich.progress import track

    return track(cases, description="Exporting", console=Console(stderr=True))


def _report(done, export, trainer, left_out):
    for note in done.notes:
        print(f"Note: {note}", file=sys.stderr)
    print(
        f"{done.folder}: {done.n_training} images to train in {done.n_folds} folds, {done.n_test} to test; "
        f"raters {', '.join(done.raters)}; classes {', '.join(done.classes)}."
    )
    if done.splits is None:
        print("nnUNet_preprocessed is not set: nnU-Net's own trainers will make folds of their own.")
    if left_out:
        print(f"nnU-Net decides by itself: {', '.join(left_out)}.")
    print("Next:\n  export nnUNet_extTrainer=$(ivadomed_labelfusion nnunet trainers --path)")
    print(f"  nnUNetv2_plan_and_preprocess -d {export.number} --verify_dataset_integrity")
    print(f"  nnUNetv2_train {export.number} 2d 0 -tr {trainer}")
