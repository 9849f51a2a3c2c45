"""Writing fused labels: one writer for `fuse --bids`, `prepare --fuse` and the training inside ivadomed.

Files are named ``<image stem>_desc-<method>_label-<class>_seg.nii.gz`` (0 and 1) or ``..._softseg.nii.gz`` ([0, 1]),
each with a JSON sidecar that tells raters, sources, method, parameters, performance and version. A file is up to date
if its sidecar tells the same, masks by their content.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.coding import SOFT, coding_note, refusal
from ivadomed_labelfusion.data.bids import find_label_sets
from ivadomed_labelfusion.data.grid import GRID_TOLERANCE_MM
from ivadomed_labelfusion.data.masks import load_masks
from ivadomed_labelfusion.data.raters import (
    ALLOW_BY_OPTION,
    LabelSet,
    classes_and_raters,
    one_class_or_more,
)
from ivadomed_labelfusion.data.sidecars import (
    RaterTable,
    is_up_to_date,
    performance,
    sha256,
    source_name,
    write_pair,
)
from ivadomed_labelfusion.data.volumes import load_image
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion import METHODS, check_method, consensus_classes
from ivadomed_labelfusion.fusion.registry import GENERAL
from ivadomed_labelfusion.fusion.ties import Ties, settle_ties

# soft masks of a hard consensus are cut here, as in the evaluation
CUT = 0.5


@dataclass(frozen=True)
class Fusion:
    """What is made of the masks of any image.

    Attributes:
        methods (dict): Name of each fusion method to its options (further arguments of `fusion.fuse_classes`).
        multiclass (str): ``joint`` or ``per_class``, see `fusion.fuse_classes`.
        posterior (bool): Also write the probabilities of methods with graded ones (``staple``, ``majority``, ...) as
            ``_softseg``.
        cut_soft (bool): Cut soft masks at 0.5 for hard methods, which else refuse them.
        average_ties (str or None): For averages that will be binarised: see `fusion.ties.settle_ties`. None keeps them.
        tolerance_mm (float): Grids are one if no voxel lies further apart.
        advice (str): What to do about masks on other grids.
        overwrite (bool): Replace files that are not up to date, else refuse.
    """

    methods: Mapping[str, dict]
    multiclass: str = "joint"
    posterior: bool = False
    cut_soft: bool = False
    average_ties: Ties | None = None
    tolerance_mm: float = GRID_TOLERANCE_MM
    advice: str = ""
    overwrite: bool = False

    def targets(self, image_stem: str, class_names: Sequence[str], folder: Path, method: str) -> list["Target"]:
        """Return the files that one method makes of one image."""
        entry = METHODS[method]
        kinds = [True] if entry.soft else [False, True] if self.posterior and entry.graded else [False]
        return [
            Target(
                folder / f"{image_stem}_desc-{method}_label-{name}_{'softseg' if soft else 'seg'}.nii.gz", index, soft
            )
            for index, name in enumerate(class_names)
            for soft in kinds
        ]

    def write(self, label_set: LabelSet, folder: Path, *, on_image: bool = False, absent: str = "") -> "FusedImage":
        """Fuse the masks of one image and write what is not up to date.

        Args:
            label_set (LabelSet): The masks of the raters who are present, none missing.
            folder (Path): Where to write.
            on_image (bool): Write on the grid of the image rather than of the first mask.
            absent (str): Who is missing, for the sidecar; empty if nobody is.

        Returns:
            FusedImage

        Raises:
            InputError: If a mask cannot be used, or a file exists that was made in another way.
        """
        sources = [path for rater in zip(*label_set.files, strict=True) for path in rater]
        digests = [sha256(path) for path in sources]
        done = FusedImage(notes=[f"Fused without all raters: {absent}."] if absent else [])
        loaded = None
        for method, options in self.methods.items():
            shared = {
                "Raters": label_set.rater_names,
                "Sources": [source_name(path, label_set.bids_dir) for path in sources],
                "SourcesSHA256": digests,
                "Method": method,
                "Parameters": self._parameters(label_set, method, options),
                "GeneratedBy": {"Name": "ivadomed_labelfusion", "Version": __version__},
            }
            plan = self.targets(label_set.image_stem, label_set.class_names, folder, method)
            stale = [target for target in plan if not is_up_to_date(target.path, shared)]
            done.up_to_date += [target.path for target in plan if target not in stale]
            for target in stale:
                if target.path.exists() and not self.overwrite:
                    raise InputError(
                        f"{target.path} exists but was made from other masks or in another way. "
                        "Add --overwrite to replace it."
                    )
            if stale:
                loaded = loaded or self._load(label_set, on_image)
                done.codings = loaded.codings
                self._fuse(label_set, method, stale, shared, loaded, done)
        return done

    def _load(self, label_set, on_image):
        options = {"tolerance_mm": self.tolerance_mm, "advice": self.advice}
        if on_image and label_set.image is not None:
            options |= {"like": load_image(label_set.image), "like_name": f"its image ({label_set.image})"}
        return load_masks(label_set, **options)

    def _fuse(self, label_set, method, stale, shared, loaded, done):
        masks = loaded.masks
        if masks.dtype.kind == "f" and METHODS[method].of_soft is None:
            if not self.cut_soft:
                raise InputError(_soft_refusal(label_set, loaded.codings, method))
            masks = (masks >= CUT).view(np.uint8)
        options = {"multiclass": self.multiclass, "names": label_set.rater_names, **self.methods[method]}
        result = consensus_classes(masks, method, **options)
        coded = coding_note({path.name: coding for path, coding in loaded.codings.items()})
        done.notes = list(dict.fromkeys([*done.notes, *result.notes]))
        labels = result.labels() if any(not target.soft for target in stale) else None
        soft = result.posterior if any(target.soft for target in stale) else None
        if self.average_ties and METHODS[method].soft:
            soft = settle_ties(soft, self.average_ties)
        for target in stale:
            index = target.class_index
            data = (soft if target.soft else labels)[index]
            table = RaterTable(label_set.rater_names, masks[:, index], None if target.soft else data)
            own = performance(*result.of_class(index), table)
            sidecar = {"Label": label_set.class_names[index], **shared, **own}
            notes = [*done.notes, *([coded] if coded else [])]
            if notes:
                sidecar["Notes"] = notes
            write_pair(target.path, data, loaded.like, sidecar)
            done.written.append(target.path)

    def _parameters(self, label_set, method, options):
        entry = METHODS[method]
        plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in options.items()}
        joint = len(label_set.files) > 1 and entry.classes == "joint"
        ties = {"ties": self.average_ties} if self.average_ties and entry.soft else {}
        return {**({"multiclass": self.multiclass} if joint else {}), **ties, **plain}


@dataclass
class FusedImage:
    """What `Fusion.write` did with one image.

    Attributes:
        written, up_to_date (list of Path): Label files.
        notes (list of str): Missing raters, overlapping classes.
        codings (dict): File of each mask that was read to its `Coding`.
    """

    written: list = field(default_factory=list)
    up_to_date: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    codings: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """One label file: its path, class, and whether it holds probabilities."""

    path: Path
    class_index: int
    soft: bool


def _soft_refusal(label_set, codings, method):
    """Say which mask is soft although the method takes binary ones only."""
    index, rater, path = next(entry for entry in label_set.paths() if codings[entry[2]].kind == SOFT)
    takers = ", ".join(name for name, entry in METHODS.items() if entry.of_soft is not None)
    cure = f"Soft masks can be fused by {takers}; for {method} threshold them first."
    return refusal(codings[path], label_set.describe(index, rater), cure)


@dataclass
class WrittenLabels:
    """What `write_fused` did.

    Attributes:
        written (list of Path): New or replaced label files.
        up_to_date (list of Path): Label files that were there already, made from the same masks in the same way.
        notes (dict): Image stem to a list of remarks: missing raters, overlapping classes.
        coding_note (str): One remark on all masks that were not coded 0 and 1; empty if there are none.
    """

    written: list = field(default_factory=list)
    up_to_date: list = field(default_factory=list)
    notes: dict = field(default_factory=dict)
    coding_note: str = ""

    def add(self, image_stem: str, fused: FusedImage) -> None:
        """Take in what was done with one image."""
        self.written += fused.written
        self.up_to_date += fused.up_to_date
        if fused.notes:
            self.notes[image_stem] = fused.notes


class How(TypedDict, total=False):
    """The attributes of `Fusion` that a caller of `write_fused` chooses."""

    posterior: bool
    multiclass: str
    tolerance_mm: float
    advice: str
    overwrite: bool


def write_fused(
    bids_dir: str | Path,
    target_suffix: Sequence[Any],
    methods: str | Sequence[str],
    *,
    options: Mapping[str, Any] | None = None,
    subjects: Iterable[str] | None = None,
    allow_missing: bool = False,
    jobs: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
    **how: Unpack[How],
) -> WrittenLabels:
    """Fuse the raters' masks of every image of a dataset and write the results as derivatives.

    A file that was made from the same masks (by content) by the same method, parameters and version is left alone.

    Args:
        bids_dir (str or Path): Root of the BIDS dataset.
        target_suffix (list): The raters' suffixes per class as in ivadomed's ``loader_parameters``, plain (one class)
            or nested. They have the form ``_desc-<rater>_label-<class>_seg``; see `raters.classes_and_raters`.
        methods (str or sequence of str): Names of `fusion.METHODS`. Soft ones such as ``average`` give ``_softseg``,
            others ``_seg``.
        options (dict): Further arguments of `fusion.fuse_classes`: ``ties``, ``region``, ``weights``, ... An option is
            passed to those methods that know it, and must be known to one of them.
        subjects (iterable of str): Keep these only, with or without ``sub-``.
        allow_missing (bool): Fuse the raters that have a mask of every class, and note who is missing. False: an image
            with a missing mask is an error.
        jobs (int): Images handled at once.
        progress (callable): Called as ``progress(done, total, image_stem)`` after each image.
        **how: ``posterior``, ``multiclass``, ``tolerance_mm``, ``advice``, ``overwrite``, see `Fusion`.

    Returns:
        WrittenLabels

    Raises:
        InputError: On a bad argument, before anything is written; and at the end, when all other images are done, with
            a list of the images that could not be fused.
    """
    nested = one_class_or_more(target_suffix)
    classes_and_raters(nested)
    methods = [methods] if isinstance(methods, str) else list(methods)
    if not methods:
        raise InputError("methods must name at least one fusion method, got none.")
    if jobs < 1:
        raise InputError(f"jobs must be at least 1, got {jobs}.")
    per_method = _options_by_method(methods, dict(options or {}))
    label_sets = find_label_sets(bids_dir, nested, subjects=subjects)
    result, problems, codings = WrittenLabels(), {}, {}

    def fuse(label_set):
        present = label_set.present(allow_missing=allow_missing, cure=ALLOW_BY_OPTION)
        chosen = label_set.of_raters(present)
        own = {method: _of_present(known, present, len(nested[0])) for method, known in per_method.items()}
        return Fusion(own, **how).write(chosen, chosen.files[0][0].parent, absent=label_set.absence_note())

    with contextlib.closing(_in_threads(fuse, label_sets, jobs)) as finished:
        for done, (image_stem, future) in enumerate(finished, start=1):
            try:
                fused = future.result()
            except InputError as error:
                problems[image_stem] = str(error).removeprefix(f"{image_stem}: ")
            else:
                result.add(image_stem, fused)
                codings |= fused.codings
            if progress is not None:
                progress(done, len(label_sets), image_stem)
    result.written.sort()
    result.up_to_date.sort()
    result.coding_note = coding_note({path.name: codings[path] for path in sorted(codings)})
    if problems:
        listed = "\n".join(f"{image_stem}: {problems[image_stem]}" for image_stem in sorted(problems))
        raise InputError(
            f"{len(problems)} of {len(label_sets)} images could not be fused ({len(result.written)} files written, "
            f"{len(result.up_to_date)} up to date):\n{listed}"
        )
    return result


def _in_threads(
    fuse: Callable[[LabelSet], FusedImage], label_sets: Sequence[LabelSet], jobs: int
) -> Iterator[tuple[str, Future[FusedImage]]]:
    """Yield ``(image stem, future)`` of each label set as it is done."""
    # remarks reach the caller through ``notes``; filters are global, so they are set once around all threads
    with warnings.catch_warnings(), ThreadPoolExecutor(jobs) as pool:
        warnings.simplefilter("ignore", UserWarning)
        futures = {pool.submit(fuse, label_set): label_set.image_stem for label_set in label_sets}
        try:
            for future in as_completed(futures):
                yield futures[future], future
        except BaseException:  # an interrupt above all: do not start what is still waiting
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _options_by_method(methods: Sequence[str], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options of each method.

    Raises:
        InputError: If an option is known to none of them.
    """
    per_method = {method: _options_of(method, options) for method in methods}
    unknown = set(options) - {name for known in per_method.values() for name in known}
    if unknown:
        raise InputError(f"No method of {', '.join(methods)} takes the option {sorted(unknown)[0]!r}.")
    return per_method


def _of_present(options: Mapping[str, Any], present: Sequence[int], n_raters: int) -> dict[str, Any]:
    """Return a method's options with the weights of the raters who are present."""
    options = dict(options)
    if options.get("weights") is not None and len(options["weights"]) == n_raters:
        options["weights"] = [options["weights"][index] for index in present]
    return options


def _options_of(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options that ``method`` takes."""
    check_method(method)
    return {name: value for name, value in options.items() if name in (*GENERAL, *METHODS[method].takes)}
