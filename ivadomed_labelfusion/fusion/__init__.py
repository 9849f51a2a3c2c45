"""Label fusion: several raters' masks in, one consensus out.

Every method runs on the table of distinct vote patterns (`patterns.py`), which is exact and costs one read of the
masks. No files, no torch, nothing but numpy.
"""

from ivadomed_labelfusion.fusion.consensus import Consensus
from ivadomed_labelfusion.fusion.engine import (
    METHODS,
    OPTIONS,
    ClassConsensus,
    check_method,
    consensus,
    consensus_classes,
    fuse,
    fuse_classes,
)
from ivadomed_labelfusion.fusion.multilabel import MultiLabelStapleResult, multilabel_staple
from ivadomed_labelfusion.fusion.report import (
    LeaveOneOut,
    RaterBootstrap,
    RaterReport,
    leave_one_rater_out,
    rater_bootstrap,
    rater_report,
)
from ivadomed_labelfusion.fusion.simple import SimpleResult, simple
from ivadomed_labelfusion.fusion.staple import StapleResult, staple
from ivadomed_labelfusion.fusion.voting import average, intersection, majority, union

__all__ = [
    "METHODS",
    "OPTIONS",
    "ClassConsensus",
    "Consensus",
    "LeaveOneOut",
    "MultiLabelStapleResult",
    "RaterBootstrap",
    "RaterReport",
    "SimpleResult",
    "StapleResult",
    "average",
    "check_method",
    "consensus",
    "consensus_classes",
    "fuse",
    "fuse_classes",
    "intersection",
    "leave_one_rater_out",
    "majority",
    "multilabel_staple",
    "rater_bootstrap",
    "rater_report",
    "simple",
    "staple",
    "union",
]
