"""Statistics over splits and subjects: arrays in, small results out.

Conventions of the whole room
    * A row is one result: one candidate, one split, one subject. Rows of two candidates pair when split and subject
      agree.
    * NaN marks a result that is not defined (for example a volume difference with an empty reference). A pair with a
      NaN is left out and counted.
    * Random splits share subjects, so rows are not independent and every Wilcoxon p-value here is optimistic;
      ``OPTIMISM_NOTE`` says so and is printed wherever p-values are.
"""

from ivadomed_labelfusion.stats.bootstrap import bootstrap_mean_interval
from ivadomed_labelfusion.stats.composite import composite_score, z_scores
from ivadomed_labelfusion.stats.intervals import ClusteredMean, clustered_mean
from ivadomed_labelfusion.stats.means import mean_and_deviation, mean_over_models, model_weights
from ivadomed_labelfusion.stats.mixed import MixedEffect, mixed_model
from ivadomed_labelfusion.stats.paired import EXACT_LIMIT, WilcoxonResult, holm_adjust, wilcoxon_signed_rank
from ivadomed_labelfusion.stats.summary import OPTIMISM_NOTE, CandidateSummary, compare_candidates
from ivadomed_labelfusion.stats.variability import VariabilityTest, within_rater_variability

__all__ = [
    "EXACT_LIMIT",
    "OPTIMISM_NOTE",
    "CandidateSummary",
    "ClusteredMean",
    "MixedEffect",
    "VariabilityTest",
    "WilcoxonResult",
    "bootstrap_mean_interval",
    "clustered_mean",
    "compare_candidates",
    "composite_score",
    "holm_adjust",
    "mean_and_deviation",
    "mean_over_models",
    "mixed_model",
    "model_weights",
    "wilcoxon_signed_rank",
    "within_rater_variability",
    "z_scores",
]
