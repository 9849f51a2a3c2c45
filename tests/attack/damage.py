"""Damage by code: bytes, NIfTI headers, JSON, and what strangers put into files that are read by programs."""

import copy
import gzip
import json
import os
import pickle
import struct
import zlib

import numpy as np

NAN, INF = float("nan"), float("inf")
# offset and type of the fields of a NIfTI-1 header that anything is computed from
FIELDS = {
    "sizeof_hdr": (0, "i"),
    "dim0": (40, "h"),
    "dim1": (42, "h"),
    "dim2": (44, "h"),
    "dim3": (46, "h"),
    "dim4": (48, "h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim0": (76, "f"),
    "pixdim1": (80, "f"),
    "pixdim3": (88, "f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern_b": (256, "f"),
    "qoffset_x": (268, "f"),
    "srow_x0": (280, "f"),
    "srow_y3": (308, "f"),
    "srow_z2": (320, "f"),
    "magic": (344, "i"),
    "extension": (348, "i"),
}
INTEGERS = (0, 1, -1, 2, 4, 7, 8, 16, 32, 64, 128, 256, 512, 1536, 1792, 2048, 2304, 9999, 32767, -32768)
REALS = (0.0, -1.0, 1e-30, 1e30, -1e30, NAN, INF, -INF, 351.0, 353.5, 1e9, 3e38)


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


def edit_header(raw, edits):
    """Return the bytes of an unpacked NIfTI-1 file with fields changed: ``[(name, value)]``."""
    content = bytearray(raw)
    for name, value in edits:
        offset, kind = FIELDS[name]
        struct.pack_into(f"<{kind}", content, offset, value if kind == "f" else int(value))
    return bytes(content)


def random_edits(rng):
    """Return one to three changes of header fields."""
    names = rng.choice(list(FIELDS), size=int(rng.integers(1, 4)), replace=False)
    return [(name, (REALS if FIELDS[name][1] == "f" else INTEGERS)[rng.integers(12)]) for name in names]


def damage_bytes(rng, content):
    """Return content with random damage: cut, flipped, overwritten, inserted, replaced, emptied."""
    content = bytearray(content)
    place = int(rng.integers(max(1, len(content))))
    how = int(rng.integers(8))
    if how == 0:
        return bytes(content[:place])
    if how == 1 and content:
        content[place] ^= 1 << int(rng.integers(8))
    elif how == 2:
        content[place : place + 16] = rng.bytes(16)
    elif how == 3:
        content[place:place] = rng.bytes(7)
    elif how == 4:
        del content[place : place + 5]
    elif how == 5:
        return b""
    elif how == 6:
        return (b"not what you think\n" * 40, b"\x00" * 4000, rng.bytes(3000), b"\x1f\x8b" + rng.bytes(600))[
            int(rng.integers(4))
        ]
    else:
        for _ in range(12):
            content[int(rng.integers(max(1, len(content))))] = int(rng.integers(256))
    return bytes(content)


def gzip_variants(raw):
    """Return damaged gzip files of some content by name."""
    packed = gzip.compress(raw)
    return {
        "two members": packed + gzip.compress(b"x" * 50),
        "garbage behind": packed + b"garbage" * 9,
        "wrong checksum": packed[:-8] + struct.pack("<I", zlib.crc32(raw) ^ 1) + packed[-4:],
        "wrong length": packed[:-4] + struct.pack("<I", 3),
        "no end": packed[:-8],
        "flag bits": packed[:3] + b"\xff" + packed[4:],
        "not packed": raw,
        "packed twice": gzip.compress(packed),
    }


ODD_VALUES = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**18,
    -(10**18),
    1e300,
    "",
    "x",
    "\0",
    "../../x",
    "a" * 5000,
    "{x}",
    [],
    [[]],
    [None],
    [1, "a"],
    ["a", ["b"]],
    {},
    {"a": 1},
    [[["deep"]]],
    [0] * 50,
    "__import__('os').system('true')",
    "💥",
    {"name": None},
    [{}],
    [[], []],
    [""],
    [-1, -1],
    [1e300, 1],
    "true",
)


def paths_of(content, prefix=()):
    """Yield the key path of every value of a JSON document, of sections too."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield (*prefix, key)
            yield from paths_of(value, (*prefix, key))
    elif isinstance(content, list):
        for index, value in enumerate(content[:3]):
            yield (*prefix, index)
            yield from paths_of(value, (*prefix, index))


def change_json(rng, content, *, keep=()):
    """Return a copy of a JSON document with one random place changed, and what was done."""
    content = copy.deepcopy(content)
    places = [path for path in paths_of(content) if path[:1] not in keep]
    path = places[int(rng.integers(len(places)))]
    section = content
    for key in path[:-1]:
        section = section[key]
    value = ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
    if rng.random() < 0.15 and isinstance(section, dict):
        del section[path[-1]]
        return content, f"{path} removed"
    section[path[-1]] = value
    return content, f"{path} = {str(value)[:40]!r}"


def json_texts(content):
    """Return texts by name that are no JSON document of this kind, or hardly one."""
    text = json.dumps(content)
    return {
        "empty": "",
        "cut": text[: len(text) // 2],
        "null": "null",
        "list": "[]",
        "number": "3",
        "text": '"x"',
        "deep": "[" * 100_000 + "]" * 100_000,
        "deep object": '{"a":' * 50_000 + "1" + "}" * 50_000,
        "6000 digits": text[:-1] + ', "debugging": ' + "9" * 6000 + "}",
        "infinite": text[:-1] + ', "debugging": 1e999}',
        "NaN": text[:-1] + ', "debugging": NaN}',
        "twice": '{"model_name": "a",' + text[1:],
        "comment": "// hello\n" + text,
        "single quotes": text.replace('"', "'"),
        "surrogate": text[:-1] + ', "x": "\\ud800"}',
        "null byte": text[:-1] + ', "model_name": "a\\u0000b"}',
        "behind": text + "}",
    }


def npz_variants(rng, probabilities, payload):
    """Yield ``(name, function that writes a file)`` of archives that are no predictions of nnU-Net."""

    def write(**arrays):
        return lambda path: np.savez(path, **arrays)

    yield "object array", lambda path: np.savez(path, probabilities=np.array([Payload(payload)], dtype=object))
    yield "other key", write(softmax=probabilities)
    yield "texts", write(probabilities=np.array(["a", "b"]))
    yield "complex", write(probabilities=probabilities.astype(np.complex64))
    yield "NaN", write(probabilities=np.full_like(probabilities, np.nan))
    yield "records", write(probabilities=np.zeros(probabilities.shape, dtype=[("a", "f4"), ("b", "i2")]))
    yield "dates", write(probabilities=np.zeros(probabilities.shape, dtype="datetime64[s]"))
    yield "scalar", write(probabilities=np.float32(3))
    yield "other shape", write(probabilities=probabilities[:, :1])
    yield "empty", write()
    yield "pickle", lambda path: path.write_bytes(pickle.dumps(Payload(payload)))
    yield "npy", lambda path: np.save(path.open("wb"), probabilities)
    yield "huge header", _huge_npz
    for number in range(4):
        yield f"damaged {number}", _damaged_npz(rng, probabilities)


def _huge_npz(path):
    import zipfile

    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 60000, 60000, 60000), }"
    head += b" " * (117 - len(head)) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("probabilities.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(64))


def _damaged_npz(rng, probabilities):
    def write(path):
        np.savez_compressed(path, probabilities=probabilities)
        path.write_bytes(damage_bytes(rng, path.read_bytes()))

    return write
