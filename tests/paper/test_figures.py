"""Figures: what they show, in which order, and that they are written in both formats and the same each time."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ivadomed_labelfusion.experiment.columns import ENTROPY_PREDICTION, ENTROPY_RATERS, column, display_name
from ivadomed_labelfusion.experiment.summary import add_composite
from ivadomed_labelfusion.metrics.calibration import ReliabilityCurve, reliability_curve
from ivadomed_labelfusion.paper.comparison import choose_image
from ivadomed_labelfusion.paper.figures import (
    candidate_entropy_figure,
    candidate_label,
    candidate_reliability_figure,
    candidate_styles,
    composite_figure,
    has_spokes,
    radar_figure,
    validation_loss_figure,
)
from ivadomed_labelfusion.plots import style
from ivadomed_labelfusion.plots.panels import maps_figure
from ivadomed_labelfusion.plots.style import write_figure
from tests.builders.simulated_study import CANDIDATES, CLASSES

STYLES = candidate_styles({**{name: name for name in CANDIDATES}, "mine": "softseg_random"})


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(match=lambda item: hasattr(item, "get_text")))


def test_every_figure_is_one_column_wide_and_its_text_is_readable(simulated):
    results, models = simulated
    results = add_composite(results, CLASSES)
    made = [
        candidate_entropy_figure(results),
        composite_figure(results, STYLES),
        radar_figure(results, models, CLASSES, STYLES),
    ]
    for figure in made:
        assert figure.get_size_inches()[0] == style.COLUMN_WIDTH_IN
        sizes = [text.get_fontsize() for text in figure.findobj(match=lambda item: hasattr(item, "get_fontsize"))]
        assert min(sizes) >= 6


@pytest.mark.parametrize("n", [1, 2, 3, 6])
@pytest.mark.parametrize(
    "own", [{}, {"conv_staple": "a_name_of_the_longest_that_is_allowed_xy", "conv_average": "b" * 40}]
)
def test_no_text_is_cut_off_however_many_candidates_there_are(simulated, n, own):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    results, models = simulated
    results = add_composite(results, CLASSES)
    names = list(CANDIDATES)[:n]
    results, models = (frame[frame["candidate"].isin(names)].replace({"candidate": own}) for frame in (results, models))
    names = [own.get(name, name) for name in names]
    styles = candidate_styles(dict.fromkeys(names, "softseg_random"))
    losses = pd.DataFrame({"candidate": names, "split": "split-01", "epoch": 1, "validation_loss": 0.5})
    panels = [(candidate_label(name), np.ones((20, 30)), None) for name in ("Image", "GT STAPLE", *names)]
    rng = np.random.default_rng(0)
    probability = rng.uniform(size=(1, 3000))
    curve = reliability_curve(
        probability, rng.uniform(size=probability.shape) < probability**2, form="exact", class_axis=0
    )
    made = {
        "entropy": candidate_entropy_figure(results),
        "composite": composite_figure(results, styles),
        "radar": radar_figure(results, models, CLASSES, styles),
        "losses": validation_loss_figure(losses, styles),
        "comparison": maps_figure(panels, class_names=CLASSES, spacing_mm=(1.0, 1.0)),
        "reliability": candidate_reliability_figure(
            dict.fromkeys(names, curve), dict.fromkeys(names, 0.1), form="paper", region="image"
        ),
    }
    for name, figure in made.items():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        drawn, (width, height) = figure.get_tightbbox(canvas.get_renderer()), figure.get_size_inches()
        outside = max(-drawn.x0, -drawn.y0, drawn.x1 - width, drawn.y1 - height)
        assert outside < 0.01, (name, drawn.extents, width, height)


def test_entropy_figure_shows_the_errors_of_all_results(simulated):
    results, _ = simulated
    figure = candidate_entropy_figure(results)
    rows = results[results["candidate"] == "conv_staple"]
    error = (rows[ENTROPY_PREDICTION] - rows[ENTROPY_RATERS]) / 1000
    title = next(axes.get_title() for axes in figure.axes if axes.get_title().startswith("Conv-STAPLE"))
    assert f"MAE {error.abs().mean():.2f}" in title
    assert f"MSE {(error**2).mean():.2g}" in title
    panel = figure.axes[0]
    assert len(panel.collections[-1].get_offsets()) == len(rows)
    identity = panel.lines[0].get_xydata()
    np.testing.assert_allclose(identity[:, 0], identity[:, 1])


def test_composites_are_sorted_by_their_mean(simulated):
    results = add_composite(simulated[0], CLASSES)
    figure = composite_figure(results, STYLES)
    shown = [label.get_text().removesuffix(" (ref)") for label in figure.axes[0].get_yticklabels()]
    order = results.groupby("candidate")["composite_score"].mean().sort_values(ascending=False).index
    assert shown == [display_name(name) for name in order]
    stars = [note for note in figure.axes[0].texts if note.get_text() == "*"]
    assert 0 < len(stars) <= 5
    assert "optimistic" in figure.axes[0].get_xlabel()
    alone = composite_figure(results[results["candidate"] != "conv_staple"], STYLES).axes[0]
    assert not [note for note in alone.texts if note.get_text() == "*"]
    assert "optimistic" not in alone.get_xlabel()


def test_composite_of_a_single_result_has_no_violin(simulated):
    results = add_composite(simulated[0], CLASSES)
    single = results.groupby("candidate").head(1)
    assert len(composite_figure(single, STYLES).axes[0].collections) == 0


def test_reliability_diagrams_title_the_ece():
    rng = np.random.default_rng(0)
    probability = rng.uniform(size=(1, 5000))
    truth = rng.uniform(size=probability.shape) < probability
    curve = reliability_curve(probability, truth, form="exact", class_axis=0)
    ece = {"conv_staple": 0.2, "softseg_staple": 0.1, "mine": 0.05}
    figure = candidate_reliability_figure(dict.fromkeys(ece, curve), ece, form="exact", region="roi")
    assert "Conv-STAPLE\nECE: 20.0 %" in texts(figure)
    assert figure.get_suptitle() == "Every voxel against STAPLE, ROI"
    assert sum(axes.get_visible() for axes in figure.axes) == 3
    assert "ECE: 0.05 %" in texts(
        candidate_reliability_figure({"mine": curve}, {"mine": 0.0005}, form="exact", region="roi")
    )


def test_an_ece_that_is_not_defined_and_another_consensus_are_said():
    empty = ReliabilityCurve("paper", np.linspace(0, 1, 11), *(np.zeros(10, int) for _ in range(3)), 7)
    figure = candidate_reliability_figure(
        {"mine": empty}, {"mine": np.nan}, form="paper", region="roi", reference="majority"
    )
    assert "mine\nECE: not defined" in texts(figure)
    assert figure.get_suptitle() == "Voxels of confidence below 1 against majority, ROI"


def test_many_candidates_need_no_more_than_a_page(simulated):
    results = simulated[0]
    one = results[results["candidate"] == "conv_staple"]
    many = pd.concat([one.assign(candidate=f"own_{index:02d}") for index in range(12)])
    width, height = candidate_entropy_figure(many).get_size_inches()
    assert width == style.PAGE_WIDTH_IN
    assert height < 9


def test_the_legend_of_reliability_diagrams_is_strong_and_explains_pale_bars():
    def curve(confidence, accuracy, count):
        edges, filled = np.linspace(0, 1, 11), np.arange(10) == 7
        counts = np.where(filled, count, 0)
        return ReliabilityCurve("exact", edges, counts, counts * confidence, counts * accuracy, 0)

    def legend(*curves):
        named = {f"model{index}": one for index, one in enumerate(curves)}
        figure = candidate_reliability_figure(named, dict.fromkeys(named, 0.1), form="exact", region="roi")
        (shown,) = figure.legends
        entries = zip(shown.texts, shown.get_patches(), strict=True)
        return {text.get_text(): patch.get_alpha() for text, patch in entries}

    over, under, exact = curve(0.75, 0.5, 1000), curve(0.75, 0.9, 49), curve(0.75, 0.75, 50)
    assert legend(over) == {"overconfident": 0.85}
    # the underconfident band itself is pale, its entry is not
    assert legend(over, under) == {
        "overconfident": 0.85,
        "underconfident": 0.85,
        "pale: below 50 voxels": pytest.approx(0.35),
    }
    assert legend(exact) == {}


def test_losses_of_the_frameworks_are_apart_and_one_split_is_strong():
    rows = [
        (name, split, epoch, 1 / epoch)
        for name in (*CANDIDATES, "mine")
        for split in ("split-01", "split-02")
        for epoch in range(1, 5)
    ]
    losses = pd.DataFrame(rows, columns=["candidate", "split", "epoch", "validation_loss"])
    figure = validation_loss_figure(losses, STYLES)
    assert [axes.get_title() for axes in figure.axes] == ["Conventional framework", "SoftSeg framework"]
    # a candidate of the user's own belongs to the framework of its base
    assert "mine" in {line.get_label() for line in figure.axes[1].lines}
    strong = [line for line in figure.axes[0].lines if line.get_alpha() == 1]
    assert {line.get_label() for line in strong} == {"Conv-STAPLE", "Conv-Average", "Conv-RandomSampling"}
    assert len(figure.axes[0].lines) == 6


def test_radar_runs_from_the_worst_to_the_best(simulated):
    results, models = simulated
    figure = radar_figure(results, models, CLASSES, STYLES)
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    radii = np.array([lines[display_name(name)][:-1] for name in CANDIDATES])
    np.testing.assert_allclose(radii.max(axis=0), 1)
    np.testing.assert_allclose(radii.min(axis=0), 0.2)
    # Dice is the first spoke: SoftSeg-STAPLE has the best and Conv-Average the worst
    assert lines["SoftSeg-STAPLE"][0] == 1
    assert lines["Conv-Average"][0] == pytest.approx(0.2)


def test_a_radar_needs_a_criterion_of_every_candidate(simulated):
    results, models = simulated
    assert has_spokes(results, models, CLASSES)
    bare = results[["candidate", "split", "subject", "image_id"]], models[["candidate", "split"]]
    assert not has_spokes(*bare, CLASSES)
    dice = {column("dice", name): results[column("dice", name)] for name in CLASSES}
    assert has_spokes(bare[0].assign(**dice), bare[1], CLASSES)
    lacking = {name: values.mask(results["candidate"] == "conv_random") for name, values in dice.items()}
    assert not has_spokes(bare[0].assign(**lacking), bare[1], CLASSES)


def test_candidates_differ_in_colour_or_line():
    names = [*CANDIDATES, "conv_ensemble", "softseg_ensemble", "mine", "yours", "mine_staple", "fourth"]
    styles = candidate_styles({name: name if name in CANDIDATES else "conv_staple" for name in names})
    assert len({(style["color"], style["linestyle"]) for style in styles.values()}) == len(names)
    assert {style["color"] for style in styles.values()} <= set(style.OKABE_ITO.values())


def test_soft_maps_are_as_opaque_as_they_are_probable():
    soft = np.zeros((2, 6, 8))
    soft[0, 2, 3], soft[1, 4, 5] = 1.0, 0.5
    image = np.ones((6, 8))
    figure = maps_figure([("a", image, None), ("b", image, soft)], class_names=CLASSES, spacing_mm=(1.0, 1.0))
    overlay = figure.axes[1].images[-1].get_array()
    assert overlay.shape == (8, 6, 4)
    assert overlay[3, 2, 3] == 1
    assert overlay[5, 4, 3] == pytest.approx(0.5)
    assert overlay[0, 0, 3] == 0
    assert len(figure.axes[0].images) == 1


def test_the_image_compared_is_the_one_of_most_candidates_and_disagreement(simulated):
    results = simulated[0]
    split, image = choose_image(results)
    assert results.loc[results["image_id"] == image, ENTROPY_RATERS].iloc[0] == results[ENTROPY_RATERS].max()
    fewer = results[(results["candidate"] != "conv_random") | (results["image_id"] != image)]
    assert choose_image(fewer)[1] != image
    assert split.startswith("split-")


def test_figures_are_written_as_png_and_svg_and_equal_each_time(simulated, tmp_path):
    results = add_composite(simulated[0], CLASSES)
    paths = write_figure(composite_figure(results, STYLES), tmp_path, "composite")
    assert [path.name for path in paths] == ["composite.png", "composite.svg"]
    again = write_figure(composite_figure(results, STYLES), tmp_path / "again", "composite")
    assert paths[1].read_bytes() == again[1].read_bytes()
    width, _ = Image.open(paths[0]).size
    assert width == round(style.COLUMN_WIDTH_IN * 300)
