"""Several raters per image in ivadomed: label fusion, rater sampling, SoftSeg and rater-aware evaluation."""

__version__ = "0.1.0"
