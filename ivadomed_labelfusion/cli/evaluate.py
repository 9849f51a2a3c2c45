"""``ivadomed_labelfusion evaluate``: predictions of any tool, and raters, against several raters."""

import argparse
import dataclasses
import sys
from pathlib import Path

EPILOG = """examples:
  one class, seven raters, predictions of ivadomed, nnU-Net or MONAI:
    ivadomed_labelfusion evaluate --predictions pred_soft --bids MSSEG2016 -o results \\
        --target-suffix _desc-rater{1..7}_label-lesion_seg

  two classes (one --target-suffix per class, the same raters in the same order):
    ivadomed_labelfusion evaluate --predictions predictions --bids SCGM -o results \\
        --target-suffix _desc-rater{1..4}_label-GM_seg --target-suffix _desc-rater{1..4}_label-WM_seg

  the human ceiling, each rater against the others, beside a model's scores:
    ivadomed_labelfusion evaluate --predictions pred_soft --raters-as-predictions --bids MSSEG2016 -o results \\
        --target-suffix _desc-rater{1..7}_label-lesion_seg

  suffixes and settings ("evaluation_parameters": {"inter_rater": {...}}) from an ivadomed configuration:
    ivadomed_labelfusion evaluate --predictions pred_soft --bids MSSEG2016 --config config.json -o results

predictions, for an image sub-01_FLAIR.nii.gz, anywhere below the folder:
  sub-01_FLAIR_pred.nii.gz, sub-01_FLAIR.nii.gz, ..._seg, ..._softseg, ..._probseg, ..._trans
      one class: probabilities or a mask; several classes: a label map (0 background, 1, 2, ...), or a fourth axis with
      the classes, with or without the background first
  sub-01_FLAIR_GM.nii.gz, sub-01_FLAIR_label-GM_pred.nii.gz, sub-01_FLAIR_class-0_pred.nii.gz, ...
      one file per class
  sub-01_FLAIR.npz beside sub-01_FLAIR.nii.gz
      nnU-Net's probabilities (nnUNetv2_predict --save_probabilities)
They must lie on the grid of the raters' masks.
"""


class _Parser(argparse.ArgumentParser):
    """Lists the metrics in its help; they are loaded only to be read there, because loading them takes a while."""

    def format_help(self):
        from ivadomed_labelfusion.metrics import built_in_metrics

        metrics = (f"  {name:20}{_headings(metric)}" for name, metric in built_in_metrics().items())
        self.epilog = "\n".join([EPILOG, "metrics (--metrics; all by default, own ones as well):", *metrics])
        return super().format_help()


def _headings(metric):
    """Return the labels of a metric's columns, a few of many."""
    labels = [column.label for column in metric.columns]
    return ", ".join(labels if len(labels) <= 4 else [*labels[:3], "..."])


def get_parser():
    """Return the argument parser."""
    parser = _Parser(
        prog="ivadomed_labelfusion evaluate",
        description="Evaluate predictions of any tool, and the raters themselves, against several raters: calibration, "
        "entropy, Brier score, overlap, lesions, surfaces. Writes tables (CSV), one JSON per image and pictures.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    parser.add_argument("--predictions", metavar="DIR", help="folder with one prediction per image")
    parser.add_argument(
        "--bids", metavar="DIR", nargs="+", required=True, help="BIDS dataset(s) with the raters' masks"
    )
    parser.add_argument(
        "--target-suffix",
        metavar="SUFFIX",
        nargs="+",
        action="append",
        help="the raters' suffixes of one class, as in ivadomed's target_suffix; repeat the option for each class "
        "(default: loader_parameters.target_suffix of --config)",
    )
    parser.add_argument("--config", metavar="FILE", help="JSON with an inter_rater block, or an ivadomed configuration")
    parser.add_argument(
        "--metrics", metavar="NAME", nargs="+", help="compute and show only these metrics (default: those of --config)"
    )
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="folder for the results")
    parser.add_argument(
        "--raters-as-predictions",
        action="store_true",
        help="also evaluate each rater's mask against the other raters (the human ceiling)",
    )
    parser.add_argument(
        "--image-contrast", metavar="NAME", nargs="+", help="evaluate only images of these contrasts, such as FLAIR"
    )
    parser.add_argument(
        "--prediction-suffix", metavar="SUFFIX", help="what follows the image's stem in the predictions' names"
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="evaluate an image that some raters did not mark against the others "
        "(as loader_parameters.allow_missing_raters of --config)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the results of an earlier evaluation")
    return parser


def main(args=None):
    """Run the command.

    Returns:
        int: 0, or 1 if an own metric failed for some image.
    """
    from ivadomed_labelfusion.errors import InputError
    from ivadomed_labelfusion.evaluation import evaluate_dataset, settings_from_config
    from ivadomed_labelfusion.files import read_json

    arguments = get_parser().parse_args(args)
    config = read_json(arguments.config) if arguments.config else {}
    try:
        settings = settings_from_config(config)
    except InputError as error:
        raise InputError(f"{arguments.config}: {error}") from None
    if arguments.metrics:
        settings = dataclasses.replace(settings, metrics=arguments.metrics)
    loader = config.get("loader_parameters", {})
    target_suffix = arguments.target_suffix or loader.get("target_suffix")
    if not target_suffix:
        raise InputError(
            "The raters' suffixes must be given with --target-suffix (or a --config with "
            "loader_parameters.target_suffix), for example --target-suffix _desc-rater1_label-lesion_seg "
            "_desc-rater2_label-lesion_seg."
        )
    evaluation = evaluate_dataset(
        bids_dir=arguments.bids,
        target_suffix=target_suffix,
        output_dir=arguments.output,
        predictions_dir=arguments.predictions,
        settings=settings,
        raters_as_predictions=arguments.raters_as_predictions,
        image_contrasts=arguments.image_contrast,
        prediction_suffix=arguments.prediction_suffix,
        allow_missing_raters=arguments.allow_missing or bool(loader.get("allow_missing_raters")),
        overwrite=arguments.overwrite,
        progress=_progress,
    )
    _show(evaluation, _shown(settings, everything=bool(arguments.metrics)))
    print(f"Written to {Path(arguments.output)}: {', '.join(_names(evaluation, arguments.output))}")
    for note in evaluation.notes:
        print(f"Note: {note}", file=sys.stderr)
    for (subject, name), reason in evaluation.errors.items():
        print(f"The metric {name!r} failed for {subject}: {reason}", file=sys.stderr)
    return 1 if evaluation.errors else 0


def _progress(images):
    from rich.console import Console
    from rich.progress import track

    return track(images, description="Evaluating", console=Console(stderr=True))


def _names(evaluation, output):
    parts = [path.relative_to(output).parts for path in evaluation.files]
    return dict.fromkeys(part[0] + ("/" if len(part) > 1 else "") for part in parts)


def _shown(settings, *, everything):
    """Return the stems of the columns for the screen: all of the metrics asked for, else the usual ones."""
    from ivadomed_labelfusion.metrics import built_in_metrics
    from ivadomed_labelfusion.metrics.kinds import PREFIX

    built_in = built_in_metrics()
    chosen = [built_in[name] for name in settings.built_in] if everything else built_in.values()
    stems = [column.stem for metric in chosen for column in metric.columns if everything or column.shown]
    # an own metric that declares no columns gives those that begin with its name
    own = [metric for metric in settings.own if everything]
    stems += [column.stem for metric in own for column in metric.columns]
    return tuple(stems + [PREFIX + metric.name for metric in own if not metric.columns])


def _show(evaluation, wanted):
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Means over {_images(evaluation)}")
    table.add_column("metric", no_wrap=True)
    raters = list(dict.fromkeys(rater for _, rater in evaluation.rater_rows))
    heads = ["prediction"] if evaluation.rows else []
    for head in [*heads, "raters", "lowest rater", "highest rater"] if raters else heads:
        table.add_column(head, justify="right")
    for row in evaluation.summary:
        name = row["metric"]
        if name.endswith("_pooled") or not any(name == stem or name.startswith(f"{stem}_") for stem in wanted):
            continue
        values = [row["mean"]] if evaluation.rows else []
        if raters:
            means = [row[rater] for rater in raters]
            values += [row["raters_mean"], min(means), max(means)]
        table.add_row(name.removeprefix("ir_"), *(f"{value:.4g}" for value in values))
    Console().print(table)


def _images(evaluation):
    count = len(evaluation.rows) or len({subject for subject, _ in evaluation.rater_rows})
    return f"{count} image{'s' if count != 1 else ''}"
