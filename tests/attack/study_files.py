"""Cases of the files of a study, and of command lines."""

import json
import shutil

from ivadomed_labelfusion.files import read_json
from tests.attack import damage
from tests.attack.case import Case
from tests.attack.outcome import ours
from tests.attack.world import SUFFIXES


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
        *[
            (*run, *suffixes, "--splits", text)
            for text in ("1e20", "9" * 30, "9" * 6000, "-1", "0", "1000001", "x", "²")
        ],
        *[
            (*run, "--candidates-file", folder / name)
            for name in ("bomb.yaml", "circle.yaml", "deep.yaml", "tag.yaml", "loop")
        ],
        *[(*run, "--cores", text) for text in ("9" * 5000, "-1", "1.5")],
        *[(*run, "--seed", text) for text in ("9" * 5000, "9" * 25, "-1")],
        *[
            (*run, *suffixes, "--set", text)
            for text in (
                "a=",
                "=1",
                "a.b=NaN",
                "default_model.depth=1e400",
                "default_model=3",
                "loader_parameters=null",
                "training_parameters.batch_size=" + "9" * 5000,
                "default_model.depth=1000000",
                "x=" + "[" * 100_000,
            )
        ],
        ("study", "status", folder / "loop"),
        ("study", "status", mask),
        ("study", "status", "/dev/null"),
        ("study", "run", "--bids", folder / "loop", "--template", "ms", "--output", folder / "loop"),
        *[
            ("phantom", "scgm", folder / "p", "--size", "tiny", "--subjects", text)
            for text in ("1000000000", "0", "-1", "9" * 30)
        ],
        ("phantom", "scgm", folder / "p", "--size", "tiny", "--seed", "-1"),
        ("phantom", "scgm", folder / "loop" / "x"),
        ("prepare", "scgm", folder / "loop", folder / "o"),
        ("prepare", "scgm", folder, folder / "o", "--jobs", "100000"),
        ("prepare", "scgm", folder, folder / "loop"),
        *[
            (
                "prepare",
                "generic",
                "--image",
                pattern,
                "--mask",
                "/tmp/{subject}_{rater}.nii",
                "--class",
                "x",
                folder / "o",
            )
            for pattern in (
                "/" + "**/" * 30 + "{subject}.nii",
                f"{folder}/{'**/*' * 9}{{subject}}.nii",
                "/**/{subject}.nii",
                f"{folder}/{'*a' * 40}{{subject}}.nii",
                "{subject",
                f"{folder}/[{{subject}}",
                f"{folder}/(a|{{subject}}",
            )
        ],
        ("fuse", mask, mask, "-o", folder / "loop"),
        ("fuse", folder / "loop", mask, "-o", folder / "f.nii.gz"),
        ("fuse", mask, mask, "-o", folder / "no" / "such" / "f.nii.gz"),
        ("fuse", mask, mask, "-o", mask),
        ("fuse", mask, mask, "-o", "/proc/f.nii.gz"),
        ("fuse", mask, mask, "-o", folder / ("a" * 300 + ".nii.gz")),
        *[
            ("fuse", mask, mask, "-o", folder / f"{n}.nii.gz", "--max-iter", text)
            for n, text in enumerate(("0", "-1", "9" * 30))
        ],
        *[
            ("fuse", mask, mask, "-o", folder / f"t{n}.nii.gz", "--tol", text)
            for n, text in enumerate(("nan", "-1", "inf"))
        ],
        (
            "evaluate",
            "--predictions",
            folder / "loop",
            "--bids",
            world.data,
            "-o",
            folder / "e",
            "--target-suffix",
            *SUFFIXES,
        ),
        (
            "evaluate",
            "--predictions",
            folder,
            "--bids",
            folder / "loop",
            "-o",
            folder / "e",
            "--target-suffix",
            *SUFFIXES,
        ),
        ("evaluate", "--predictions", folder, "--bids", world.data, "-o", mask, "--target-suffix", *SUFFIXES),
        (
            "evaluate",
            "--predictions",
            folder,
            "--bids",
            world.data,
            "-o",
            folder / "e",
            "--target-suffix",
            "",
            "\u202e",
        ),
        ("check", folder / "loop"),
        ("check", "/dev/null"),
        ("check", folder),
        ("check", mask),
    ]
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
