"""ivadomed's metrics of validation and testing for all samples of a batch at once, with its values to rounding."""

import numpy as np
from ivadomed import metrics as imed_metrics
from scipy.spatial.distance import directed_hausdorff


class _Overlaps:
    """Soft overlaps of N samples and their classes, and ivadomed's scores made of them.

    Args:
        predictions, truths (ndarray): ``(N, C, *spatial)``.
    """

    def __init__(self, predictions, truths):
        n_samples, n_classes = predictions.shape[:2]
        flat = predictions.reshape(n_samples, n_classes, -1), truths.reshape(n_samples, n_classes, -1)
        self.n_voxels = flat[0][0].size
        both, *alone = (part.sum(axis=-1, dtype=part.dtype.type) for part in (flat[0] * flat[1], *map(_as_float, flat)))
        self._per_class = both.astype(float), alone[0].astype(float) + alone[1]
        self._both, self._predicted, self._true = (part.sum(axis=1, dtype=float) for part in (both, *alone))

    def dice_score(self):
        return _ratio(2 * self._both, self._predicted + self._true, np.nan)

    def multi_class_dice_score(self):
        both, total = self._per_class
        return _ratio(2 * both, total, 1.0).mean(axis=1)

    def precision_score(self):
        return _ratio(self._both, self._predicted)

    def recall_score(self):
        return _ratio(self._both, self._true)

    def specificity_score(self):
        return _ratio(self._neither, self.n_voxels - self._true)

    def intersection_over_union(self):
        return _ratio(self._both, self._predicted + self._true - self._both)

    def accuracy_score(self):
        return (self._both + self._neither) / self.n_voxels

    @property
    def _neither(self):
        return self.n_voxels - self._predicted - self._true + self._both


def _as_float(values):
    return values if values.dtype.kind == "f" else values.astype(np.float32)


def _ratio(part, whole, otherwise=0.0):
    return np.divide(part, whole, out=np.full(np.shape(part), otherwise, dtype=float), where=whole > 0)


def hausdorff_scores(predictions, truths):
    """Return ivadomed's ``hausdorff_score`` of N samples.

    It takes each line of a slice for one point per class in as many dimensions as the line has pixels, and averages the
    directed distances of all lines.

    Args:
        predictions, truths (ndarray): ``(N, C, H, W)``, or ``(N, C, H, D, W)``.

    Returns:
        ndarray: ``(N,)`` float64.
    """
    if predictions.ndim == 5:
        return np.array([_of_volume(*pair) for pair in zip(predictions, truths, strict=True)])
    nearest = None
    for prediction in np.moveaxis(predictions, 1, 0):
        squares = [_squares(prediction - truth) for truth in np.moveaxis(truths, 1, 0)]
        of_class = np.minimum.reduce(squares)
        nearest = of_class if nearest is None else np.maximum(nearest, of_class)
    return np.sqrt(nearest.astype(float)).mean(axis=1)


def _squares(differences):
    return np.einsum("nhw,nhw->nh", differences, differences)


def _of_volume(prediction, truth):
    n_classes, height, depth, width = prediction.shape
    planes = [part.reshape(height, n_classes * depth, width).swapaxes(0, 1) for part in (prediction, truth)]
    return np.mean([directed_hausdorff(*map(_distinct, pair))[0] for pair in zip(*planes, strict=True)])


def _distinct(points):
    """Return the points, of those at the origin only the first."""
    empty = ~points.any(axis=1)
    empty[np.argmax(empty)] = False
    return points[~empty]


_FROM_OVERLAPS = (
    "dice_score",
    "multi_class_dice_score",
    "precision_score",
    "recall_score",
    "specificity_score",
    "intersection_over_union",
    "accuracy_score",
)


def _is_batch(prediction, ground_truth):
    if not isinstance(prediction, np.ndarray) or not isinstance(ground_truth, np.ndarray):
        return False
    return prediction.ndim in (4, 5) and prediction.shape == ground_truth.shape and prediction.dtype.kind == "f"


def metric_manager(original):
    """Wrap ``MetricManager.__call__``: ivadomed's own metrics of a batch at once, any other sample by sample."""
    from_overlaps = {getattr(imed_metrics, name): name for name in _FROM_OVERLAPS}
    hausdorff = imed_metrics.hausdorff_score

    def wrapped(self, prediction, ground_truth):
        # the threshold search gives lists of samples of any shapes
        if not _is_batch(prediction, ground_truth):
            original(self, prediction, ground_truth)
            return
        overlaps = _Overlaps(prediction, ground_truth)
        for function in self.metric_fns:
            if function in from_overlaps:
                results = getattr(overlaps, from_overlaps[function])().tolist()
            elif function is hausdorff:
                results = hausdorff_scores(prediction, ground_truth).tolist()
            else:
                results = [function(*pair) for pair in zip(prediction, ground_truth, strict=True)]
            self.result_dict[function.__name__].extend(results)
        self.num_samples += len(prediction)

    return wrapped
