"""A phantom of MSSEG-2016: brains with multiple sclerosis lesions in five contrasts, drawn by seven raters.

The geometry of size ``full`` is that of the 3D FLAIR images of the four centres (Commowick et al. 2018,
doi 10.1038/s41598-018-31911-7); the smaller sizes are axial slabs around the ventricles. The
anatomy comes from ``_brain``.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.data.volumes import save_nifti
from ivadomed_labelfusion.phantom import _brain
from ivadomed_labelfusion.phantom import _common as common

LAYOUTS = ("public", "public-zip", "older", "older-zip")
CONTRASTS = ("FLAIR", "T1", "T2", "DP", "GADO")
OLDER_NAMES = {"FLAIR": "3DFLAIR", "T1": "3DT1", "T2": "T2", "DP": "DP", "GADO": "3DT1GADO"}
N_RATERS = 7
SMALL_LESION_MM = 4.0

# centre -> (voxel size in mm, matrix) of the FLAIR image per size, axis codes on disk, noise
CENTRES: dict[str, dict[str, Any]] = {
    "01": {"full": ((1.1, 0.5, 0.5), (144, 512, 512)), "small": ((2.2, 2.2, 5.0), (74, 90, 14)),
           "tiny": ((4.0, 4.0, 9.0), (40, 48, 5)), "axes": "LAS", "noise": 0.025},
    "07": {"full": ((1.25, 1.03, 1.03), (128, 256, 224)), "small": ((2.5, 2.5, 5.5), (66, 80, 12)),
           "tiny": ((4.4, 4.4, 10.0), (38, 44, 4)), "axes": "LPS", "noise": 0.035},
    "08": {"full": ((0.74, 0.74, 0.7), (261, 336, 336)), "small": ((2.0, 2.0, 4.0), (80, 98, 16)),
           "tiny": ((3.6, 3.6, 8.0), (44, 52, 5)), "axes": "RAS", "noise": 0.03},
    "03": {"full": ((0.9, 0.47, 0.47), (224, 512, 512)), "small": ((2.4, 2.4, 4.5), (68, 82, 14)),
           "tiny": ((4.2, 4.2, 9.0), (40, 46, 5)), "axes": "RPS", "noise": 0.03},
}  # fmt: skip
TRAINING_CENTRES, TESTING_CENTRES = ("01", "07", "08"), ("01", "03", "07", "08")
# step in mm of the grid on which the anatomy is computed
STEP_MM = {"full": 1.0, "small": 1.5, "tiny": 2.5}


def _raters(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Draw the habits of seven raters: evenly spread biases in random order, noise in mm, rates of errors."""
    bias = rng.permutation(np.linspace(-0.8, 0.8, N_RATERS))
    miss = rng.permutation(np.linspace(0.0, 0.35, N_RATERS))
    return [
        {
            "rater": index + 1,
            "bias_mm": float(np.round(bias[index], 4)),
            "boundary_sd_mm": float(np.round(rng.uniform(0.4, 0.9), 3)),
            "corr_mm": float(np.round(rng.uniform(2.0, 5.0), 3)),
            "miss_small": float(np.round(miss[index], 4)),
            "extra": int(rng.integers(0, 3)),
        }
        for index in range(N_RATERS)
    ]


def _motion(rng: np.random.Generator) -> NDArray:
    """Return a small random rigid motion, as a (4, 4) matrix in mm (RAS)."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-3, 3, 3), degrees=True).as_matrix()
    matrix[:3, 3] = rng.uniform(-4, 4, 3)
    return matrix


def generate_msseg2016(
    out: str | os.PathLike[str],
    *,
    subjects: int = 6,
    seed: int = 0,
    size: str = "small",
    layout: str = "public",
    testing: int = 0,
    missing_rater: bool = False,
    float_masks: bool = False,
    progress: bool = False,
) -> Path:
    """Generate a raw MSSEG-2016 dataset: raw and pre-processed images, and the masks of seven raters with known habits.

    Subjects are dealt to the centres 01, 07 and 08 in turn. Raw images other than FLAIR have their own grid and a small
    rigid motion (kept in ``phantom.json`` as ``motion``: the 4x4 matrix in mm that takes a point of FLAIR space to the
    raw image's space). ``OUT/phantom.json`` also holds the raters' habits and, per subject, which lesions each rater
    missed or made up, and the rater's sensitivity, specificity and Dice against the true mask, which is in
    ``OUT/phantom_truth/``. ``Consensus`` is the majority of the raters. Equal arguments give equal bytes.

    Args:
        out: Folder to create; must not exist or be empty.
        subjects: Number of training subjects (at least 1).
        seed: Seed of everything random.
        size: ``full`` (the centres' matrices; three minutes and 5 GB of memory a subject), ``small`` (axial slab
            of 12 to 16 slices of about 74 x 90 voxels of 2-2.5 mm) or ``tiny`` (4 to 5 slices of 40 x 48 voxels).
        layout: ``public``, ``public-zip``, ``older`` or ``older-zip``.
        testing: Further subjects in the testing archive (centres 01, 03, 07, 08); public layouts only.
        missing_rater: The second subject lacks the mask of rater 7 (the first, if there is one only).
        float_masks: The masks of the first subject hold non-integer values at their rim.
        progress: Show a progress bar on stderr.

    Returns:
        Path: ``out``, as input of ``prepare.prepare_msseg2016``.

    Raises:
        InputError: For a bad argument or an output folder that is not empty.
    """
    common.check_arguments(
        subjects=subjects, more=testing, seed=seed, size=size, sizes=STEP_MM, layout=layout, layouts=LAYOUTS
    )
    raters = _raters(np.random.default_rng([seed, 0]))
    plan = [(TRAINING_CENTRES[index % 3], index // 3 + 1, "Training") for index in range(subjects)]
    if layout.startswith("public"):
        plan += [(TESTING_CENTRES[index % 4], index // 4 + 1, "Testing") for index in range(testing)]
    truth = {}
    with common.new_folder(out) as root:
        for index, (centre, number, part) in enumerate(common.track(plan, "MSSEG-2016 phantom", progress)):
            name, places = _places(root, layout, centre, number, part)
            rng = np.random.default_rng([seed, int(centre), number, len(part)])
            truth[name] = _write_subject(
                root, name, places, CENTRES[centre], size, rng, raters,
                missing={N_RATERS} if missing_rater and index == min(1, subjects - 1) else set(),
                float_masks=float_masks and index == 0,
            )  # fmt: skip
        if layout.endswith("-zip"):
            for folder in sorted(path for path in root.iterdir() if path.name != common.TRUTH_FOLDER):
                common.zip_folder(folder, root / f"{folder.name}.zip")
        common.write_parameters(
            root,
            {
                "dataset": "msseg2016", "subjects": subjects, "seed": seed, "size": size, "layout": layout,
                "classes": {"lesion": 1}, "small_lesion_radius_mm": SMALL_LESION_MM, "raters": raters, "truth": truth,
            },
        )  # fmt: skip
    return Path(out)


def _places(root: Path, layout: str, centre: str, number: int, part: str) -> tuple[str, dict[str, Any]]:
    """Return the subject's name and, for ``raw``, ``preprocessed`` and ``masks``, folder and file name pattern."""
    if layout.startswith("public"):
        folder = root / f"MSSEG-{part}" / part / f"Center_{centre}" / f"Patient_{number:02d}"
        return f"Center_{centre}/Patient_{number:02d}" if part == "Training" else f"Testing/{centre}/{number:02d}", {
            "raw": {contrast: folder / "Raw_Data" / f"{contrast}.nii.gz" for contrast in CONTRASTS},
            "preprocessed": {
                contrast: folder / "Preprocessed_Data" / f"{contrast}_preprocessed.nii.gz" for contrast in CONTRASTS
            },
            "masks": folder / "Masks",
            "brain": folder / "Masks" / "Brain_Mask.nii.gz",
        }
    name = f"{centre}{number + 15:03d}" + "".join(
        chr(65 + (number * 7 + step * 5 + int(centre)) % 26) for step in range(4)
    )
    raw = root / "TrainingDataset_MSSEG" / name
    preprocessed = root / "Preprocessed_TrainingDataset_MSSEG" / name
    return name, {
        "raw": {contrast: raw / f"{OLDER_NAMES[contrast]}.nii.gz" for contrast in CONTRASTS},
        "preprocessed": {contrast: preprocessed / f"{contrast}_preprocessed.nii.gz" for contrast in CONTRASTS},
        "masks": raw,
        "brain": preprocessed / "Mask_registered.nii.gz",
    }


def _write_subject(
    root: Path,
    name: str,
    places: Mapping[str, Any],
    centre: Mapping[str, Any],
    size: str,
    rng: np.random.Generator,
    raters: Sequence[Mapping[str, Any]],
    *,
    missing: Collection[int],
    float_masks: bool,
) -> dict[str, Any]:
    """Write the images and masks of one subject; return its entry for ``phantom.json``."""
    voxel, shape = centre[size]
    affine = common.oblique_affine(
        shape, voxel, rotation_deg=rng.uniform(-5, 5, 3), shift_mm=(*rng.uniform(-4, 4, 2), 8 + rng.uniform(-3, 3))
    )
    coverage = shape[2] * voxel[2]
    brain = _brain.Brain(rng, STEP_MM[size], coverage, lesion_scale=1.0 if size == "full" else 1.35)

    def save(path: Path, data: NDArray, grid: NDArray = affine, axes: str = centre["axes"]) -> None:
        like = common.grid_image(grid, data, axes)
        save_nifti(path, np.asanyarray(like.dataobj), like)

    motion = {"FLAIR": np.eye(4)}
    for contrast in CONTRASTS:
        if contrast == "FLAIR":
            grid, grid_shape = affine, shape
        else:
            motion[contrast] = _motion(rng)
            raw_voxel, grid_shape = _raw_grid(contrast, voxel, shape)
            grid = common.oblique_affine(
                grid_shape, raw_voxel, shift_mm=affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
            )
        fields = brain.sample(motion[contrast], grid, grid_shape)
        image = _brain.render(rng, fields, contrast, tuple(np.linalg.norm(grid[:3, :3], axis=0)), noise=centre["noise"])
        save(places["raw"][contrast], image, grid, centre["axes"] if contrast == "FLAIR" else "LPS")
    fields = brain.sample(np.eye(4), affine, shape)
    mask = fields["hull"] < 1.0
    for contrast in CONTRASTS:
        image = _brain.render(rng, fields, contrast, voxel, noise=centre["noise"], bias=False)
        save(places["preprocessed"][contrast], np.where(mask, image, 0).astype(np.int16))
    save(places["brain"], mask.astype(np.uint8))

    true_mask = fields["lesion"] < 0
    truth_path = root / common.TRUTH_FOLDER / f"{name.replace('/', '_')}-truth.nii.gz"
    save(truth_path, true_mask.astype(np.uint8))
    entry: dict[str, Any] = {
        "file": truth_path.relative_to(root).as_posix(),
        "lesion_voxels": int(true_mask.sum()),
        "lesions": [
            {
                "centre_mm": [round(float(value), 2) for value in lesion.centre],
                "radius_mm": round(lesion.radius, 2),
                "kind": lesion.kind,
            }
            for lesion in brain.lesions
        ],
        "motion": {contrast: matrix.round(6).tolist() for contrast, matrix in motion.items()},
        "raters": {},
    }
    votes = np.zeros(shape, dtype=np.uint8)
    for rater in raters:
        distance, events = brain.rater(rng, rater, SMALL_LESION_MM)
        distance = brain.resample(distance, np.eye(4), affine, shape)
        drawn = distance < 0
        entry["raters"][str(rater["rater"])] = {"lesion": common.agreement(drawn, true_mask), **events}
        if rater["rater"] in missing:
            continue
        votes += drawn
        data = drawn.astype(np.uint8)
        if float_masks:
            data = np.where(~drawn & (distance < 1.0), np.float32(0.2), data.astype(np.float32))
        save(places["masks"] / f"ManualSegmentation_{rater['rater']}.nii.gz", data)
    save(places["masks"] / "Consensus.nii.gz", (votes * 2 > N_RATERS - len(missing)).astype(np.uint8))
    if missing:
        entry["missing_raters"] = sorted(missing)
    return entry


def _raw_grid(contrast: str, voxel: Sequence[float], shape: Sequence[int]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return voxel size and matrix of a raw image that is not FLAIR: T1 finer in plane, T2 and DP in thick slices."""
    field = np.multiply(voxel, shape)
    factor = (0.9, 0.9, 0.9) if contrast in ("T1", "GADO") else (0.85, 0.85, 1.3)
    raw_voxel = np.multiply(voxel, factor)
    return tuple(map(float, raw_voxel)), tuple(
        int(np.ceil(extent / size)) + 2 for extent, size in zip(field, raw_voxel, strict=True)
    )
