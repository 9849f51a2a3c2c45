"""Gathering what the models left behind into tidy tables: results per image, per model, reliability, losses."""

import math

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.evaluation.results import RELIABILITY, TABLE
from ivadomed_labelfusion.experiment.columns import RESULT_KEYS
from ivadomed_labelfusion.experiment.frames import read_table
from ivadomed_labelfusion.experiment.jobs import read_losses
from ivadomed_labelfusion.experiment.plan import class_names
from ivadomed_labelfusion.experiment.records import read_done
from ivadomed_labelfusion.experiment.splits import read_split

RESULTS_CURE = "Run 'ivadomed_labelfusion study results' first."
_CURVE = ("form", "region", "bin", "lower", "upper", "count", "confidence", "accuracy", "dropped")


def finished_models(study):
    """Return ``[(candidate, split, folder)]`` of the models that are evaluated, in the study's order of candidates."""
    rows = []
    for candidate in study.candidates:
        for split in study.split_names:
            folder = study.model_folder(f"{candidate.name}/{split}")
            if (folder / "evaluate.done.json").exists():
                rows.append((candidate.name, split, folder))
    return rows


def collect_results(study):
    """Return results per image: `columns.RESULT_KEYS`, then every column of the evaluation.

    Returns:
        DataFrame: Sorted by candidate (the study's order), split and image.

    Raises:
        InputError: If no model is evaluated yet.
    """
    import pandas as pd

    parts = []
    for candidate, split, folder in finished_models(study):
        part = _read_evaluation(folder / "evaluation" / TABLE, ("image_id",), class_names(study))
        part.insert(0, "subject", part["image_id"].str.split("_").str[0])
        part.insert(0, "split", split)
        part.insert(0, "candidate", candidate)
        parts.append(part)
    if not parts:
        raise InputError(
            f"No model in {study.folder} is evaluated yet. See 'ivadomed_labelfusion study status {study.folder}'."
        )
    results = pd.concat(parts, ignore_index=True)
    return results[[*RESULT_KEYS, *(name for name in results if name not in RESULT_KEYS)]]


def collect_reliability(study):
    """Return the reliability curves of every evaluated model, pooled over its test images.

    Returns:
        DataFrame: candidate, split, form, region, bin, lower, upper, count, confidence, accuracy, dropped.
    """
    import pandas as pd

    parts = []
    for candidate, split, folder in finished_models(study):
        path = folder / "evaluation" / RELIABILITY
        if path.exists():
            part = _read_evaluation(path, ("image_id", *_CURVE))
            part = part[part["image_id"] == "all"].drop(columns="image_id")
            part.insert(0, "split", split)
            part.insert(0, "candidate", candidate)
            parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _read_evaluation(path, needed, names=()):
    model = path.parents[1]
    cure = (
        f"Delete {model / 'evaluate.done.json'} and {model / 'evaluated.json'}, and repeat 'study run': the model is "
        "evaluated again."
    )
    return read_table(path, needed, cure, class_names=names)


def collect_models(study, reliability):
    """Return one row per candidate and split: calibration over all its test voxels, threshold, epochs, time.

    The ECE of a model is that of its pooled curve (Section 2.3.3); ``overconfidence_<form>_<region>`` is the same sum
    without the absolute value, mean confidence minus accuracy: above 0 the model is overconfident.

    Args:
        study (Study): The study.
        reliability (DataFrame): From `collect_reliability`.
    """
    import pandas as pd

    rows = []
    for candidate, split, folder in finished_models(study):
        members = [study.model_folder(model) for model in study.members(study.candidate(candidate), split)]
        trained = [read_done(member, "train", "seconds", "epochs", "best_validation_loss") for member in members]
        losses = [entry["best_validation_loss"] for entry in trained if entry["best_validation_loss"] is not None]
        row = {
            "candidate": candidate,
            "split": split,
            "test_centre": read_split(study.folder / "splits", split)["test_centre"],
            "threshold": read_done(folder, "evaluate", "threshold")["threshold"],
            "epochs": max(entry["epochs"] for entry in trained),
            "best_validation_loss": sum(losses) / len(losses) if losses else math.nan,
            "training_seconds": round(sum(entry["seconds"] for entry in trained), 1),
            "models": len(members),
        }
        if len(reliability):
            chosen = reliability[(reliability["candidate"] == candidate) & (reliability["split"] == split)]
            for (form, region), curve in chosen.groupby(["form", "region"], sort=False):
                gap = ((curve["confidence"] - curve["accuracy"]) * curve["count"]).fillna(0)
                total = curve["count"].sum()
                row[f"ece_{form}_{region}"] = gap.abs().sum() / total if total else math.nan
                row[f"overconfidence_{form}_{region}"] = gap.sum() / total if total else math.nan
        rows.append(row)
    return pd.DataFrame(rows)


def pooled_curves(reliability, form, region):
    """Return each candidate's ReliabilityCurve over all its models, ``{candidate: ReliabilityCurve}``."""
    import numpy as np

    from ivadomed_labelfusion.metrics.calibration import ReliabilityCurve

    chosen = reliability[(reliability["form"] == form) & (reliability["region"] == region)]
    curves = {}
    for candidate, rows in chosen.groupby("candidate", sort=False):
        parts = []
        for _, part in rows.groupby("split"):
            part = part.sort_values("bin")
            count = part["count"].to_numpy(np.int64)
            parts.append(
                ReliabilityCurve(
                    form=form,
                    bin_edges=np.append(part["lower"].to_numpy(), part["upper"].to_numpy()[-1]),
                    bin_count=count,
                    confidence_sum=np.where(count > 0, part["confidence"] * count, 0.0),
                    accuracy_sum=np.where(count > 0, part["accuracy"] * count, 0.0),
                    n_dropped=int(part["dropped"].iloc[0]),
                )
            )
        curves[candidate] = ReliabilityCurve.pool(parts)
    return curves


def collect_losses(study):
    """Return the validation losses that training logged: candidate, split, epoch, validation_loss.

    Ensembles are left out: they have one curve per member.
    """
    import pandas as pd

    rows = [
        {"candidate": candidate.name, "split": split, "epoch": epoch, "validation_loss": loss}
        for candidate in study.candidates
        if not candidate.ensemble
        for split in study.split_names
        for epoch, loss in read_losses(study.model_folder(f"{candidate.name}/{split}") / "log").items()
    ]
    return pd.DataFrame(rows, columns=["candidate", "split", "epoch", "validation_loss"])


def read_frame(path, names=()):
    """Return a CSV file of the results, which has the classes ``names``, as a DataFrame.

    Raises:
        InputError: If it is missing or lacks the key columns.
    """
    return read_table(path, ("candidate", "split"), RESULTS_CURE, class_names=names)
