"""What a training costs besides its network: stock ivadomed (the plugin off) against this plugin, in one run.

Both train the same U-Net on the same generated slices with random raters, RandomAffine and Adaptive Wing, as the
template ``scgm_softseg_random`` does. Each side runs in processes of its own, on one thread. CPU times are those of
the process; "the network alone" is forward pass, backward pass and optimiser on batches that are there already, and
the host's part of an epoch is what the epoch takes beyond it. Each figure is the best of several.

    uv run python benchmarks/training.py
    uv run python benchmarks/training.py --size 128 --filters 16 --epochs 2     # seconds per epoch at template size
"""

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDES = {"stock": "stock ivadomed", "ours": "with the plugin"}
NETWORK = "network"
N_RATERS, CLASSES = 4, ("GM", "WM")


def main():
    """Measure both sides, print a table of CPU times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128, help="width of the slices in pixels (default: 128)")
    parser.add_argument("--filters", type=int, default=2, help="filters of the first level (default: 2)")
    parser.add_argument("--epochs", type=int, default=7, help="epochs, of which the first is left out (default: 7)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(arguments)))
        return
    with tempfile.TemporaryDirectory(prefix="benchmark_training_") as folder:
        write_data(Path(folder), arguments.size)
        found = {side: run_side(side, folder, arguments) for side in SIDES}
    # it is the same network on both sides
    network = min(side.pop(NETWORK) for side in found.values())
    for side in found.values():
        side["of it beyond the network, ms CPU a slice"] = side["epoch, ms CPU a slice"] - network
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread, {found['ours']['device']}"
    )
    print(f"slices of {arguments.size} x {arguments.size}, {len(CLASSES)} classes, {N_RATERS} raters")
    print(f"{'':44s}{SIDES['stock']:>16s}{SIDES['ours']:>18s}{'ratio':>8s}")
    for name in found["ours"]:
        if name != "device":
            stock, ours = found["stock"][name], found["ours"][name]
            print(f"{name:44s}{stock:16.2f}{ours:18.2f}{stock / ours:8.1f}")
    print(f"the network alone: {network:.2f} ms CPU a slice")


def run_side(side, folder, arguments):
    """Return the measurements of one side, from a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment["IVADOMED_LABELFUSION_DISABLE"] = "1" if side == "stock" else "0"
    options = ["--size", arguments.size, "--filters", arguments.filters, "--epochs", arguments.epochs]
    command = [sys.executable, __file__, "--side", side, "--folder", folder, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def write_data(folder, size, n_subjects=6, depth=8):
    """Write images with a bright disc and the raters' outlines of it, as NIfTI files."""
    import nibabel
    import numpy as np

    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(size)] * 2, np.arange(depth), indexing="ij"), -1)
    for subject in range(n_subjects):
        distance = np.linalg.norm((grid - size / 2 - rng.uniform(-4, 4, 3))[..., :2], axis=-1) / size
        arrays = {"image": (100 * np.exp(-30 * distance**2) + rng.normal(0, 5, distance.shape)).astype(np.float32)}
        for rater in range(N_RATERS):
            edge = 0.06 + 0.005 * rater
            arrays[f"GM-{rater}"] = (distance < edge).astype(np.uint8)
            arrays[f"WM-{rater}"] = ((distance >= edge) & (distance < 2 * edge)).astype(np.uint8)
        for name, array in arrays.items():
            nibabel.save(
                nibabel.Nifti1Image(array, np.diag([0.25, 0.25, 2, 1])), folder / f"sub-{subject}_{name}.nii.gz"
            )


def measure(arguments):
    """Return what one side costs, by name."""
    started = time.process_time()
    import ivadomed.main  # noqa: F401
    import torch

    if arguments.side == "ours":
        import ivadomed_labelfusion

        ivadomed_labelfusion.enable()
    found = {"start: importing ivadomed, s CPU": time.process_time() - started}
    torch.set_num_threads(1)
    started = time.process_time()
    training, validation = (load(arguments, role, part) for role, part in (("training", "1234"), ("validation", "05")))
    found["loading, s CPU"] = time.process_time() - started
    found["loader, ms CPU a slice"] = loader_cost(training)
    epoch, wall = epoch_cost(arguments, training, validation)
    n_slices = len(training) + len(validation)
    found["epoch, ms CPU a slice"] = 1000 * epoch / n_slices
    found[NETWORK] = 1000 * network_cost(arguments, training, validation) / n_slices
    found["epoch, s"] = wall
    found["memory of the samples, MB"] = memory_of(training) / 2**20
    found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return found


def load(arguments, role, subjects):
    """Return a loaded dataset of some subjects."""
    from ivadomed import transforms
    from ivadomed.loader.mri2d_segmentation_dataset import MRI2DSegmentationDataset

    steps = {"CenterCrop": {"size": [arguments.size, arguments.size]}}
    if role == "training":
        steps["RandomAffine"] = {"degrees": 20, "translate": [0.03, 0.03], "scale": [0.1, 0.1]}
        steps["RandomAffine"]["applied_to"] = ["im", "gt"]
    steps["NormalizeInstance"] = {"applied_to": ["im"]}
    pairs = [
        (
            [str(arguments.folder / f"sub-{subject}_image.nii.gz")],
            [
                [str(arguments.folder / f"sub-{subject}_{name}-{rater}.nii.gz") for rater in range(N_RATERS)]
                for name in CLASSES
            ],
            None,
            [{"input_filenames": "", "bounding_box": None}],
        )
        for subject in subjects
    ]
    options = {"transform": transforms.prepare_transforms(steps, False)[0], "soft_gt": True}
    if arguments.side == "stock":
        dataset = MRI2DSegmentationDataset(pairs, **options)
    else:
        dataset = quick_dataset(pairs, role, options)
    dataset.load_filenames()
    return dataset


def quick_dataset(pairs, role, options):
    """Return the plugin's dataset of the same pairs, with one rater per slice and epoch."""
    import dataclasses

    from ivadomed.loader.mri2d_segmentation_dataset import MRI2DSegmentationDataset

    from ivadomed_labelfusion.hosts.ivadomed2.datasets import RaterBidsDataset
    from ivadomed_labelfusion.hosts.ivadomed2.speed.samples import Speed
    from ivadomed_labelfusion.sampling import draw_rater

    class Dataset(RaterBidsDataset):
        """As the plugin loads it from a BIDS folder."""

        def __init__(self):
            MRI2DSegmentationDataset.__init__(self, pairs, **options)
            self.speed = Speed(1, role)

        def _choose(self, index):
            chosen = super()._choose(index)
            rater = draw_rater(N_RATERS, seed=1, case=index, epoch=self.epoch)
            labels = [row[rater] for row in chosen.masks], [row[rater] for row in chosen.gt_metadata]
            return dataclasses.replace(chosen, masks=labels[0], gt_metadata=labels[1])

    return Dataset()


def loader_of(dataset):
    """Return ivadomed's loader of a dataset, as its training makes it."""
    from ivadomed import training
    from ivadomed.loader.utils import imed_collate

    return training.DataLoader(dataset, batch_size=24, shuffle=True, collate_fn=imed_collate, num_workers=0)


def loader_cost(dataset, passes=5):
    """Return the cost of a slice in the best of some passes, in ms."""
    loader, costs = loader_of(dataset), []
    for _ in range(passes + 1):
        started = time.process_time()
        for _ in loader:
            pass
        costs.append(1000 * (time.process_time() - started) / len(dataset))
    return min(costs[1:])


def parameters(arguments):
    """Return ivadomed's parameters of the model and of the training."""
    model = {"name": "Unet", "in_channel": 1, "out_channel": len(CLASSES) + 1, "depth": 3, "folder_name": "model"}
    model |= {"n_filters": arguments.filters, "is_2d": True, "dropout_rate": 0.3, "bn_momentum": 0.1}
    training = {
        "batch_size": 24,
        "loss": {"name": "AdapWingLoss", "omega": 8},
        "training_time": {
            "num_epochs": arguments.epochs,
            "early_stopping_patience": 1000,
            "early_stopping_epsilon": 0.001,
        },
        "scheduler": {"initial_lr": 0.001, "lr_scheduler": {"name": "CosineAnnealingLR"}},
        "balance_samples": {"applied": False, "type": "gt"},
        "mixup_alpha": None,
        "transfer_learning": {"retrain_model": None, "retrain_fraction": 1.0, "reset": True},
        "export_onnx": False,
    }
    return {**model, "final_activation": "softmax"}, training


def epoch_cost(arguments, training_set, validation_set):
    """Return CPU and wall seconds of an epoch of ivadomed's training, the best without the first."""
    import torch
    from ivadomed import metrics, training
    from loguru import logger

    logger.remove()
    stamps = []
    logger.add(
        lambda text: stamps.append((time.process_time(), time.time())), filter=lambda entry: "took" in entry["message"]
    )
    model, options = parameters(arguments)
    gpu = torch.cuda.is_available()
    (arguments.folder / arguments.side / "model").mkdir(parents=True)
    try:
        training.train(
            model,
            training_set,
            validation_set,
            options,
            str(arguments.folder / arguments.side),
            torch.device("cuda" if gpu else "cpu"),
            cuda_available=gpu,
            metric_fns=metrics.get_metric_fns("segmentation"),
        )
    except Exception as error:
        # stock ivadomed cannot load its own checkpoint at the end where torch is >= 2.6
        if arguments.side == "ours" or len(stamps) < arguments.epochs:
            raise error
    steps = [[late - early for early, late in zip(*pair, strict=True)] for pair in itertools.pairwise(stamps)]
    return tuple(min(kind) for kind in zip(*steps, strict=True))


def network_cost(arguments, training_set, validation_set):
    """Return the CPU seconds of the network in an epoch: passes and optimiser on batches that are there already."""
    import torch
    from ivadomed import models

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batches = [
        [batch["input"].float().to(device) for batch in loader_of(part)] for part in (training_set, validation_set)
    ]
    network = models.Unet(**parameters(arguments)[0]).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.001)
    costs = []
    for _ in range(6):
        started = time.process_time()
        network.train()
        for batch in batches[0]:
            output = network(batch)
            optimiser.zero_grad()
            output.backward(torch.ones_like(output))
            optimiser.step()
        network.eval()
        with torch.no_grad():
            for batch in batches[1]:
                network(batch)
        costs.append(time.process_time() - started)
    return min(costs[1:])


def memory_of(dataset):
    """Return the bytes of all arrays that a dataset holds."""
    import gc

    import numpy as np

    seen, stack, total = set(), [dataset.indexes], 0
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray):
            total += item.nbytes
        elif isinstance(item, list | tuple | dict) or hasattr(item, "__dict__"):
            stack.extend(part for part in gc.get_referents(item) if not isinstance(part, type))
    return total


if __name__ == "__main__":
    main()
