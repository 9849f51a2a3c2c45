"""Reading YAML that somebody else wrote: plain values only, and aliases that stay small when they are followed."""

from pathlib import Path

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import check_readable

_MOST_BYTES = 2**20
_MOST_VALUES = 100_000


def read_yaml(path, *, cure):
    """Return the content of a YAML file: dicts, lists, texts, numbers, dates, None.

    Args:
        path (str or Path): UTF-8, at most 1 MiB, at most 100,000 values after aliases are followed.
        cure (str): What to do if it does not exist, the end of the message.

    Raises:
        InputError: If the file is missing, no YAML, larger than that, or its aliases run in a circle.
    """
    import yaml

    path = Path(path)
    try:
        check_readable(path)
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise InputError(f"{path} must be a YAML file of at most {_MOST_BYTES // 2**20} MiB, got {size} bytes.")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. {cure}.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        # before it is built: merged keys multiply while they are built
        if root is not None:
            _count_values(root, path)
        return None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not valid YAML: {error}") from None
    except RecursionError:
        raise InputError(f"{path} must be nested less deeply than Python can follow.") from None


def _count_values(node, path):
    """Count the values of a node with every alias followed; refuse circles and bombs."""
    counts, open_nodes = {}, set()

    def count(node):
        if id(node) in open_nodes:
            raise InputError(f"{path}: an alias in line {node.start_mark.line + 1} stands for what it is part of.")
        if id(node) not in counts:
            open_nodes.add(id(node))
            below = node.value if isinstance(node.value, list) else []
            parts = [part for item in below for part in (item if isinstance(item, tuple) else (item,))]
            counts[id(node)] = 1 + sum(count(part) for part in parts)
            open_nodes.discard(id(node))
        if counts[id(node)] > _MOST_VALUES:
            raise InputError(f"{path} must hold at most {_MOST_VALUES} values after its aliases are followed.")
        return counts[id(node)]

    count(node)
