"""``ivadomed_labelfusion prepare``: raw downloads or loose files to a BIDS dataset that ivadomed loads."""

import argparse

from ivadomed_labelfusion.errors import InputError

DESCRIPTION = """\
Turn a raw download, or loose files, into a BIDS dataset that ivadomed loads: images, one mask per rater and class
below derivatives/labels, sidecars, participants.tsv. Everything found on the way is checked and said. The dataset
appears only when it is complete; the raw data are never changed."""

EXAMPLES = {
    None: """examples:
  ivadomed_labelfusion prepare scgm ~/Downloads/scgm data/SCGM --dry-run
  ivadomed_labelfusion prepare scgm ~/Downloads/scgm data/SCGM --fuse staple average majority
  ivadomed_labelfusion prepare msseg2016 ~/Downloads/MSSEG-Training.zip data/MSSEG2016 --jobs 4
  ivadomed_labelfusion prepare generic --image 'loose/{subject}/flair.nii.gz' \\
      --mask 'loose/{subject}/lesions_{rater}.nii.gz' --class lesion --contrast FLAIR data/mine
  ivadomed_labelfusion prepare COMMAND --help
""",
    "scgm": """examples:
  ivadomed_labelfusion prepare scgm training-data-gm-sc-challenge-ismrm16-v20160302b.zip data/SCGM
  ivadomed_labelfusion prepare scgm downloads/ data/SCGM --dry-run
  ivadomed_labelfusion prepare scgm downloads/ data/SCGM --roi raters --fuse staple average
  ivadomed_labelfusion prepare scgm downloads/ data/SCGM --roi 'centerlines/{subject}.nii.gz'
""",
    "msseg2016": """examples:
  ivadomed_labelfusion prepare msseg2016 MSSEG-Training.zip data/MSSEG2016 --jobs 4
  ivadomed_labelfusion prepare msseg2016 MSSEG-Training.zip data/MSSEG2016 --contrasts FLAIR T1w T2w
  ivadomed_labelfusion prepare msseg2016 downloads/ data/MSSEG2016 --space raw --subjects 'c01p*'
""",
    "generic": """Patterns: {subject}, {rater}, {class}, {contrast}, {institution} and * stand for anything but a slash,
** for folders of any depth. Quote them, so that the shell leaves them alone. Raters 1, 2 become rater1, rater2.

examples:
  binary masks of one class:
  ivadomed_labelfusion prepare generic --image 'loose/{subject}_flair.nii.gz' --contrast FLAIR \\
      --mask 'loose/{subject}_lesions_{rater}.nii.gz' --class lesion data/mine

  one file per class:
  ivadomed_labelfusion prepare generic --image 'loose/{subject}/{contrast}.nii.gz' --contrast T2w \\
      --mask 'loose/{subject}/{rater}/{class}.nii.gz' data/mine

  pictures (PNG or TIFF) of half a micrometre per pixel, one folder per expert:
  ivadomed_labelfusion prepare generic --image 'cells/images/{subject}.png' --contrast FLUO \\
      --mask 'cells/labels/{rater}/{subject}.png' --class cell --pixel-size 0.0005 data/cells

  label maps with 1 for gray and 2 for white matter:
  ivadomed_labelfusion prepare generic --image 'loose/{subject}.nii.gz' --contrast T2starw \\
      --mask 'loose/{subject}-{rater}.nii.gz' --class GM=1 --class WM=2 data/mine
""",
}


def get_parser():
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        prog="ivadomed_labelfusion prepare",
        description=DESCRIPTION,
        epilog=EXAMPLES[None],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="dataset", required=True, metavar="COMMAND")
    scgm = _add(commands, "scgm", "the SCGM challenge 2016 (spinal cord gray and white matter, four raters)")
    msseg = _add(commands, "msseg2016", "MSSEG-2016 (multiple sclerosis lesions, seven raters)")
    generic = _add(commands, "generic", "loose files, found by patterns")
    for command in (scgm, msseg):
        command.add_argument("raw", metavar="RAW", help="a zip, a folder of zips, or an unpacked folder")
    msseg.add_argument(
        "--contrasts", nargs="+", metavar="NAME",
        help="contrasts to keep: FLAIR T1w ce-gadolinium_T1w T2w PDw (default: all five)",
    )  # fmt: skip
    msseg.add_argument(
        "--space", choices=("preprocessed", "raw"), default="preprocessed",
        help="the challenge's pre-processed images, or the raw ones registered to FLAIR (default: preprocessed)",
    )  # fmt: skip
    generic.add_argument(
        "--image", required=True, metavar="PATTERN", help="images: {subject}, {contrast}, {institution}"
    )
    generic.add_argument("--mask", required=True, metavar="PATTERN", help="masks: {subject}, {rater}, {class}")
    generic.add_argument(
        "--class", dest="classes", action="append", metavar="NAME[=VALUE]",
        help="the class of binary masks, or, once per class, its value in label maps; not with {class}",
    )  # fmt: skip
    generic.add_argument(
        "--contrast", default="T1w", metavar="NAME",
        help="BIDS contrast of the images; among several, the one the labels go with (default: T1w)",
    )  # fmt: skip
    generic.add_argument(
        "--pixel-size", type=float, metavar="MM",
        help="side of a pixel in mm; needed for PNG and TIFF files, which do not tell it",
    )  # fmt: skip
    generic.add_argument("--title", metavar="TEXT", help="name of the dataset (default: the name of OUT)")
    for command in (scgm, msseg, generic):
        _add_common(command)
    return parser


def _add(commands, name, text):
    return commands.add_parser(
        name,
        help=text,
        description=f"Convert {text}.",
        epilog=EXAMPLES[name],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_common(parser):
    parser.add_argument("out", metavar="OUT", help="the BIDS dataset to write")
    parser.add_argument("--subjects", nargs="+", metavar="NAME", help="keep these only; patterns such as 'ucl*' work")
    parser.add_argument(
        "--fuse", nargs="+", metavar="METHOD", default=(),
        help="also write the raters fused, by methods of 'ivadomed_labelfusion fuse --help': staple, average, ...",
    )  # fmt: skip
    parser.add_argument(
        "--roi", metavar="WHAT",
        help="also write a region of interest for ROICrop: raters (around their masks, label-based), brain (MSSEG: its "
        "brain mask), or the path of a mask or centreline with {subject} or {source_id}",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")
    parser.add_argument("--overwrite", action="store_true", help="replace a dataset written by this command before")
    parser.add_argument("--symlink", action="store_true", help="link the images instead of copying them")
    parser.add_argument(
        "--repair-affine", action="store_true",
        help="where a mask's header differs from its image's by rounding only, take the image's",
    )  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="turn warnings into errors")
    parser.add_argument("--quiet", action="store_true", help="no plan and no progress, only the summary")


def main(args=None):
    """Run the command; return the exit status."""
    arguments = vars(get_parser().parse_args(args))
    dataset, quiet = arguments.pop("dataset"), arguments.pop("quiet")
    from rich.console import Console

    from ivadomed_labelfusion import prepare

    arguments["progress"] = not quiet
    if dataset == "generic":
        arguments["classes"] = _classes(arguments["classes"])
    report = {
        "scgm": prepare.prepare_scgm,
        "msseg2016": prepare.prepare_msseg2016,
        "generic": prepare.prepare_generic,
    }[dataset](**arguments)
    console = Console()
    prepare.print_summary(report, console if console.is_terminal else Console(width=prepare.PLAIN_WIDTH))
    return 0


def _classes(entries):
    """Return ``{name: value or None}`` from ``["lesion"]`` or ``["GM=1", "WM=2"]``; None stays None."""
    if entries is None:
        return None
    classes = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not name.isalnum() or (equals and not (value.isdigit() and int(value) > 0)):
            raise InputError(f"--class must be NAME or NAME=VALUE with a value above 0, got {entry!r}.")
        classes[name] = int(value) if equals else None
    if None in classes.values() and len(classes) > 1:
        raise InputError(
            f"--class with several classes needs values, such as --class GM=1 --class WM=2, got {' '.join(entries)}."
        )
    if len(classes) != len(entries) or len(set(classes.values())) != len(classes):
        raise InputError(f"--class must name each class and value once, got {' '.join(entries)}.")
    return classes
