"""What the demo trains: sizes and training parameters that let every candidate learn within minutes on two cores."""

import os
from dataclasses import dataclass
from typing import Any

from ivadomed_labelfusion.config import load_template


@dataclass(frozen=True)
class DemoSettings:
    """Sizes of one demo.

    Attributes:
        subjects: Subjects of the phantom.
        size: Size of the phantom, see ``phantom``.
        contrasts: Input channels.
        resample_mm: In-plane voxel size for the network.
        crop: In-plane size for the network.
        depth: Depth of the U-Net.
        n_filters: Filters of its first level.
        epochs: Number of epochs.
        learning_rate: Initial learning rate.
        batch_size: Slices per batch.
    """

    subjects: int
    size: str
    contrasts: tuple[str, ...]
    resample_mm: float
    crop: tuple[int, int]
    depth: int
    n_filters: int
    epochs: int
    learning_rate: float
    batch_size: int


DEMO_SIZES = {
    ("ms", False): DemoSettings(12, "small", ("FLAIR", "T1w"), 2.2, (72, 88), 3, 8, 40, 0.01, 8),
    ("ms", True): DemoSettings(12, "tiny", ("FLAIR", "T1w"), 3.0, (56, 64), 2, 8, 40, 0.01, 8),
    ("scgm", False): DemoSettings(12, "small", ("T2starw",), 0.4, (80, 80), 3, 8, 40, 0.003, 4),
    ("scgm", True): DemoSettings(16, "tiny", ("T2starw",), 0.5, (48, 48), 2, 8, 40, 0.01, 4),
}


def demo_config(
    dataset: str,
    candidate: str,
    settings: DemoSettings,
    *,
    bids_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    seed: int,
) -> dict[str, Any]:
    """Return the template of a candidate, reduced to the sizes of the demo.

    Args:
        dataset: ``ms`` or ``scgm``.
        candidate: One of `config.candidates.PAPER_CANDIDATES`.
        settings: The sizes.
        bids_dir: Dataset.
        output_dir: Output folder of this candidate.
        seed: Seed of split, training and rater draws.

    Returns:
        dict: A complete ivadomed configuration.
    """
    config = load_template(f"{dataset}_{candidate}")
    config["path_output"], config["model_name"] = str(output_dir), candidate
    loader = config["loader_parameters"]
    loader["path_data"] = [str(bids_dir)]
    loader["contrast_params"].update(training_validation=list(settings.contrasts), testing=list(settings.contrasts))
    loader["multichannel"] = len(settings.contrasts) > 1
    config["split_dataset"].update(random_seed=seed, data_testing={"data_type": None, "data_value": []})
    # the demo does not use the ONNX files
    config["training_parameters"].update(batch_size=settings.batch_size, export_onnx=False)
    config["training_parameters"]["training_time"]["num_epochs"] = settings.epochs
    config["training_parameters"]["scheduler"]["initial_lr"] = settings.learning_rate
    config["default_model"].update(depth=settings.depth, n_filters=settings.n_filters, dropout_rate=0.1)
    transformation = config["transformation"]
    transformation["Resample"].update(hspace=settings.resample_mm, wspace=settings.resample_mm)
    transformation["CenterCrop"]["size"] = list(settings.crop)
    if "SampleRater" in transformation:
        transformation["SampleRater"]["seed"] = seed
    # the picture of the demo takes the place of the pictures per subject
    config["evaluation_parameters"]["inter_rater"]["disagreement_slices"] = 0
    return config
