"""Label fusion: several raters' masks in, one consensus out.

Of masks, every method runs on the table of distinct vote patterns (`patterns.py`), which is exact and costs one read of
the masks; soft masks are read block by block (`soft.py`). What a method is and takes is told once, in its module in
`methods/`, by its decorator and its signature; everything else reads the registry `METHODS`. No files, no torch,
nothing but numpy.
"""

from ivadomed_labelfusion.fusion import methods
from ivadomed_labelfusion.fusion.engine import ClassConsensus, consensus, consensus_classes, fuse, fuse_classes
from ivadomed_labelfusion.fusion.methods.multilabel import multilabel_staple
from ivadomed_labelfusion.fusion.methods.simple import simple
from ivadomed_labelfusion.fusion.methods.staple import staple
from ivadomed_labelfusion.fusion.methods.voting import average, intersection, majority, union
from ivadomed_labelfusion.fusion.patterns import Patterns
from ivadomed_labelfusion.fusion.registry import METHODS, Limits, Method, all_options, check_method, method
from ivadomed_labelfusion.fusion.report import (
    LeaveOneOut,
    RaterBootstrap,
    RaterReport,
    leave_one_rater_out,
    rater_bootstrap,
    rater_report,
)
from ivadomed_labelfusion.fusion.result import Consensus

__all__ = [
    "METHODS",
    "ClassConsensus",
    "Consensus",
    "LeaveOneOut",
    "Limits",
    "Method",
    "Patterns",
    "RaterBootstrap",
    "RaterReport",
    "all_options",
    "average",
    "check_method",
    "consensus",
    "consensus_classes",
    "fuse",
    "fuse_classes",
    "intersection",
    "leave_one_rater_out",
    "majority",
    "method",
    "methods",
    "multilabel_staple",
    "rater_bootstrap",
    "rater_report",
    "simple",
    "staple",
    "union",
]
