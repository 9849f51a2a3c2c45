"""Writing the raters' consensus into a BIDS dataset, beside the raters' masks.

Files are named ``<image stem>_desc-<method>_label-<class>_seg.nii.gz`` (0 and 1) or ``..._softseg.nii.gz`` ([0, 1]),
each with a JSON sidecar that tells raters, sources, method, parameters, performance and version.
"""

import hashlib
import re
import warnings
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.data.bids import IMAGE_EXTENSIONS, find_label_sets, nested_target_suffix, stem
from ivadomed_labelfusion.data.volumes import GRID_TOLERANCE_MM, open_masks, save_nifti
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import read_json, write_json
from ivadomed_labelfusion.fusion import METHODS, check_method, consensus_classes

_SUFFIX = re.compile(r"_desc-(?P<rater>[A-Za-z0-9]+)_label-(?P<label>[A-Za-z0-9]+)_(?:seg|softseg)$")


@dataclass
class WrittenLabels:
    """What `write_fused` did.

    Attributes:
        written (list of Path): New or replaced label files.
        up_to_date (list of Path): Label files that were there already, made from the same masks in the same way.
        notes (dict): Image stem to a list of remarks: missing raters, coding, overlapping classes.
    """

    written: list = field(default_factory=list)
    up_to_date: list = field(default_factory=list)
    notes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    """What is the same for all images."""

    bids_dir: Path
    nested: list
    raters: list
    classes: list
    methods: list
    posterior: bool
    multiclass: str
    options: dict
    tolerance_mm: float
    allow_missing: bool
    overwrite: bool


def write_fused(
    bids_dir,
    target_suffix,
    methods,
    *,
    posterior=False,
    multiclass="joint",
    options=None,
    subjects=None,
    allow_missing=False,
    tolerance_mm=GRID_TOLERANCE_MM,
    jobs=1,
    overwrite=False,
    progress=None,
):
    """Fuse the raters' masks of every image of a dataset and write the results as derivatives.

    A file that was made from the same masks (by content) by the same method, parameters and version is left alone.

    Args:
        bids_dir (str or Path): Root of the BIDS dataset.
        target_suffix (list): The raters' suffixes per class as in ivadomed's ``loader_parameters``, plain (one class)
            or nested. They have the form ``_desc-<rater>_label-<class>_seg``; see `classes_and_raters`.
        methods (str or sequence of str): Names of `fusion.METHODS`. ``average`` gives ``_softseg``, others ``_seg``.
        posterior (bool): Also write the probabilities of ``staple``, ``majority`` and ``simple`` as ``_softseg``.
        multiclass (str): ``joint`` or ``per_class``, see `fusion.fuse_classes`.
        options (dict): Further arguments of `fusion.fuse_classes`: ``ties``, ``region``, ``weights``, ... An option is
            passed to those methods that know it, and must be known to one of them.
        subjects (iterable of str): Keep these only, with or without ``sub-``.
        allow_missing (bool): Fuse the raters that have a mask of every class, and note who is missing. False: an image
            with a missing mask is an error.
        tolerance_mm (float): Grids are one if no voxel lies further apart.
        jobs (int): Images handled at once.
        overwrite (bool): Replace files that are not up to date.
        progress (callable): Called as ``progress(done, total, image_stem)`` after each image.

    Returns:
        WrittenLabels

    Raises:
        InputError: On a bad argument, before anything is written; and at the end, when all other images are done, with
            a list of the images that could not be fused.
    """
    nested = one_class_or_more(target_suffix)
    classes, raters = classes_and_raters(nested)
    methods = [methods] if isinstance(methods, str) else list(methods)
    if not methods:
        raise InputError("methods must name at least one fusion method, got none.")
    if jobs < 1:
        raise InputError(f"jobs must be at least 1, got {jobs}.")
    options = dict(options or {})
    per_method = {method: _options_of(method, options) for method in methods}
    unknown = set(options) - {name for known in per_method.values() for name in known}
    if unknown:
        raise InputError(f"No method of {', '.join(methods)} takes the option {sorted(unknown)[0]!r}.")
    job = _Job(
        bids_dir=Path(bids_dir),
        nested=nested,
        raters=raters,
        classes=classes,
        methods=methods,
        posterior=posterior,
        multiclass=multiclass,
        options=per_method,
        tolerance_mm=tolerance_mm,
        allow_missing=allow_missing,
        overwrite=overwrite,
    )
    label_sets = find_label_sets(bids_dir, nested, subjects=subjects)
    result, problems = WrittenLabels(), {}
    # remarks reach the caller through ``notes``; filters are global, so they are set once around all threads
    with warnings.catch_warnings(), ThreadPoolExecutor(jobs) as pool:
        warnings.simplefilter("ignore", UserWarning)
        futures = {pool.submit(_fuse_image, job, label_set): label_set.image_stem for label_set in label_sets}
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                image_stem = futures[future]
                try:
                    written, up_to_date, notes = future.result()
                except InputError as error:
                    problems[image_stem] = str(error)
                else:
                    result.written += written
                    result.up_to_date += up_to_date
                    if notes:
                        result.notes[image_stem] = notes
                if progress is not None:
                    progress(done, len(futures), image_stem)
        except BaseException:  # an interrupt above all: do not start what is still waiting
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    result.written.sort()
    result.up_to_date.sort()
    if problems:
        listed = "\n".join(f"{image_stem}: {problems[image_stem]}" for image_stem in sorted(problems))
        raise InputError(
            f"{len(problems)} of {len(label_sets)} images could not be fused ({len(result.written)} files written, "
            f"{len(result.up_to_date)} up to date):\n{listed}"
        )
    return result


def one_class_or_more(target_suffix):
    """Return ``target_suffix`` as one list of raters per class.

    A plain list of several suffixes that name one class (``_label-``) is one class with several raters; ivadomed itself
    takes a plain list as one class per entry, which leaves nothing to fuse.
    """
    if not isinstance(target_suffix, str) and target_suffix and all(isinstance(entry, str) for entry in target_suffix):
        labels = {match["label"] for match in map(_SUFFIX.search, target_suffix) if match}
        if len(labels) <= 1:
            target_suffix = [list(target_suffix)]
    return nested_target_suffix(target_suffix)


def expand_suffixes(bids_dir, target_suffix):
    """Replace suffixes with wildcards by those that occur in the dataset.

    Args:
        bids_dir (str or Path): Root of the BIDS dataset.
        target_suffix (list): One list of suffixes per class; ``*`` stands for anything within one BIDS entity, so that
            ``_desc-rater*_label-GM_seg`` finds all raters. Labels fused earlier (``_desc-staple_...``) and a
            challenge's ``_desc-consensus_...`` are left out.

    Returns:
        list: One list per class, raters in natural order (rater2 before rater10).

    Raises:
        InputError: If a wildcard matches nothing.
    """
    stems = None
    expanded = []
    for suffixes in target_suffix:
        found = []
        for suffix in suffixes:
            if "*" not in suffix:
                found.append(suffix)
                continue
            if stems is None:
                files = (Path(bids_dir) / "derivatives").rglob("sub-*")
                stems = {stem(path) for path in files if path.name.endswith(IMAGE_EXTENSIONS)}
            pattern = re.compile("(" + "[A-Za-z0-9]+".join(map(re.escape, suffix.split("*"))) + ")$")
            matches = {match[1] for match in map(pattern.search, stems) if match}
            matches = {match for match in matches if not _is_fused(match)}
            if not matches:
                raise InputError(f"No label below {bids_dir}/derivatives ends with {suffix!r}. Check the suffix.")
            found += sorted(matches, key=_natural)
        expanded.append(found)
    return expanded


def _is_fused(suffix):
    match = _SUFFIX.search(suffix)
    # the MSSEG-2016 download brings a consensus of its own
    return match is not None and match["rater"] in (*METHODS, "consensus")


def _natural(text):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def classes_and_raters(nested):
    """Return the names of classes and raters that suffixes of the form ``_desc-<rater>_label-<class>_seg`` hold.

    Raises:
        InputError: If a suffix has another form, a list mixes classes, two lists are of one class, or the raters of the
            lists differ or come in another order.
    """
    classes, raters = [], None
    for suffixes in nested:
        matches = [_SUFFIX.search(suffix) for suffix in suffixes]
        for suffix, match in zip(suffixes, matches, strict=True):
            if match is None:
                raise InputError(
                    "Suffixes must have the form _desc-<rater>_label-<class>_seg, such as _desc-rater1_label-GM_seg, "
                    f"got {suffix!r}. 'ivadomed_labelfusion prepare generic' renames other files."
                )
        labels = list(dict.fromkeys(match["label"] for match in matches))
        if len(labels) > 1:
            raise InputError(f"Each list of suffixes must be of one class, got {', '.join(labels)} in one list.")
        if labels[0] in classes:
            raise InputError(f"Each class must have one list of suffixes, got two for {labels[0]}.")
        names = [match["rater"] for match in matches]
        if raters is not None and names != raters:
            raise InputError(
                f"Every class must list the same raters in the same order: {classes[0]} has {', '.join(raters)}, "
                f"{labels[0]} has {', '.join(names)}."
            )
        classes, raters = [*classes, labels[0]], names
    return classes, raters


def _options_of(method, options):
    """Return those options that ``method`` takes."""
    known = {}
    for name, value in options.items():
        if name in ("region", "margin"):
            known[name] = value
            continue
        try:
            check_method(method, {name: value})
        except InputError:
            check_method(method)  # an unknown method, not an unknown option
            continue
        known[name] = value
    check_method(method)
    return known


def _fuse_image(job, label_set):
    """Fuse one image; return (written, up to date, notes)."""
    present, notes = _present(job, label_set)
    raters = [job.raters[index] for index in present]
    paths = [[label_set.files[c][r] for c in range(len(job.classes))] for r in present]
    sources = [path for of_rater in paths for path in of_rater]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    folder = sources[0].parent
    written, up_to_date = [], []
    loaded = None
    for method in job.methods:
        options = dict(job.options[method])
        if options.get("weights") is not None and len(options["weights"]) == len(job.raters):
            options["weights"] = [options["weights"][index] for index in present]
        plan = _outputs(job, label_set.image_stem, folder, method)
        shared = {
            "Raters": raters,
            "Sources": [_bids_uri(path, job.bids_dir) for path in sources],
            "SourcesSHA256": digests,
            "Method": method,
            "Parameters": _json_options(job, method, options),
            "GeneratedBy": {"Name": "ivadomed_labelfusion", "Version": __version__},
        }
        stale = [target for target in plan if not _is_up_to_date(target, shared)]
        up_to_date += [target.path for target in plan if target not in stale]
        if not stale:
            continue
        for target in stale:
            if target.path.exists() and not job.overwrite:
                raise InputError(
                    f"{target.path} exists but was made from other masks or in another way. "
                    "Add --overwrite to replace it."
                )
        if loaded is None:
            loaded = _load(paths, raters, job.tolerance_mm)
        image, masks = loaded
        result = consensus_classes(masks, method, multiclass=job.multiclass, names=raters, **options)
        notes = list(dict.fromkeys([*notes, *result.notes]))
        labels = result.labels() if any(not target.soft for target in stale) else None
        soft = result.posterior if any(target.soft for target in stale) else None
        for target in stale:
            data = (soft if target.soft else labels)[target.class_index]
            sidecar = {
                "Label": job.classes[target.class_index],
                **shared,
                **_performance(result, target, data, masks, raters),
            }
            if notes:
                sidecar["Notes"] = notes
            _write_pair(target.path, data, image, sidecar)
            written.append(target.path)
    return written, up_to_date, notes


def _present(job, label_set):
    """Return the indices of the raters with a mask of every class, and notes on the others."""
    missing = {}
    for class_index, paths in enumerate(label_set.files):
        for rater_index, path in enumerate(paths):
            if path is None:
                missing.setdefault(rater_index, []).append(job.classes[class_index])
    if not missing:
        return list(range(len(job.raters))), []
    text = "; ".join(f"{job.raters[index]} has no mask of {', '.join(names)}" for index, names in missing.items())
    if not job.allow_missing:
        raise InputError(f"{text}. Add it, leave the rater out of the suffixes, or allow missing raters.")
    present = [index for index in range(len(job.raters)) if index not in missing]
    if not present:
        raise InputError(f"No rater has a mask of every class: {text}.")
    return present, [f"Fused without all raters: {text}."]


@dataclass(frozen=True)
class _Target:
    path: Path
    class_index: int
    soft: bool


def _outputs(job, image_stem, folder, method):
    kinds = [True] if method == "average" else [False]
    if job.posterior and method in ("staple", "majority", "simple"):
        kinds.append(True)
    return [
        _Target(
            folder / f"{image_stem}_desc-{method}_label-{name}_{'softseg' if soft else 'seg'}.nii.gz",
            class_index,
            soft,
        )
        for class_index, name in enumerate(job.classes)
        for soft in kinds
    ]


def _bids_uri(path, bids_dir):
    # not resolved: data managers keep the content behind links that lead elsewhere
    return "bids::" + path.relative_to(bids_dir).as_posix()


def _json_options(job, method, options):
    options = {name: getattr(value, "tolist", lambda value=value: value)() for name, value in options.items()}
    joint = len(job.classes) > 1 and method not in ("average", "union")
    return {**({"multiclass": job.multiclass} if joint else {}), **options}


def _sidecar_path(path):
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def _is_up_to_date(target, shared):
    sidecar = _sidecar_path(target.path)
    if not (target.path.exists() and sidecar.exists()):
        return False
    try:
        found = read_json(sidecar)
    except InputError:
        return False
    return isinstance(found, dict) and all(found.get(key) == value for key, value in shared.items())


def _write_pair(path, data, image, sidecar):
    """Write label and sidecar so that no interruption leaves a sidecar beside a label that it does not describe."""
    path.unlink(missing_ok=True)
    write_json(_sidecar_path(path), sidecar, overwrite=True)
    save_nifti(path, data, image)


def _load(paths, raters, tolerance_mm):
    flat = [path for of_rater in paths for path in of_rater]
    image, arrays = open_masks(flat, tolerance_mm=tolerance_mm)
    n_classes = len(paths[0])
    return image, [arrays[r * n_classes : (r + 1) * n_classes] for r in range(len(raters))]


def _performance(result, target, data, masks, raters):
    """Return what the sidecar says on the raters and the iteration."""
    own = result.results[0] if result.is_joint else result.results[target.class_index]
    columns = {}
    if hasattr(own, "sensitivity"):
        columns |= {"Sensitivity": own.sensitivity, "Specificity": own.specificity}
    if hasattr(own, "confusion"):
        index = np.flatnonzero(own.label_values == target.class_index + 1)
        if index.size:
            columns["Sensitivity"] = own.confusion[:, index[0], index[0]]
    if hasattr(own, "score"):
        columns |= {"Score": own.score, "Kept": own.kept}
    if not target.soft:
        volume = np.count_nonzero(data)
        foreground = [np.asarray(of_rater[target.class_index]) > 0 for of_rater in masks]
        both = [np.count_nonzero(mask & (data > 0)) for mask in foreground]
        sizes = [np.count_nonzero(mask) for mask in foreground]
        columns["VolumeVoxels"] = np.array(sizes)
        columns["DiceWithConsensus"] = np.array(
            [2 * common / (size + volume) if size + volume else 1.0 for common, size in zip(both, sizes, strict=True)]
        )
    table = {}
    if columns:
        table["RaterPerformance"] = [
            {"Rater": rater, **{name: values[index].item() for name, values in columns.items()}}
            for index, rater in enumerate(raters)
        ]
    if hasattr(own, "confusion"):
        table["ConfusionLabels"] = own.label_values.tolist()
        table["Confusion"] = {rater: own.confusion[index].tolist() for index, rater in enumerate(raters)}
    if hasattr(own, "prior"):
        table["Prior"] = np.asarray(own.prior).tolist()
    if hasattr(own, "n_iter"):
        table |= {"Iterations": own.n_iter, "Converged": own.converged}
    return table
