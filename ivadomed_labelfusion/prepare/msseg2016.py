"""MSSEG-2016 (Commowick et al. 2018, doi 10.1038/s41598-018-31911-7; 2021, doi 10.1016/j.neuroimage.2021.118589)."""

import functools
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.extras import require
from ivadomed_labelfusion.prepare import _dataset
from ivadomed_labelfusion.prepare._plan import DatasetPlan, ImagePlan, MaskPlan, PlanProblem, SubjectPlan
from ivadomed_labelfusion.prepare._report import Report
from ivadomed_labelfusion.prepare._source import Files, SourceFile

# name, source_id, centre, part
About = tuple[str, str, str, str]
Found = Mapping[tuple[str, str], SourceFile]

# BIDS contrast -> names of its files without extension, in lower case; FLAIR comes first: it carries the labels
CONTRASTS = {
    "FLAIR": ("flair", "3dflair"),
    "T1w": ("t1", "3dt1"),
    "ce-gadolinium_T1w": ("gado", "3dt1gado", "t1gado"),
    "T2w": ("t2",),
    "PDw": ("dp", "pd"),
}
SPACES = ("preprocessed", "raw")
RATERS = tuple(f"rater{number}" for number in range(1, 8))
TEMPLATE = "ms_softseg_average"

_MASK = re.compile(r"manualsegmentation_?(?P<rater>[1-7])")
_OLDER_SUBJECT = re.compile(r"(?P<centre>\d{2})\d{3}[a-z]{4}", re.IGNORECASE)
_CENTRE = re.compile(r"center_?(?P<centre>\d{2})", re.IGNORECASE)
_PATIENT = re.compile(r"patient_?(?P<patient>\d+)", re.IGNORECASE)
_BY_NAME = {name: contrast for contrast, names in CONTRASTS.items() for name in names}

# what is published of the centres' scanners
SCANNERS = {
    "01": {"Manufacturer": "Siemens", "ManufacturersModelName": "Verio", "MagneticFieldStrength": 3},
    "07": {"Manufacturer": "Siemens", "ManufacturersModelName": "Aera", "MagneticFieldStrength": 1.5},
    "08": {"Manufacturer": "Philips", "ManufacturersModelName": "Ingenia", "MagneticFieldStrength": 3},
}

README = """
MSSEG-2016: multiple sclerosis lesions drawn by seven experts
=============================================================
Brain images of patients with multiple sclerosis in five contrasts, with the lesions drawn by seven experts on 3D FLAIR
and the consensus published with them.

Source: https://portal.fli-iam.irisa.fr/msseg-challenge/ (registration needed). Converted from the original download by
ivadomed_labelfusion. Images: {space}. Masks are binary, in 3D FLAIR space, and never resampled.

Licence: the terms that you accepted on download apply. Do not pass the data on without checking them.

Cite: Commowick O. et al. Objective evaluation of multiple sclerosis lesion segmentation using a data management and
processing infrastructure. Scientific Reports 8 (2018) 13650, doi 10.1038/s41598-018-31911-7.
Commowick O. et al. Multiple sclerosis lesions segmentation from multiple experts: the MICCAI 2016 challenge dataset.
NeuroImage 244 (2021) 118589, doi 10.1016/j.neuroimage.2021.118589.
"""
SPACE_TEXT = {
    "preprocessed": "pre-processed by the challenge (denoised, registered to FLAIR, brain extracted, bias corrected)",
    "raw": "raw; all but FLAIR were registered rigidly to FLAIR and resampled, see the sidecars",
}


def prepare_msseg2016(
    raw: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    contrasts: Iterable[str] | None = None,
    space: str = "preprocessed",
    **options: Any,
) -> Report:
    """Convert the raw MSSEG-2016 download, public release or older challenge layout, to a BIDS dataset for ivadomed.

    Labels are written once per subject, on the FLAIR stem.

    Args:
        raw: A zip, a folder of zips, or an unpacked folder, in any letter case.
        out: The dataset to write; appears only when it is complete.
        contrasts: BIDS contrasts to keep (``FLAIR``, ``T1w``, ``ce-gadolinium_T1w``, ``T2w``,
            ``PDw``; the download's names T1, GADO, T2, DP work too). FLAIR must be among them. None keeps all five.
        space: ``preprocessed`` takes the challenge's pre-processed images; ``raw`` the raw ones, registered
            rigidly to FLAIR with SimpleITK and resampled. Masks are never resampled.
        **options: subjects, fuse, roi, jobs, dry_run, overwrite, symlink, repair_affine, strict and progress, as for
            ``prepare_scgm``; ``roi`` may also be ``brain`` (the download's brain mask).

    Returns:
        Report: Plan, volumes in mm^3, pairwise Dice, share kept by the crop, and problems.

    Raises:
        InputError: If the download cannot be used; the message lists all errors, and nothing is written.
    """
    if space not in SPACES:
        raise InputError(f"space must be one of {', '.join(SPACES)}, got {space!r}.")
    chosen = tuple(CONTRASTS) if contrasts is None else _contrasts(contrasts)
    if space == "raw" and len(chosen) > 1:
        require("prepare", what="prepare msseg2016 --space raw")
    return _dataset.run(raw, out, functools.partial(plan, contrasts=chosen, space=space), _accept, **options)


def _contrasts(names: Iterable[str]) -> tuple[str, ...]:
    """Return BIDS contrasts in the project's order."""
    chosen = set()
    for name in names:
        contrast = name if name in CONTRASTS else _BY_NAME.get(name.lower())
        if contrast is None:
            raise InputError(f"contrasts must be among {', '.join(CONTRASTS)}, got {name!r}.")
        chosen.add(contrast)
    if "FLAIR" not in chosen:
        raise InputError(f"contrasts must hold FLAIR, on which the labels were drawn, got {', '.join(sorted(chosen))}.")
    return tuple(contrast for contrast in CONTRASTS if contrast in chosen)


def _accept(parts: tuple[str, ...]) -> bool:
    return _subject(parts) is not None and _role(parts[-1].lower()) is not None


def _subject(parts: tuple[str, ...]) -> About | None:
    """Return ``(name, source_id, centre, part)`` of the subject that a place belongs to, or None."""
    part = "testing" if any("testing" in folder.lower() for folder in parts[:-1]) else "training"
    for index in range(len(parts) - 2, -1, -1):
        older = _OLDER_SUBJECT.fullmatch(parts[index])
        if older:
            return f"sub-{parts[index].upper()}", parts[index].upper(), older["centre"], part
        patient = _PATIENT.fullmatch(parts[index])
        centre = _CENTRE.fullmatch(parts[index - 1]) if patient and index else None
        if patient and centre:
            number = int(patient["patient"])
            letter = "t" if part == "testing" else "p"
            name = f"sub-c{centre['centre']}{letter}{number:02d}"
            return name, f"Center_{centre['centre']}/Patient_{number:02d}", centre["centre"], part
    return None


def _role(name: str) -> tuple[str, str] | None:
    """Return ``(space, contrast)``, ``("mask", rater)``, ``("mask", "consensus")``, ``("brain", "")``, or None."""
    stem = name.removesuffix(".gz")
    if not stem.endswith(".nii"):
        return None
    stem = stem.removesuffix(".nii")
    mask = _MASK.fullmatch(stem)
    if mask:
        return "mask", f"rater{mask['rater']}"
    if stem == "consensus":
        return "mask", "consensus"
    if stem in ("brain_mask", "mask_registered"):
        return "brain", ""
    base = stem.removesuffix("_preprocessed")
    if base in _BY_NAME:
        return ("preprocessed" if base != stem else "raw"), _BY_NAME[base]
    return None


def plan(files: Sequence[SourceFile], *, contrasts: Sequence[str], space: str) -> DatasetPlan:
    """Return the plan of the files of a download."""
    tables: dict[str, Files] = {}
    about: dict[str, About] = {}
    for file in files:
        subject, role = _subject(file.parts), _role(file.name)
        if subject is None or role is None:
            continue
        about[subject[0]] = subject
        tables.setdefault(subject[0], Files()).add(role, file)
    problems: list[PlanProblem] = []
    subjects: list[SubjectPlan] = []
    older = sorted(name for name in about if not name.startswith("sub-c"))
    for name, table in sorted(tables.items()):
        problems += [PlanProblem(level, name, text) for level, text in table.problems]
        planned = _plan_subject(about[name], table.found, contrasts, space, problems)
        if planned is not None:
            subjects.append(planned)
    _say_missing_contrasts(problems, tables, contrasts, space)
    if older:
        problems.append(
            PlanProblem(
                "warning",
                "",
                "the older challenge layout: in releases before raw v3 the raters' numbers are not consistent across "
                "patients, so rater1 may be different people. Do not compare raters across patients, or get the public "
                "release.",
            )
        )
    parts = Counter(about[planned.name][3] for planned in subjects)
    if parts["testing"]:
        problems.append(
            PlanProblem(
                "note",
                "",
                f"{parts['training']} training and {parts['testing']} testing subjects; the study uses the training "
                "ones. Keep them with --subjects 'c??p*'.",
            )
        )
    return DatasetPlan(
        title="MSSEG-2016",
        description={
            "License": "See README",
            "HowToAcknowledge": "Cite Commowick et al. 2018 and 2021, see README",
            "ReferencesAndLinks": [
                "https://doi.org/10.1038/s41598-018-31911-7",
                "https://doi.org/10.1016/j.neuroimage.2021.118589",
            ],
            "SourceDatasets": [{"URL": "https://portal.fli-iam.irisa.fr/msseg-challenge/"}],
        },
        readme=README.format(space=SPACE_TEXT[space]),
        columns={
            "institution_id": "Centre that acquired the images",
            "source_id": "Name of the subject in the download",
            "challenge_part": "Part of the challenge's data: training or testing",
        },
        classes=("lesion",),
        raters=RATERS,
        exclusive=False,
        template=TEMPLATE,
        subjects=subjects,
        problems=problems,
    )


def _plan_subject(
    about: About, found: Found, contrasts: Sequence[str], space: str, problems: list[PlanProblem]
) -> SubjectPlan | None:
    """Return the SubjectPlan, or None if the subject has no FLAIR or no mask."""
    name, source_id, centre, part = about
    if (space, "FLAIR") not in found:
        other = next((s for s in SPACES if s != space and (s, "FLAIR") in found), None)
        hint = f" There is a {other} one: try --space {other}." if other else ""
        problems.append(PlanProblem("error", name, f"{source_id} has no {space} FLAIR image.{hint}"))
        return None
    missing = [rater for rater in RATERS if ("mask", rater) not in found]
    if len(missing) == len(RATERS):
        problems.append(PlanProblem("warning", name, f"{source_id} has no rater's mask and is left out."))
        return None
    if missing:
        problems.append(
            PlanProblem(
                "warning",
                name,
                f"{source_id} lacks the masks of {', '.join(missing)}. Configurations that name them need a subject "
                "without gaps: get the files, or leave the subject out with --subjects.",
            )
        )
    masks = tuple(
        MaskPlan(who, found["mask", who], {"lesion": None}, is_consensus=who == "consensus")
        for who in (*RATERS, "consensus")
        if ("mask", who) in found
    )
    images = tuple(
        ImagePlan(
            contrast,
            found[space, contrast],
            _sidecar(contrast, centre, space),
            register=space == "raw" and contrast != "FLAIR",
        )
        for contrast in contrasts
        if (space, contrast) in found
    )
    participant = {"institution_id": f"center{centre}", "challenge_part": part}
    return SubjectPlan(name, source_id, participant, images, masks, found.get(("brain", "")))


def _sidecar(contrast: str, centre: str, space: str) -> dict[str, Any]:
    sidecar: dict[str, Any] = dict(SCANNERS.get(centre, {}))
    if contrast == "ce-gadolinium_T1w":
        sidecar["ContrastBolusIngredient"] = "GADOLINIUM"
    if space == "preprocessed":
        sidecar["SkullStripped"] = True
    sidecar["Processing"] = SPACE_TEXT["preprocessed"] if space == "preprocessed" else "none by the challenge"
    return sidecar


def _say_missing_contrasts(
    problems: list[PlanProblem], tables: Mapping[str, Files], contrasts: Sequence[str], space: str
) -> None:
    """Add one error per contrast that some subject with FLAIR lacks, with what exists and how to go on."""
    with_flair = {name: table.found for name, table in tables.items() if (space, "FLAIR") in table.found}
    for contrast in contrasts:
        lacking = [name for name, found in with_flair.items() if (space, contrast) not in found]
        if not lacking:
            continue
        everywhere = [c for c in CONTRASTS if all((space, c) in found for found in with_flair.values())]
        none = len(lacking) == len(with_flair)
        who = (
            f"no subject has a {space} {contrast} image"
            if none
            else f"{', '.join(lacking)}: no {space} {contrast} image"
        )
        problems.append(
            PlanProblem(
                "error",
                "",
                f"{who}. All subjects have: {', '.join(everywhere)}. Go on without it: "
                f"--contrasts {' '.join(everywhere)} (and take {contrast} out of contrast_params, too).",
            )
        )
