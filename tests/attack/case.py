"""One bad input: a folder with something damaged in it, and a command that meets it."""

import dataclasses

from tests.attack.outcome import ours
from tests.attack.world import SUFFIXES


@dataclasses.dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        name (str): What is wrong.
        command (callable): Meets it; returns the exit status.
        executed (Path): A file that a payload would make.
        refused (bool): Whether anything but a refusal is wrong.
    """

    name: str
    command: object
    executed: object = None
    refused: bool = False


def evaluate(world, folder, data, predictions):
    """Return a command that evaluates predictions against the raters of a dataset."""
    return ours(
        "evaluate", "--predictions", predictions, "--bids", data, "-o", folder / "results", "--target-suffix", *SUFFIXES
    )
