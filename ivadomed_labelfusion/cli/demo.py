"""``ivadomed_labelfusion demo``."""

import argparse


def get_parser():
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="ivadomed_labelfusion demo",
        description="Generate a small multi-rater phantom in the raw layout of a public dataset, convert it to BIDS, "
        "train and test the six candidates with ivadomed, and compare them in a table and a figure. Takes minutes on "
        "two CPU cores. Interrupt it at any time; the same command goes on where it stopped.",
        epilog="examples:\n"
        "  ivadomed_labelfusion demo --quick\n"
        "  ivadomed_labelfusion demo --dataset scgm --output my_demo --seed 7",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--dataset", choices=("ms", "scgm"), default="ms", help="MS lesions, or spinal gray and white matter"
    )
    parser.add_argument("--output", metavar="DIR", help="output folder (default: demo_output/<dataset>[-quick])")
    parser.add_argument("--seed", type=int, default=1, help="seed of everything random (default: 1)")
    parser.add_argument("--quick", action="store_true", help="a smaller phantom and network")
    return parser


def main(args=None):
    """Run the demo."""
    arguments = get_parser().parse_args(args)
    from ivadomed_labelfusion.demo import run_demo
    from ivadomed_labelfusion.errors import InputError

    if arguments.seed < 0:
        raise InputError(f"--seed must be 0 or more, got {arguments.seed}.")
    output = arguments.output or f"demo_output/{arguments.dataset}{'-quick' if arguments.quick else ''}"
    run_demo(arguments.dataset, output=output, seed=arguments.seed, quick=arguments.quick)
    return 0
