"""Cases of files of data: volumes, archives, tables of participants."""

import gzip
import json
import os
import shutil
import stat
import zipfile

import numpy as np

from tests.attack import damage
from tests.attack.case import Case, evaluate
from tests.attack.outcome import ivadomed, ours
from tests.attack.world import CONTRAST, SUFFIXES
from tests.builders.tiny import write_config


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
        return evaluate(world, folder, data, world.predictions(folder))
    shutil.copyfile(world.mask("sub-01", 2), folder / f"one_b{path.name.removeprefix('one_a')}")
    shutil.copyfile(world.data / f"sub-01/anat/sub-01_{CONTRAST}.nii.gz", folder / "image_one.nii.gz")
    return ours(
        "prepare",
        "generic",
        "--image",
        f"{folder}/image_{{subject}}.nii.gz",
        "--mask",
        f"{folder}/{{subject}}_{{rater}}{path.name.removeprefix('one_a')}",
        "--class",
        "lesion",
        folder / "bids",
    )


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
        yield Case(name, evaluate(world, folder, world.data, target), executed)


def tables(world, rng, count):
    """participants.tsv of a dataset, met by a study and by ``ivadomed --train``."""
    world.trained()
    whole = (world.data / "participants.tsv").read_text()
    rows = whole.splitlines()
    texts = [
        "",
        "\n",
        "participant_id",
        whole.replace("\t", ","),
        whole.replace("participant_id", "id"),
        whole + "sub-01\tx\ty\tz\n",
        whole.replace("sub-02", "sub-01"),
        "\n".join(rows[:1]),
        "\0" * 50,
        whole + '"unclosed',
        "\ufeff" + whole,
        whole.replace("\n", "\r"),
        "participant_id\tparticipant_id\n" + "\n".join(rows[1:]),
        whole + "\t" * 1000 + "\n",
        "\n".join([rows[0], *rows[3:]]),
    ]
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
                "study",
                "run",
                "--bids",
                data,
                "--template",
                "ms",
                "--output",
                folder / "s",
                "--dry-run",
                "--splits",
                "2",
                "--design",
                "centre",
                "--set",
                f"loader_parameters.target_suffix={json.dumps([SUFFIXES])}",
                "--set",
                "loader_parameters.multichannel=false",
                "--set",
                f'loader_parameters.contrast_params={{"training_validation":["{CONTRAST}"],"testing":["{CONTRAST}"]}}',
            )
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
