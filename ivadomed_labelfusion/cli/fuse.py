"""``ivadomed_labelfusion fuse``: several raters' masks in, one consensus out; files, or a whole BIDS dataset."""

import argparse
import contextlib
import os
import sys
import warnings
from pathlib import Path

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.locks import only_one

EPILOG = """examples:
  consensus of three raters:
    ivadomed_labelfusion fuse r1.nii.gz r2.nii.gz r3.nii.gz -o consensus.nii.gz

  with STAPLE's probabilities, what it thinks of each rater, and a picture on top of the image:
    ivadomed_labelfusion fuse r*.nii.gz -o consensus.nii.gz --posterior posterior.nii.gz \\
        --report report.json --figure fusion.png --image flair.nii.gz

  soft label for SoftSeg training:
    ivadomed_labelfusion fuse r*.nii.gz --method average -o soft.nii.gz

  label maps (0 background, 1 gray matter, 2 white matter) are recognised:
    ivadomed_labelfusion fuse maps/r*.nii.gz --method majority --ties lowest -o majority.nii.gz

  every subject of a BIDS dataset, four raters and two classes, two methods, two subjects at once:
    ivadomed_labelfusion fuse --bids SCGM --method staple average --jobs 2 \\
        --target-suffix _desc-rater{1..4}_label-GM_seg --target-suffix _desc-rater{1..4}_label-WM_seg

  the same for all raters that there are ('*' needs quotes):
    ivadomed_labelfusion fuse --bids SCGM --target-suffix '_desc-rater*_label-GM_seg'

The outputs lie on the grid of the first mask. Existing files are kept unless --overwrite is given; over a dataset,
labels that are up to date are skipped. Exit status: 0 done, 2 bad input.
"""


def get_parser():
    """Return the argument parser."""
    from ivadomed_labelfusion.fusion.registry import DEFAULT, METHODS

    titles = ", ".join(method.title for method in METHODS.values())
    parser = argparse.ArgumentParser(
        prog="ivadomed_labelfusion fuse",
        usage="ivadomed_labelfusion fuse MASK MASK ... -o FILE [options]\n"
        "       ivadomed_labelfusion fuse --bids DIR --target-suffix SUFFIX ... [options]",
        description=f"Fuse several raters' masks into one consensus: {titles}; "
        "binary masks or label maps, two or three dimensions, any format nibabel reads.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    parser.add_argument("masks", metavar="MASK", nargs="*", help="one file per rater")
    *others, last = (name for name in METHODS if name != DEFAULT)
    parser.add_argument(
        "--method",
        metavar="NAME",
        nargs="+",
        default=[DEFAULT],
        help=f"{DEFAULT} (default), {', '.join(others)} or {last}; several with --bids",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    _add_files(parser)
    _add_dataset(parser)
    _add_options(parser)
    return parser


def _add_files(parser):
    files = parser.add_argument_group("fusing files")
    files.add_argument("-o", "--output", metavar="FILE", help="the consensus, .nii or .nii.gz")
    files.add_argument(
        "--posterior", metavar="FILE", help="also write the probabilities (label maps: labels along a fourth axis)"
    )
    files.add_argument("--report", metavar="FILE", help="write a JSON on the raters: volumes, performance, agreement")
    files.add_argument("--figure", metavar="FILE", help="draw the slices with most disagreement (.png, .svg or .pdf)")
    files.add_argument("--image", metavar="FILE", help="background of the figure, on the grid of the masks")
    files.add_argument(
        "--stream",
        action="store_true",
        help="read and write slab by slab, for volumes that do not fit in memory (chosen by itself when they do not)",
    )


def _add_dataset(parser):
    dataset = parser.add_argument_group("fusing a BIDS dataset")
    dataset.add_argument("--bids", metavar="DIR", help="BIDS dataset with the raters' masks below derivatives/")
    dataset.add_argument(
        "--target-suffix",
        metavar="SUFFIX",
        nargs="+",
        action="append",
        help="the raters' suffixes of one class; repeat the option for each class; '*' stands for any name",
    )
    dataset.add_argument("--subjects", metavar="SUB", nargs="+", help="only these subjects")
    dataset.add_argument(
        "--multiclass",
        choices=("joint", "per_class"),
        default="joint",
        help="several classes exclude each other (joint, default) or are fused each by itself",
    )
    dataset.add_argument("--softseg", action="store_true", help="also write the probabilities as _softseg")
    dataset.add_argument(
        "--allow-missing", action="store_true", help="fuse the raters that are there where some are missing"
    )
    dataset.add_argument("--jobs", metavar="N", type=int, default=1, help="subjects handled at once (default 1)")


def _add_options(parser):
    from ivadomed_labelfusion.fusion import all_options

    options = parser.add_argument_group("parameters of the methods")
    options.add_argument(
        "--region",
        metavar="REGION",
        default="image",
        help="voxels that take part: image (default), union (of the raters), box (around them), or a mask file",
    )
    options.add_argument("--margin", metavar="VOXELS", type=int, help="margin of --region box (default 10)")
    options.add_argument("--weights", metavar="W", type=float, nargs="+", help="one weight per rater")
    for name, (option, methods) in all_options().items():
        options.add_argument(
            f"--{name.replace('_', '-')}",
            metavar=None if option.choices else "N" if option.kind is int else "X",
            type=option.kind,
            choices=option.choices or None,
            help=f"{', '.join(methods)}: {option.help}".removesuffix(": "),
        )
    options.add_argument(
        "--grid-tolerance",
        metavar="MM",
        type=float,
        help="masks are on one grid if no voxel lies further apart (default 0.01 mm)",
    )


def main(args=None):
    """Run the command.

    Returns:
        int: 0.
    """
    # "-o" and other options may stand between masks
    arguments = get_parser().parse_intermixed_args(args)
    from ivadomed_labelfusion.fusion import all_options

    given = {name: getattr(arguments, name) for name in ("weights", *all_options())}
    options = {name: value for name, value in given.items() if value is not None}
    if arguments.margin is None:
        arguments.margin = 10
    elif arguments.region != "box":
        raise InputError(f"--margin needs --region box, got --region {arguments.region}.")
    return _fuse_dataset(arguments, options) if arguments.bids else _fuse_files(arguments, options)


def _refuse(arguments, names, reason):
    for name in names:
        if getattr(arguments, name):
            raise InputError(f"--{name.replace('_', '-')} {reason}.")


def _fuse_files(arguments, options):
    _refuse(arguments, ("target_suffix", "subjects", "softseg", "allow_missing"), "needs --bids")
    if not arguments.masks:
        raise InputError("Give one mask file per rater, or --bids DIR. See ivadomed_labelfusion fuse --help.")
    if not arguments.output:
        raise InputError("Name the output with -o, for example -o consensus.nii.gz.")
    if len(arguments.method) > 1:
        raise InputError(f"One method makes one output, got {' '.join(arguments.method)}. Run one after the other.")
    from ivadomed_labelfusion.data.fuse_files import Outputs, fuse_files

    outputs = Outputs(
        arguments.output,
        posterior=arguments.posterior,
        report=arguments.report,
        figure=arguments.figure,
        background=arguments.image,
        overwrite=arguments.overwrite,
    )

    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"Note: {message}", file=sys.stderr)
        summary = fuse_files(
            arguments.masks,
            outputs,
            method=arguments.method[0],
            options=options,
            region=arguments.region,
            margin=arguments.margin,
            stream=arguments.stream,
            tolerance_mm=arguments.grid_tolerance,
        )
    print(summary)
    return 0


def _fuse_dataset(arguments, options):
    _refuse(
        arguments, ("output", "posterior", "report", "figure", "image", "stream"), "is for fusing files, not --bids"
    )
    if arguments.masks:
        raise InputError(f"Give mask files or --bids, not both: {arguments.masks[0]}.")
    from ivadomed_labelfusion.fusion.region import REGIONS

    if not arguments.target_suffix:
        raise InputError("--bids needs --target-suffix, for example --target-suffix '_desc-rater*_label-lesion_seg'.")
    if arguments.region not in REGIONS:
        raise InputError(
            f"--region must be {', '.join(REGIONS[:-1])} or {REGIONS[-1]} over a dataset, got {arguments.region!r}."
        )
    if arguments.region != "image":
        options["region"] = arguments.region
        if arguments.region == "box":
            options["margin"] = arguments.margin
    from ivadomed_labelfusion.data.bids import expand_suffixes
    from ivadomed_labelfusion.data.fuse_files import GRID_ADVICE
    from ivadomed_labelfusion.data.fused import write_fused
    from ivadomed_labelfusion.data.grid import GRID_TOLERANCE_MM

    tolerance_mm = GRID_TOLERANCE_MM if arguments.grid_tolerance is None else arguments.grid_tolerance
    derivatives = Path(arguments.bids) / "derivatives"
    busy = f"Another 'fuse' is writing into {derivatives}. Wait for it."
    # a dataset without masks is refused by the work itself
    alone = only_one(derivatives / ".fusing", busy=busy) if derivatives.is_dir() else contextlib.nullcontext()
    with alone, _progress() as progress:
        result = write_fused(
            arguments.bids,
            expand_suffixes(arguments.bids, arguments.target_suffix),
            arguments.method,
            posterior=arguments.softseg,
            multiclass=arguments.multiclass,
            options=options,
            subjects=arguments.subjects,
            allow_missing=arguments.allow_missing,
            tolerance_mm=tolerance_mm,
            advice=GRID_ADVICE,
            jobs=arguments.jobs,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    _say(result, arguments.bids)
    return 0


def _say(result, bids_dir):
    """Print what was done to a dataset."""
    for image_stem, notes in sorted(result.notes.items()):
        for note in notes:
            print(f"Note: {image_stem}: {note}", file=sys.stderr)
    if result.coding_note:
        print(f"Note: {result.coding_note}", file=sys.stderr)
    print(f"{len(result.written)} files written, {len(result.up_to_date)} up to date.")
    for path in result.written[:4]:
        print(f"  {os.path.relpath(path, bids_dir)}")
    if len(result.written) > 4:
        print(f"  ... and {len(result.written) - 4} more below {Path(bids_dir) / 'derivatives'}")


class _progress:
    """A progress bar on the terminal, as the callback of `write_fused`."""

    def __enter__(self):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("Fusing"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[name]}", markup=False),
            console=Console(stderr=True),
        )
        self.bar.start()
        self.task = None
        return self

    def __call__(self, done, total, name):
        if self.task is None:
            self.task = self.bar.add_task("fuse", total=total, name=name)
        self.bar.update(self.task, completed=done, name=name)

    def __exit__(self, *_):
        self.bar.stop()
