"""A phantom of the SCGM challenge 2016: axial T2*-weighted slices of the cervical cord with gray matter butterfly.

The geometry (voxel size, matrix, number of slices) is that of the challenge's four sites (Prados et al. 2017,
doi 10.1016/j.neuroimage.2017.03.010, and its public headers); sizes other than ``full`` keep the voxel sizes and
shorten the field of view and the stack.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.data.volumes import save_nifti
from ivadomed_labelfusion.phantom import _common as common

TRAINING = "training-data-gm-sc-challenge-ismrm16-v20160302b"
TEST = "test-data-gm-sc-challenge-ismrm16-v20160401"
LAYOUTS = ("flat", "folder", "zip", "zip-folder")

# site -> voxel size in mm, in-plane matrix and slices per size, axis codes on disk, noise, intensity scale
SITES: dict[int, dict[str, Any]] = {
    1: {"voxel": (0.5, 0.5, 5.0), "full": (100, 100, 3), "small": (72, 72, 4), "tiny": (48, 48, 3),
        "axes": "RAS", "noise": 0.045, "scale": 900},
    2: {"voxel": (0.5, 0.5, 7.5), "full": (320, 320, 12), "small": (80, 80, 10), "tiny": (48, 48, 4),
        "axes": "LPS", "noise": 0.035, "scale": 350},
    3: {"voxel": (0.25, 0.25, 2.5), "full": (656, 752, 27), "small": (144, 152, 14), "tiny": (96, 96, 5),
        "axes": "LAS", "noise": 0.05, "scale": 500},
    4: {"voxel": (0.29, 0.29, 5.0), "full": (512, 512, 13), "small": (128, 124, 8), "tiny": (84, 84, 4),
        "axes": "LPS", "noise": 0.04, "scale": 1600},
}  # fmt: skip
OFF_CENTRE_MM = {"full": 8.0, "small": 1.5, "tiny": 0.5}

# signal of the tissues in T2*-weighted gradient echo, CSF = 1
SIGNAL = {"csf": 1.0, "gm": 0.74, "wm": 0.52, "muscle": 0.40, "bone": 0.16, "disc": 0.55}


def _raters(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Draw the habits of four raters: evenly spread biases in random order, and boundary noise, all in mm."""
    gm_bias = rng.permutation([-0.18, -0.06, 0.06, 0.18])
    cord_bias = rng.permutation([-0.24, -0.08, 0.08, 0.24])
    return [
        {
            "rater": index + 1,
            "gm_bias_mm": float(gm_bias[index]),
            "cord_bias_mm": float(cord_bias[index]),
            "boundary_sd_mm": float(np.round(rng.uniform(0.08, 0.2), 3)),
            "corr_mm": float(np.round(rng.uniform(0.6, 1.5), 3)),
        }
        for index in range(4)
    ]


def _anatomy(
    rng: np.random.Generator, shape: Sequence[int], voxel: Sequence[float], off_centre_mm: float
) -> dict[str, NDArray]:
    """Return signed distances in mm (negative inside) of cord, gray matter, canal, vertebral body and lamina."""
    nx, ny, nz = shape
    x = ((np.arange(nx) - (nx - 1) / 2) * voxel[0])[:, None, None]
    y = ((np.arange(ny) - (ny - 1) / 2) * voxel[1])[None, :, None]
    level = np.linspace(-1, 1, nz)[None, None, :] if nz > 1 else np.zeros((1, 1, 1))
    shift = rng.uniform(-off_centre_mm, off_centre_mm, 2)
    # a gently curved centreline and a slowly turning cross-section
    cx = shift[0] + 0.4 * rng.standard_normal() * level
    cy = shift[1] + 1.0 * rng.standard_normal() * level**2 + 0.4 * rng.standard_normal() * level
    angle = np.deg2rad(rng.uniform(-4, 4) + 3 * rng.standard_normal() * level)
    u = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
    v = -np.sin(angle) * (x - cx) + np.cos(angle) * (y - cy)
    size = rng.uniform(0.92, 1.08) * (1 - 0.06 * level**2)
    u, v = u / size, v / size
    cord = common.ellipse(u, v, 6.4 + 0.4 * rng.uniform(-1, 1), 4.1 + 0.3 * rng.uniform(-1, 1))
    # ventral median fissure
    cord = np.maximum(cord, -common.ellipse(u, v - 4.4, 0.35, 1.3))

    side = np.abs(u)
    spread, horn = rng.uniform(0.9, 1.1), rng.uniform(0.9, 1.1) * (1 + 0.12 * level)
    ventral = common.ellipse(side - 2.1 * spread, v - 0.95, 1.05 * horn, 1.25 * horn)
    tilt = np.deg2rad(rng.uniform(16, 26))
    du, dv = side - 1.95 * spread, v + 0.95
    dorsal = common.ellipse(
        np.cos(tilt) * du + np.sin(tilt) * dv, -np.sin(tilt) * du + np.cos(tilt) * dv, 0.5 * horn, 1.9
    )
    bridge = common.ellipse(u, v - 0.25, 2.0 * spread, 0.42)
    gm = common.smooth_union(common.smooth_union(ventral, dorsal, 0.5), bridge, 0.4)
    gm = np.maximum(gm, cord + 0.3)

    canal = common.ellipse(u, v - 0.2, 9.6, 6.9)
    body = common.ellipse(u, v - 16.5, 11.5, 9.0)
    lamina = np.maximum(common.ellipse(u, v + 3.0, 14.0, 11.0), -common.ellipse(u, v - 0.2, 10.6, 7.9))
    return {
        name: np.ascontiguousarray(np.broadcast_to(field * size, shape), dtype=np.float32)
        for name, field in {"cord": cord, "gm": gm, "canal": canal, "body": body, "lamina": lamina}.items()
    }


def _image(
    rng: np.random.Generator, fields: Mapping[str, NDArray], voxel: Sequence[float], site: Mapping[str, Any]
) -> NDArray:
    """Return the T2*-weighted image, float32, of the signed distances ``fields``."""
    shape = fields["cord"].shape
    width = 1.3 * max(voxel[:2])
    image = SIGNAL["muscle"] * (1 + 0.22 * common.smooth_noise(rng, shape, voxel, 1.6))
    for name, tissue in (("body", "disc"), ("lamina", "bone"), ("canal", "csf"), ("cord", "wm"), ("gm", "gm")):
        share = common.inside(fields[name], width)
        image += share * (SIGNAL[tissue] - image)
    # a dark rim (dura, ligament, cortical bone) around the canal, and tissue texture
    image *= 1 - 0.6 * np.exp(-(((fields["canal"] - 0.6) / 0.5) ** 2))
    image *= 1 + 0.03 * common.smooth_noise(rng, shape, voxel, 0.5)
    image *= np.exp(0.12 * common.smooth_noise(rng, shape, voxel, 12.0))
    return common.rician(rng, image, site["noise"]).astype(np.float32) * site["scale"]


def _rater_mask(
    rng: np.random.Generator, fields: Mapping[str, NDArray], voxel: Sequence[float], rater: Mapping[str, Any]
) -> NDArray:
    """Return what the rater draws: 0 background, 1 gray matter, 2 white matter (uint8)."""
    shape = fields["cord"].shape
    noise = [common.smooth_noise(rng, shape, voxel, rater["corr_mm"]) * rater["boundary_sd_mm"] for _ in range(2)]
    cord = fields["cord"] < rater["cord_bias_mm"] + noise[0]
    gm = (fields["gm"] < rater["gm_bias_mm"] + noise[1]) & cord
    return np.where(gm, 1, np.where(cord, 2, 0)).astype(np.uint8)


def generate_scgm(
    out: str | os.PathLike[str],
    *,
    subjects: int = 8,
    seed: int = 0,
    size: str = "small",
    layout: str = "folder",
    without_masks: int = 0,
    missing_rater: bool = False,
    float_masks: bool = False,
    progress: bool = False,
) -> Path:
    """Generate a raw SCGM dataset: images and the masks of four raters with known habits.

    Subjects are dealt to sites 1 to 4 in turn. ``OUT/phantom.json`` holds the raters' habits (biases and standard
    deviations in mm) and, per subject and class, every rater's sensitivity, specificity and Dice against the true mask,
    which is in ``OUT/phantom_truth/``. Equal arguments give equal bytes.

    Args:
        out: Folder to create; must not exist or be empty.
        subjects: Number of subjects with masks (at least 1).
        seed: Seed of everything random.
        size: ``full`` (the sites' matrices), ``small`` (36-40 mm field of view, 4-14 slices) or ``tiny`` (24 mm).
        layout: ``folder`` (named after the challenge's zip), ``flat``, ``zip``, or ``zip-folder``
            (a zip that holds a folder).
        without_masks: Further subjects in the test archive, which has no masks.
        missing_rater: The second subject lacks the mask of rater 4 (the first, if there is one only).
        float_masks: The masks of the first subject hold non-integer values, as some copies do.
        progress: Show a progress bar on stderr.

    Returns:
        Path: ``out``, as input of ``prepare.prepare_scgm``.

    Raises:
        InputError: For a bad argument or an output folder that is not empty.
    """
    common.check_arguments(
        subjects=subjects, more=without_masks, seed=seed, size=size, sizes=OFF_CENTRE_MM, layout=layout, layouts=LAYOUTS
    )
    raters = _raters(np.random.default_rng([seed, 0]))
    plan = [(index, TRAINING) for index in range(subjects)] + [(index, TEST) for index in range(without_masks)]
    truth = {}
    with common.new_folder(out) as root:
        for index, archive in common.track(plan, "SCGM phantom", progress):
            training = archive == TRAINING
            site, number = index % 4 + 1, index // 4 + (1 if training else 11)
            name = f"site{site}-sc{number:02d}"
            folder = root if layout == "flat" else root / archive
            truth[name] = _write_subject(
                folder, root, name, SITES[site], size, np.random.default_rng([seed, site, number]),
                raters=raters if training else [],
                missing={4} if missing_rater and index == min(1, subjects - 1) else set(),
                float_masks=float_masks and index == 0,
            )  # fmt: skip
        if layout.startswith("zip"):
            for archive in dict.fromkeys(archive for _, archive in plan):
                prefix = f"{archive}/" if layout == "zip-folder" else ""
                common.zip_folder(root / archive, root / f"{archive}.zip", prefix=prefix)
        common.write_parameters(
            root,
            {
                "dataset": "scgm", "subjects": subjects, "seed": seed, "size": size, "layout": layout,
                "classes": {"GM": 1, "WM": 2}, "raters": raters, "truth": truth,
            },
        )  # fmt: skip
    return Path(out)


def _write_subject(
    folder: Path,
    root: Path,
    name: str,
    site: Mapping[str, Any],
    size: str,
    rng: np.random.Generator,
    *,
    raters: Sequence[Mapping[str, Any]],
    missing: Collection[int],
    float_masks: bool,
) -> dict[str, Any]:
    """Write image, masks, levels and truth of one subject; return its entry for ``phantom.json``."""
    shape, voxel = site[size], site["voxel"]
    affine = common.oblique_affine(
        shape, voxel,
        rotation_deg=(rng.uniform(-14, 14), rng.uniform(-3, 3), rng.uniform(-3, 3)),
        shift_mm=rng.uniform(-15, 15, 3),
    )  # fmt: skip
    fields = _anatomy(rng, shape, voxel, OFF_CENTRE_MM[size])

    def save(path: Path, data: NDArray) -> None:
        like = common.grid_image(affine, data, site["axes"])
        save_nifti(path, np.asanyarray(like.dataobj), like)

    save(folder / f"{name}-image.nii.gz", np.round(_image(rng, fields, voxel, site)).astype(np.int16))
    levels = "".join(f"{index},{3 + index * 3 // shape[2]}\n" for index in range(shape[2]))
    (folder / f"{name}-levels.txt").write_text(levels, encoding="utf-8")
    license_file = folder / "license.txt"
    if not license_file.exists():
        license_file.write_text("Generated phantom, no person's data. Use it freely.\n", encoding="utf-8")
    true_gm = fields["gm"] < 0
    true_mask = np.where(true_gm, 1, np.where(fields["cord"] < 0, 2, 0)).astype(np.uint8)
    entry: dict[str, Any] = {
        "gm_voxels": int((true_mask == 1).sum()),
        "wm_voxels": int((true_mask == 2).sum()),
        "raters": {},
    }
    if not raters:
        return entry
    truth_path = root / common.TRUTH_FOLDER / f"{name}-truth.nii.gz"
    save(truth_path, true_mask)
    entry["file"] = truth_path.relative_to(root).as_posix()
    for rater in raters:
        mask = _rater_mask(rng, fields, voxel, rater)
        entry["raters"][str(rater["rater"])] = {
            label: common.agreement(mask == value, true_mask == value) for label, value in (("GM", 1), ("WM", 2))
        }
        if rater["rater"] in missing:
            continue
        # the copies with non-integer values hold a rim of 0.2 around the cord, and float data
        data = np.where((mask == 0) & (fields["cord"] < 0.5), np.float32(0.2), mask) if float_masks else mask
        save(folder / f"{name}-mask-r{rater['rater']}.nii.gz", data.astype(np.float32) if float_masks else data)
    if missing:
        entry["missing_raters"] = sorted(missing)
    return entry
