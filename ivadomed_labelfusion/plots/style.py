"""The look shared by every figure: colours, sizes and saving.

Figures are built from ``matplotlib.figure.Figure`` without pyplot, so that they need no display, keep no global state
and may be made in threads. matplotlib is imported when the first figure is made, not with this module.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
# the paper's Figure 4: orange bands are overconfidence, purple ones underconfidence
OVERCONFIDENT = OKABE_ITO["orange"]
UNDERCONFIDENT = "#7B3294"
DOT_COLOR = "#D62828"
OVERLAY_COLORMAP = "cividis"  # perceptually uniform and made for colour-blind readers

COLUMN_WIDTH_IN = 3.5  # one journal column
PAGE_WIDTH_IN = 7.2
FORMATS = (".png", ".svg", ".pdf")

_STYLE: dict[Any, Any] = {
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


def style() -> AbstractContextManager[None]:
    """Return a context manager with the shared matplotlib settings; `new_figure` and `save_figure` use it themselves.

    Needed only around calls that create text or axes later than `new_figure`.
    """
    import matplotlib

    return matplotlib.rc_context(_STYLE)


def new_figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = PAGE_WIDTH_IN,
    height: float | None = None,
    squeeze: bool = True,
    **subplot_options: Any,
) -> tuple[Figure, Any]:
    """Make a figure with a grid of axes.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        width: Width in inches: `COLUMN_WIDTH_IN` or `PAGE_WIDTH_IN`.
        height: Height in inches; None makes every cell of the grid square.
        squeeze: Return a single Axes instead of a 1 x 1 array, and a vector for one row or column.
        **subplot_options: Passed to ``Figure.subplots`` (``sharex``, ``gridspec_kw``, ...).

    Returns:
        tuple: ``(figure, axes)``, the axes an Axes or an ndarray of them.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(width, width * rows / columns if height is None else height), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=squeeze, **subplot_options)


def save_figure(figure: Figure, path: str | os.PathLike[str], *, overwrite: bool = False, dpi: int = 200) -> None:
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


def write_figure(figure: Figure, folder: Path, name: str, *, overwrite: bool = False) -> list[Path]:
    """Save a figure as ``<name>.png`` and ``<name>.svg``; return the two paths."""
    paths = [folder / f"{name}.{suffix}" for suffix in ("png", "svg")]
    for path in paths:
        save_figure(figure, path, overwrite=overwrite, dpi=300)
    return paths
