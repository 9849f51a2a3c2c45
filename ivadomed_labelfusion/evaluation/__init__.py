"""Evaluation of predictions against several raters: one subject, a dataset, tables and pictures."""

from ivadomed_labelfusion.evaluation.dataset import evaluate_dataset, evaluate_raters
from ivadomed_labelfusion.evaluation.results import Evaluation, ResultWriter, write_results
from ivadomed_labelfusion.evaluation.settings import Settings, settings_from_config
from ivadomed_labelfusion.evaluation.subject import SubjectResult, evaluate_subject
from ivadomed_labelfusion.evaluation.validation import validation_functions

__all__ = [
    "Evaluation",
    "ResultWriter",
    "Settings",
    "SubjectResult",
    "evaluate_dataset",
    "evaluate_raters",
    "evaluate_subject",
    "settings_from_config",
    "validation_functions",
    "write_results",
]


def __getattr__(name: str) -> object:
    # docs named it before; for one version
    if name == "pictures":
        import warnings

        from ivadomed_labelfusion import plots

        message = "ivadomed_labelfusion.evaluation.pictures is called ivadomed_labelfusion.plots now."
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return plots
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
