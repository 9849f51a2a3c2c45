"""From results per image to one line per candidate and metric, with the tests against the reference."""

from ivadomed_labelfusion.config.candidates import PAPER_CANDIDATES
from ivadomed_labelfusion.experiment.columns import METRICS, REFERENCE, classes_of, column
from ivadomed_labelfusion.stats import compare_candidates, composite_score

SIGNIFICANCE = 0.05
COMPOSITE_PARTS = ("dice", "precision", "recall", "absolute_volume_difference")


def add_composite(results, class_names, *, over_all=False):
    """Return ``results`` with the column ``composite_score`` where its four metrics are present.

    The z-scores take mean and deviation from the paper's six candidates, so that an ensemble or a candidate of your own
    does not change their scores; from all candidates where none of the six has results.

    Args:
        results (DataFrame): One row per candidate, split and image.
        class_names (sequence of str): ``("GM", "WM")``.
        over_all (bool): Take mean and deviation from all candidates.
    """
    columns = {part: [column(part, name) for name in class_names] for part in COMPOSITE_PARTS}
    if not all(name in results for names in columns.values() for name in names):
        return results
    return results.assign(
        composite_score=composite_score(
            **{part: results[names].to_numpy() for part, names in columns.items()},
            among=None if over_all else composite_rows(results),
        )
    )


def composite_rows(results):
    """Return which rows give the composite score's mean and deviation: the paper's six, or all if they are absent."""
    among = results["candidate"].isin(PAPER_CANDIDATES)
    return (among if among.any() else ~among).to_numpy()


def summarise(results, models, metric_names, class_names):
    """Summarise metrics per candidate and test each candidate against ``conv_staple``.

    Args:
        results (DataFrame): One row per candidate, split and image; metrics that it lacks are left out.
        models (DataFrame): One row per candidate and split, for the metrics that belong to a model (ECE); those pair by
            split and their intervals know splits only.
        metric_names (sequence of str): Names of `columns.METRICS`.
        class_names (sequence of str): Classes in the configuration's order.

    Returns:
        DataFrame: candidate, metric, class, n, n_models, mean, std (over models), std_images, ci_low, ci_high (of the
        mean), n_pairs, n_unpaired, difference, difference_ci_low, difference_ci_high, p_value, p_holm, effect_size,
        best, significant, significant_holm. Holm's adjustment runs over the candidates, for each metric and class by
        itself.
    """
    import pandas as pd

    rows = []
    for name in metric_names:
        metric = METRICS[name]
        source = models if metric.per_model else results
        for class_name in classes_of(name, class_names):
            if column(name, class_name) in source:
                rows += _summarise_column(source, metric, class_name)
    return pd.DataFrame(rows)


def _summarise_column(source, metric, class_name):
    person, image = ("split", "split") if metric.per_model else ("subject", "image_id")
    summaries = compare_candidates(
        source[column(metric.name, class_name)],
        candidates=source["candidate"],
        splits=source["split"],
        subjects=source[image],
        clusters=source[person],
        reference=REFERENCE,
    )
    known = [metric.rank(summary.mean) for summary in summaries if summary.n]
    judged = metric.best != "none"
    rows = []
    for summary in summaries:
        test = summary.test
        rows.append(
            {
                "candidate": summary.candidate,
                "metric": metric.name,
                "class": class_name,
                "n": summary.n,
                "n_models": summary.n_models,
                "mean": summary.mean,
                "std": summary.std_models,
                "std_images": summary.std_subjects,
                "ci_low": summary.interval[0],
                "ci_high": summary.interval[1],
                "n_pairs": test.n if test else 0,
                "n_unpaired": summary.n_unpaired,
                "difference": summary.difference,
                "difference_ci_low": summary.difference_interval[0],
                "difference_ci_high": summary.difference_interval[1],
                "p_value": test.p_value if test else float("nan"),
                "p_holm": summary.p_holm,
                "effect_size": test.effect_size if test else float("nan"),
                "best": bool(summary.n) and metric.rank(summary.mean) == min(known),
                "significant": judged and bool(test) and test.p_value < SIGNIFICANCE,
                "significant_holm": judged and bool(test) and summary.p_holm < SIGNIFICANCE,
            }
        )
    return rows
