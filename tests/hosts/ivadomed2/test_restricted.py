"""joblib files of ivadomed load; whatever else a file holds is refused, and nothing in it runs."""

import io
import os
import pickle
import struct

import joblib
import numpy as np
import pytest
import torch
from ivadomed import losses as imed_losses
from ivadomed.loader.film import Kde_model
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import OneHotEncoder

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.hosts.ivadomed2 import restricted
from ivadomed_labelfusion.hosts.ivadomed2.losses import LossCombination

SPLIT = {"train": ["sub-01_FLAIR.nii.gz"], "valid": ["sub-02_FLAIR.nii.gz"], "test": []}


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def load(kind, path):
    return (restricted.SplitJoblib if kind == "split" else restricted.FilmJoblib).load(path)


@pytest.mark.parametrize("kind", ["split", "film"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda bomb: bomb,
        lambda bomb: {**SPLIT, "more": [bomb]},
        lambda bomb: {"train": [np.array([bomb, 1], dtype=object)], "valid": [], "test": []},
        lambda bomb: np.array([[bomb]], dtype=object),
    ],
)
@pytest.mark.parametrize("how", [joblib.dump, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_payload_does_not_run(tmp_path, kind, wrap, how):
    target, path = tmp_path / "ran", tmp_path / "file.joblib"
    how(wrap(Payload(target)), path)
    with pytest.raises(InputError, match=r"was refused: it holds \w+\.system"):
        load(kind, path)
    assert not target.exists()


@pytest.mark.parametrize(
    "global_name",
    [
        "builtins eval",
        "builtins getattr",
        "os system",
        "posix system",
        "numpy ndarray.fromfile",
        "numpy.f2py.crackfortran getlincoef",
        "joblib.numpy_pickle NDArrayWrapper",
        "sklearn.utils.fixes importlib.import_module",
        "functools partial",
    ],
)
def test_no_other_name_is_found(tmp_path, global_name):
    path = tmp_path / "file.joblib"
    path.write_bytes(b"c" + global_name.replace(" ", "\n").encode() + b"\n(tR.")
    for kind in ("split", "film"):
        with pytest.raises(InputError, match="refused"):
            load(kind, path)


def test_splits_load_from_joblib_and_json(tmp_path):
    joblib.dump(SPLIT, tmp_path / "a.joblib")
    assert restricted.read_split_file(tmp_path / "a.joblib") == SPLIT
    joblib.dump({part: np.array(names, dtype=object).tolist() for part, names in SPLIT.items()}, tmp_path / "b.joblib")
    assert restricted.read_split_file(tmp_path / "b.joblib") == SPLIT
    (tmp_path / "c.json").write_text('{"train": ["a"], "valid": ["b"], "test": ["c"]}')
    assert restricted.read_split_file(tmp_path / "c.json")["valid"] == ["b"]
    (tmp_path / "d.json").write_text('{"name": "x", "files": {"train": ["a"], "valid": ["b"], "test": ["c"]}}')
    assert restricted.read_split_file(tmp_path / "d.json")["test"] == ["c"]


@pytest.mark.parametrize("content", [3, [], {"train": []}, {**SPLIT, "test": "x"}, {**SPLIT, "test": [1]}, None])
def test_other_content_is_named(tmp_path, content):
    joblib.dump(content, tmp_path / "a.joblib")
    with pytest.raises(InputError, match=r"a\.joblib must hold the lists train, valid and test"):
        restricted.read_split_file(tmp_path / "a.joblib")


def test_film_models_load(tmp_path):
    encoder = OneHotEncoder(handle_unknown="ignore").fit(np.array([[0, 1], [2, 1], [1, 0]]))
    joblib.dump(encoder, tmp_path / "encoder.joblib")
    loaded = restricted.FilmJoblib.load(tmp_path / "encoder.joblib")
    np.testing.assert_array_equal(loaded.transform([[2, 1]]).toarray(), encoder.transform([[2, 1]]).toarray())
    texts = OneHotEncoder().fit(np.array([["a"], ["bc"]], dtype=object))
    joblib.dump(texts, tmp_path / "texts.joblib")
    np.testing.assert_array_equal(
        restricted.FilmJoblib.load(tmp_path / "texts.joblib").transform([["bc"]]).toarray(), [[0.0, 1.0]]
    )
    model = Kde_model()
    model.kde, model.minima = KernelDensity().fit(np.arange(5.0)[:, None]), np.array([1.5, 3.5])
    joblib.dump({"FlipAngle": model}, tmp_path / "models.joblib")
    assert restricted.FilmJoblib.load(tmp_path / "models.joblib")["FlipAngle"].predict(2.0) == 1
    joblib.dump({"site1": 0, np.float64(2.5): np.int64(1)}, tmp_path / "table.joblib")
    assert restricted.FilmJoblib.load(tmp_path / "table.joblib") == {"site1": 0, 2.5: 1}
    # numbers in either byte order, laid out as in Fortran
    joblib.dump(np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3)), tmp_path / "array.joblib")
    np.testing.assert_array_equal(restricted.FilmJoblib.load(tmp_path / "array.joblib"), np.arange(6).reshape(2, 3))


def test_damaged_and_compressed_files_are_named(tmp_path):
    path = tmp_path / "a.joblib"
    joblib.dump(SPLIT, path, compress=3)
    with pytest.raises(InputError, match=r"a\.joblib must be an uncompressed joblib file"):
        restricted.read_split_file(path)
    joblib.dump(SPLIT, path)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError):
            restricted.read_split_file(path)
    with pytest.raises(InputError, match="does not exist"):
        restricted.read_split_file(tmp_path / "no.joblib")


def test_an_array_cannot_claim_more_than_the_file_holds(tmp_path):
    stream = io.BytesIO()
    joblib.dump(np.zeros(7, np.float64), stream)
    raw = stream.getvalue()
    assert raw.count(b"K\x07\x85") == 1
    bomb = raw.replace(b"K\x07\x85", b"J" + struct.pack("<i", 2**31 - 1) + b"\x85")
    (tmp_path / "bomb.joblib").write_bytes(bomb)
    with pytest.raises(InputError, match="claims more than the file holds"):
        restricted.FilmJoblib.load(tmp_path / "bomb.joblib")


def test_a_combination_takes_names_of_losses_only(tmp_path):
    a, b = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4).round()
    summed = LossCombination(["L2loss", "DiceLoss"], [None, {"smooth": 2.0}])(a, b)
    expected = imed_losses.L2loss()(a, b) + imed_losses.DiceLoss(smooth=2.0)(a, b)
    torch.testing.assert_close(summed, expected)
    code = f"[__import__('os').system('touch {tmp_path / 'ran'}'), L2loss][1]"
    for name in (code, "LossCombination", "torch", "eval", 3):
        with pytest.raises(InputError, match="must hold names of losses"):
            LossCombination([name])
    assert not (tmp_path / "ran").exists()
