"""Tables beside the paper's: numbers, verdicts, and what is said about epochs."""

import numpy as np
import pandas as pd
import pytest

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.columns import ENTROPY_CALIBRATED, ENTROPY_RATERS, column
from ivadomed_labelfusion.experiment.summary import add_composite
from ivadomed_labelfusion.paper.extra_tables import mixed_table, variability_table
from ivadomed_labelfusion.paper.figures import candidate_entropy_figure
from ivadomed_labelfusion.paper.results import epochs_notes
from ivadomed_labelfusion.paper.tables import build_tables
from ivadomed_labelfusion.tables.render import to_latex, to_markdown
from tests.builders.simulated_study import CANDIDATES, CLASSES, simulate


@pytest.fixture
def results():
    frame, _ = simulate(CANDIDATES)
    rng = np.random.default_rng(0)
    for name in CLASSES:
        panel = 0.75 + rng.normal(0, 0.02, len(frame))
        better = frame["candidate"].str.startswith("softseg")
        frame[column("agreement_panel", name)] = panel
        frame[column("agreement_model", name)] = panel + np.where(better, 0.04, -0.04) + rng.normal(0, 0.01, len(frame))
    frame[ENTROPY_CALIBRATED] = 1.3 * frame[ENTROPY_RATERS]
    frame["ir_entropy_paper_floor"] = 0.3 * frame[ENTROPY_RATERS]
    return frame


def test_variability_verdicts(results):
    table = variability_table(results, CLASSES, notes=["Reduced settings."])
    assert len(table.rows) == 6
    verdicts = table.summary.set_index(["candidate", "class"])["verdict"]
    assert set(verdicts[[key[0].startswith("softseg") for key in verdicts.index]]) == {"within"}
    assert set(verdicts[[key[0].startswith("conv") for key in verdicts.index]]) == {"outside"}
    text = to_markdown(table)
    assert "| GM: verdict |" in text
    assert "Reduced settings." in text
    assert "tabular" in to_latex(table)
    assert (
        variability_table(results.drop(columns=[column("agreement_panel", name) for name in CLASSES]), CLASSES) is None
    )


def test_mixed_table_has_every_candidate_and_class(results):
    pytest.importorskip("statsmodels", reason="the extra 'stats' is not installed")
    table = mixed_table(add_composite(results, CLASSES), CLASSES)
    assert table.rows[0][0].text == "Conv-Average"
    line = table.summary.set_index(["candidate", "metric", "class"]).loc[("softseg_staple", "dice", "GM")]
    assert line["difference"] == pytest.approx(0.02, abs=0.005)
    assert line["ci_low"] < 0.02 < line["ci_high"]
    assert "Composite score" in table.header
    with pytest.raises(InputError, match="conv_staple"):
        mixed_table(results[results["candidate"] == "conv_staple"], CLASSES)


def test_the_floor_is_a_column_without_best_or_marks(results):
    _, models = simulate(CANDIDATES)
    table = build_tables(results, models, CLASSES)["table2"]
    place = next(index for index, text in enumerate(table.header) if text.startswith("MAE floor"))
    cells = [row[place] for row in table.rows]
    assert not any(cell.bold or cell.marks for cell in cells)
    assert len({cell.text for cell in cells}) == 1
    assert any("no proper score" in note for note in table.notes)


def test_the_scatter_has_the_calibrated_predictors_line(results):
    figure = candidate_entropy_figure(results)
    for axes in figure.axes[:6]:
        slopes = [line.get_slope() for line in axes.lines if hasattr(line, "get_slope")]
        assert slopes == pytest.approx([1.3])
    assert "calibrated" in figure.get_supxlabel()
    without = candidate_entropy_figure(results.drop(columns=ENTROPY_CALIBRATED))
    assert "calibrated" not in without.get_supxlabel()


def test_epochs_that_ran_are_said():
    models = pd.DataFrame({"candidate": ["a", "a", "b"], "epochs": [100, 141, 120]})
    assert epochs_notes(models) == ["Epochs that ran: a 100-141, b 120."]
    assert epochs_notes(models.assign(epochs=50)) == ["Epochs that ran: 50 in every candidate."]
