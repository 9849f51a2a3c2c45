"""The threshold search of ``ivadomed --train -t`` by the definition of `metrics.threshold_search`."""

import numpy as np
from ivadomed import metrics as imed_metrics
from ivadomed import testing as imed_testing
from ivadomed.loader.utils import imed_collate
from loguru import logger
from torch.utils.data import ConcatDataset

from ivadomed_labelfusion.metrics import threshold_search


def search_over_volumes(
    model_path,
    ds_lst,
    model_params,
    testing_params,
    metric="dice",
    increment=0.1,
    fname_out="thr.png",
    cuda_available=True,
):
    """Stand in for ``ivadomed.testing.threshold_analysis`` with the definition ``volumes``.

    Arguments as there; ``metric`` must be ``dice``, which it is for every model that segments.

    Returns:
        float: The threshold with the highest mean Dice over volumes in native space; of equal ones the lowest.

    Raises:
        InputError: For several classes, which argmax binarises.
    """
    testing_params["uncertainty"]["applied"] = False
    model = imed_testing.torch.load(model_path)
    model.eval()
    loader = imed_testing.DataLoader(
        ConcatDataset(ds_lst),
        batch_size=testing_params["batch_size"],
        shuffle=False,
        pin_memory=True,
        sampler=None,
        collate_fn=imed_collate,
        num_workers=0,
    )
    predictions, truths = imed_testing.run_inference(
        loader, model, model_params, testing_params, ofolder=None, cuda_available=cuda_available
    )
    # steps such as 0.15000000000000002 are no thresholds that anybody chose
    thresholds = np.round(np.arange(0.0, 1.0, increment)[1:], 10)
    pairs = ((np.clip(ours, 0, 1), theirs >= 0.5) for ours, theirs in zip(predictions, truths, strict=True))
    threshold, scores = threshold_search(pairs, thresholds=thresholds, class_axis=0)
    logger.info(f"Optimal threshold (definition volumes): {threshold}")
    best = int(np.flatnonzero(thresholds == threshold)[0])
    imed_metrics.plot_dice_thr(list(thresholds), list(scores), best, fname_out)
    return threshold
