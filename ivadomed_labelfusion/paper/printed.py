"""The numbers printed in the paper (Lemay et al. 2022, MELBA 2022:031, Tables 2 to 4 and Section 3.3).

``data/paper_results.csv`` holds them as printed, with the power of ten or per cent of the table as ``scale``. In Table
4, SoftSeg-STAPLE differs from Table 2 (another set of runs); both are kept as printed.
"""

import csv
from dataclasses import dataclass
from importlib import resources

# Section 3.3: ECE averaged over the three fusions, as fractions. Values per candidate stand only in a picture.
PAPER_MEAN_ECE = {("scgm", "conv"): 0.162, ("ms", "conv"): 0.204, ("scgm", "softseg"): 0.029, ("ms", "softseg"): 0.024}


@dataclass(frozen=True)
class PaperValue:
    """One cell of a table of the paper.

    Attributes:
        table (str): ``2``, ``3`` or ``4``.
        dataset (str): ``scgm`` or ``ms``.
        candidate (str): Such as ``softseg_staple``; the loss ensemble of Table 4 is ``conv_ensemble``.
        metric (str): A name of `columns.METRICS`.
        class_name (str): ``GM``, ``WM``, ``lesion``, or empty.
        mean (float): Natural units: fractions, nats.
        std (float): Natural units.
        scale (float): One printed unit, such as 1e-4.
        significant (bool): Marked as different from Conv-STAPLE (p < 0.05, not adjusted).
    """

    table: str
    dataset: str
    candidate: str
    metric: str
    class_name: str
    mean: float
    std: float
    scale: float
    significant: bool


def load_paper_results(dataset=None, table=None):
    """Return the paper's values.

    Args:
        dataset (str): Keep ``scgm`` or ``ms`` only.
        table (str): Keep table ``2``, ``3`` or ``4`` only.

    Returns:
        dict: ``(table, candidate, metric, class_name)`` to PaperValue with ``dataset``, else keyed with the dataset
            first.
    """
    source = resources.files("ivadomed_labelfusion.paper").joinpath("data/paper_results.csv")
    values = {}
    for row in csv.DictReader(source.read_text(encoding="utf-8").splitlines()):
        if (dataset and row["dataset"] != dataset) or (table and row["table"] != table):
            continue
        scale = float(row["scale"])
        key = (row["table"], row["candidate"], row["metric"], row["class"])
        values[key if dataset else (row["dataset"], *key)] = PaperValue(
            table=row["table"],
            dataset=row["dataset"],
            candidate=row["candidate"],
            metric=row["metric"],
            class_name=row["class"],
            mean=float(row["mean"]) * scale,
            std=float(row["std"]) * scale,
            scale=scale,
            significant=row["significant"] == "yes",
        )
    return values
