"""The cases, by kind of file. Each is a folder with something damaged in it and a command that meets it."""

import dataclasses
import gzip
import json
import os
import shutil
import stat
import zipfile

import joblib
import numpy as np
import torch

from ivadomed_labelfusion.files import read_json
from tests.attack import damage
from tests.attack.outcome import ivadomed, ours
from tests.attack.world import CONTRAST, SUFFIXES
from tests.tiny import write_config


@dataclasses.dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        name (str): What is wrong.
        command (callable): Meets it; returns the exit status.
        executed (Path): A file that a payload would make.
        refused (bool): Whether anything but a refusal is wrong.
    """

    name: str
    command: object
    executed: object = None
    refused: bool = False


def _evaluate(world, folder, data, predictions):
    return ours(
        "evaluate", "--predictions", predictions, "--bids", data, "-o", folder / "results", "--target-suffix", *SUFFIXES
    )


def _meet(world, rng, folder, path):
    """Return a command that reads a damaged mask: one of the entrances, in turn."""
    which = int(rng.integers(3))
    if which == 0:
        return ours("fuse", path, world.mask(), "-o", folder / "fused.nii.gz", "--method", "staple")
    if which == 1:
        data = world.copy_data(folder)
        target = data / world.mask().relative_to(world.data)
        target.unlink()
        shutil.copyfile(path, target) if path.is_file() else target.symlink_to(path)
        return _evaluate(world, folder, data, world.predictions(folder))
    shutil.copyfile(world.mask("sub-01", 2), folder / f"one_b{path.name.removeprefix('one_a')}")
    shutil.copyfile(world.data / f"sub-01/anat/sub-01_{CONTRAST}.nii.gz", folder / "image_one.nii.gz")
    return ours(
        "prepare", "generic", "--image", f"{folder}/image_{{subject}}.nii.gz", "--mask",
        f"{folder}/{{subject}}_{{rater}}{path.name.removeprefix('one_a')}", "--class", "lesion", folder / "bids",
    )  # fmt: skip


def headers(world, rng, count):
    """NIfTI headers with one to three fields changed."""
    raw = gzip.decompress(world.mask().read_bytes())
    for _ in range(count):
        edits, folder = damage.random_edits(rng), world.new()
        packed = rng.random() < 0.6
        path = folder / ("one_a.nii.gz" if packed else "one_a.nii")
        content = damage.edit_header(raw, edits)
        path.write_bytes(gzip.compress(content) if packed else content)
        yield Case(str(edits), _meet(world, rng, folder, path))


def volumes(world, rng, count):
    """Compressed files that are cut, flipped or no files at all."""
    raw = gzip.decompress(world.mask().read_bytes())
    variants = damage.gzip_variants(raw)
    for number in range(count):
        folder = world.new()
        path = folder / "one_a.nii.gz"
        names = [*variants, "pipe", "folder", "link in a circle", "dead link"]
        name = names[number] if number < len(names) else "damaged"
        if name in variants:
            path.write_bytes(variants[name])
        elif name == "pipe":
            os.mkfifo(path)
        elif name == "folder":
            path.mkdir()
        elif name in ("link in a circle", "dead link"):
            path.symlink_to(path if "circle" in name else folder / "no.nii.gz")
        else:
            path.write_bytes(damage.damage_bytes(rng, world.mask().read_bytes()))
        command = _meet(world, rng, folder, path)
        if name in ("pipe", "folder", "link in a circle", "dead link"):
            command = ours("fuse", path, world.mask(), "-o", folder / "fused.nii.gz")
        yield Case(name, command)


def archives(world, rng, count):
    """Zips of a raw download."""
    content = world.scgm().read_bytes()
    for number in range(count):
        folder = world.new()
        path = folder / "raw.zip"
        named = _odd_zips()
        if number < len(named):
            name, write = named[number]
            write(path)
        else:
            name = "damaged"
            path.write_bytes(damage.damage_bytes(rng, content))
        yield Case(name, ours("prepare", "scgm", path, folder / "bids", "--quiet"))


def _odd_zips():
    def of(**options):
        def write(path):
            name = options.get("name", "site1-sc01-image.nii.gz")
            with zipfile.ZipFile(path, "w", options.get("method", zipfile.ZIP_DEFLATED)) as packed:
                info = zipfile.ZipInfo(name)
                info.compress_type = options.get("method", zipfile.ZIP_DEFLATED)
                info.external_attr = options.get("mode", 0o644) << 16
                for _ in range(options.get("times", 1)):
                    packed.writestr(info, options.get("content", b"x" * 100))
            if "patch" in options:
                raw = bytearray(path.read_bytes())
                for magic, offset, value in options["patch"]:
                    at = raw.find(magic)
                    raw[at + offset : at + offset + len(value)] = value
                path.write_bytes(bytes(raw))

        return write

    central, local = b"PK\x01\x02", b"PK\x03\x04"
    return [
        ("leaves its folder", of(name="../site1-sc01-image.nii.gz")),
        ("absolute", of(name="/tmp/site1-sc01-image.nii.gz")),
        ("link", of(mode=stat.S_IFLNK | 0o777, content=b"/etc/passwd")),
        ("twice", of(times=2)),
        ("bomb", of(content=bytes(110 * 2**20), name="site1-sc01-image.nii", method=zipfile.ZIP_BZIP2)),
        ("lzma bomb", of(content=bytes(110 * 2**20), name="site1-sc01-image.nii", method=zipfile.ZIP_LZMA)),
        ("bzip2", of(method=zipfile.ZIP_BZIP2)),
        ("method 99", of(patch=[(central, 10, b"\x63\x00"), (local, 8, b"\x63\x00")])),
        ("encrypted", of(patch=[(central, 8, b"\x01\x00"), (local, 6, b"\x01\x00")])),
        ("claims 4 GB", of(patch=[(central, 24, b"\xff\xff\xff\xfe")])),
        ("claims nothing", of(patch=[(central, 24, b"\x00\x00\x00\x00")])),
        ("wrong checksum", of(patch=[(central, 16, b"\x00\x01\x02\x03")])),
        ("moved", of(patch=[(central, 42, b"\xff\xff\x00\x00")])),
        ("name with a null byte", of(name="site1-sc01-image\0.nii.gz")),
        ("long name", of(name="a" * 300 + "/site1-sc01-image.nii.gz")),
        ("empty", lambda path: zipfile.ZipFile(path, "w").close()),
        ("text", lambda path: path.write_text("hello")),
        ("no member is an image", of(name="readme.txt")),
    ]


def probabilities(world, rng, count):
    """Archives beside a prediction, as nnU-Net writes them."""
    like = np.zeros((2, 3, 18, 20), np.float32)
    like[0] = 1
    folder = world.new()
    variants = list(damage.npz_variants(rng, like, folder / "executed"))
    for number in range(count):
        name, write = variants[number % len(variants)]
        folder = world.new()
        target = world.predictions(folder)
        write(target / f"sub-01_{CONTRAST}_pred.npz")
        executed = world.root / "cases" / "00001" / "executed"
        yield Case(name, _evaluate(world, folder, world.data, target), executed)


def configurations(world, rng, count):
    """Configurations with one value changed, met by the check."""
    texts = damage.json_texts(world.config)
    for number in range(count):
        folder = world.new()
        path = folder / "config.json"
        if number < len(texts):
            name = list(texts)[number]
            path.write_text(texts[name], encoding="utf-8")
        else:
            content, name = damage.change_json(rng, world.config)
            path.write_text(json.dumps(content))
        yield Case(name, ours("check", path))


def trainings(world, rng, count):
    """Configurations with one value changed, met by ``ivadomed --train``: what the check takes must train."""
    texts = damage.json_texts(world.config)
    # the first import of ivadomed is no part of a case
    world.trained()
    for number in range(count):
        folder = world.new()
        path = folder / "config.json"
        if number < 6:
            name = ("null", "list", "deep", "6000 digits", "twice", "null byte")[number]
            path.write_text(texts[name], encoding="utf-8")
        else:
            content, name = damage.change_json(rng, world.config, keep=("path_output", "command"))
            if isinstance(content.get("path_output"), str):
                content["path_output"] = str(folder / "out")
            path.write_text(json.dumps(content))
        yield Case(name, ivadomed("--train", "-c", path, "-po", folder / "out"))


def splits(world, rng, count):
    """Split files, met by ``ivadomed --train``."""
    world.trained()
    names = {part: [f"sub-0{number}_{CONTRAST}.nii.gz"] for number, part in enumerate(("train", "valid", "test"), 1)}
    mark = world.new() / "executed"
    bomb = damage.Payload(mark)
    contents = [
        ("payload", bomb), ("payload in a list", {**names, "test": [bomb]}), ("payload in an array",
        {**names, "train": np.array([bomb], dtype=object)}), ("text", "x"), ("list", []), ("numbers", {**names, "test": [1]}),
        ("other images", {**names, "test": ["sub-99_x.nii.gz"]}), ("nothing", {"train": [], "valid": [], "test": []}),
    ]  # fmt: skip
    for number in range(count):
        folder = world.new()
        path = folder / "split.joblib"
        if number < len(contents):
            name, content = contents[number]
            joblib.dump(content, path)
        else:
            name = "damaged"
            joblib.dump(names, path)
            path.write_bytes(damage.damage_bytes(rng, path.read_bytes()))
        config = json.loads(json.dumps(world.config))
        config["split_dataset"]["fname_split"] = str(path)
        yield Case(
            name, ivadomed("--train", "-c", write_config(folder / "c.json", config), "-po", folder / "out"), mark
        )


def models(world, rng, count):
    """Models and checkpoints, met by ``--test`` and ``--resume-training``."""
    out, config = world.trained()
    mark = world.new() / "executed"
    checkpoint = torch.load(out / "checkpoint.pth.tar", weights_only=True)
    odd = [
        ("payload", damage.Payload(mark)), ("dictionary", {"a": 1}), ("list", [1]), ("tensor", torch.zeros(3)),
        ("empty network", torch.nn.Sequential()), ("other network", torch.nn.Linear(2, 2)), ("text", "x"),
        ("function", print), ("nothing", None),
    ]  # fmt: skip
    changes = [
        ("epoch", "x"), ("epoch", -3), ("epoch", 10**12), ("validation_loss", None), ("validation_loss", float("nan")),
        ("patience_count", []), ("optimizer", {}), ("optimizer", {"state": 3, "param_groups": []}), ("scheduler", 3),
        ("scheduler", {"T_max": "x"}), ("state_dict", {}), ("random", 3), ("random", {"python": ()}), ("gif_dict", None),
    ]  # fmt: skip
    for number in range(count):
        folder = world.new()
        own = folder / "out"
        shutil.copytree(out, own)
        if number % 2:
            target, index = own / "checkpoint.pth.tar", number // 2
            if index < len(changes):
                name = f"checkpoint {changes[index]}"
                torch.save({**checkpoint, changes[index][0]: changes[index][1]}, target)
            else:
                name = "damaged checkpoint"
                target.write_bytes(damage.damage_bytes(rng, target.read_bytes()))
            command = ivadomed("--train", "-c", config, "-po", own, "--resume-training")
        else:
            target, index = own / "best_model.pt", number // 2
            if index < len(odd):
                name = f"model: {odd[index][0]}"
                torch.save(odd[index][1], target)
            else:
                name = "damaged model"
                target.write_bytes(damage.damage_bytes(rng, target.read_bytes()))
            command = ivadomed("--test", "-c", config, "-po", own)
        yield Case(name, command, mark)


def studies(world, rng, count):
    """Files of a study."""
    study = world.study()
    kinds = sorted(
        path.relative_to(study) for path in study.rglob("*") if path.is_file() and path.suffix in (".json", ".csv")
    )
    kinds = [kind for kind in kinds if kind.parts[0] != "results" or kind.name in ("results.csv", "models.csv")]
    mark = world.new() / "executed"
    commands = (("status",), ("results",), ("claims",), ("status", "--models"))
    for number in range(count):
        folder = world.new()
        own = folder / "study"
        shutil.copytree(study, own)
        kind = kinds[int(rng.integers(len(kinds)))]
        command = commands[number % len(commands)]
        if number < 12:
            name, content = _odd_studies(read_json(study / "study.json"), mark)[number]
            (own / "study.json").write_text(json.dumps(content))
        elif kind.suffix == ".json" and rng.random() < 0.6:
            content, what = damage.change_json(rng, json.loads((own / kind).read_text()))
            name = f"{kind}: {what}"
            (own / kind).write_text(json.dumps(content))
        elif kind.suffix == ".csv" and rng.random() < 0.7:
            name = f"{kind}: cells"
            (own / kind).write_text(_change_table(rng, (own / kind).read_text()))
        else:
            name = f"{kind}: damaged"
            (own / kind).write_bytes(damage.damage_bytes(rng, (own / kind).read_bytes()))
        yield Case(name, ours("study", command[0], own, *command[1:]), mark)


def _odd_studies(content, mark):
    def renamed(name):
        first, *others = content["candidates"]
        return {**content, "candidates": [{**first, "name": name}, *others]}

    return [
        ("shell", renamed(f"a; touch {mark}")),
        ("backticks", renamed(f"`touch {mark}`")),
        ("outside", renamed("../../x")),
        ("absolute", renamed("/tmp/x")),
        ("braces", renamed("{x}")),
        ("no name", renamed(None)),
        ("splits", {**content, "n_splits": 10**9}),
        ("splits as text", {**content, "n_splits": "3"}),
        ("no candidates", {**content, "candidates": []}),
        ("raters", {**content, "candidates": [{**content["candidates"][0], "raters": "12"}]}),
        ("template", {**content, "template": "/dev/zero"}),
        ("overrides", {**content, "overrides": {"loader_parameters": 3}}),
    ]


def _change_table(rng, text):
    """Return a CSV text with cells, a column or the header changed."""
    rows = [line.split(",") for line in text.splitlines()]
    how = int(rng.integers(6))
    row, column = int(rng.integers(1, len(rows))), int(rng.integers(len(rows[0])))
    if how == 0:
        rows[row][column] = ("x", "-7", "nan", "1e400", "", '"', "=1+1")[int(rng.integers(7))]
    elif how == 1:
        rows = [[cell for index, cell in enumerate(cells) if index != column] for cells in rows]
    elif how == 2:
        rows[0][column] = "other"
    elif how == 3:
        rows = rows[:1]
    elif how == 4:
        rows[0][column] = rows[0][column - 1]
    else:
        rows.append(["x"] * int(rng.integers(1, 40)))
    return "\n".join(",".join(cells) for cells in rows) + "\n"


def lines(world, rng, count):
    """Command lines: odd numbers, names and paths."""
    folder = world.new()
    (folder / "loop").symlink_to(folder / "loop")
    mask, braces = world.mask(), folder / "a{x}b"
    braces.mkdir()
    (folder / "bomb.yaml").write_text(_yaml_bomb())
    (folder / "circle.yaml").write_text("&a [*a]")
    (folder / "deep.yaml").write_text("[" * 20_000 + "]" * 20_000)
    (folder / "tag.yaml").write_text(f"!!python/object/apply:os.system ['touch {folder / 'executed'}']")
    run = ("study", "run", "--bids", world.data, "--template", "ms", "--output", folder / "s", "--dry-run")
    suffixes = ["--set", f"loader_parameters.target_suffix={json.dumps([SUFFIXES])}"]
    every = [
        *[(*run, *suffixes, "--splits", text) for text in ("1e20", "9" * 30, "9" * 6000, "-1", "0", "1000001", "x", "²")],
        *[(*run, "--candidates-file", folder / name) for name in ("bomb.yaml", "circle.yaml", "deep.yaml", "tag.yaml", "loop")],
        *[(*run, "--cores", text) for text in ("9" * 5000, "-1", "1.5")],
        *[(*run, "--seed", text) for text in ("9" * 5000, "9" * 25, "-1")],
        *[(*run, *suffixes, "--set", text) for text in ("a=", "=1", "a.b=NaN", "default_model.depth=1e400",
          "default_model=3", "loader_parameters=null", "training_parameters.batch_size=" + "9" * 5000,
          "default_model.depth=1000000", "x=" + "[" * 100_000)],
        ("study", "status", folder / "loop"), ("study", "status", mask), ("study", "status", "/dev/null"),
        ("study", "run", "--bids", folder / "loop", "--template", "ms", "--output", folder / "loop"),
        *[("phantom", "scgm", folder / "p", "--size", "tiny", "--subjects", text) for text in ("1000000000", "0", "-1", "9" * 30)],
        ("phantom", "scgm", folder / "p", "--size", "tiny", "--seed", "-1"),
        ("phantom", "scgm", folder / "loop" / "x"), ("prepare", "scgm", folder / "loop", folder / "o"),
        ("prepare", "scgm", folder, folder / "o", "--jobs", "100000"), ("prepare", "scgm", folder, folder / "loop"),
        *[("prepare", "generic", "--image", pattern, "--mask", "/tmp/{subject}_{rater}.nii", "--class", "x", folder / "o")
          for pattern in ("/" + "**/" * 30 + "{subject}.nii", f"{folder}/{'**/*' * 9}{{subject}}.nii", "/**/{subject}.nii",
                          f"{folder}/{'*a' * 40}{{subject}}.nii", "{subject", f"{folder}/[{{subject}}", f"{folder}/(a|{{subject}}")],
        ("fuse", mask, mask, "-o", folder / "loop"), ("fuse", folder / "loop", mask, "-o", folder / "f.nii.gz"),
        ("fuse", mask, mask, "-o", folder / "no" / "such" / "f.nii.gz"), ("fuse", mask, mask, "-o", mask),
        ("fuse", mask, mask, "-o", "/proc/f.nii.gz"), ("fuse", mask, mask, "-o", folder / ("a" * 300 + ".nii.gz")),
        *[("fuse", mask, mask, "-o", folder / f"{n}.nii.gz", "--max-iter", text) for n, text in enumerate(("0", "-1", "9" * 30))],
        *[("fuse", mask, mask, "-o", folder / f"t{n}.nii.gz", "--tol", text) for n, text in enumerate(("nan", "-1", "inf"))],
        ("evaluate", "--predictions", folder / "loop", "--bids", world.data, "-o", folder / "e", "--target-suffix", *SUFFIXES),
        ("evaluate", "--predictions", folder, "--bids", folder / "loop", "-o", folder / "e", "--target-suffix", *SUFFIXES),
        ("evaluate", "--predictions", folder, "--bids", world.data, "-o", mask, "--target-suffix", *SUFFIXES),
        ("evaluate", "--predictions", folder, "--bids", world.data, "-o", folder / "e", "--target-suffix", "", "\u202e"),
        ("check", folder / "loop"), ("check", "/dev/null"), ("check", folder), ("check", mask),
    ]  # fmt: skip
    # few are taken over the whole list, many take all
    chosen = every if count >= len(every) else [every[index] for index in rng.permutation(len(every))[:count]]
    for arguments in chosen:
        name = " ".join(str(argument)[:40] for argument in arguments)
        yield Case(name, ours(*arguments), folder / "executed")


def _yaml_bomb():
    levels = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    levels += [
        f"{name}: &{name} [{', '.join(['*' + before] * 9)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    return "\n".join(levels)


def tables(world, rng, count):
    """participants.tsv of a dataset, met by a study and by ``ivadomed --train``."""
    world.trained()
    whole = (world.data / "participants.tsv").read_text()
    rows = whole.splitlines()
    texts = [
        "", "\n", "participant_id", whole.replace("\t", ","), whole.replace("participant_id", "id"), whole + "sub-01\tx\ty\tz\n",
        whole.replace("sub-02", "sub-01"), "\n".join(rows[:1]), "\0" * 50, whole + '"unclosed', "\ufeff" + whole, whole.replace("\n", "\r"),
        "participant_id\tparticipant_id\n" + "\n".join(rows[1:]), whole + "\t" * 1000 + "\n", "\n".join([rows[0], *rows[3:]]),
    ]  # fmt: skip
    for number in range(count):
        folder = world.new()
        data = world.copy_data(folder)
        table = data / "participants.tsv"
        if number < len(texts):
            name = repr(texts[number][:30])
            table.write_text(texts[number], encoding="utf-8")
        else:
            name = "damaged"
            table.write_bytes(damage.damage_bytes(rng, whole.encode()))
        if number % 2:
            config = {
                **world.config,
                "loader_parameters": {**world.config["loader_parameters"], "path_data": [str(data)]},
            }
            command = ivadomed("--train", "-c", write_config(folder / "c.json", config), "-po", folder / "out")
        else:
            command = ours(
                "study", "run", "--bids", data, "--template", "ms", "--output", folder / "s", "--dry-run", "--splits", "2",
                "--design", "centre", "--set", f"loader_parameters.target_suffix={json.dumps([SUFFIXES])}", "--set",
                "loader_parameters.multichannel=false", "--set",
                f'loader_parameters.contrast_params={{"training_validation":["{CONTRAST}"],"testing":["{CONTRAST}"]}}',
            )  # fmt: skip
        yield Case(name, command)


def images(world, rng, count):
    """Images of a dataset that ivadomed itself reads, met by ``--train``."""
    world.trained()
    path = world.data / f"sub-02/anat/sub-02_{CONTRAST}.nii.gz"
    raw = gzip.decompress(path.read_bytes())
    for _ in range(count):
        folder = world.new()
        data = world.copy_data(folder)
        target = data / path.relative_to(world.data)
        if rng.random() < 0.5:
            edits = damage.random_edits(rng)
            name = str(edits)
            target.write_bytes(gzip.compress(damage.edit_header(raw, edits)))
        else:
            name = "damaged"
            target.write_bytes(damage.damage_bytes(rng, path.read_bytes()))
        config = {**world.config, "loader_parameters": {**world.config["loader_parameters"], "path_data": [str(data)]}}
        yield Case(name, ivadomed("--train", "-c", write_config(folder / "c.json", config), "-po", folder / "out"))


# name -> (cases, how many in the short form, how many in the long one)
FAMILIES = {
    "headers": (headers, 24, 200),
    "volumes": (volumes, 24, 100),
    "archives": (archives, 24, 70),
    "probabilities": (probabilities, 17, 34),
    "configurations": (configurations, 60, 200),
    "lines": (lines, 60, 100),
    "studies": (studies, 16, 120),
    "splits": (splits, 9, 24),
    "models": (models, 14, 80),
    "tables": (tables, 0, 40),
    "trainings": (trainings, 9, 60),
    "images": (images, 5, 40),
}
