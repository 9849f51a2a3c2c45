"""``ivadomed_labelfusion doctor``."""

import argparse


def get_parser():
    """Return the parser."""
    return argparse.ArgumentParser(
        prog="ivadomed_labelfusion doctor",
        description="Report versions, whether the plugin is active in this environment, the GPU, and what is wrong, "
        "with a cure for each. Exit status 1 if anything is wrong.",
        epilog="example:\n  ivadomed_labelfusion doctor",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def main(args=None):
    """Print the report; return 1 if there is a problem."""
    get_parser().parse_args(args)
    from ivadomed_labelfusion._version import __version__
    from ivadomed_labelfusion.environment import examine

    findings = examine()
    width = max(len(finding.what) for finding in findings)
    print(f"ivadomed_labelfusion {__version__}\n")
    for finding in findings:
        mark = "!!" if finding.is_problem else "  "
        print(f"{mark} {finding.what:<{width}}  {finding.state}")
        if finding.cure:
            print(f"   {'':<{width}}  -> {finding.cure}")
    problems = sum(finding.is_problem for finding in findings)
    print(f"\n{problems} problem{'s' if problems != 1 else ''} found." if problems else "\nAll is well.")
    return 1 if problems else 0
