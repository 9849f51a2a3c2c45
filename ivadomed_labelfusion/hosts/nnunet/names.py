"""The trainers' names, one for each way to use the raters and each loss; known without importing nnU-Net."""

import re
from pathlib import Path

PREFIX = "nnUNetTrainerRaters"
# the key of dataset.json that holds what nnU-Net itself does not know
KEY = "raters"
# masks of every rater, beside nnU-Net's own folders
RATERS_FOLDER = "ratersTr"
# read by trainers, written by the export
CASE_FILE = "raters.json"
# nnU-Net's own name for its folds
SPLITS_FILE = "splits_final.json"

FUSIONS = {
    "Random": "one rater, drawn anew for each patch",
    "Average": "the raters' mean",
    "Staple": "the posterior of STAPLE",
    "Majority": "the label that most raters gave",
}
LOSSES = {
    "Conv": "hard targets, softmax, Dice + cross entropy: nnU-Net's own loss",
    "Soft": "soft targets, softmax, soft Dice + cross entropy (drawn raters: cross entropy alone)",
    "SoftSeg": "soft targets, normalised ReLU, Adaptive Wing loss",
}
_SHORT = re.compile(rf"({PREFIX}[A-Za-z]+)_(\d+)epochs?(?:_(\d+)iterations?)?")


def trainer_names() -> dict[str, str]:
    """Return every trainer's name and a line on it."""
    return {
        f"{PREFIX}{fusion}{loss}": f"{target}; {what}"
        for fusion, target in FUSIONS.items()
        for loss, what in LOSSES.items()
    }


def trainer_name(fusion: str, loss: str, *, epochs: int | None = None, iterations: int | None = None) -> str:
    """Return the name of the trainer of a fusion (key of `FUSIONS`) and a loss (key of `LOSSES`).

    Args:
        fusion, loss (str): Keys of `FUSIONS` and `LOSSES`.
        epochs (int): Epochs in place of nnU-Net's 1000.
        iterations (int): Batches per epoch in place of nnU-Net's 250 (and 50 to validate); only with ``epochs``.
    """
    name = f"{PREFIX}{fusion}{loss}"
    if epochs is None:
        return name
    return f"{name}_{epochs}epochs" + (f"_{iterations}iterations" if iterations else "")


def short_run(name: str) -> tuple[str, int, int | None] | None:
    """Take ``nnUNetTrainerRatersStapleConv_5epochs_10iterations`` apart.

    Returns:
        tuple or None: ``(trainer's name, epochs, iterations per epoch or None)``; None if it has no such end.
    """
    match = _SHORT.fullmatch(name)
    if match is None or match[1] not in trainer_names() or not int(match[2]):
        return None
    return match[1], int(match[2]), int(match[3]) if match[3] else None


def trainers_folder() -> Path:
    """Return the folder to name in ``nnUNet_extTrainer``."""
    return Path(__file__).parent / "external"
