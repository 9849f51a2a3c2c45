"""The shipped numbers against the paper's text."""

import re
from pathlib import Path

import pytest

from ivadomed_labelfusion.experiment.columns import METRICS
from ivadomed_labelfusion.paper.printed import load_paper_results

PAPER = sorted((Path(__file__).resolve().parents[2] / ".." / "shared" / "paper").glob("*.txt"))
SIX = ("conv_staple", "conv_average", "conv_random", "softseg_staple", "softseg_average", "softseg_random")


def test_every_cell_of_the_tables_is_there():
    values = load_paper_results()
    assert len(values) == 6 * (3 + 2) + 6 * (10 + 5) + 4
    assert {value.metric for value in values.values()} <= set(METRICS)
    for dataset, columns in (("scgm", 13), ("ms", 7)):
        for candidate in SIX:
            found = [key for key in load_paper_results(dataset) if key[1] == candidate and key[0] != "4"]
            assert len(found) == columns


@pytest.mark.parametrize(
    ("key", "mean", "std", "significant"),
    [
        # read off the paper's pages, in printed units
        (("scgm", "2", "conv_staple", "brier_score", "GM"), 1.05e-4, 0.04e-4, False),
        (("scgm", "2", "softseg_random", "brier_score", "WM"), 2.68e-4, 0.03e-4, True),
        (("scgm", "2", "softseg_staple", "entropy_mae", ""), 0.98e3, 0.06e3, True),
        (("ms", "2", "softseg_average", "entropy_mae", ""), 5.19e4, 3.20e4, False),
        (("ms", "2", "conv_random", "brier_score", "lesion"), 8.21e-4, 3.84e-4, False),
        (("scgm", "3", "softseg_random", "dice", "GM"), 0.848, 0.040, False),
        (("scgm", "3", "conv_random", "absolute_volume_difference", "WM"), 0.101, 0.067, True),
        (("scgm", "3", "softseg_staple", "relative_volume_difference", "GM"), 0.016, 0.107, True),
        (("ms", "3", "softseg_staple", "relative_volume_difference", "lesion"), -0.166, 0.632, False),
        (("ms", "3", "conv_average", "recall", "lesion"), 0.556, 0.130, True),
        (("ms", "4", "conv_ensemble", "entropy_mae", ""), 1.08e4, 0.59e4, False),
        (("ms", "4", "softseg_staple", "brier_score", "lesion"), 5.28e-4, 1.83e-4, False),
    ],
)
def test_values_are_the_papers(key, mean, std, significant):
    value = load_paper_results()[key]
    assert value.mean == pytest.approx(mean)
    assert value.std == pytest.approx(std)
    assert value.significant is significant


def printed_values(row):
    """Return the cells of a row of the paper's text that hold numbers: a list of (mean, std, starred) per cell."""
    row = re.sub(r"\\\\|</?(?:b|math)>|<br>|\\(?:mathbf|textbf)|\{array\}\{c\}|\\(?:begin|end)\{array\}|\$", " ", row)
    number = r"\{?(-?\d+\.\d+)\}?"
    found = [re.findall(rf"{number}\s*\\pm\s*{number}\s*(\^?\{{?\s*(?:\*|\\ast))?", cell) for cell in row.split("|")]
    return [[(float(mean), float(std), bool(star)) for mean, std, star in cell] for cell in found if cell]


def printed_tables():
    """Return ``{(table, dataset): [row, ...]}``, one row of (mean, std, starred) per candidate."""
    rows = [printed_values(line) for line in PAPER[0].read_text(encoding="utf-8").splitlines() if "pm" in line]
    # two candidates may share a row, one above the other in every cell
    split = [list(zip(*row, strict=True)) for row in rows if len(row) > 1]
    lines = [line for pair in split for line in pair]
    table2, table3a, table3b, table4 = lines[:6], lines[6:12], lines[12:18], lines[18:]
    return {
        ("2", "scgm"): [line[:3] for line in table2],
        ("2", "ms"): [line[3:] for line in table2],
        ("3", "scgm"): table3a,
        ("3", "ms"): table3b,
        ("4", "ms"): table4,
    }


@pytest.mark.skipif(not PAPER, reason="the paper's text is not at hand (../shared/paper)")
def test_every_cell_is_the_papers():
    classes = {"scgm": ("GM", "WM"), "ms": ("lesion",)}
    segmentation = ("dice", "precision", "recall", "absolute_volume_difference", "relative_volume_difference")
    checked = 0
    for (table, dataset), lines in printed_tables().items():
        shipped = load_paper_results(dataset, table)
        per_class = ("brier_score",) if table in "24" else segmentation
        columns = [(metric, name) for metric in per_class for name in classes[dataset]]
        columns += [("entropy_mae", "")] if table in "24" else []
        candidates = ("conv_ensemble", "softseg_staple") if table == "4" else SIX
        for candidate, line in zip(candidates, lines, strict=True):
            for (metric, name), (mean, std, starred) in zip(columns, line, strict=True):
                value = shipped[table, candidate, metric, name]
                assert (value.mean / value.scale, value.std / value.scale) == pytest.approx((mean, std)), (
                    table,
                    candidate,
                )
                assert value.significant is starred, (table, candidate, metric, name)
                checked += 1
    assert checked == len(load_paper_results())


@pytest.mark.parametrize(("dataset", "surplus"), [("scgm", 1.19), ("ms", 0.35)])
def test_the_surplus_of_conventional_entropy_mae_that_follows_from_table_2(dataset, surplus):
    """The paper's text says 46 and 45 %; docs/study.md says what its own table gives."""
    values = load_paper_results(dataset, "2")

    def mean(framework):
        chosen = [(f"{framework}_{fusion}", "entropy_mae", "") for fusion in ("staple", "average", "random")]
        return sum(values[("2", *key)].mean for key in chosen) / 3

    assert mean("conv") / mean("softseg") - 1 == pytest.approx(surplus, abs=0.005)
