"""The paper's figures from a study's results; each function returns a matplotlib figure of one column's width.

A candidate has the same look in every figure: the fusion gives the colour, the framework the line style (conventional
dashed, SoftSeg solid), so that the figures can be read without colour as well.
"""

import math
import textwrap

import numpy as np

from ivadomed_labelfusion.experiment.columns import (
    ENTROPY_CALIBRATED,
    ENTROPY_PREDICTION,
    ENTROPY_RATERS,
    FRAMEWORKS,
    METRICS,
    REFERENCE,
    column,
    display_name,
)
from ivadomed_labelfusion.experiment.summary import SIGNIFICANCE, summarise
from ivadomed_labelfusion.plots import style
from ivadomed_labelfusion.plots.entropy import draw_entropy
from ivadomed_labelfusion.plots.panels import panel_grid
from ivadomed_labelfusion.plots.reliability import draw_reliability, reliability_legend
from ivadomed_labelfusion.stats import wilcoxon_signed_rank

_FUSION_COLORS = {"staple": "blue", "average": "orange", "random": "bluish green", "ensemble": "reddish purple"}
_OTHER_COLORS = ("vermillion", "sky blue", "black")
_OTHER_LINES = (":", "-.", "--")
_FORMS = {
    "exact": "Every voxel against {reference}",
    "paper": "Voxels of confidence below 1 against {reference}",
    "raters": "Every voxel against the raters' share",
}
# SoftSeg-RandomSampling
LABEL_LETTERS = 22
RADAR_METRICS = ("dice", "precision", "recall", "absolute_volume_difference", "brier_score", "entropy_mae")
RADAR_MODEL_METRICS = ("ece_exact_roi",)


def candidate_styles(base_of):
    """Return the look of each candidate of a study.

    Args:
        base_of (dict): Every candidate's name to its base among the six, in the study's order. Give all candidates also
            for a figure of some, so that each looks the same everywhere.

    Returns:
        dict: Name to ``{"framework": "conv" or "softseg", "color", "linestyle", "filled"}``.
    """
    styles, others = {}, 0
    for name, base in base_of.items():
        framework, _, fusion = name.partition("_")
        if framework in FRAMEWORKS and fusion in _FUSION_COLORS:
            color, line = _FUSION_COLORS[fusion], "--" if framework == "conv" else "-"
        else:
            color = _OTHER_COLORS[others % len(_OTHER_COLORS)]
            line = _OTHER_LINES[others // len(_OTHER_COLORS) % len(_OTHER_LINES)]
            others += 1
        framework = base.partition("_")[0]
        styles[name] = {
            "framework": framework,
            "color": style.OKABE_ITO[color],
            "linestyle": line,
            "filled": framework != "conv",
        }
    return styles


def candidate_label(name):
    """Return a candidate's name in lines that fit a panel; users' own names may be longer than the paper's."""
    lines = textwrap.wrap(display_name(name).replace("_", "_ "), width=LABEL_LETTERS)
    return "\n".join(line.replace("_ ", "_") for line in lines)


def _height(candidates, height):
    """Return the height of a row of panels, with room for labels of several lines."""
    return height + 0.14 * max(candidate_label(name).count("\n") for name in candidates)


def candidate_entropy_figure(results):
    """Draw the entropy of the prediction against the raters', one panel per candidate (the paper's Figure 1).

    A dot is one test result (split and image); the dashed line is agreement; the dotted one is where a perfectly
    calibrated predictor lies for a panel of this size, over all results (if they hold its entropy); the title gives
    mean absolute and mean squared error in the unit of the axes (its square).

    Args:
        results (DataFrame): One row per candidate, split and image.
    """
    candidates = list(dict.fromkeys(results["candidate"]))
    one_row = len(candidates) <= 2
    figure, panels = panel_grid(len(candidates), height_each=_height(candidates, 2.3 if one_row else 1.95))
    largest = np.nanmax(results[[ENTROPY_PREDICTION, ENTROPY_RATERS]].to_numpy(), initial=0)
    exponent = math.floor(math.log10(largest)) if largest > 0 else 0
    unit = "nats" if exponent == 0 else rf"$10^{{{exponent}}}$ nats"
    top = 1.06 * largest / 10**exponent or 1.0
    with style.style():
        for axes, name in zip(panels, candidates, strict=True):
            rows = results[results["candidate"] == name].dropna(subset=[ENTROPY_PREDICTION, ENTROPY_RATERS])
            raters, prediction = (rows[which] / 10**exponent for which in (ENTROPY_RATERS, ENTROPY_PREDICTION))
            calibrated = rows[ENTROPY_CALIBRATED] / 10**exponent if ENTROPY_CALIBRATED in rows else None
            draw_entropy(axes, raters, prediction, calibrated=calibrated)
            error = prediction - raters
            axes.set_title(
                f"{candidate_label(name)}\nMAE {error.abs().mean():.2f}   MSE {(error**2).mean():.2g}", fontsize=6.5
            )
            # one scale for all panels, whose dots then compare at a glance
            axes.lines[0].set_data([0, top], [0, top])
            axes.set(xlim=(0, top), ylim=(0, top), xlabel="", ylabel="")
            axes.locator_params(nbins=4)
            axes.collections[-1].set_alpha(0.7)
        dotted = "\ndotted: a perfectly calibrated predictor" if results.get(ENTROPY_CALIBRATED) is not None else ""
        figure.supxlabel(f"Entropy of the raters [{unit}]\n(MAE in this unit, MSE in its square){dotted}", fontsize=8)
        # a single row is too low for the label in one line
        space = "\n" if one_row else " "
        figure.supylabel(f"Entropy of{space}the prediction [{unit}]", fontsize=8, multialignment="center")
    return figure


def candidate_reliability_figure(curves, ece, *, form, region, reference="STAPLE"):
    """Draw a reliability diagram per candidate (the paper's Figure 4).

    Args:
        curves (dict): Candidate to ReliabilityCurve, pooled over all its models.
        ece (dict): Candidate to the ECE printed above its diagram: the mean over its models, as in the tables. That of
            the pooled curve is never larger, because the errors of different models cancel.
        form (str): ``exact``, ``paper`` or ``raters``.
        region (str): ``image`` or ``roi`` (union of raters and prediction).
        reference (str): What the predictions are compared with, for the title.
    """
    # the legend takes its share of a single row, too
    figure, panels = panel_grid(len(curves), height_each=_height(curves, 2.6 if len(curves) <= 2 else 2.0))
    with style.style():
        for index, (axes, (name, curve)) in enumerate(zip(panels, curves.items(), strict=True)):
            draw_reliability(axes, curve)
            axes.set_title(f"{candidate_label(name)}\nECE: {_percent(ece[name])}")
            columns = axes.get_gridspec().ncols
            last = index >= len(curves) - columns
            axes.set(xlabel="Confidence" if last else "", ylabel="", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
            axes.title.set_fontsize(7)
            if axes.get_legend():
                axes.get_legend().remove()
            if index % columns:
                axes.set_yticklabels([])
        figure.legend(handles=reliability_legend(curves.values()), loc="outside lower center", ncols=2)
        figure.supylabel("Accuracy", fontsize=8)
        where = {"image": "whole image", "roi": "ROI"}[region]
        figure.suptitle(f"{_FORMS[form].format(reference=reference)}, {where}", fontsize=7)
    return figure


def _percent(share):
    if math.isnan(share):
        return "not defined"
    return f"{100 * share:.{1 if share >= 0.01 else 2}f} %"


def composite_figure(results, styles):
    """Draw the composite scores as violins, from the best to the worst mean (the paper's Figure 5).

    Black dots are means; a star marks p < 0.05 against Conv-STAPLE (Wilcoxon, not adjusted).

    Args:
        results (DataFrame): With the column ``composite_score``.
        styles (dict): From `candidate_styles`.
    """
    scores = results.dropna(subset=["composite_score"])
    means = scores.groupby("candidate")["composite_score"].mean().sort_values(ascending=False)
    figure, axes = style.new_figure(width=style.COLUMN_WIDTH_IN, height=0.42 * len(means) + 0.7)
    keyed, starred = scores.set_index(["split", "image_id"]), False
    with style.style():
        axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
        for place, name in enumerate(means.index):
            values = keyed.loc[keyed["candidate"] == name, "composite_score"]
            look = styles[name]
            if values.nunique() > 1:
                (body,) = axes.violinplot([values], [place], orientation="horizontal", widths=0.8, showextrema=False)[
                    "bodies"
                ]
                body.set(
                    facecolor=look["color"] if look["filled"] else "white",
                    edgecolor=look["color"],
                    alpha=0.55 if look["filled"] else 1,
                    linewidth=1.2,
                    linestyle=look["linestyle"],
                )
            axes.plot(means[name], place, "o", color="black", markersize=4)
            if name != REFERENCE and REFERENCE in means.index:
                partner = keyed.loc[keyed["candidate"] == REFERENCE, "composite_score"]
                paired = values.to_frame("own").join(partner.rename("reference"), how="inner")
                if wilcoxon_signed_rank(paired["own"], paired["reference"]).p_value < SIGNIFICANCE:
                    starred = True
                    axes.annotate("*", (1.0, place), xycoords=("axes fraction", "data"), va="center", fontsize=11)
        axes.set_yticks(
            range(len(means)), [candidate_label(name) + (" (ref)" if name == REFERENCE else "") for name in means.index]
        )
        axes.invert_yaxis()
        lines = ["Composite score (sum of z-scores)"]
        if starred:
            lines += [f"* p < {SIGNIFICANCE:g} against Conv-STAPLE,", "optimistic because splits overlap"]
        axes.set_xlabel("\n".join(lines))
    return figure


def validation_loss_figure(losses, styles, *, split=None):
    """Draw the validation loss over the epochs, conventional and SoftSeg apart because their losses differ (Figure 7).

    Those of the paper are Dice and Adaptive Wing loss; a candidate of the user's own may have another one.

    Args:
        losses (DataFrame): Columns candidate, split, epoch, validation_loss.
        styles (dict): From `candidate_styles`.
        split (str): The split whose curve is drawn strong; the others are drawn faint. None takes the first.
    """
    split = losses["split"].min() if split is None else split
    candidates = list(dict.fromkeys(losses["candidate"]))
    titles = {"conv": "Conventional framework", "softseg": "SoftSeg framework"}
    groups = {
        title: [name for name in candidates if styles[name]["framework"] == framework]
        for framework, title in titles.items()
    }
    groups = {title: chosen for title, chosen in groups.items() if chosen}
    figure, panels = style.new_figure(
        len(groups), 1, width=style.COLUMN_WIDTH_IN, height=1.8 * len(groups), squeeze=False
    )
    with style.style():
        for axes, (title, chosen) in zip(panels[:, 0], groups.items(), strict=True):
            for name in chosen:
                for one, curve in losses[losses["candidate"] == name].groupby("split"):
                    strong = one == split
                    axes.plot(
                        curve["epoch"],
                        curve["validation_loss"],
                        color=styles[name]["color"],
                        linestyle=styles[name]["linestyle"],
                        linewidth=1.3 if strong else 0.6,
                        alpha=1 if strong else 0.25,
                        label=candidate_label(name) if strong else None,
                        zorder=2 if strong else 1,
                        # a single epoch makes no line
                        marker="o" if len(curve) == 1 else None,
                        markersize=3,
                    )
            axes.set_title(title)
            axes.set_ylabel("Validation loss")
            # a regression loss falls over orders of magnitude, and its first epochs would hide the rest
            if losses.loc[losses["candidate"].isin(chosen), "validation_loss"].min() > 0:
                axes.set_yscale("log")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend()
        panels[-1, 0].set_xlabel(f"Epoch (strong: {split}, faint: other splits)")
    return figure


def radar_figure(results, models, class_names, styles):
    """Draw every candidate's means over several criteria; outside is better. Needs `has_spokes`.

    Each spoke runs from the worst candidate's mean (inner ring) to the best one's (outer ring), which the labels print:
    look at the printed range before reading anything into a small difference. Classes are averaged.

    Args:
        results (DataFrame): One row per candidate, split and image.
        models (DataFrame): One row per candidate and split.
        class_names (sequence of str): Classes in the configuration's order.
        styles (dict): From `candidate_styles`.
    """
    means = _radar_means(results, models, class_names)
    spokes = list(means.index)
    angles = np.linspace(0, 2 * np.pi, len(spokes), endpoint=False)
    figure, axes = style.new_figure(width=style.COLUMN_WIDTH_IN, height=4.1, subplot_kw={"projection": "polar"})
    with style.style():
        for name in means.columns:
            radii = [_radius(means.loc[spoke], means.loc[spoke, name], METRICS[spoke].best) for spoke in spokes]
            axes.plot(
                np.append(angles, angles[:1]),
                np.append(radii, radii[:1]),
                color=styles[name]["color"],
                linestyle=styles[name]["linestyle"],
                linewidth=1.2,
                label=candidate_label(name),
            )
        axes.set_theta_offset(np.pi / 2)
        axes.set_xticks(angles, [_spoke_label(spoke, means.loc[spoke]) for spoke in spokes], fontsize=6)
        for angle, label in zip(angles, axes.get_xticklabels(), strict=True):
            # the first spoke points up and the others follow anticlockwise
            side = -np.sin(angle)
            label.set_horizontalalignment("center" if abs(side) < 0.3 else "left" if side > 0 else "right")
        axes.set_yticks([0.2, 1.0], [])
        axes.set_ylim(0, 1.05)
        axes.spines["polar"].set_visible(False)
        classes = "; mean over classes" if len(class_names) > 1 else ""
        figure.suptitle(f"Outer ring: best candidate, inner ring: worst{classes}", fontsize=7)
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def has_spokes(results, models, class_names):
    """Whether a radar has a criterion that was measured for every candidate."""
    return len(_radar_means(results, models, class_names)) > 0


def _radar_means(results, models, class_names):
    """Return the means by criterion and candidate, of the criteria that every candidate has."""
    import pandas as pd

    summary = summarise(results, models, (*RADAR_METRICS, *RADAR_MODEL_METRICS), class_names)
    if summary.empty:
        return pd.DataFrame()
    means = summary.groupby(["metric", "candidate"], sort=False)["mean"].mean().unstack("candidate")
    return means.dropna()


def _radius(values, value, best):
    low, high = values.min(), values.max()
    if high == low:
        return 1.0
    share = (value - low) / (high - low)
    return 0.2 + 0.8 * (share if best == "high" else 1 - share)


def _spoke_label(spoke, values):
    metric = METRICS[spoke]
    worst, best = (values.min(), values.max()) if metric.best == "high" else (values.max(), values.min())
    separator = ", " if ", " in metric.label else " ["
    label = metric.label.replace(separator, separator.replace(" ", "\n")) if len(metric.label) > 13 else metric.label
    if metric.scale:
        return f"{label}\n{worst / metric.scale:.1f} to {best / metric.scale:.1f}"
    return f"{label}\n{_short(worst)} to {_short(best)}"


def _short(value):
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


def entropy_columns_present(results):
    """Whether the results hold the entropies that `candidate_entropy_figure` draws."""
    return {ENTROPY_PREDICTION, ENTROPY_RATERS} <= set(results) and column("entropy_mae") in results
