"""Rows of the table of changes that are about single steps: transformations and postprocessing."""

from ivadomed_labelfusion.hosts.ivadomed2 import augmentation, postprocessing
from ivadomed_labelfusion.hosts.ivadomed2.patch_row import Patch

STEPS = (
    Patch(
        "transforms",
        "ElasticTransform",
        augmentation.ElasticTransform,
        "deforms an image and its labels differently",
    ),
    Patch("transforms", "Resample.__call__", augmentation.resample, "goes on with images of no voxel", wraps=True),
    Patch("transforms", "equalize_adapthist", augmentation.equalize_adapthist, "Clahe fails beyond -1 and 1"),
    *(
        Patch("transforms", f"{name}.undo_transform", augmentation.undo_nothing, "is left out of tests", is_new=True)
        for name in ("Clahe", "HistogramClipping")
    ),
    Patch(
        "transforms",
        "prepare_transforms",
        augmentation.prepare_transforms,
        "what cannot be undone ends --segment in a traceback",
        wraps=True,
    ),
    Patch(
        "postprocessing",
        "Postprocessing.keep_largest",
        postprocessing.keep_largest,
        "keeps one object of all classes together",
    ),
    Patch(
        "postprocessing",
        "Postprocessing.remove_small",
        postprocessing.remove_small,
        "takes no size with a fraction",
        wraps=True,
    ),
    Patch(
        "postprocessing",
        "Postprocessing.uncertainty",
        postprocessing.uncertainty,
        "fails in --segment",
        wraps=True,
    ),
)
