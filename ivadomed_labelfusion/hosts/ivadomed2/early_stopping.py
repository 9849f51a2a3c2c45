"""Early stopping by the epochs since the best validation loss, which ivadomed's own is not.

ivadomed compares each epoch with the one before it and counts, over the whole training and never back to zero, the
epochs that did not improve on it by ``early_stopping_epsilon`` per cent. A validation loss that goes up and down thus
uses the patience up, whatever it reaches.
"""

import math

from loguru import logger


class TimeSinceBest(dict):
    """The ``training_time`` block of a configuration, whose patience answers for the epochs since the best loss.

    ivadomed's loop reads ``early_stopping_epsilon`` and ``early_stopping_patience`` at the end of every epoch but the
    first, after it has saved a better model. The epsilon keeps its own counter at 0; the patience then is 0, which ends
    the training, once the last better model lies ``early_stopping_patience`` epochs back, and infinite before.

    Args:
        block (dict): The block.
        best (object): Has ``best_validation_loss`` and ``best_epoch``, kept up by whoever saves checkpoints.
        done (int): Epochs of an earlier run that this one resumes.
    """

    def __init__(self, block, best, done=0):
        super().__init__(block)
        self._best = best
        self._epoch = max(1, done)
        self._reference_loss, self._reference_epoch = math.inf, 0

    def __getitem__(self, key):
        if key == "early_stopping_epsilon":
            return -math.inf
        if key == "early_stopping_patience":
            self._epoch += 1
            return 0 if self._is_over() else math.inf
        return super().__getitem__(key)

    def _is_over(self):
        loss = self._best.best_validation_loss
        least = abs(loss) * super().__getitem__("early_stopping_epsilon") / 100
        if self._best.best_epoch > self._reference_epoch and self._reference_loss - loss > least:
            self._reference_loss, self._reference_epoch = loss, self._best.best_epoch
        since = self._epoch - self._reference_epoch
        over = since >= super().__getitem__("early_stopping_patience")
        if over:
            logger.info(
                f"Early stopping (mode best) after epoch {self._epoch}: no better validation loss than that of epoch "
                f"{self._reference_epoch} for {since} epochs. ivadomed's own counter, shown next, is not used."
            )
        return over


def with_mode(training_params, best, done=0):
    """Return the training parameters with what ``early_stopping_mode`` asks for: ``host`` (default) changes nothing."""
    block = training_params["training_time"]
    if block.get("early_stopping_mode", "host") != "best":
        return training_params
    return {**training_params, "training_time": TimeSinceBest(block, best, done)}
