"""Speed and memory of the fusion engine beside SimpleITK, plain averaging, and crowd-kit, in one run.

    python benchmarks/fusion.py [--repeats 7] [--peers 3] [--stream DIR]

Times are medians; a ratio compares figures of the same run on the same machine, the alternatives taking turns. Memory
is the peak of what numpy allocates during the call (tracemalloc), the masks themselves not included.
"""

import argparse
import platform
import statistics
import time
import tracemalloc
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ivadomed_labelfusion import fusion

SHAPE = (256, 256, 176)
# what the engine is meant to reach, printed beside what it reached
TARGET_STAPLE = 100
TARGET_MULTILABEL = 200
TARGET_AVERAGE = 4
CROWDKIT_PLANES = 44


def lesions(n_raters, *, seed=0, n_balls=60):
    """Balls of 3 to 18 voxels around random centres; raters differ in radius and miss some: ``(R, *SHAPE)`` uint8."""
    generator = np.random.default_rng(seed)
    centres = generator.uniform(0.15, 0.85, (n_balls, 3)) * SHAPE
    radii = generator.uniform(3, 18, n_balls)
    masks = np.zeros((n_raters, *SHAPE), np.uint8)
    for mask in masks:
        for centre, radius in zip(centres, radii, strict=True):
            if generator.random() < 0.1:
                continue
            own = max(1.5, radius + generator.normal(0, 1))
            box = tuple(slice(max(0, int(c - own) - 1), int(c + own) + 2) for c in centre)
            grid = np.ogrid[
                box[0].start : min(box[0].stop, SHAPE[0]),
                box[1].start : min(box[1].stop, SHAPE[1]),
                box[2].start : min(box[2].stop, SHAPE[2]),
            ]
            mask[box] |= sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) < own**2
    return masks


def noise(n_raters, *, seed=0):
    """Votes without any spatial structure, the worst case for skipping background: ``(R, *SHAPE)`` uint8."""
    generator = np.random.default_rng(seed)
    truth = generator.random(SHAPE, dtype=np.float32) < 0.3
    return np.stack(
        [
            np.where(
                truth, generator.random(SHAPE, dtype=np.float32) < 0.85, generator.random(SHAPE, dtype=np.float32) < 0.1
            )
            for _ in range(n_raters)
        ]
    ).astype(np.uint8)


def label_maps(n_raters, n_labels, *, seed=0):
    """Nested shells around the same lesions: ``(R, *SHAPE)`` uint8 with labels 0 to ``n_labels``."""
    maps = np.zeros((n_raters, *SHAPE), np.uint8)
    for label in range(1, n_labels + 1):
        maps[lesions(n_raters, seed=seed + label, n_balls=40).astype(bool)] = label
    return maps


def seconds(function, repeats):
    """Return the times of ``repeats`` calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times


def medians(functions, repeats):
    """Return the median time of each function, the functions taking turns; the first round warms up and is dropped."""
    times = {name: [] for name in functions}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            times[name] += seconds(function, 1)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def peak_mib(function):
    """Return the peak of numpy's allocations during a call, in MiB."""
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 2**20


def row(name, value, ratio="", target=""):
    """Print one line of a table."""
    print(f"| {name:58} | {value:>12} | {ratio:>9} | {target:>10} |")


def head(title):
    """Print the head of a table."""
    print(f"\n{title}\n")
    row("", "time", "ratio", "target")
    print(f"|{'-' * 60}|{'-' * 13}:|{'-' * 10}:|{'-' * 11}:|")


def milliseconds(value):
    """Format a time."""
    return f"{value * 1e3:.1f} ms"


def binary(masks, title, repeats, peers, *, targets):
    """Binary fusion of one set of masks."""
    head(title)
    ours = medians(
        {
            "staple, labels": lambda: fusion.fuse(masks, "staple"),
            "staple, float32 posterior": lambda: fusion.fuse(masks, "staple", soft=True),
            "majority": lambda: fusion.fuse(masks, "majority"),
            "average": lambda: fusion.average(masks),
            "rater_report": lambda: fusion.rater_report(masks),
            "numpy: masks.mean(axis=0, dtype=float32)": lambda: masks.mean(axis=0, dtype=np.float32),
            "numpy: masks.copy()": lambda: masks.copy(),
        },
        repeats,
    )
    images = [sitk.GetImageFromArray(mask) for mask in masks]
    itk = statistics.median(seconds(lambda: sitk.STAPLE(images, 1.0), peers))
    ratio, mean = itk / ours["staple, float32 posterior"], ours["numpy: masks.mean(axis=0, dtype=float32)"]
    for name, value in ours.items():
        row(name, milliseconds(value), f"{itk / value:.0f}x" if name.startswith("staple") else "")
    row("SimpleITK.STAPLE", milliseconds(itk), "1x")
    row("  SimpleITK.STAPLE / our posterior", "", f"{ratio:.0f}x", f">= {TARGET_STAPLE}x" if targets else "")
    posterior = ours["staple, float32 posterior"]
    row("  our posterior / numpy's mean", "", f"{posterior / mean:.2f}x", f"<= {TARGET_AVERAGE}x" if targets else "")
    row(
        "  our posterior / our average",
        "",
        f"{posterior / ours['average']:.2f}x",
        f"<= {TARGET_AVERAGE}x" if targets else "",
    )
    expected = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
    found = fusion.staple(masks)
    differing = np.count_nonzero((expected > 0.5) != found.labels().astype(bool))
    worst = np.abs(expected - found.posterior).max()
    print(f"\nlargest difference to SimpleITK's posterior {worst:.1e}, labels that differ: {differing}")
    copied = masks.nbytes / ours["numpy: masks.copy()"] / 1e9
    print(f"masks read by STAPLE at {masks.nbytes / posterior / 1e9:.1f} GB/s; copied by numpy at {copied:.1f} GB/s")
    voxels = masks[0].size
    for name, options in (("labels", {}), ("posterior", {"soft": True})):
        peak = peak_mib(lambda options=options: fusion.fuse(masks, "staple", **options))
        allowed = voxels * (4 + 1) / 2**20
        print(f"peak extra memory, {name}: {peak:.1f} MiB (a float32 posterior and a pattern array: {allowed:.1f} MiB)")


def multilabel(repeats, peers):
    """Multi-label STAPLE."""
    maps = label_maps(4, 3)
    head("4 raters x 3 labels and background, 256x256x176 uint8")
    ours = medians(
        {
            "multilabel staple, labels": lambda: fusion.fuse(maps, "staple"),
            "majority": lambda: fusion.fuse(maps, "majority"),
        },
        repeats,
    )
    images = [sitk.GetImageFromArray(labels) for labels in maps]
    itk = statistics.median(seconds(lambda: sitk.MultiLabelSTAPLE(images), peers))
    for name, value in ours.items():
        row(name, milliseconds(value))
    row("SimpleITK.MultiLabelSTAPLE", milliseconds(itk))
    row("  SimpleITK / ours", "", f"{itk / ours['multilabel staple, labels']:.0f}x", f">= {TARGET_MULTILABEL}x")
    expected = sitk.GetArrayFromImage(sitk.MultiLabelSTAPLE(images))
    differing = np.count_nonzero(expected != fusion.fuse(maps, "staple"))
    print(f"\nlabels that differ from SimpleITK's (its seeding of tied votes): {differing} of {expected.size}")
    peak = peak_mib(lambda: fusion.fuse(maps, "staple"))
    print(f"peak extra memory: {peak:.1f} MiB")


def crowdkit():
    """Time crowd-kit's EM for segmentations, which takes 2-D masks, on a part of the volume."""
    try:
        import pandas as pd
        from crowdkit.aggregation import SegmentationEM
    except ImportError:
        print("\ncrowd-kit is not installed (dependency group bench): skipped")
        return
    masks = np.ascontiguousarray(lesions(7)[..., 66 : 66 + CROWDKIT_PLANES])
    flat = masks.reshape(7, SHAPE[0], -1).astype(bool)
    table = pd.DataFrame({"task": ["case"] * 7, "worker": [f"rater{r}" for r in range(7)], "segmentation": list(flat)})
    head(
        f"7 binary masks of 256x256x{CROWDKIT_PLANES}: crowd-kit's SegmentationEM (one skill per rater, 10 iterations)"
    )
    theirs = seconds(lambda: SegmentationEM().fit_predict(table), 1)[0]
    ours = statistics.median(seconds(lambda: fusion.fuse(masks, "staple", soft=True), 5))
    row("staple, float32 posterior", milliseconds(ours))
    row("crowd-kit SegmentationEM, one run", milliseconds(theirs), f"{theirs / ours:.0f}x")


def stream(folder):
    """Fuse five memory-mapped NIfTI masks of 1024^3 in slabs; print time and peak resident memory."""
    import resource
    import subprocess
    import sys

    import nibabel

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"rater{rater + 1}.nii" for rater in range(5)]
    for rater, path in enumerate(paths):
        header = nibabel.Nifti1Image(np.broadcast_to(np.uint8(0), (1024,) * 3), np.eye(4)).header
        header["vox_offset"] = 352
        with open(path, "wb") as file:
            header.write_to(file)
            for plane in range(1024):
                mask = np.zeros((1024, 1024), np.uint8)
                half = max(0, 300 - abs(plane - 512)) + 5 * rater
                mask[512 - half : 512 + half, 400:700] = 1 if half > 20 else 0
                file.write(mask.tobytes())
    command = [sys.executable, "-m", "ivadomed_labelfusion", "fuse", *map(str, paths), "--stream"]
    start = time.perf_counter()
    subprocess.run([*command, "-o", str(folder / "consensus.nii"), "--overwrite"], check=True)
    taken = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
    print(
        f"\n5 NIfTI masks of 1024x1024x1024, slab by slab: {taken:.1f} s, peak resident {peak:.0f} MiB (target < 2048)"
    )
    for path in [*paths, folder / "consensus.nii"]:
        path.unlink()


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="timed calls of our own functions (default 7)")
    parser.add_argument("--peers", type=int, default=3, help="timed calls of SimpleITK (default 3)")
    parser.add_argument("--stream", metavar="DIR", help="also fuse 5 masks of 1024^3; needs 6.5 GB in DIR")
    arguments = parser.parse_args()
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    print(f"SimpleITK {sitk.Version_VersionString()} with {threads} threads")
    binary(lesions(7), "7 binary masks (lesions), 256x256x176 uint8", arguments.repeats, arguments.peers, targets=True)
    binary(
        noise(7),
        "7 binary masks of noise (no background to skip), 256x256x176 uint8",
        arguments.repeats,
        arguments.peers,
        targets=False,
    )
    multilabel(arguments.repeats, arguments.peers)
    crowdkit()
    if arguments.stream:
        stream(arguments.stream)


if __name__ == "__main__":
    main()
