"""JSON, YAML and archives of arrays from strangers: one meaning, small, or refused in one line."""

import numpy as np
import pytest

from ivadomed_labelfusion.config.yaml_files import read_yaml
from ivadomed_labelfusion.data.archives import load_npz_array
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.frames import read_table
from ivadomed_labelfusion.experiment.profiles import check_study_profile
from ivadomed_labelfusion.files import read_json, resolve
from tests.attack.damage import npz_variants


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "every key once, got 'a' twice"),
        ('{"x": {"a": 1, "b": 3, "a": 1}}', "every key once, got 'a' twice"),
        ("NaN", "numbers that JSON knows, got NaN"),
        ("[1e999]", "fit 64 bits"),
        ("9" * 6000, "fit 64 bits"),
        ("[" * 100_000, "nested less deeply"),
        ("{", "not valid JSON"),
    ],
)
def test_json(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=rf"a\.json .*{message}"):
        read_json(tmp_path / "a.json")


def test_json_that_is_fine(tmp_path):
    (tmp_path / "a.json").write_text('{"time": 1732530000000000000, "x": [-1.5e3, 0, {"x": 1}]}')
    assert read_json(tmp_path / "a.json") == {"time": 1732530000000000000, "x": [-1500.0, 0, {"x": 1}]}


def test_devices_and_circles_are_not_read(tmp_path):
    for path in ("/dev/zero", tmp_path):
        with pytest.raises(InputError, match="must be a file"):
            read_json(path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match="links lead in a circle"):
        resolve(tmp_path / "loop" / "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("&a [*a]", "stands for what it is part of"),
        ("\n".join(["a: &a [x,x,x,x,x,x,x,x,x,x]"] + [
            f"{n}: &{n} [{','.join(['*' + b] * 10)}]" for b, n in zip("abcdef", "bcdefg", strict=True)
        ]), "at most 100000 values"),
        ("[" * 20_000, "nested less deeply"),
        ("!!python/object/apply:os.system [true]", "not valid YAML"),
        ("a: [", "not valid YAML"),
        ("x" * (2**20 + 1), "at most 1 MiB"),
    ],
)  # fmt: skip
def test_yaml(tmp_path, text, message):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_yaml(tmp_path / "a.yaml", cure="Check it")


def test_yaml_with_anchors_is_fine(tmp_path):
    (tmp_path / "a.yaml").write_text("- &a {x: 1}\n- <<: *a\n  y: 2\n")
    assert read_yaml(tmp_path / "a.yaml", cure="Check it") == [{"x": 1}, {"x": 1, "y": 2}]


def test_archives_of_arrays(tmp_path):
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "a.npz", probabilities=whole, more=whole)
        np.testing.assert_array_equal(load_npz_array(tmp_path / "a.npz", "probabilities", n_axes=3), whole)
    for name, write in npz_variants(np.random.default_rng(0), whole[None], tmp_path / "executed"):
        path = tmp_path / "b.npz"
        path.unlink(missing_ok=True)
        write(path)
        try:
            array = load_npz_array(path, "probabilities", n_axes=4)
        except InputError as error:
            message = str(error)
        else:
            message, values = str(path), np.asarray(array)
            # damage that hits no byte of the array, or only its axes or values
            assert values.dtype.kind in "biuf", name
        assert str(path) in message
        assert not (tmp_path / "executed").exists(), name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("candidate,split,ir_dice_GM\na,b,-0.5\n", "ir_dice_GM must hold numbers from 0 to 1, got -0.5"),
        ("candidate,split,ir_dice_GM\na,b,x\n", "ir_dice_GM must hold numbers, got 'x'"),
        ("candidate,split,ir_dice_GM\na,b,inf\n", "ir_dice_GM must hold numbers, got 'inf'"),
        ("candidate,split,ece_x\na,b,2\n", "ece_x must hold numbers from 0 to 1, got 2"),
        ("candidate,ir_dice_GM\na,1\n", "lacks 'split'"),
        ("candidate,split,split\na,b,c\n", "has 'split' twice"),
        ("candidate,split\n", "at least one row"),
    ],
)
def test_tables(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "a.csv", ("candidate", "split"), "Delete it.", class_names=["GM"])


def test_a_table_that_is_fine(tmp_path):
    (tmp_path / "a.csv").write_text("candidate,split,ir_dice_GM,ir_own,epochs\na,01,0.5,-3,4\nb,02,,,5\n")
    frame = read_table(tmp_path / "a.csv", ("candidate", "split"), "Delete it.", class_names=["GM"])
    assert frame["split"].tolist() == ["01", "02"]
    assert frame["ir_dice_GM"].isna().tolist() == [False, True]
    assert frame["epochs"].tolist() == [4, 5]


@pytest.mark.parametrize(
    "text",
    [
        "__use_yte__: true\nexecutor: slurm",
        "executor: cluster-generic\ncluster-generic-submit-cmd: touch x",
        "default-resources:\n  - slurm_account=__import__('os').system('touch x')",
        "set-resources:\n  train:\n    mem_mb: max(1, 2)",
        "jobs: '`touch x`'",
        "default-resources:\n  - slurm_extra='--x; touch y'",
        "precommand: touch x",
        "- list",
    ],
)
def test_the_profile_in_a_study_holds_words_and_numbers(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=r"config\.yaml"):
        check_study_profile(tmp_path / "config.yaml")


def test_the_shipped_profile_and_its_examples_pass(tmp_path):
    from importlib import resources

    shipped = resources.files("ivadomed_labelfusion.experiment").joinpath("workflow/slurm.yaml").read_text()
    (tmp_path / "config.yaml").write_text(shipped)
    check_study_profile(tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_text(
        "executor: slurm\njobs: 10\ndefault-resources:\n  - slurm_account=my_account\n  - slurm_extra='--qos=long'\n"
        "set-resources:\n  train:\n    mem_mb: 32000\n    runtime: 48h\n"
    )
    check_study_profile(tmp_path / "config.yaml")
