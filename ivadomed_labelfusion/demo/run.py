"""The steps of the demo. Each leaves its result on disk, so that an interrupted demo goes on where it stopped."""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ivadomed_labelfusion.config.candidates import PAPER_CANDIDATES
from ivadomed_labelfusion.demo.figure import demo_figure
from ivadomed_labelfusion.demo.progress import FollowedOutput
from ivadomed_labelfusion.demo.settings import DEMO_SIZES, DemoSettings, demo_config
from ivadomed_labelfusion.demo.table import read_demo_results, write_demo_tables
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.extras import require
from ivadomed_labelfusion.files import read_json, write_json
from ivadomed_labelfusion.plots.style import save_figure


def run_demo(
    dataset: str = "ms",
    *,
    output: str | os.PathLike[str],
    seed: int = 1,
    quick: bool = False,
    say: Callable[[str], object] = print,
) -> Path:
    """Generate a phantom, convert it, train and test the six candidates, and compare them.

    Args:
        dataset: ``ms`` or ``scgm``.
        output: Folder; created, or continued if it holds the same demo.
        seed: Seed of everything random, >= 0.
        quick: A smaller phantom and network.
        say: Takes each line for the user.

    Returns:
        Path: The folder with ``results.csv``, ``results.md`` and ``comparison.png``.

    Raises:
        InputError: If the folder holds something else, or the extra ``ivadomed`` is not installed.
    """
    require("ivadomed", what="demo")
    settings = DEMO_SIZES[dataset, quick]
    output = Path(output).absolute()
    _claim(output, {"dataset": dataset, "seed": seed, "quick": quick})
    bids_dir = _data(dataset, settings, output, seed, say)
    say("The models are not exported to ONNX, which the demo does not use.")
    for number, candidate in enumerate(PAPER_CANDIDATES, start=1):
        title = f"[{number}/{len(PAPER_CANDIDATES)}] {candidate}"
        _train_and_test(dataset, candidate, settings, bids_dir, output, seed, title, say)
    results = read_demo_results(output, PAPER_CANDIDATES)
    text = write_demo_tables(results, output, dataset=dataset, settings=settings)
    save_figure(demo_figure(output, bids_dir, PAPER_CANDIDATES), output / "comparison.png", overwrite=True)
    say(text)
    say(f"Table:  {output / 'results.csv'} (and results.md)\nFigure: {output / 'comparison.png'}")
    return output


def _claim(output: Path, arguments: Mapping[str, Any]) -> None:
    """Make the folder this demo's own, or check that it already is."""
    marker = output / "demo.json"
    if marker.exists():
        found = read_json(marker)
        if not isinstance(found, dict):
            raise InputError(f"{marker} is damaged. Choose another --output, or delete that folder.")
        if found != arguments:
            raise InputError(
                f"{output} holds another demo ({_described(found)}), this one is {_described(arguments)}. "
                "Choose another --output, or delete that folder."
            )
        return
    if output.exists() and any(output.iterdir()):
        raise InputError(f"{output} must be empty or hold an interrupted demo. Choose another --output.")
    write_json(marker, arguments)


def _described(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in arguments.items())


def _data(dataset: str, settings: DemoSettings, output: Path, seed: int, say: Callable[[str], object]) -> Path:
    """Generate the raw phantom and convert it, unless that has been done; return the BIDS dataset."""
    from ivadomed_labelfusion import phantom, prepare

    generate, convert = {
        "ms": (phantom.generate_msseg2016, prepare.prepare_msseg2016),
        "scgm": (phantom.generate_scgm, prepare.prepare_scgm),
    }[dataset]
    raw, bids_dir = output / "raw", output / "bids"
    if bids_dir.exists():
        say(f"Dataset: {bids_dir} (kept)")
        return bids_dir
    # an interrupted generation leaves no complete folder behind
    if not raw.exists():
        say(f"Generating {settings.subjects} phantom subjects in the raw layout ...")
        generate(raw, subjects=settings.subjects, seed=seed, size=settings.size, progress=True)
    say("Converting them to BIDS ...")
    convert(raw, bids_dir)
    return bids_dir


def _train_and_test(
    dataset: str,
    candidate: str,
    settings: DemoSettings,
    bids_dir: Path,
    output: Path,
    seed: int,
    title: str,
    say: Callable[[str], object],
) -> None:
    model = output / "models" / candidate
    done = model / "results_eval" / "summary.csv"
    if done.exists():
        say(f"{title}: finished before (kept)")
        return
    config = output / "configs" / f"{candidate}.json"
    write_json(
        config,
        demo_config(dataset, candidate, settings, bids_dir=bids_dir, output_dir=model, seed=seed),
        overwrite=True,
    )
    trained = model / "trained.json"
    if not trained.exists():
        resume = ["--resume-training"] if (model / "checkpoint.pth.tar").exists() else []
        if model.exists() and not resume:
            shutil.rmtree(model)
        # one class needs a threshold for its binary metrics, several take the largest probability
        search = ["-t", "0.05"] if dataset == "ms" else []
        _ivadomed(["--train", "-c", config, *search, *resume], model, settings.epochs, title)
        write_json(trained, {"epochs": settings.epochs})
    _ivadomed(["--test", "-c", config], model, None, f"{title}, test")


def _ivadomed(arguments: Sequence[object], model: Path, epochs: int | None, title: str) -> None:
    from tqdm import tqdm

    from ivadomed_labelfusion.hosts.ivadomed2.command import run_ivadomed

    model.mkdir(parents=True, exist_ok=True)
    with tqdm(total=epochs, desc=title, unit="epoch", disable=epochs is None) as bar:
        output = FollowedOutput(model / "ivadomed_output.txt", lambda epoch: bar.update(epoch - bar.n))
        try:
            run_ivadomed([str(argument) for argument in arguments], output, threads=1)
        finally:
            output.close()
