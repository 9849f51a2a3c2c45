"""``ivadomed_labelfusion check``."""

import argparse


def get_parser():
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="ivadomed_labelfusion check",
        description="Check ivadomed configuration files: unknown keys and settings that contradict each other. Exit "
        "status 1 if any file has an error.",
        epilog="examples:\n  ivadomed_labelfusion check my_config.json\n"
        "  ivadomed_labelfusion check config_templates/*.json\n"
        "  ivadomed_labelfusion check --schema > ivadomed.schema.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("config", nargs="*", default=[], help="configuration file (JSON)")
    what.add_argument("--schema", action="store_true", help="print the JSON Schema of configurations, for editors")
    return parser


def main(args=None):
    """Print the findings; return 1 if there is an error."""
    arguments = get_parser().parse_args(args)
    if arguments.schema:
        _print_schema()
        return 0
    from ivadomed_labelfusion.config import Problem, check_config
    from ivadomed_labelfusion.errors import InputError
    from ivadomed_labelfusion.evaluation.settings import settings_from_config
    from ivadomed_labelfusion.files import read_json

    failed = False
    for path in arguments.config:
        problems = []
        try:
            config = read_json(path)
            problems = check_config(config)
            settings_from_config(config)
        except InputError as error:
            problems.append(Problem("error", "configuration", str(error)))
        failed = failed or any(problem.level == "error" for problem in problems)
        print(f"{path}: {'OK' if not problems else ''}")
        for problem in problems:
            print(f"  {problem}")
    return 1 if failed else 0


def _print_schema():
    import json

    from ivadomed_labelfusion.config import json_schema

    print(json.dumps(json_schema(), indent=2))
