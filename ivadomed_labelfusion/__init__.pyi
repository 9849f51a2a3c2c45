from ivadomed_labelfusion import evaluation as evaluation
from ivadomed_labelfusion import fusion as fusion
from ivadomed_labelfusion import metrics as metrics
from ivadomed_labelfusion import plots as plots
from ivadomed_labelfusion import sampling as sampling
from ivadomed_labelfusion import stats as stats
from ivadomed_labelfusion.evaluation.subject import evaluate_subject as evaluate
from ivadomed_labelfusion.fusion import consensus as fuse
from ivadomed_labelfusion.hosts import ivadomed2 as ivadomed
from ivadomed_labelfusion.hosts.ivadomed2 import disable as disable
from ivadomed_labelfusion.hosts.ivadomed2 import enable as enable
from ivadomed_labelfusion.hosts.ivadomed2 import is_enabled as is_enabled
from ivadomed_labelfusion.metrics.registry import register_metric as register_metric

__version__: str
__all__ = [
    "__version__",
    "disable",
    "enable",
    "evaluate",
    "evaluation",
    "fuse",
    "fusion",
    "is_enabled",
    "ivadomed",
    "metrics",
    "plots",
    "register_metric",
    "sampling",
    "stats",
]
