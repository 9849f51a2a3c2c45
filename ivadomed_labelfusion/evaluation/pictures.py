"""The pictures of an evaluation: reliability diagrams, entropy scatter, slices of most disagreement."""

import numpy as np

from ivadomed_labelfusion import figures

# the paper's Figure 4: orange bands are overconfidence, purple ones underconfidence
OVERCONFIDENT = figures.OKABE_ITO["orange"]
UNDERCONFIDENT = "#7B3294"
IDENTITY = "#C1121F"
FEW_VOXELS = 50
_STRONG, _PALE = 0.85, 0.2
_BAR = "#B9CFE4"
_DOT = "#D62828"
# the faint background of a sigmoid would hide the image
_CLEAR_BELOW = 0.02


def draw_reliability(axes, curve, *, title=None):
    """Draw a reliability diagram in the style of the paper's Figure 4.

    Bars are accuracy; the band between accuracy and confidence is orange where the model is overconfident (accuracy
    below confidence) and purple where it is underconfident; bins of fewer than `FEW_VOXELS` voxels are pale. The red
    line is perfect calibration. The title ends with the ECE in percent.

    Args:
        axes (matplotlib Axes): Where to draw.
        curve (ReliabilityCurve): What to draw; empty bins stay blank.
        title (str): Before the ECE.
    """
    with figures.style():
        width = np.diff(curve.bin_edges)
        left = curve.bin_edges[:-1]
        filled = curve.bin_count > 0
        accuracy, confidence = curve.bin_accuracy, curve.bin_confidence
        options = {"align": "edge", "edgecolor": "white", "linewidth": 0.6}
        low, gap = np.minimum(accuracy, confidence), np.abs(accuracy - confidence)
        # a handful of voxels says little, and its bar must not shout
        alpha = np.where(curve.bin_count < FEW_VOXELS, _PALE, _STRONG)
        for bin_ in np.flatnonzero(filled):
            axes.bar(left[bin_], low[bin_], width[bin_], color=_BAR, alpha=min(1.0, alpha[bin_] + 0.15), **options)
        for color, _, chosen in _bands(curve):
            for bin_ in np.flatnonzero(chosen):
                own = {"bottom": low[bin_], "color": color, "alpha": alpha[bin_]}
                axes.bar(left[bin_], gap[bin_], width[bin_], **own, **options)
        for edge, size, value in zip(left[filled], width[filled], accuracy[filled], strict=True):
            axes.plot([edge, edge + size], [value, value], color="black", linewidth=1)
        axes.plot([0, 1], [0, 1], color=IDENTITY, linewidth=1)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="Confidence", ylabel="Accuracy", box_aspect=1)
        value = "not defined" if np.isnan(curve.ece) else f"{100 * curve.ece:.2f} %"
        axes.set_title(f"{title}\nECE: {value}" if title else f"ECE: {value}")
        handles = reliability_legend([curve])
        if handles:
            axes.legend(handles=handles, loc="upper left")


def _bands(curve):
    """Return ``(color, label, bins)`` of the overconfident and the underconfident bins of a curve."""
    accuracy, confidence = curve.bin_accuracy, curve.bin_confidence
    return (
        (OVERCONFIDENT, "overconfident", accuracy < confidence),
        (UNDERCONFIDENT, "underconfident", accuracy > confidence),
    )


def reliability_legend(curves):
    """Return the handles of a legend for diagrams of these curves: only what is to be seen in one of them.

    Args:
        curves (iterable of ReliabilityCurve): What `draw_reliability` draws.
    """
    from matplotlib.patches import Patch

    curves = list(curves)
    handles = {
        label: Patch(color=color, alpha=_STRONG, label=label)
        for curve in curves
        for color, label, chosen in _bands(curve)
        if chosen.any()
    }
    if any(((curve.bin_count > 0) & (curve.bin_count < FEW_VOXELS)).any() for curve in curves):
        handles["pale"] = Patch(color=_BAR, alpha=_PALE + 0.15, label=f"pale: below {FEW_VOXELS} voxels")
    return list(handles.values())


def reliability_figure(curves, *, title=None):
    """Return a figure with one reliability diagram per region (columns) and form (rows).

    Args:
        curves (dict): ``(form, region)`` to ``ReliabilityCurve``.
        title (str): Above all.
    """
    forms, regions = (list(dict.fromkeys(key[axis] for key in curves)) for axis in (0, 1))
    figure, axes = figures.new_figure(
        len(forms), len(regions), width=2.9 * len(regions), height=3.0 * len(forms), squeeze=False
    )
    with figures.style():
        for row, form in enumerate(forms):
            for column, region in enumerate(regions):
                draw_reliability(axes[row, column], curves[form, region], title=f"{form} form, {region}")
        if title:
            figure.suptitle(title, fontsize=9)
    return figure


def draw_entropy(axes, raters, prediction, *, calibrated=None, title=None):
    """Draw the prediction's entropy against the raters' in the style of the paper's Figure 1.

    Args:
        axes (matplotlib Axes): Where to draw.
        raters (sequence of float): Entropy of the raters' average of each subject, in nats.
        prediction (sequence of float): Entropy of the prediction of each subject, in nats.
        calibrated (sequence of float): Entropy of a perfectly calibrated predictor of each subject, in nats; draws a
            dotted line through the origin at their mean ratio to the raters'. None, or NaN, draws none.
        title (str): Before mean absolute and mean squared error.
    """
    with figures.style():
        raters, prediction = np.asarray(raters, np.float64), np.asarray(prediction, np.float64)
        error = prediction - raters
        top = 1.06 * max(raters.max(initial=0), prediction.max(initial=0)) or 1.0
        axes.plot([0, top], [0, top], color="black", linestyle="--", linewidth=1)
        ratio = calibrated_ratio(raters, calibrated)
        if ratio is not None:
            axes.axline((0, 0), slope=ratio, color="0.35", linestyle=":", linewidth=1.2)
        axes.scatter(raters, prediction, s=16, color=_DOT, edgecolor="white", linewidth=0.4, zorder=3)
        axes.set(xlim=(0, top), ylim=(0, top), box_aspect=1)
        axes.set(xlabel="Entropy of the raters [nats]", ylabel="Entropy of the prediction [nats]")
        scores = f"MAE: {np.abs(error).mean():.4g}   MSE: {np.square(error).mean():.4g}"
        axes.set_title(f"{title}\n{scores}" if title else scores)


def calibrated_ratio(raters, calibrated):
    """Return the calibrated predictor's entropy as a multiple of the raters', over all subjects; None if unknown."""
    if calibrated is None:
        return None
    raters, calibrated = np.asarray(raters, np.float64), np.asarray(calibrated, np.float64)
    known = ~np.isnan(calibrated)
    total = raters[known].sum()
    return float(calibrated[known].sum() / total) if total > 0 else None


def entropy_figure(entropies, *, title=None):
    """Return a figure with one scatter plot per form of the entropy.

    The dashed line is agreement, the dotted one a perfectly calibrated predictor for a panel of this size.

    Args:
        entropies (dict): Form to ``(raters, prediction, calibrated or None)``, each a sequence over subjects.
        title (str): Above all.
    """
    figure, axes = figures.new_figure(1, len(entropies), width=3.2 * len(entropies), height=3.9, squeeze=False)
    with figures.style():
        for cell, (form, (raters, prediction, calibrated)) in zip(axes[0], entropies.items(), strict=True):
            draw_entropy(cell, raters, prediction, calibrated=calibrated, title=f"{form} form")
            if calibrated_ratio(raters, calibrated) is not None:
                cell.set_xlabel("Entropy of the raters [nats]\n(dotted: a calibrated predictor)")
        if title:
            figure.suptitle(title, fontsize=9)
    return figure


def disagreement_figure(slices, class_names, *, title=None, reference="STAPLE"):
    """Return a figure with the slices of most disagreement: image, raters, average, consensus, prediction, error.

    Args:
        slices (sequence of SliceView): One row each, per class.
        class_names (sequence of str): C names.
        title (str): Above all.
        reference (str): Name of the consensus.
    """
    from matplotlib.colors import LinearSegmentedColormap

    heads = ("image", "raters", "average", reference, "prediction", "prediction - average")
    shape = slices[0].average.shape[1:]
    ratio = shape[1] * slices[0].spacing_mm[1] / (shape[0] * slices[0].spacing_mm[0])
    rows = len(slices) * len(class_names)
    cell = figures.PAGE_WIDTH_IN * 1.4 / len(heads)
    figure, axes = figures.new_figure(
        rows,
        len(heads),
        width=figures.PAGE_WIDTH_IN * 1.4 + 0.6,
        height=rows * (cell * min(max(ratio, 0.4), 2.0) + 0.15) + 0.6,
        squeeze=False,
    )
    figure.get_layout_engine().set(h_pad=0.1)  # the titles of panels of fixed shape need the room
    diverging = LinearSegmentedColormap.from_list("error", [UNDERCONFIDENT, "white", OVERCONFIDENT])
    with figures.style():
        soft = signed = None
        for row, (view, index) in enumerate((view, index) for view in slices for index in range(len(class_names))):
            cells = axes[row]
            options = {"spacing": view.spacing_mm}
            figures.draw_slice(cells[0], _gray(view), **options)
            figures.draw_slice(cells[1], _gray(view), list(view.raters[:, index]), line_width=0.7, **options)
            soft = figures.draw_slice(cells[2], _gray(view), overlay=view.average[index], **options)
            figures.draw_slice(cells[3], _gray(view), [view.reference[index]], **options)
            prediction = view.prediction[index]
            shown = np.where(prediction < _CLEAR_BELOW, 0, prediction)
            figures.draw_slice(cells[4], _gray(view), overlay=shown, **options)
            error = prediction - view.average[index]
            signed = figures.draw_slice(cells[5], error, colormap=diverging, limits=(-1, 1), **options)
            for spine in cells[5].spines.values():
                spine.set(visible=True, color="#BBBBBB", linewidth=0.5)
            where = f"slice {view.index}" if view.axis >= 0 else "image"
            cells[0].set_ylabel(f"{where}\n{class_names[index]}" if len(class_names) > 1 else where)
            if row == 0:
                for axis, head in zip(cells, heads, strict=True):
                    axis.set_title(head)
        figure.colorbar(soft, ax=axes[:, 4], shrink=0.6, location="bottom", label="probability", aspect=12)
        figure.colorbar(signed, ax=axes[:, 5], shrink=0.6, location="bottom", label="too low / too high", aspect=12)
        if title:
            figure.suptitle(title, fontsize=9)
    return figure


def _gray(view):
    return np.zeros(view.average.shape[1:]) if view.image is None else view.image
