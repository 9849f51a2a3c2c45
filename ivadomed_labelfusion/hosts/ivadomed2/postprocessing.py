"""Steps of ivadomed's postprocessing that fail, or do not treat each class on its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
from ivadomed.postprocessing import keep_largest_object
from loguru import logger


def keep_largest(self: Any) -> None:
    """Keep the largest object of each class; ivadomed keeps the largest of all classes together.

    Stands in for ``Postprocessing.keep_largest``; ``data_pred`` has the shape (x, y, z, C).
    """
    classes = [keep_largest_object(self.data_pred[..., index]) for index in range(self.n_classes)]
    self.data_pred = np.stack(classes, axis=-1)


def remove_small(original: Callable) -> Callable:
    """Wrap ``Postprocessing.remove_small``: one size for all classes may have a fraction."""

    def wrapped(self, unit, thr):
        original(self, unit, thr if isinstance(thr, list) else [thr] * self.n_classes)

    return wrapped


def uncertainty(original: Callable) -> Callable:
    """Wrap ``Postprocessing.uncertainty``: ``--segment`` makes no random passes, and so has no map to mask with."""

    def wrapped(self, thr, suffix):
        if self.filename_prefix is None:
            logger.warning("postprocessing.uncertainty is left out: only --test makes maps of uncertainty.")
            return
        original(self, thr, suffix)

    return wrapped
