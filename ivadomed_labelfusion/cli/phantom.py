"""``ivadomed_labelfusion phantom``: generated datasets in the raw layouts of SCGM 2016 and MSSEG-2016."""

import argparse

DESCRIPTION = """\
Generate a dataset in the raw layout of the SCGM challenge or of MSSEG-2016: images that resemble the contrasts, with
the geometry of the real sites, and masks of raters with known bias, boundary noise and missed lesions. What is known
is saved in OUT/phantom.json and OUT/phantom_truth/."""

EPILOG = """examples:
  ivadomed_labelfusion phantom scgm raw/scgm --subjects 8 --seed 1
  ivadomed_labelfusion prepare scgm raw/scgm data/SCGM

  ivadomed_labelfusion phantom msseg2016 raw/msseg --subjects 6 --layout public-zip
  ivadomed_labelfusion prepare msseg2016 raw/msseg data/MSSEG2016
"""


def get_parser():
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        prog="ivadomed_labelfusion phantom",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    scgm = commands.add_parser(
        "scgm", help="cervical cord, T2*-weighted, gray and white matter, four raters, four sites"
    )
    msseg = commands.add_parser("msseg2016", help="brains in five contrasts, lesions, seven raters")
    for command, count, layouts, default in (
        (scgm, 8, ("folder", "flat", "zip", "zip-folder"), "folder"),
        (msseg, 6, ("public", "public-zip", "older", "older-zip"), "public"),
    ):
        command.add_argument("out", metavar="OUT", help="folder to create")
        command.add_argument("--subjects", type=int, default=count, metavar="N", help=f"subjects (default: {count})")
        command.add_argument("--seed", type=int, default=0, metavar="S", help="seed of everything random (default: 0)")
        command.add_argument(
            "--size", choices=("small", "full", "tiny"), default="small",
            help="full has the real sites' matrices (MSSEG: 3 minutes, 5 GB a subject) (default: small)",
        )  # fmt: skip
        command.add_argument("--layout", choices=layouts, default=default, help=f"raw layout (default: {default})")
        command.add_argument("--missing-rater", action="store_true", help="one subject lacks its last rater's mask")
        command.add_argument(
            "--float-masks", action="store_true", help="the first subject's masks hold values such as 0.2"
        )
    scgm.add_argument(
        "--without-masks",
        type=int,
        default=0,
        metavar="N",
        help="subjects of the test archive, without masks (default: 0)",
    )
    msseg.add_argument(
        "--testing",
        type=int,
        default=0,
        metavar="N",
        help="subjects of the testing archive, public layouts (default: 0)",
    )
    return parser


def main(args=None):
    """Run the command; return the exit status."""
    arguments = vars(get_parser().parse_args(args))
    dataset = arguments.pop("dataset")
    from ivadomed_labelfusion import phantom

    generate = {"scgm": phantom.generate_scgm, "msseg2016": phantom.generate_msseg2016}[dataset]
    out = generate(**arguments, progress=True)
    print(f"Wrote {out}. Convert it with: ivadomed_labelfusion prepare {dataset} {out} OUT")
    return 0
