"""SCGM challenge 2016 (Prados et al. 2017, doi 10.1016/j.neuroimage.2017.03.010): planning the conversion."""

import functools
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ivadomed_labelfusion.prepare import _dataset
from ivadomed_labelfusion.prepare._plan import DatasetPlan, ImagePlan, MaskPlan, PlanProblem, SubjectPlan
from ivadomed_labelfusion.prepare._report import Report
from ivadomed_labelfusion.prepare._source import Files, SourceFile

CONTRAST = "T2starw"
CLASSES = {"GM": 1, "WM": 2}
RATERS = tuple(f"rater{number}" for number in range(1, 5))
TEMPLATE = "scgm_softseg_average"

_FILE = re.compile(r"site(?P<site>[1-4])-sc(?P<number>\d{2})-(?P<what>image|mask-r(?P<rater>[1-4]))\.nii(\.gz)?")

# the sites and what is published of their acquisition (Prados et al. 2017; times in s, as BIDS wants)
SITES = {
    "1": (
        "ucl",
        {
            "InstitutionName": "University College London",
            "Manufacturer": "Philips",
            "ManufacturersModelName": "Achieva",
            "MagneticFieldStrength": 3,
            "RepetitionTime": 0.023,
            "EchoTime": 0.005,
            "FlipAngle": 7,
        },
    ),
    "2": (
        "unf",
        {
            "InstitutionName": "Ecole Polytechnique de Montreal, Unite de Neuroimagerie Fonctionnelle",
            "Manufacturer": "Siemens",
            "ManufacturersModelName": "TIM Trio",
            "MagneticFieldStrength": 3,
            "RepetitionTime": 0.539,
            "FlipAngle": 35,
            # a single EchoTime would be a guess: three echoes were averaged offline
            "EchoTimesAveraged": [0.00541, 0.01256, 0.01916],
        },
    ),
    "3": (
        "zurich",
        {
            "InstitutionName": "University Hospital Zurich",
            "Manufacturer": "Siemens",
            "ManufacturersModelName": "Skyra",
            "MagneticFieldStrength": 3,
        },
    ),
    "4": (
        "vanderbilt",
        {"InstitutionName": "Vanderbilt University", "Manufacturer": "Philips", "MagneticFieldStrength": 3},
    ),
}

README = """
Spinal cord gray matter segmentation challenge 2016
===================================================
T2*-weighted images of the cervical spinal cord from four centres, with the gray and white matter drawn by four raters.

Source: http://cmictig.cs.ucl.ac.uk/niftyweb/program.php?p=CHALLENGE (registration needed). Converted from the original
download by ivadomed_labelfusion; images are unchanged, each rater's label map (0 background, 1 gray matter, 2 white
matter) was split into one binary mask per class below derivatives/labels. The vertebral levels (-levels.txt) and the
test images, which have no public masks, are not part of this dataset.

Licence: the terms that you accepted on download apply; see LICENSE if the download held one. Do not pass the data on
without checking them.

Cite: Prados F. et al. Spinal cord grey matter segmentation challenge. NeuroImage 152 (2017) 312-329,
doi 10.1016/j.neuroimage.2017.03.010.
"""


def prepare_scgm(raw: str | os.PathLike[str], out: str | os.PathLike[str], **options: Any) -> Report:
    """Convert the raw SCGM challenge download to a BIDS dataset for ivadomed.

    Args:
        raw: A zip, a folder of zips, or an unpacked folder, flat or not, in any letter case.
        out: The dataset to write; appears only when it is complete.
        subjects (iterable of str): Keep these only (BIDS or source names, patterns such as ``ucl*``). None keeps all.
        fuse (iterable of str): Fusion methods whose results are written too, such as ``("staple", "average")``.
        roi (str or None): Write a region of interest for ROICrop around ``raters`` (the raters' cord, label-based) or
            a given mask or centreline, a path with ``{subject}`` or ``{source_id}``.
        jobs (int): Number of processes.
        dry_run (bool): Print the plan as a table and write nothing.
        overwrite (bool): Replace a dataset that this function wrote before.
        symlink (bool): Link the images instead of copying them; needs an unpacked folder.
        repair_affine (bool): Take the image's affine for masks whose header differs by rounding only.
        strict (bool): Turn warnings into errors.
        progress (bool): Show plan and progress on stderr.

    Returns:
        Report: Plan, volumes in mm^3, pairwise Dice, share kept by the crop, and problems. Equal input gives equal
            bytes.

    Raises:
        InputError: If the download cannot be used; the message lists all errors, and nothing is written.
    """
    return _dataset.run(raw, out, plan, _accept, **options)


def _accept(parts: tuple[str, ...]) -> bool:
    name = parts[-1].lower()
    return bool(_FILE.fullmatch(name)) or name == "license.txt"


def plan(files: Sequence[SourceFile]) -> DatasetPlan:
    """Return the plan of the files of a download."""
    table = Files()
    license_file = None
    for file in files:
        if file.name == "license.txt":
            license_file = license_file or file
            continue
        match = _FILE.fullmatch(file.name)
        if match:
            table.add((match["site"], match["number"], match["what"]), file)
    problems = [PlanProblem(level, "", text) for level, text in table.problems]
    subjects, unlabelled = [], 0
    for site, number in sorted({key[:2] for key in table.found}):
        get = functools.partial(_get, table.found, site, number)
        institution, sidecar = SITES[site]
        name, source_id = f"sub-{institution}{number}", f"site{site}-sc{number}"
        masks = tuple(
            MaskPlan(rater, file, CLASSES) for rater in RATERS if (file := get(f"mask-r{rater[-1]}")) is not None
        )
        image = get("image")
        if image is None:
            problems.append(
                PlanProblem(
                    "warning", name, f"{source_id} has masks but no image ({source_id}-image.nii.gz) and is left out."
                )
            )
            continue
        if not masks:
            unlabelled += 1
            continue
        missing = [rater for rater in RATERS if rater not in {mask.rater for mask in masks}]
        if missing:
            problems.append(
                PlanProblem(
                    "warning",
                    name,
                    f"{source_id} lacks the masks of {', '.join(missing)}. Configurations that name them need "
                    "a subject without gaps: get the files, or leave the subject out with --subjects.",
                )
            )
        subjects.append(
            SubjectPlan(name, source_id, {"institution_id": institution}, (ImagePlan(CONTRAST, image, sidecar),), masks)
        )
    if unlabelled:
        problems.append(
            PlanProblem(
                "note", "", f"{unlabelled} subjects without masks (the test archive) are left out, as in the study."
            )
        )
    return DatasetPlan(
        title="Spinal cord gray matter segmentation challenge 2016",
        description={
            "License": "See README and LICENSE",
            "HowToAcknowledge": "Cite Prados et al. 2017, see README",
            "ReferencesAndLinks": ["https://doi.org/10.1016/j.neuroimage.2017.03.010"],
            "SourceDatasets": [{"URL": "http://cmictig.cs.ucl.ac.uk/niftyweb/program.php?p=CHALLENGE"}],
        },
        readme=README,
        columns={
            "institution_id": "Centre that acquired the image",
            "source_id": "Stem of the subject's files in the download",
        },
        classes=tuple(CLASSES),
        raters=RATERS,
        exclusive=True,
        template=TEMPLATE,
        subjects=sorted(subjects, key=lambda subject: subject.name),
        problems=problems,
        license_file=license_file,
    )


def _get(found: Mapping[tuple[str, str, str], SourceFile], site: str, number: str, what: str) -> SourceFile | None:
    return found.get((site, number, what))
