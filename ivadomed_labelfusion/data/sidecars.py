"""The JSON sidecar of a fused label: what it was made of, whether that still holds, and how the raters did."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivadomed_labelfusion.data.volumes import load_image, save_nifti
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import read_json, write_json
from ivadomed_labelfusion.fusion import Consensus


def sha256(path: Path) -> str:
    """Return the digest of a mask file.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        load_image(path)  # says what is wrong with it
        raise


def source_name(path: Path, bids_dir: Path | None) -> str:
    """Return a mask file as a BIDS URI, or as it is outside of a dataset."""
    # not resolved: data managers keep the content behind links that lead elsewhere
    if bids_dir is not None and Path(path).is_relative_to(bids_dir):
        return "bids::" + Path(path).relative_to(bids_dir).as_posix()
    return str(path)


def _sidecar_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def is_up_to_date(path: Path, shared: Mapping[str, Any]) -> bool:
    """Tell whether a label is there with a sidecar that says ``shared``."""
    sidecar = _sidecar_path(path)
    if not (path.exists() and sidecar.exists()):
        return False
    try:
        found = read_json(sidecar)
    except InputError:
        return False
    return isinstance(found, dict) and all(found.get(key) == value for key, value in shared.items())


def write_pair(path: Path, data: NDArray[Any], image: Any, sidecar: Mapping[str, Any]) -> None:
    """Write label and sidecar so that no interruption leaves a sidecar beside a label that it does not describe."""
    path.unlink(missing_ok=True)
    write_json(_sidecar_path(path), sidecar, overwrite=True)
    save_nifti(path, data, image)


@dataclass(frozen=True)
class RaterTable:
    """What the raters of one label are compared with.

    Attributes:
        raters (list of str): Their names.
        masks (sequence of ndarray): ``(R, *spatial)``, their masks.
        fused (ndarray or None): The hard label; None for probabilities, which have no overlap.
    """

    raters: Sequence[str]
    masks: Sequence[NDArray[Any]]
    fused: NDArray[Any] | None

    def overlap(self) -> dict[str, NDArray[Any]]:
        """Return volumes and Dice with the label, per rater; both empty gives 1."""
        if self.fused is None:
            return {}
        volume = np.count_nonzero(self.fused)
        foreground = [np.asarray(mask) > 0 for mask in self.masks]
        both = [np.count_nonzero(mask & (self.fused > 0)) for mask in foreground]
        sizes = [np.count_nonzero(mask) for mask in foreground]
        dice = [
            2 * common / (size + volume) if size + volume else 1.0 for common, size in zip(both, sizes, strict=True)
        ]
        return {"VolumeVoxels": np.array(sizes), "DiceWithConsensus": np.array(dice)}


def performance(result: Consensus, label: int, shown: RaterTable) -> dict[str, Any]:
    """Return what the sidecar says on the raters and the iteration.

    Args:
        result (Consensus): What holds the label.
        label (int): Its label value there.
        shown (RaterTable): The raters, and for hard labels their masks.
    """
    # measures first, then what was decided
    own = sorted(result.of_raters(label).items(), key=lambda item: item[1].dtype == bool)
    columns = {_heading(name): values for name, values in own} | shown.overlap()
    table: dict[str, Any] = {}
    if columns:
        table["RaterPerformance"] = [
            {"Rater": rater, **{name: values[index].item() for name, values in columns.items()}}
            for index, rater in enumerate(shown.raters)
        ]
    for name, values in result.per_rater.items():
        if values.ndim > 1:
            table[f"{_heading(name)}Labels"] = result.label_values.tolist()
            table[_heading(name)] = {rater: values[index].tolist() for index, rater in enumerate(shown.raters)}
    if result.prior is not None:
        table["Prior"] = np.asarray(result.prior).tolist()
    if result.n_iter is not None:
        table |= {"Iterations": result.n_iter, "Converged": result.converged}
    return table


def _heading(name: str) -> str:
    """Return the name of an estimate as a BIDS key: ``sensitivity`` as ``Sensitivity``."""
    return "".join(part.capitalize() for part in name.split("_"))
