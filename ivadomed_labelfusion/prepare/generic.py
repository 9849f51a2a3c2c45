"""Any other dataset: loose files found by patterns such as ``data/{subject}/flair.nii.gz``."""

import functools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ivadomed_labelfusion.data.suffixes import is_bids_contrast
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.fusion import METHODS
from ivadomed_labelfusion.prepare import _dataset, pictures
from ivadomed_labelfusion.prepare._plan import DatasetPlan, ImagePlan, MaskPlan, PlanProblem, SubjectPlan
from ivadomed_labelfusion.prepare._report import Report
from ivadomed_labelfusion.prepare._source import Files, SourceFile

# ** in a pattern; placeholders and wildcards between two slashes
MOST_DEEP = 2
MOST_IN_A_NAME = 6
FIELDS = ("subject", "rater", "class", "contrast", "institution")
_PLACEHOLDER = re.compile(r"\{(\w*)\}|\*\*/?|\*|\?|[^{*?]+|\{")

README = """
{title}
{line}
Converted from loose files by ivadomed_labelfusion: images are unchanged, each rater's mask is below derivatives/labels.

Images: {image}
Masks: {mask}

Add source, licence and citation of the data here.
"""


def prepare_generic(
    image: str,
    mask: str,
    out: str | os.PathLike[str],
    *,
    classes: Mapping[str, int | None] | None,
    contrast: str = "T1w",
    title: str | None = None,
    pixel_size: float | None = None,
    **options: Any,
) -> Report:
    """Convert loose files to a BIDS dataset for ivadomed.

    Args:
        image: Pattern of the images, with ``{subject}`` and optionally ``{contrast}`` and ``{institution}``;
            ``*`` and placeholders stand for anything but a slash, ``**`` for folders of any depth.
        mask: Pattern of the masks, with ``{subject}``, ``{rater}`` and optionally ``{class}``.
        out: The dataset to write; appears only when it is complete.
        classes: Class name -> value in the mask, or -> None for one binary mask. Must be None if
            ``mask`` holds ``{class}``: each file is then the binary mask of one class.
        contrast: BIDS contrast of the images if ``image`` has no ``{contrast}``. With several contrasts the
            labels go with this one.
        title: Name of the dataset; None takes the name of ``out``.
        pixel_size: Side in mm of a pixel of PNG and TIFF files; needed for them only.
        **options: As for ``prepare_scgm``; ``roi`` may be ``raters`` or a path.

    Returns:
        Report: Plan, volumes in mm^3, pairwise Dice and problems.

    Raises:
        InputError: If a pattern lacks a placeholder, matches nothing, or the files cannot be used.
    """
    image_pattern = _compile(image, needed=("subject",), allowed=("subject", "contrast", "institution"), what="--image")
    mask_pattern = _compile(mask, needed=("subject", "rater"), allowed=("subject", "rater", "class"), what="--mask")
    if "class" in mask_pattern.groupindex and classes:
        raise InputError(f"classes must not be given when --mask holds {{class}}, got {', '.join(classes)}.")
    if "class" not in mask_pattern.groupindex and not classes:
        raise InputError("--mask holds no {class}: name the class with --class, for example --class lesion.")
    _check_bids_contrast(contrast)
    root = _common_root(image, mask)
    make_plan = functools.partial(
        _plan,
        image=(image, image_pattern), mask=(mask, mask_pattern), classes=classes, contrast=contrast,
        title=title or Path(out).name, root=root,
    )  # fmt: skip

    def accept(parts: tuple[str, ...]) -> bool:
        path = _path(root, parts)
        return bool(image_pattern.fullmatch(path) or mask_pattern.fullmatch(path))

    # with ** the patterns could match what is written
    apart = "**" not in image and "**" not in mask
    with pictures.as_volumes(pixel_size, _dataset.existing_parent(Path(out))) as convert:
        return _dataset.run(
            root,
            out,
            lambda files: _with_volumes(make_plan(files), convert, symlink=options.get("symlink", False)),
            accept,
            out_may_lie_in_raw=apart,
            **options,
        )


def _with_volumes(plan: DatasetPlan, convert: Callable[[SourceFile], SourceFile], *, symlink: bool) -> DatasetPlan:
    """Return the plan with NIfTI files in the place of pictures; subjects whose pictures cannot be used are named."""
    subjects = []
    for subject in plan.subjects:
        if symlink and any(pictures.is_picture(image.file.name) for image in subject.images):
            raise InputError("--symlink needs NIfTI images, got pictures, which are converted. Copy (the default).")
        try:
            images = tuple(replace(image, file=convert(image.file)) for image in subject.images)
            masks = tuple(replace(mask, file=convert(mask.file)) for mask in subject.masks)
        except InputError as error:
            plan.problems.append(PlanProblem("error", subject.name, str(error)))
            continue
        subjects.append(replace(subject, images=images, masks=masks))
    plan.subjects = subjects
    return plan


def _path(root: Path, parts: Sequence[str]) -> str:
    return Path(root, *parts[1:]).as_posix()


def _common_root(*patterns: str) -> Path:
    """Return the deepest folder above the first placeholder or wildcard of all patterns."""
    fixed = []
    for pattern in patterns:
        parts = Path(pattern).expanduser().absolute().parts
        stop = next((index for index, part in enumerate(parts) if re.search(r"[{*?]", part)), len(parts) - 1)
        if stop < 2:
            raise InputError(f"Patterns must begin with a folder, or the whole disk would be read, got {pattern!r}.")
        fixed.append(parts[:stop])
    shared = [step[0] for step in zip(*fixed, strict=False) if len(set(step)) == 1]
    return Path(*shared)


def _compile(pattern: str, *, needed: Sequence[str], allowed: Sequence[str], what: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern with placeholders, matched against absolute paths."""
    names = re.findall(r"\{(\w*)\}", pattern)
    for name in names:
        if name not in allowed:
            raise InputError(f"{what} may hold {', '.join(f'{{{field}}}' for field in allowed)}, got {{{name}}}.")
    for name in needed:
        if name not in names:
            raise InputError(f"{what} must hold {{{name}}}, got {pattern!r}.")
    _check_size(pattern, what)
    expression, seen = "", set()
    for match in _PLACEHOLDER.finditer(Path(pattern).expanduser().absolute().as_posix()):
        token, name = match[0], match[1]
        if name:
            expression += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)"
            seen.add(name)
        elif token.startswith("**"):
            expression += "(?:.*/)?" if token.endswith("/") else ".*"
        elif token == "*":
            expression += "[^/]*"
        elif token == "?":
            expression += "[^/]"
        else:
            expression += re.escape(token)
    return re.compile(expression)


def _check_size(pattern: str, what: str) -> None:
    """Refuse patterns that take for ever: each wildcard multiplies the ways in which a path can match."""
    parts = Path(pattern).expanduser().absolute().parts
    if len(pattern) > 1000 or sum(part.count("**") for part in parts) > MOST_DEEP:
        raise InputError(f"{what} may hold ** {MOST_DEEP} times and be 1000 characters long, got {pattern[:80]!r}.")
    widest = max((len(re.findall(r"\{\w*\}|\*+|\?", part)) for part in parts), default=0)
    if widest > MOST_IN_A_NAME:
        raise InputError(f"{what} may hold {MOST_IN_A_NAME} placeholders or wildcards per name, got {pattern[:80]!r}.")


def _check_bids_contrast(contrast: str) -> None:
    if not re.fullmatch(r"(?:[a-z]+-[A-Za-z0-9]+_)*[A-Za-z0-9]+", contrast):
        raise InputError(f"The contrast must be a BIDS suffix such as T1w, T2w or FLAIR, got {contrast!r}.")


def _label(text: str, what: str) -> str:
    """Return ``text`` as a BIDS label: letters and digits only."""
    label = re.sub(r"[^A-Za-z0-9]", "", text)
    if not label:
        raise InputError(f"The {what} must hold letters or digits, got {text!r}.")
    return label


def _rater(text: str) -> str:
    """Return the rater's label, as in the file's name; a plain number becomes ``rater1``."""
    label = _label(text, "rater")
    if label in METHODS:
        raise InputError(
            f"A rater must not be called {label}, which is how labels fused by that method are named. Leave these "
            "files out of --mask, or rename them."
        )
    return f"rater{int(label)}" if label.isdigit() else label


def _plan(
    files: Sequence[SourceFile],
    *,
    image: tuple[str, re.Pattern[str]],
    mask: tuple[str, re.Pattern[str]],
    classes: Mapping[str, int | None] | None,
    contrast: str,
    title: str,
    root: Path,
) -> DatasetPlan:
    images: dict[str, Files] = {}
    masks: dict[str, Files] = {}
    sources: dict[str, str] = {}
    institutions: dict[str, str | None] = {}
    problems: list[PlanProblem] = []
    for file in files:
        path = _path(root, file.parts)
        for pattern, table in ((image[1], images), (mask[1], masks)):
            match = pattern.fullmatch(path)
            if not match:
                continue
            fields = match.groupdict()
            name = f"sub-{_label(fields['subject'], 'subject')}"
            if sources.setdefault(name, fields["subject"]) != fields["subject"]:
                raise InputError(
                    f"Two subjects become {name}: {sources[name]!r} and {fields['subject']!r}. BIDS names hold letters "
                    "and digits only; rename one."
                )
            if table is images:
                key = fields.get("contrast") or contrast
                _check_bids_contrast(key)
                institutions.setdefault(name, fields.get("institution"))
            else:
                key = (_rater(fields["rater"]), _label(fields["class"], "class") if "class" in fields else None)
            table.setdefault(name, Files()).add(key, file)
    for table, (text, _), what in ((images, image, "--image"), (masks, mask, "--mask")):
        if not table:
            raise InputError(
                f"{what} must match files, got no match for {text!r}. Quote it, so that the shell leaves it."
            )
    names = tuple(classes) if classes else tuple(sorted({key[1] for table in masks.values() for key in table.found}))
    raters = tuple(
        sorted({key[0] for table in masks.values() for key in table.found}, key=lambda rater: (len(rater), rater))
    )
    contrasts = sorted({key for table in images.values() for key in table.found})
    problems += [
        PlanProblem(
            "warning", "", f"{key} is no contrast that BIDS knows. ivadomed finds its images only with "
            '"bids_validate": false in loader_parameters; better take one of BIDS, such as T1w, T2w or FLAIR.',
        )
        for key in contrasts
        if not is_bids_contrast(key)
    ]  # fmt: skip
    subjects = []
    for name in sorted(sources):
        for table in (images.get(name), masks.get(name)):
            problems += [PlanProblem(level, name, text) for level, text in (table.problems if table else [])]
        subject = _plan_subject(name, sources[name], images, masks, classes, contrast, names, raters, problems)
        if subject:
            institution = institutions.get(name)
            with_institution = {"institution_id": institution} if institution else {}
            subjects.append(
                SubjectPlan(subject.name, subject.source_id, with_institution, subject.images, subject.masks)
            )
    columns = {"source_id": "Name of the subject in the files"}
    if any(institutions.values()):
        columns = {"institution_id": "Centre that acquired the image", **columns}
    return DatasetPlan(
        title=title,
        description={"License": "See README"},
        readme=README.format(title=title, line="=" * len(title), image=image[0], mask=mask[0]),
        columns=columns,
        classes=names,
        raters=raters,
        exclusive=len(names) > 1,
        template=None,
        subjects=subjects,
        problems=problems,
    )


def _plan_subject(
    name: str,
    source_id: str,
    images: Mapping[str, Files],
    masks: Mapping[str, Files],
    classes: Mapping[str, int | None] | None,
    contrast: str,
    names: Sequence[str],
    raters: Sequence[str],
    problems: list[PlanProblem],
) -> SubjectPlan | None:
    """Return the SubjectPlan, or None if the subject has no image or no mask."""
    if name not in images or contrast not in images[name].found:
        have = ", ".join(images[name].found) if name in images else "no image at all"
        problems.append(PlanProblem("warning", name, f"{source_id} has no {contrast} image ({have}) and is left out."))
        return None
    if name not in masks:
        problems.append(PlanProblem("warning", name, f"{source_id} has no mask and is left out."))
        return None
    found = images[name].found
    ordered = [contrast, *sorted(set(found) - {contrast})]
    mask_plans: list[MaskPlan] = []
    for rater in raters:
        keys = [(rater, None)] if classes else [(rater, class_name) for class_name in names]
        lacking = [key[1] or "mask" for key in keys if key not in masks[name].found]
        if lacking:
            problems.append(PlanProblem("warning", name, f"{source_id} lacks {', '.join(lacking)} of {rater}."))
        mask_plans += [
            MaskPlan(rater, masks[name].found[key], dict(classes) if classes else {str(key[1]): None})
            for key in keys
            if key in masks[name].found
        ]
    return SubjectPlan(name, source_id, {}, tuple(ImagePlan(key, found[key]) for key in ordered), tuple(mask_plans))
