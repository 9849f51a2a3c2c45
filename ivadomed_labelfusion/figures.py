"""The look shared by every figure: colours, sizes, saving, and one slice with outlined masks.

Figures are built from ``matplotlib.figure.Figure`` without pyplot, so that they need no display, keep no global state
and may be made in threads. matplotlib is imported when the first figure is made, not with this module.
"""

from pathlib import Path

import numpy as np

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import atomic_path

# Okabe and Ito (2008), https://jfly.uni-koeln.de/color/: told apart with every common form of colour blindness.
# Black comes last: outlines are drawn on dark images more often than not.
OKABE_ITO = {
    "orange": "#E69F00",
    "sky blue": "#56B4E9",
    "bluish green": "#009E73",
    "vermillion": "#D55E00",
    "yellow": "#F0E442",
    "reddish purple": "#CC79A7",
    "blue": "#0072B2",
    "black": "#000000",
}
# for lines and bars on white (yellow is too pale there) and for outlines on a gray image (black is too dark there)
COLORS_ON_WHITE = tuple(OKABE_ITO[name] for name in OKABE_ITO if name != "yellow")
COLORS_ON_IMAGE = tuple(OKABE_ITO[name] for name in OKABE_ITO if name != "black")
OVERLAY_COLORMAP = "cividis"  # perceptually uniform and made for colour-blind readers

COLUMN_WIDTH_IN = 3.5  # one journal column
PAGE_WIDTH_IN = 7.2
FORMATS = (".png", ".svg", ".pdf")

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "ivadomed_labelfusion",  # equal figures give equal SVG bytes
}


def style():
    """Return a context manager with the shared matplotlib settings; `new_figure` and `save_figure` use it themselves.

    Needed only around calls that create text or axes later than `new_figure`.
    """
    import matplotlib

    return matplotlib.rc_context(_STYLE)


def new_figure(rows=1, columns=1, *, width=PAGE_WIDTH_IN, height=None, squeeze=True, **subplot_options):
    """Make a figure with a grid of axes.

    Args:
        rows (int): Rows of axes.
        columns (int): Columns of axes.
        width (float): Width in inches: `COLUMN_WIDTH_IN` or `PAGE_WIDTH_IN`.
        height (float): Height in inches; None makes every cell of the grid square.
        squeeze (bool): Return a single Axes instead of a 1 x 1 array, and a vector for one row or column.
        **subplot_options: Passed to ``Figure.subplots`` (``sharex``, ``gridspec_kw``, ...).

    Returns:
        tuple: ``(figure, axes)``.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(width, width * rows / columns if height is None else height), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=squeeze, **subplot_options)


def save_figure(figure, path, *, overwrite=False, dpi=200):
    """Save a figure atomically; the extension (.png, .svg or .pdf) chooses the format.

    No time stamp is written, so that equal figures give equal files.

    Raises:
        InputError: If the extension is another one, or the file exists and ``overwrite`` is False.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"The figure's file name must end with one of {', '.join(FORMATS)}, got {path.name}.")
    undated = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with style(), atomic_path(path, overwrite=overwrite) as temporary:
        figure.savefig(temporary, dpi=dpi, metadata=undated[path.suffix.lower()])


def most_disagreement_slices(average, n, axis=-1, *, min_gap=None):
    """Choose the slices on which the raters disagree most.

    Disagreement of a slice is the sum over its voxels (and classes) of a(1 - a): the variance of the raters' votes.

    Args:
        average (ndarray): Raters' mean in [0, 1], ``(*spatial)`` of two or more dimensions.
        n (int): How many slices at most.
        axis (int): The axis that slices are counted along.
        min_gap (int): Chosen slices are at least this many apart, so that they show different places. None takes a
            twentieth of the axis.

    Returns:
        list of int: Indices in ascending order. Where nobody disagrees, slices are filled up by the most foreground,
        and in an empty volume the middle slice is returned.
    """
    average = np.asarray(average)
    axis = axis % average.ndim
    others = tuple(other for other in range(average.ndim) if other != axis)
    disagreement = (average * (1.0 - average)).sum(axis=others, dtype=np.float64)
    foreground = average.sum(axis=others, dtype=np.float64)
    if not foreground.any():
        return [average.shape[axis] // 2]
    min_gap = max(1, average.shape[axis] // 20) if min_gap is None else min_gap
    chosen = []
    # ties (slices without any disagreement) are ordered by the amount of foreground
    for index in np.lexsort((-foreground, -disagreement)):
        if len(chosen) == n or foreground[index] == 0:
            break
        if all(abs(index - other) >= min_gap for other in chosen):
            chosen.append(int(index))
    return sorted(chosen)


def slice_axis(spacing_mm):
    """Return the axis to cut along: the one with the largest voxel size, the last of them where they are equal."""
    spacing_mm = np.asarray(spacing_mm, dtype=float)
    return int(np.flatnonzero(spacing_mm >= spacing_mm.max() - 1e-3)[-1])


def crop_around(mask, *, margin=8, min_size=32):
    """Return slices that cut a box around the True voxels of an n-D mask; the whole array if none is True.

    Args:
        mask (ndarray): bool.
        margin (int): Voxels kept on each side.
        min_size (int): The box has at least this many voxels along each axis where the array has them.

    Returns:
        tuple of slice: One per axis.
    """
    box = []
    for axis, size in enumerate(mask.shape):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        if not hits.size:
            return (slice(None),) * mask.ndim
        first, last = max(0, int(hits[0]) - margin), min(size, int(hits[-1]) + margin + 1)
        length = min(size, max(last - first, min_size))
        first = min(max(0, first - (length - (last - first)) // 2), size - length)
        box.append(slice(first, first + length))
    return tuple(box)


def draw_slice(
    axes,
    image,
    masks=(),
    *,
    spacing=(1.0, 1.0),
    colors=COLORS_ON_IMAGE,
    line_width=0.9,
    overlay=None,
    overlay_alpha=0.75,
    colormap="gray",
    limits=None,
    title=None,
):
    """Draw one slice in true proportions: an image, a soft overlay, and the outlines of masks.

    The first array axis runs to the right and the second upwards: with volumes in RAS+ order that is the usual view.

    Args:
        axes (matplotlib Axes): Where to draw; its ticks are removed.
        image (ndarray or None): ``(a, b)`` gray background; None draws black.
        masks (sequence of ndarray): ``(a, b)`` masks, outlined along the voxels' edges at 0.5; empty ones are skipped.
        spacing (tuple of float): Voxel size along a and b in mm.
        colors (sequence of str): One colour per mask, repeated when there are more masks.
        line_width (float or sequence of float): Outline width in points, for all masks or for each: where outlines
            coincide, earlier ones show beside later ones if they are wider.
        overlay (ndarray): ``(a, b)`` map in [0, 1]; values below 0.01 stay transparent.
        overlay_alpha (float): Opacity of the overlay.
        colormap (str): Colours of the image.
        limits (tuple of float): Values shown darkest and brightest; None takes the 0.5 and 99.5 percentiles.
        title (str): Text above.

    Returns:
        AxesImage: The overlay where there is one, else the image, for a colour bar.
    """
    shape = np.shape(image if image is not None else (overlay if overlay is not None else masks[0]))
    aspect = spacing[1] / spacing[0]
    background = np.zeros(shape) if image is None else np.asarray(image, dtype=float)
    if limits is None:
        limits = (0.0, 1.0) if image is None else tuple(np.percentile(background, (0.5, 99.5)))
    options = {"origin": "lower", "interpolation": "nearest", "aspect": aspect}
    shown = axes.imshow(background.T, cmap=colormap, vmin=limits[0], vmax=max(limits[1], limits[0] + 1e-12), **options)
    if overlay is not None:
        overlay = np.asarray(overlay, dtype=float)
        visible = np.ma.masked_where(overlay < 0.01, overlay)
        shown = axes.imshow(visible.T, cmap=OVERLAY_COLORMAP, vmin=0, vmax=1, alpha=overlay_alpha, **options)
    widths = np.broadcast_to(line_width, len(masks))
    for index, mask in enumerate(masks):
        segments = outline_segments(np.asarray(mask) > 0.5)
        if segments.size:
            from matplotlib.collections import LineCollection

            lines = LineCollection(segments, colors=colors[index % len(colors)], linewidths=widths[index])
            lines.set_capstyle("round")
            axes.add_collection(lines, autolim=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title is not None:
        axes.set_title(title, fontsize=_STYLE["axes.titlesize"])
    return shown


def outline_segments(mask):
    """Return the voxel edges between inside and outside as line segments.

    Args:
        mask (ndarray): ``(a, b)`` bool.

    Returns:
        ndarray: ``(n, 2, 2)`` float, end points (a, b); voxel centres lie on whole numbers.
    """
    padded = np.pad(np.asarray(mask, dtype=bool), 1)
    across = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1]).astype(float)  # edges that run along b
    along = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1]).astype(float)  # edges that run along a
    # edge number i of an axis lies between voxels i - 1 and i, at i - 0.5
    first = np.stack([across - 0.5, across + np.array([-0.5, 0.5])], axis=1)
    second = np.stack([along - 0.5, along + np.array([0.5, -0.5])], axis=1)
    return np.concatenate([first, second])


def fusion_figure(masks, names, soft, hard, *, image=None, spacing_mm=(1.0, 1.0, 1.0), n_slices=3, method="consensus"):
    """Show the slices on which raters disagree most: their outlines, and the consensus they led to.

    Args:
        masks (sequence of ndarray): R masks ``(i, j, k)`` or ``(i, j)``, foreground non-zero; in RAS+ order for the
            usual view.
        names (sequence of str): The raters' names, for the legend.
        soft (ndarray or None): Posterior or average in [0, 1]; None shows the raters' average.
        hard (ndarray or None): The hard consensus, outlined on the overlay; None outlines ``soft`` at 0.5.
        image (ndarray): The image itself; None leaves the background black.
        spacing_mm (tuple of float): Voxel size.
        n_slices (int): Slices at most.
        method (str): For the title of the overlay.

    Returns:
        Figure
    """
    from matplotlib.lines import Line2D

    volumes = [np.asarray(mask) > 0 for mask in masks]
    average = np.mean(volumes, axis=0, dtype=np.float32)
    soft = average if soft is None else np.asarray(soft)
    hard = soft > 0.5 if hard is None else np.asarray(hard) > 0
    flat = average.ndim == 2
    axis = None if flat else slice_axis(spacing_mm[:3])
    others = [other for other in range(average.ndim) if other != axis]
    chosen = [None] if flat else most_disagreement_slices(average, n_slices, axis)

    def cut(volume, index):
        return volume if flat else np.take(volume, index, axis)

    # one window for all slices, so that they compare
    extent = average > 0 if flat else np.any([cut(average, index) > 0 for index in chosen], axis=0)
    window = crop_around(extent)
    shape = [part.indices(size)[1] - part.indices(size)[0] for part, size in zip(window, extent.shape, strict=True)]
    spacing = tuple(spacing_mm[other] for other in others)
    ratio = shape[1] * spacing[1] / (shape[0] * spacing[0])  # height over width of one panel
    legend_rows = -(-len(names) // 4)
    width = min(PAGE_WIDTH_IN, 2.6 * len(chosen) / min(1.0, max(ratio, 0.4)) + 0.6)
    width = max(width, 5.0)
    height = 2 * min(width / len(chosen) * 0.9 * ratio, 4.5) + 0.5 + 0.2 * legend_rows
    figure, axes = new_figure(2, len(chosen), width=width, height=height, squeeze=False)
    colors = [COLORS_ON_IMAGE[index % len(COLORS_ON_IMAGE)] for index in range(len(names))]
    limits = None if image is None else tuple(np.percentile(image, (0.5, 99.5)))
    with style():
        for column, index in enumerate(chosen):
            background = None if image is None else cut(np.asarray(image), index)[window]
            title = None if flat else f"slice {index}"
            draw_slice(
                axes[0, column],
                background if background is not None else np.zeros(shape),
                [cut(volume, index)[window] for volume in volumes],
                spacing=spacing,
                colors=colors,
                line_width=np.linspace(0.7 + 0.25 * (len(volumes) - 1), 0.7, len(volumes)),
                limits=limits or (0.0, 1.0),
                title=title,
            )
            shown = draw_slice(
                axes[1, column],
                background if background is not None else np.zeros(shape),
                [cut(hard, index)[window]],
                spacing=spacing,
                colors=["white"],
                limits=limits or (0.0, 1.0),
                overlay=cut(soft, index)[window],
            )
        axes[0, 0].set_ylabel("raters")
        axes[1, 0].set_ylabel(f"{method}, outline at 0.5")
        figure.colorbar(shown, ax=list(axes[1]), fraction=0.05, pad=0.01, label="probability of foreground")
        handles = [Line2D([], [], color=color, label=name) for color, name in zip(colors, names, strict=True)]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(names)))
    return figure
