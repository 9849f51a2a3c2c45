"""Reading the joblib files of ivadomed (splits, FiLM models) without running anything they contain.

A joblib file is a pickle, which can call anything. ivadomed writes plain containers, arrays of numbers or texts, an
encoder and a clustering model; an unpickler that knows these and nothing else reads them.
"""

import pickle

import joblib
import numpy as np
from joblib import numpy_pickle

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import read_json

_PARTS = ("train", "valid", "test")
# booleans, numbers, texts, lists of these, and records, which stay what they are: bytes of a certain length
_KINDS = "biufUSOV"
_LARGEST_BYTES = 2**30


class _Refused(pickle.UnpicklingError):
    """The file holds what ivadomed never writes."""


class _Array:
    """Stands for ``numpy.ndarray``, which a file could otherwise call to claim memory."""


class _Inert:
    """Stands for what a FiLM model stores and nobody uses again: the density behind the limits of its clusters."""

    def __init__(self, *_arguments):
        pass

    def __setstate__(self, state):
        pass


def _empty_array(kind, _shape, _typecode):
    """Stand in for numpy's ``_reconstruct``: the content follows as the array's state."""
    if kind is not _Array:
        raise _Refused("an array of an unknown class")
    return np.empty(0)


def _dtype(name, *_align_copy):
    if not isinstance(name, str) or len(name) > 8 or name.lstrip("<>|=")[:1] not in _KINDS:
        raise _Refused(f"the array type {str(name)[:20]!r}")
    return np.dtype(name)


def _scalar(dtype, content):
    """Stand in for numpy's ``scalar``: one number or text from its bytes."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(content, bytes):
        raise _Refused("a number of an unknown type")
    return np.frombuffer(content, dtype, count=1)[0]


def _check_dtype_state(state):
    """Refuse the state of an array type that would make it a record or change how its memory is read."""
    if not isinstance(state, tuple) or len(state) < 8 or any(part is not None for part in state[2:5]):
        raise _Refused("an array type with fields")


def _check_array_state(state):
    """Refuse the state of an array whose shape claims more than the content that follows."""
    if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], np.dtype):
        raise _Refused("an array without content")
    shape, content = state[1], state[4]
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise _Refused("an array without a shape")
    unit = 1 if state[2].hasobject else state[2].itemsize
    if not isinstance(content, bytes | list) or int(np.prod(shape, dtype=object)) * unit != len(content):
        raise _Refused("an array that claims more than the file holds")


class _ArrayOnDisk(numpy_pickle.NumpyArrayWrapper):
    """joblib's note that an array's content follows, checked before any of it is read."""

    def read(self, unpickler, ensure_native_byte_order=False):
        shape = getattr(self, "shape", None)
        if self.subclass is not _Array or not isinstance(self.dtype, np.dtype) or self.order not in ("C", "F"):
            raise _Refused("an array of an unknown class")
        if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
            raise _Refused("an array without a shape")
        if self.dtype.hasobject:
            # joblib itself would read this part with the plain unpickler
            return _Unpickler(unpickler.filename, unpickler.file_handle, unpickler.allowed).load()
        here = unpickler.file_handle.tell()
        left = unpickler.file_handle.seek(0, 2) - here
        unpickler.file_handle.seek(here)
        if int(np.prod(shape, dtype=object)) * self.dtype.itemsize > left:
            raise _Refused("an array that claims more than the file holds")
        self.subclass = np.ndarray
        return self.read_array(unpickler, ensure_native_byte_order)


# what the arrays of every file are made of
_ARRAYS = {
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _ArrayOnDisk,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _dtype,
    **{
        (f"numpy.{core}.multiarray", name): stand_in
        for core in ("core", "_core")
        for name, stand_in in (("_reconstruct", _empty_array), ("scalar", _scalar))
    },
}


def _film_classes():
    """Return what a FiLM model is made of, beside arrays."""
    from ivadomed.loader.film import Kde_model
    from sklearn.preprocessing import OneHotEncoder

    inert = (
        ("sklearn.neighbors._kde", "KernelDensity"),
        ("sklearn.neighbors._kd_tree", "newObj"),
        ("sklearn.neighbors._kd_tree", "KDTree"),
        ("sklearn.neighbors._kd_tree", "KDTree64"),
        ("sklearn.metrics._dist_metrics", "newObj"),
        ("sklearn.metrics._dist_metrics", "EuclideanDistance"),
        ("sklearn.metrics._dist_metrics", "EuclideanDistance64"),
    )
    return {
        ("sklearn.preprocessing._encoders", "OneHotEncoder"): OneHotEncoder,
        ("ivadomed.loader.film", "Kde_model"): Kde_model,
        # the types that the encoder was told to give
        **{("numpy", name): getattr(np, name) for name in ("float64", "float32", "int64", "str_")},
        **dict.fromkeys(inert, _Inert),
    }


class _Unpickler(numpy_pickle.NumpyUnpickler):
    """joblib's unpickler, which finds the names of ``allowed`` and no other."""

    dispatch = numpy_pickle.NumpyUnpickler.dispatch.copy()

    def __init__(self, filename, file_handle, allowed):
        super().__init__(filename, file_handle, ensure_native_byte_order=False)
        self.allowed = allowed

    def find_class(self, module, name):
        if (module, name) not in self.allowed:
            raise _Refused(f"{module}.{name}")
        return self.allowed[module, name]

    def load_build(self):
        state, target = self.stack[-1], self.stack[-2]
        if isinstance(target, np.dtype):
            # of numbers and texts the byte order is all that a state adds; the fields of records are left out
            if target.kind != "V":
                _check_dtype_state(state)
                self.stack[-2] = target if state[1] not in ("<", ">") else target.newbyteorder(state[1])
                self._remember(target, self.stack[-2])
            self.stack.pop()
            return
        if isinstance(target, np.ndarray):
            _check_array_state(state)
        if isinstance(target, type) or callable(target):
            raise _Refused(f"a change of {target!r}")
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build

    def _remember(self, before, after):
        for key in [key for key, value in self.memo.items() if value is before]:
            self.memo[key] = after


def _read(path, allowed):
    """Return the content of a joblib file made of plain containers and what is ``allowed``.

    Raises:
        InputError: If the file holds anything else, is compressed, damaged, or over 1 GiB.
        OSError: If it cannot be opened.
    """
    with open(path, "rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        if size > _LARGEST_BYTES:
            raise InputError(
                f"{path} must be a split or FiLM file of ivadomed, got {size} bytes, which no such file has."
            )
        try:
            return _Unpickler(str(path), stream, allowed).load()
        except _Refused as error:
            raise InputError(
                f"{path} was refused: it holds {error}, which ivadomed never writes. It was not loaded, and nothing in "
                "it was run. Use a file you made yourself; splits may also be JSON."
            ) from None
        # an unpickler reads a program; a damaged one can fail in any way
        except Exception as error:
            raise InputError(
                f"{path} must be an uncompressed joblib file as ivadomed writes it, but it cannot be read "
                f"({type(error).__name__}). Make it anew; splits may also be JSON."
            ) from None


class FilmJoblib:
    """Stands in for ``joblib`` where ivadomed stores its FiLM models: loads what it wrote itself and nothing else."""

    dump = staticmethod(joblib.dump)

    @staticmethod
    def load(path):
        """Return the encoder, clustering models or table of names in a file."""
        return _read(path, {**_ARRAYS, **_film_classes()})


class SplitJoblib:
    """Stands in for ``joblib`` where ivadomed stores its splits; reads JSON, too."""

    dump = staticmethod(joblib.dump)

    @staticmethod
    def load(path):
        """Return ``{"train": [names], "valid": [names], "test": [names]}``."""
        return read_split_file(path)


def read_split_file(path):
    """Read the images (or subjects) of a split.

    Args:
        path (str or Path): A ``.json`` file: the three lists ``train``, ``valid`` and ``test``, or a split of a study,
            which holds them as ``files``. Anything else is taken for the joblib file that ivadomed writes.

    Returns:
        dict: ``train``, ``valid`` and ``test``, each a list of str.

    Raises:
        InputError: If the file is missing, damaged, or holds anything but three lists of names.
    """
    if str(path).endswith(".json"):
        content = read_json(path)
        content = content.get("files", content) if isinstance(content, dict) else content
    else:
        try:
            content = _read(path, _ARRAYS)
        except FileNotFoundError:
            raise InputError(f"split_dataset.fname_split must be a file, {path} does not exist.") from None
    for part in _PARTS:
        names = content.get(part) if isinstance(content, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(
                f"{path} must hold the lists train, valid and test of image names, got "
                f"{type(names).__name__} for {part}."
            )
    return {part: [str(name) for name in content[part]] for part in _PARTS}
