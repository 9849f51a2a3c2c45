"""Tables: the numbers, what is bold, what is marked, and the three formats."""

import csv
import io
import re
import shutil
import subprocess

import numpy as np
import pytest
from scipy.stats import wilcoxon

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.candidates import Candidate
from ivadomed_labelfusion.experiment.columns import column
from ivadomed_labelfusion.experiment.summary import add_composite, summarise
from ivadomed_labelfusion.paper.results import unlearned_models
from ivadomed_labelfusion.paper.tables import build_tables, compare_with_paper
from ivadomed_labelfusion.tables.render import escape_latex, to_latex, to_markdown, write_tables
from tests.builders.simulated_study import CANDIDATES, CLASSES, simulate


@pytest.fixture(scope="module")
def tables(simulated):
    results, models = simulated
    return build_tables(add_composite(results, CLASSES), models, CLASSES, notes=["Reduced settings: epochs 5."])


def test_summary_equals_pandas_and_scipy(simulated):
    results, models = simulated
    summary = summarise(results, models, ["dice"], CLASSES).set_index(["candidate", "class"])
    name = column("dice", "WM")
    wide = results.pivot(index=["split", "image_id"], columns="candidate", values=name)
    for candidate in CANDIDATES:
        line = summary.loc[(candidate, "WM")]
        means = results[results["candidate"] == candidate].groupby("split")[name].mean()
        assert line["mean"] == pytest.approx(means.mean())
        assert line["std"] == pytest.approx(means.std())
        if candidate != "conv_staple":
            expected = wilcoxon(wide[candidate], wide["conv_staple"])
            assert line["p_value"] == pytest.approx(expected.pvalue, rel=1e-6)
            assert line["n_pairs"] == len(wide)
            assert line["significant"] == (expected.pvalue < 0.05)


def test_best_is_the_highest_the_lowest_or_the_one_nearest_zero(simulated):
    results, models = simulated
    shifted = results.copy()
    name = column("relative_volume_difference", "GM")
    shifted.loc[shifted["candidate"] == "softseg_random", name] -= 0.045
    metrics = ["dice", "brier_score", "relative_volume_difference"]
    summary = summarise(shifted, models, metrics, CLASSES)
    best = summary[summary["best"] & (summary["class"] == "GM")].set_index("metric")["candidate"]
    assert best["dice"] == "softseg_staple"
    assert best["brier_score"] == "softseg_random"
    assert best["relative_volume_difference"] == "softseg_random"


def test_ece_is_paired_by_split(simulated):
    results, models = simulated
    summary = summarise(results, models, ["ece_exact_image"], CLASSES)
    assert set(summary.loc[summary["candidate"] != "conv_staple", "n_pairs"]) == {8}


def test_composite_needs_its_four_metrics(simulated):
    results, _ = simulated
    assert add_composite(results, CLASSES)["composite_score"].mean() == pytest.approx(0, abs=1e-9)
    assert "composite_score" not in add_composite(results.drop(columns=column("recall", "GM")), CLASSES)


def test_markdown_marks_and_bolds_as_in_the_paper(tables):
    text = to_markdown(tables["table2"])
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert "**" in lines["SoftSeg-RandomSampling"]
    assert r"\*†" in lines["SoftSeg-RandomSampling"]
    assert "*" not in lines["Conv-STAPLE (ref)"]
    assert "Brier score (×10^-4) GM" in text
    assert "optimistic" in text
    assert "Reduced settings: epochs 5." in text
    # a table that renders: as many cells in every row
    assert len({line.count(" | ") for line in text.splitlines() if line.startswith("|")}) == 1


def test_tables_show_what_was_measured(simulated):
    results, models = simulated
    only_brier = results[["candidate", "split", "subject", "image_id", *[column("brier_score", c) for c in CLASSES]]]
    tables = build_tables(only_brier, models[["candidate", "split"]], CLASSES)
    assert list(tables) == ["table2"]
    assert tables["table2"].header == ("Candidate", "Brier score (×10^-4) GM", "Brier score (×10^-4) WM")


def test_table_4_is_made_only_with_an_ensemble(tables):
    assert "table4" not in tables
    more = dict.fromkeys(("conv_ensemble", "majority", "softseg_like"), (0.85, 0.00024, 0.9, 0.05))
    results, models = simulate({**CANDIDATES, **more})
    candidates = [Candidate(name, name) for name in CANDIDATES]
    candidates += [Candidate("conv_ensemble", "conv_staple", ensemble=True)]
    # what counts is the base, not the name
    candidates += [Candidate("majority", "softseg_average"), Candidate("softseg_like", "conv_average")]
    with_ensemble = build_tables(results, models, CLASSES, candidates=candidates)["table4"]
    names = [row[0].text for row in with_ensemble.rows]
    assert names == [
        "Conv-STAPLE (ref)",
        "SoftSeg-STAPLE",
        "SoftSeg-Average",
        "SoftSeg-RandomSampling",
        "Conv-Ensemble",
        "majority",
    ]


def test_a_missing_value_is_a_dash_and_users_candidates_keep_their_name(simulated):
    results, models = simulated
    results = results.copy()
    results["candidate"] = results["candidate"].replace("softseg_average", "softseg_majority")
    results.loc[results["candidate"] == "softseg_majority", column("dice", "GM")] = np.nan
    table = build_tables(results, models, CLASSES)["table3"]
    row = next(row for row in table.rows if row[0].text == "softseg_majority")
    assert row[1].text == "–"


def test_means_over_fewer_models_are_named(simulated):
    results, models = simulated
    missing = (models["candidate"] == "softseg_staple") & (models["split"] == "split-01")
    models = models.assign(ece_paper_image=models["ece_paper_image"].mask(missing))
    notes = build_tables(results, models, CLASSES)["ece"].notes
    expected = "means over 8 models, but SoftSeg-STAPLE 7: the others are not finished or not defined."
    assert f"ECE paper, image [%]: {expected}" in notes
    assert not any("means over" in note for note in build_tables(results, models, CLASSES)["table2"].notes)


def test_models_that_learned_nothing_are_named(simulated):
    results, _ = simulated
    assert unlearned_models(results, CLASSES) == []
    failed = (results["candidate"] == "softseg_average") & (results["split"] == "split-02")
    results = results.assign(**{column("dice", "GM"): results[column("dice", "GM")].mask(failed, 0.01)})
    assert unlearned_models(results, CLASSES) == [("softseg_average", "split-02")]
    assert unlearned_models(results[["candidate", "split"]], CLASSES) == []


def test_without_the_reference_nothing_is_tested(simulated):
    results, models = (frame[frame["candidate"] != "conv_staple"] for frame in simulated)
    table = build_tables(results, models, CLASSES)["table2"]
    assert table.notes[0] == "mean ± standard deviation over models; bold: best mean; no conv_staple, no tests."
    assert not any(cell.marks for row in table.rows for cell in row)


def test_latex_is_balanced_and_escaped(tables):
    text = to_latex(tables["table3"])
    blocks = re.findall(r"\\toprule(.*?)\\bottomrule", text, flags=re.DOTALL)
    counts = [{line.count(" & ") for line in block.splitlines() if line.endswith(r"\\")} for block in blocks]
    # every row of a block has the same columns, and every column is in one block
    assert all(len(count) == 1 for count in counts)
    assert sum(count.pop() for count in counts) == len(tables["table3"].header) - 1
    assert "Table 3" not in text
    assert r"Dice [\%] GM" in text
    assert r"\textbf{" in text
    assert r"$^{\ast\dagger}$" in text
    assert text.count("{") == text.count("}")
    assert text.count("$") % 2 == 0
    assert re.search(r"[†±×–]", text) is None
    assert escape_latex("a_b & 5% ×10^-4") == r"a\_b \& 5\% $\times 10^{-4}$"


def test_latex_compiles_and_fits_the_page(tables, tmp_path):
    found = shutil.which("pdflatex") and subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False)
    if not found or found.returncode:
        pytest.skip("needs pdflatex with booktabs (Debian: texlive-latex-recommended)")
    body = "\n".join(to_latex(table) for table in [*tables.values(), *compare_with_paper(tables, "scgm").values()])
    start = r"\documentclass[a4paper]{article}\usepackage[margin=2cm]{geometry}\usepackage{booktabs}"
    (tmp_path / "all.tex").write_text(rf"{start}\begin{{document}}{body}\end{{document}}", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull \\hbox" not in done.stdout
    assert "Float too large" not in done.stdout


def test_files_hold_every_statistic_and_are_not_overwritten_silently(tables, tmp_path):
    paths = write_tables(tables, tmp_path)
    assert {path.name for path in paths} == {f"{t}.{s}" for t in tables for s in ("csv", "md", "tex")}
    rows = list(csv.DictReader(io.StringIO((tmp_path / "table2.csv").read_text())))
    assert {"mean", "std", "ci_low", "p_value", "p_holm", "effect_size", "n_pairs", "difference"} <= set(rows[0])
    with pytest.raises(InputError, match="--overwrite"):
        write_tables(tables, tmp_path)
    write_tables(tables, tmp_path, overwrite=True)


def test_beside_the_paper(tables):
    beside = compare_with_paper(tables, "scgm")
    assert list(beside) == ["table2_vs_paper", "table3_vs_paper", "ece_vs_paper"]
    row = next(row for row in beside["table2_vs_paper"].rows if row[0].text == "SoftSeg-STAPLE")
    assert row[2].text == "0.96 ± 0.06"
    assert row[2].marks == "*"
    assert any("rank correlation with the paper over 6 candidates" in note for note in beside["table2_vs_paper"].notes)
    assert "16.2" in to_markdown(beside["ece_vs_paper"])
    with pytest.raises(InputError, match="template scgm or ms"):
        compare_with_paper(tables, "my_config.json")


def test_ours_and_the_papers_stay_together_in_latex(tables):
    beside = compare_with_paper(tables, "scgm")["table3_vs_paper"]
    text = to_latex(beside)
    blocks = re.findall(r"\\toprule(.*?)\\midrule", text, flags=re.DOTALL)
    assert len(blocks) > 1
    shared = []
    for block in blocks:
        metrics, whose = block.strip().splitlines()
        found = re.findall(r"\\multicolumn\{2\}\{c\}\{(.*?)\}", metrics)
        assert whose == "Candidate & " + " & ".join(["ours & paper"] * len(found)) + r" \\"
        shared += found
    assert shared == [escape_latex(heading.removesuffix(" ours")) for heading in beside.header[1::2]]
    # the notes stand once, under the last part
    assert text.count("(1 of 2)") == text.count("(2 of 2)") == text.count("MELBA 2022:031") == 1


def test_the_title_names_the_consensus_that_was_compared_with(simulated):
    results, models = simulated
    assert build_tables(results, models, CLASSES)["table3"].title.endswith("against STAPLE")
    other = build_tables(results, models, CLASSES, reference="majority")
    assert other["table3"].title.endswith("against majority")
    assert "against majority, beside the paper" in compare_with_paper(other, "scgm")["table3_vs_paper"].title


def test_small_values_keep_two_digits(simulated):
    results, models = (frame.copy() for frame in simulated)
    entropy = [column for column in results if column.startswith("ir_entropy")]
    results[entropy] /= 20
    ece = [column for column in models if column.startswith("ece")]
    models[ece] /= 100
    tables = build_tables(results, models, CLASSES)
    beside = compare_with_paper(tables, "scgm")

    def shown(table, heading):
        column = next(k for k, text in enumerate(table.header) if text.startswith(heading))
        return [float(row[column].text.split(" ")[0]) for row in table.rows]

    # the paper's unit of SCGM is 10^3 nats
    largest = beside["table2_vs_paper"].summary.query("metric == 'entropy_mae'")["mean"].max() / 1e3
    assert 0 < largest < 0.1
    assert max(shown(beside["table2_vs_paper"], "Entropy MAE [nats] (×10^3)")) == float(f"{largest:.2g}")
    for table in (tables["ece"], beside["ece_vs_paper"]):
        largest = table.summary.query("metric == 'ece_exact_image'")["mean"].max() * 100
        assert 0 < largest < 1
        assert max(shown(table, "ECE exact, image")) == float(f"{largest:.2g}")


def test_beside_the_paper_with_few_candidates_only(simulated):
    results, models = (frame[frame["candidate"].isin(["conv_staple", "softseg_staple"])] for frame in simulated)
    beside = compare_with_paper(build_tables(results, models, CLASSES), "scgm")
    assert len(beside["table2_vs_paper"].rows) == 2
    assert not any("rank correlation" in note for note in beside["table2_vs_paper"].notes)
    assert any(note.startswith("Pairs per test") for note in beside["table2_vs_paper"].notes)
    # the paper's best Brier score is that of SoftSeg-RandomSampling, which is not in this study
    assert not any(row[2].bold for row in beside["table2_vs_paper"].rows)
