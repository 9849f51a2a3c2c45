"""Fusing loose mask files: consensus, probabilities, a report on the raters, a figure."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ivadomed_labelfusion import fusion
from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.coding import BINARY, CLASS_NUMBERS, Coding, refusal
from ivadomed_labelfusion.data.entities import stem
from ivadomed_labelfusion.data.grid import GRID_TOLERANCE_MM, check_on_grid, spatial_shape
from ivadomed_labelfusion.data.masks import open_masks
from ivadomed_labelfusion.data.volumes import load_image, read_volume, save_nifti, slab_writer, voxel_size_mm
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import resolve, write_json
from ivadomed_labelfusion.fusion.region import REGIONS
from ivadomed_labelfusion.fusion.report import report_of_patterns
from ivadomed_labelfusion.plots import style
from ivadomed_labelfusion.plots.fusion import fusion_figure

# what the command offers for masks on other grids
GRID_ADVICE = (
    "Resample one onto the other, or, if only the headers' rounding differs, raise the tolerance (--grid-tolerance)."
)


@dataclass(frozen=True)
class Outputs:
    """What is written.

    Attributes:
        consensus (str or Path): The consensus on the first mask's grid: integer, or float32 in [0, 1] for soft methods.
        posterior (str or Path): Where to write the probabilities; of label maps all labels along a fourth axis.
        report (str or Path): Where to write the report on the raters (JSON).
        figure (str or Path): Where to draw the slices with most disagreement.
        background (str or Path): Image shown in the figure.
        overwrite (bool): Replace existing files.
    """

    consensus: str | Path
    posterior: str | Path | None = None
    report: str | Path | None = None
    figure: str | Path | None = None
    background: str | Path | None = None
    overwrite: bool = False


def fuse_files(
    masks: Sequence[str | Path],
    outputs: Outputs,
    *,
    method: str = "staple",
    options: Mapping[str, Any] | None = None,
    region: str | Path = "image",
    margin: int = 10,
    stream: bool = False,
    tolerance_mm: float | None = None,
) -> str:
    """Fuse mask files into one.

    Args:
        masks (sequence of str or Path): One file per rater, binary or label map, on one grid.
        outputs (Outputs): What to write.
        method, margin: See `fusion.fuse`.
        options (dict): The method's own options and ``weights``.
        region (str or Path): ``image``, ``union``, ``box``, or a mask file on the same grid.
        stream (bool): Read and write slab by slab. Chosen by itself if the masks do not fit in free memory.
        tolerance_mm (float): See `grid.check_on_grid`.

    Returns:
        str: A summary for the terminal.

    Raises:
        InputError: On bad input, before anything is written.
    """
    tolerance_mm = GRID_TOLERANCE_MM if tolerance_mm is None else tolerance_mm
    options = dict(options or {})
    fusion.check_method(method, options)
    _check_outputs(outputs, [*masks, region])
    names = _names(masks)
    stream = stream or not _fits(masks)
    if stream and outputs.figure:
        raise InputError("A figure needs all masks in memory: leave out --figure, or fuse a cropped copy.")
    image, arrays = open_masks(masks, tolerance_mm=tolerance_mm, lazy=stream, advice=GRID_ADVICE)
    options["region"] = _region(region, masks[0], stream, tolerance_mm)
    result = fusion.consensus(arrays, method, margin=margin, names=names, keep_codes=not stream, **options)
    _check_labels(result, masks)
    is_soft = fusion.METHODS[method].soft
    if is_soft and result.is_multilabel:
        _refuse_average(result, masks)
    # everything that may be refused is computed before the first file is written
    how = {"region": str(region), **({"margin": margin} if region == "box" else {})}
    content = _report(result, masks, how, image, options.get("weights")) if outputs.report else None
    drawn = _figure(result, arrays, image, outputs.background, masks[0], tolerance_mm) if outputs.figure else None
    write = _write_slabs if stream else _write_whole
    write(outputs.consensus, result, image, soft=is_soft, overwrite=outputs.overwrite)
    if outputs.posterior:
        write(outputs.posterior, result, image, soft=True, overwrite=outputs.overwrite)
    if outputs.report:
        write_json(outputs.report, content, overwrite=outputs.overwrite)
    if outputs.figure:
        style.save_figure(drawn, outputs.figure, overwrite=outputs.overwrite)
    return _summary(result, outputs.consensus)


def _refuse_average(result, masks):
    several = [str(path) for rater, path in enumerate(masks) if len(np.unique(result.patterns.votes[:, rater])) > 2]
    raise InputError(
        f"Label maps cannot be averaged into one map, and {', '.join(several[:3]) or masks[0]} holds several "
        "labels. Use majority, or average one mask per class."
    )


def _check_labels(result, masks):
    """Refuse what is neither masks nor label maps: no file holds two labels, and one or all hold a class's number."""
    if not result.has_votes:
        return
    patterns = result.patterns
    of_rater = [set(patterns.labels[np.unique(patterns.votes[:, rater])].tolist()) - {0} for rater in range(len(masks))]
    odd = next((rater for rater, labels in enumerate(of_rater) if labels & set(CLASS_NUMBERS)), None)
    if odd is None or any(len(labels) > 1 for labels in of_rater):
        return
    (value,) = of_rater[odd]
    coding = Coding(BINARY, 0.0, False, 0.0, float(value), (0.0, float(value)))
    cure = (
        f"{value} may be the number of a class. Save masks of 0 and 1 ('ivadomed_labelfusion prepare generic --class "
        f"NAME={value}' makes them), or fuse whole label maps."
    )
    raise InputError(refusal(coding, str(masks[odd]), cure))


def _check_outputs(outputs, inputs):
    for paths, endings in (
        ((outputs.consensus, outputs.posterior), (".nii", ".nii.gz")),
        ([outputs.report], (".json",)),
        ([outputs.figure], style.FORMATS),
    ):
        for path in paths:
            if path and not str(path).lower().endswith(endings):
                raise InputError(f"{path} must end with {' or '.join(endings)}.")
    written = [Path(path) for path in (outputs.consensus, outputs.posterior, outputs.report, outputs.figure) if path]
    inputs = {resolve(path) for path in (*inputs, outputs.background) if path}
    for index, path in enumerate(written):
        if resolve(path) in inputs:
            raise InputError(f"{path} is an input and must not be replaced. Choose another output.")
        if resolve(path) in {resolve(other) for other in written[:index]}:
            raise InputError(f"{path} is named for two outputs. Give each its own file.")
        if path.exists() and not outputs.overwrite:
            raise InputError(f"{path} exists already. Add --overwrite to replace it, or choose another output.")
    if outputs.background and not outputs.figure:
        raise InputError("--image is the background of a figure: add --figure FILE.")


def _names(paths):
    """Return the files' stems, or as much of the paths as tells them apart."""
    stems = [stem(path) for path in paths]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]


def _fits(paths):
    """Whether the masks, their codes and a float32 result fit in the memory that is free now."""
    images = [load_image(path) for path in paths]
    voxels = int(np.prod(images[0].shape, dtype=np.int64))
    per_voxel = sum(getattr(image, "get_data_dtype", lambda: np.dtype(float))().itemsize for image in images) + 8
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # macOS does not tell
        return True
    return voxels * per_voxel < free


def _region(region, first, stream, tolerance_mm):
    if region in REGIONS:
        return region
    if not Path(region).exists():
        raise InputError(f"region must be {', '.join(REGIONS)} or a mask file, got {region!r}, which does not exist.")
    return open_masks([first, region], tolerance_mm=tolerance_mm, lazy=stream, advice=GRID_ADVICE)[1][1]


def _write_whole(path, result, image, *, soft, overwrite):
    data = result.posterior if soft else result.labels()
    if soft and result.is_multilabel:
        data = np.moveaxis(data, 0, -1)
    save_nifti(path, data, image, overwrite=overwrite)


def _write_slabs(path, result, image, *, soft, overwrite):
    shape = spatial_shape(image)
    if not soft:
        parts, dtype = [result.label_slabs()], result.label_dtype
    elif result.is_multilabel:
        parts, dtype = [result.posterior_slabs(k) for k in range(result.label_values.size)], np.float32
        shape = (*shape, len(parts))
    else:
        parts, dtype = [result.posterior_slabs()], np.float32
    with slab_writer(path, shape, dtype, image, overwrite=overwrite) as write:
        for slabs in parts:
            for _, slab in slabs:
                write(slab)


def _report(result, masks, how, image, weights):
    if not result.has_votes:
        raise InputError("A report compares binary masks or label maps; these masks are soft.")
    voxel_volume_mm3 = float(np.prod(voxel_size_mm(image)))
    per_label = []
    for label in result.label_values[1:].tolist():
        entry = report_of_patterns(result.patterns, label=label, weights=weights)
        per_label.append(entry.to_dict(voxel_volume_mm3=voxel_volume_mm3))
    iteration = {} if result.n_iter is None else {"n_iter": result.n_iter, "converged": result.converged}
    prior = {} if result.prior is None else {"prior": np.asarray(result.prior).tolist()}
    return {
        "method": result.method,
        "parameters": {**result.parameters, **how},
        "masks": [str(path) for path in masks],
        "version": __version__,
        "voxel_volume_mm3": voxel_volume_mm3,
        "notes": result.notes,
        **iteration,
        **{name: values.tolist() for name, values in result.per_rater.items()},
        **prior,
        "label_values": result.label_values.tolist(),
        "labels": per_label,
    }


def _figure(result, arrays, image, background, first, tolerance_mm):
    import nibabel

    turn = nibabel.orientations.io_orientation(image.affine)
    flat = len(spatial_shape(image)) < 3

    def upright(array):
        return array if flat else nibabel.orientations.apply_orientation(np.asarray(array), turn)

    shown = None
    if background:
        picture = load_image(background)
        found = check_on_grid(
            picture, f"The image {background}", image, first, tolerance_mm=tolerance_mm, advice=GRID_ADVICE
        )
        shown = upright(found.turn(read_volume(picture, background)))
    hard = None if fusion.METHODS[result.method].soft else result.labels()
    soft = None if result.is_multilabel else upright(result.posterior)
    if result.is_multilabel:
        # of label maps, the figure shows foreground against background
        soft = upright(1.0 - result.posterior[0])
    spacing = np.array(voxel_size_mm(image))
    return fusion_figure(
        [upright(array) for array in arrays],
        result.raters,
        soft,
        None if hard is None else upright(hard),
        image=shown,
        spacing_mm=tuple(spacing if flat else spacing[np.argsort(turn[:, 0])]),
        method=result.method,
    )


def _summary(result, output):
    method = result.method
    if not result.has_votes:
        return f"{output}: {method} of {len(result.raters)} soft masks."
    lines = []
    width = max(len(name) for name in result.raters)
    for index, label in enumerate(result.label_values[1:].tolist(), start=1):
        entry = report_of_patterns(result.patterns, label=label)
        if result.is_multilabel:
            lines.append(f"label {label}")
        lines.append(f"{'':{width}}  {'voxels':>10}  sensitivity  specificity  Dice with STAPLE")
        for rater, name in enumerate(result.raters):
            lines.append(
                f"{name:{width}}  {entry.volume[rater]:10d}  {entry.sensitivity[rater]:11.4f}  "
                f"{entry.specificity[rater]:11.4f}  {entry.dice_consensus[rater]:16.4f}"
            )
        if not fusion.METHODS[method].soft:
            lines.append(f"{method:{width}}  {result.volume(index):10d}")
    iterations = ""
    if result.n_iter is not None:
        ending = "" if result.converged else ", NOT converged (raise --max-iter)"
        iterations = f", {result.n_iter} iterations{ending}"
    if result.patterns.n_outside:
        lines.append(f"{result.patterns.n_outside} votes for foreground lie outside the region and do not count.")
    lines.append(f"{output}: {method} of {len(result.raters)} masks{iterations}.")
    return "\n".join(lines)
