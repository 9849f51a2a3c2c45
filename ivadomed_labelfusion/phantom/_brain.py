"""The brain of the MSSEG-2016 phantom: signed distances of its tissues, lesions, and the signal in five contrasts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ivadomed_labelfusion.phantom import _common as common

HULL_MM = (66.0, 82.0, 58.0)
FAR_MM = 20.0

# relative signal per contrast
SIGNAL = {
    "FLAIR": {"csf": 0.10, "gm": 0.56, "wm": 0.46, "lesion": 0.95, "bone": 0.06, "scalp": 0.70},
    "T1": {"csf": 0.16, "gm": 0.52, "wm": 0.80, "lesion": 0.50, "bone": 0.06, "scalp": 0.95},
    "T2": {"csf": 1.00, "gm": 0.56, "wm": 0.40, "lesion": 0.82, "bone": 0.05, "scalp": 0.45},
    "DP": {"csf": 0.72, "gm": 0.80, "wm": 0.62, "lesion": 0.96, "bone": 0.08, "scalp": 0.65},
    "GADO": {"csf": 0.16, "gm": 0.55, "wm": 0.80, "lesion": 0.50, "bone": 0.06, "scalp": 1.00},
}
ENHANCING = 1.15  # signal of enhancing lesions after gadolinium
SCALE = 1000


@dataclass(frozen=True)
class Lesion:
    """One lesion: centre and radius in mm (patient space), semi-axes (3,), rotation (3, 3), where it lies."""

    centre: NDArray
    radius: float
    semi: NDArray
    rotation: NDArray
    kind: str
    enhancing: bool = False


class Brain:
    """Anatomy in patient space (mm, RAS, the brain's centre at 0), held as signed distances on a regular grid.

    Args:
        rng: Source of the anatomy.
        step: Grid step in mm.
        coverage: Extent in mm along z that the images will cover; lesions are put there.
        lesion_scale: Factor on the lesions' radii, for coarse images.
    """

    def __init__(self, rng: np.random.Generator, step: float, coverage: float, *, lesion_scale: float) -> None:
        self.step = step
        half = np.array([82.0, 98.0, min(74.0, coverage / 2 + 22.0)])
        centre = np.array([0.0, 0.0, 0.0 if half[2] > 70 else 8.0])
        self.shape = tuple(int(2 * extent / step) + 1 for extent in half)
        self.affine = np.diag([step, step, step, 1.0])
        self.affine[:3, 3] = centre - half
        axes = [
            np.arange(n, dtype=np.float32) * step + start for n, start in zip(self.shape, centre - half, strict=True)
        ]
        self.axes = axes
        x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
        self.fields = self._tissues(rng, x, y, z)
        inner = min(coverage / 2 - 6, 34.0)
        self.lesion_zone = np.abs(np.broadcast_to(z - 8.0, self.shape)) < max(inner, 8.0)
        self.lesions = self._place_lesions(rng, lesion_scale)
        self.fields["lesion"] = self._distance(self.lesions)
        self.fields["enhancing"] = self._distance([lesion for lesion in self.lesions if lesion.enhancing])

    def _tissues(self, rng: np.random.Generator, x: NDArray, y: NDArray, z: NDArray) -> dict[str, NDArray]:
        size = rng.uniform(0.95, 1.03)
        voxel = (self.step,) * 3
        position = np.stack(np.broadcast_arrays(x, y, z)).astype(np.float32)
        hull = common.ellipsoid(position, np.multiply(HULL_MM, size))
        hull = hull + 1.5 * common.smooth_noise(rng, self.shape, voxel, 18.0)
        fold = common.smooth_noise(rng, self.shape, voxel, 4.5)
        pial = hull + 1.5 + 5.0 * np.maximum(fold - 0.5, 0)
        # the fissure between the hemispheres, closing downwards
        pial = np.maximum(pial, 1.2 - np.abs(x) - 0.1 * np.maximum(0, 18 - z))
        white = hull + 6.0 + 4.5 * np.maximum(fold + 0.5, 0)
        side = np.abs(x)
        opening = rng.uniform(0.85, 1.3)

        def blob(cx: float, cy: float, cz: float, sx: float, sy: float, sz: float, slope: float = 0.0) -> NDArray:
            return common.ellipsoid(
                np.stack(np.broadcast_arrays(side - cx - slope * (y - cy), y - cy, z - cz)), (sx, sy, sz)
            )

        ventricle = common.smooth_union(
            blob(9.0 * opening**0.5, 6.0, 15.0, 5.0 * opening, 24.0, 7.0 * opening, -0.10),
            blob(17.0, -26.0, 8.0, 5.5 * opening, 15.0, 7.0, -0.35), 4.0,
        )  # fmt: skip
        ventricle = np.minimum(ventricle, blob(0, -2, 0, 2.2 * opening, 11, 9))
        deep = np.minimum(blob(10.0, -8.0, 5.0, 7.5, 12.0, 8.0), blob(25.0, 4.0, 2.0, 6.0, 15.0, 9.0, -0.2))
        deep = np.minimum(deep, blob(15.0, 16.0, 8.0, 4.0, 9.0, 8.0))
        return {"hull": hull, "pial": pial, "white": white, "deep": deep, "ventricle": ventricle}

    def _place_lesions(self, rng: np.random.Generator, scale: float, count: int | None = None) -> list[Lesion]:
        """Draw lesions at the ventricles, below the cortex and in deep white matter, as in multiple sclerosis."""
        fields = self.fields
        white = (fields["white"] < -1) & (fields["deep"] > 2) & self.lesion_zone & (fields["ventricle"] > 0.5)
        zones = {
            "periventricular": white & (fields["ventricle"] < 4) & (np.abs(self.axes[0])[:, None, None] > 9),
            "juxtacortical": (fields["white"] > -3) & (fields["white"] < 0) & (fields["pial"] < -2) & self.lesion_zone,
            "deep": white & (fields["ventricle"] > 8) & (fields["white"] < -6),
        }
        count = 12 + int(rng.poisson(8)) if count is None else count
        drawn = rng.choice(list(zones), size=count, p=[0.5, 0.2, 0.3])
        gradient = np.gradient(ndimage.gaussian_filter(fields["ventricle"], 2))
        lesions = []
        for kind in drawn:
            candidates = np.flatnonzero(zones[kind])
            if not candidates.size:
                continue
            index = np.unravel_index(rng.choice(candidates), self.shape)
            radius = float(np.clip(rng.lognormal(np.log(3.4), 0.45), 1.8, 9.0)) * scale
            # periventricular lesions point away from the ventricle (Dawson's fingers)
            direction = (
                np.array([axis[index] for axis in gradient]) if kind == "periventricular" else rng.normal(size=3)
            )
            direction = direction / max(np.linalg.norm(direction), 1e-6)
            other = np.cross(direction, rng.normal(size=3))
            other /= max(np.linalg.norm(other), 1e-6)
            lesions.append(
                Lesion(
                    centre=self.affine[:3, 3]
                    + self.step * np.array(index)
                    + 0.3 * radius * direction * (kind == "periventricular"),
                    radius=radius,
                    semi=radius * np.array([1.35 if kind == "periventricular" else 1.05, rng.uniform(0.8, 1), 0.9]),
                    rotation=np.stack([direction, other, np.cross(direction, other)]),
                    kind=str(kind),
                    enhancing=bool(rng.random() < 0.15),
                )
            )
        return lesions

    def _distance(self, lesions: Sequence[Lesion]) -> NDArray:
        """Return the signed distance in mm to the union of ``lesions``, cut off at 20 mm and outside of the CSF."""
        field = np.full(self.shape, FAR_MM, dtype=np.float32)
        origin = self.affine[:3, 3]
        for lesion in lesions:
            reach = lesion.semi.max() + 8
            low = np.maximum(np.floor((lesion.centre - reach - origin) / self.step), 0).astype(int)
            high = np.minimum(np.ceil((lesion.centre + reach - origin) / self.step) + 1, self.shape).astype(int)
            window = tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))
            grid = np.stack(
                np.meshgrid(*[axis[part] for axis, part in zip(self.axes, window, strict=True)], indexing="ij")
            )
            offset = np.einsum("ij,j...->i...", lesion.rotation, grid - lesion.centre.reshape(3, 1, 1, 1))
            field[window] = np.minimum(field[window], common.ellipsoid(offset, lesion.semi))
        if not lesions:
            return field
        return np.maximum(field, np.maximum(-self.fields["ventricle"], self.fields["pial"] + 1.0))

    def rater(
        self, rng: np.random.Generator, habits: Mapping[str, Any], small_mm: float
    ) -> tuple[NDArray, dict[str, Any]]:
        """Return the signed distance to what a rater draws, and which lesions are missed and how many made up."""
        missed = [
            index
            for index, lesion in enumerate(self.lesions)
            if rng.random() < habits["miss_small"] and lesion.radius < small_mm
        ]
        kept = [lesion for index, lesion in enumerate(self.lesions) if index not in missed]
        extra = self._place_lesions(rng, 0.8, count=habits["extra"])
        noise = common.smooth_noise(rng, self.shape, (self.step,) * 3, habits["corr_mm"])
        distance = self._distance(kept + extra) - habits["bias_mm"] - habits["boundary_sd_mm"] * noise
        return distance, {"missed": missed, "extra": len(extra)}

    def resample(self, field: NDArray, motion: NDArray, grid: NDArray, shape: Sequence[int]) -> NDArray:
        """Return ``field`` on the grid with affine ``grid``; ``motion`` takes patient to image space (4x4, mm)."""
        matrix = np.linalg.inv(self.affine) @ np.linalg.inv(motion) @ grid
        return ndimage.affine_transform(
            field, matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=1, mode="nearest"
        )

    def sample(self, motion: NDArray, grid: NDArray, shape: Sequence[int]) -> dict[str, NDArray]:
        """Return all tissues' signed distances on a voxel grid, as float32 arrays."""
        return {name: self.resample(field, motion, grid, shape) for name, field in self.fields.items()}


def render(
    rng: np.random.Generator,
    fields: Mapping[str, NDArray],
    contrast: str,
    voxel: Sequence[float],
    *,
    noise: float,
    bias: bool = True,
) -> NDArray:
    """Return the int16 image of one contrast from signed distances on its grid.

    Args:
        rng: Source of texture, field inhomogeneity and noise.
        fields: Signed distances in mm of hull, pial, white, deep, ventricle, lesion, enhancing.
        contrast: FLAIR, T1, T2, DP or GADO.
        voxel: Voxel size in mm.
        noise: Standard deviation of the noise, relative to a signal of 1.
        bias: With a smooth inhomogeneity of the receive field.
    """
    signal = SIGNAL[contrast]
    width = 1.2 * float(np.median(voxel))
    shape = fields["hull"].shape
    image = np.zeros(shape, dtype=np.float32)
    for distance, tissue in (
        (fields["hull"] - 9.0, "scalp"), (fields["hull"] - 6.0, "bone"), (fields["hull"] - 1.5, "csf"),
        (fields["pial"], "gm"), (fields["white"], "wm"), (fields["deep"], "gm"), (fields["ventricle"], "csf"),
    ):  # fmt: skip
        image += common.inside(distance, width) * (signal[tissue] - image)
    # lesions fade into dirty-appearing white matter over about 2 mm
    image += common.inside(fields["lesion"], max(width, 2.0)) * (signal["lesion"] - image)
    if contrast == "GADO":
        image += common.inside(fields["enhancing"] + 0.5, width) * (ENHANCING - image)
    image *= 1 + 0.035 * common.smooth_noise(rng, shape, voxel, 1.2 * float(np.median(voxel)))
    if bias:
        image *= np.exp(0.10 * common.smooth_noise(rng, shape, voxel, 45.0))
    return np.round(common.rician(rng, image, noise) * SCALE).astype(np.int16)
