"""A study's results on disk: tidy tables, the paper's tables and figures, and the check of its findings.

Everything here follows from the finished models and is made anew each time; models are never touched.
"""

import statistics
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.environment import installed_version
from ivadomed_labelfusion.experiment.collect import (
    collect_losses,
    collect_models,
    collect_reliability,
    collect_results,
    finished_models,
    pooled_curves,
    read_frame,
)
from ivadomed_labelfusion.experiment.columns import column, display_name
from ivadomed_labelfusion.experiment.plan import class_names, consensus_name
from ivadomed_labelfusion.experiment.records import read_done
from ivadomed_labelfusion.experiment.status import duration_text
from ivadomed_labelfusion.experiment.summary import add_composite
from ivadomed_labelfusion.files import write_json, write_text
from ivadomed_labelfusion.paper import figures as study_figures
from ivadomed_labelfusion.paper.claims import check_claims, claims_to_markdown, claims_to_records
from ivadomed_labelfusion.paper.extra_tables import mixed_table, variability_table
from ivadomed_labelfusion.paper.tables import PAIRS, build_tables, compare_with_paper
from ivadomed_labelfusion.plots.style import write_figure
from ivadomed_labelfusion.stats import OPTIMISM_NOTE
from ivadomed_labelfusion.tables.render import to_markdown, write_tables

# a class that is hardly found at all: no candidate of the paper has a mean Dice below 0.5
UNLEARNED_DICE = 0.2
MOST_NAMED = 6


@dataclass(frozen=True)
class Results:
    """What `write_study_results` made.

    Attributes:
        tables (dict): Name to Table.
        files (list of Path): Everything written.
        notes (list of str): What a reader must know, also under every table.
    """

    tables: dict
    files: list
    notes: list


def study_notes(study, models):
    """Return what must stand under every result: settings that differ from the template, unfinished models.

    Args:
        study (Study): The study.
        models (DataFrame): The models that the results are from.
    """
    notes = study.changed_settings()
    planned = len(study.models())
    if len(models) < planned:
        notes.append(f"Only {len(models)} of {planned} models are finished; the others are missing here.")
        finished = models.groupby("candidate")["split"].agg(frozenset)
        if finished.nunique() > 1:
            notes.append(
                "The candidates' finished splits differ, and means over different test subjects do not compare. Tests "
                "and differences are paired and do; they use the splits that both have."
            )
    splits = "1 split" if study.n_splits == 1 else f"{study.n_splits} splits"
    design = {"centre": "one centre is the test set, in turn", "random": "random test subjects"}[study.design]
    notes.append(f"{splits} ({design}), study seed {study.study_seed}, template {Path(study.template).name}.")
    return notes


def epochs_notes(models):
    """Return what is to say about the epochs that ran, by candidate; early stopping may have ended them.

    Args:
        models (DataFrame): The models that the results are from.
    """
    ran = models.groupby("candidate", sort=False)["epochs"].agg(["min", "max"])
    texts = {
        name: str(row["min"]) if row["min"] == row["max"] else f"{row['min']}-{row['max']}"
        for name, row in ran.iterrows()
    }
    if len(set(texts.values())) == 1:
        return [f"Epochs that ran: {next(iter(texts.values()))} in every candidate."]
    return ["Epochs that ran: " + ", ".join(f"{display_name(name)} {text}" for name, text in texts.items()) + "."]


def unlearned_models(results, class_names):
    """Return the models with a class whose mean Dice over the test images is below `UNLEARNED_DICE`.

    Args:
        results (DataFrame): One row per candidate, split and image.
        class_names (sequence of str): Classes in the configuration's order.

    Returns:
        list of tuple: ``(candidate, split)``; empty where Dice was not measured.
    """
    columns = [name for name in (column("dice", class_name) for class_name in class_names) if name in results]
    lowest = results.groupby(["candidate", "split"], sort=False)[columns].mean().min(axis=1)
    return list(lowest.index[lowest < UNLEARNED_DICE])


def _name_or_count(chosen, models):
    """Name a few models, but count many by candidate: a study has hundreds."""
    if len(chosen) <= MOST_NAMED:
        return ", ".join(f"{display_name(candidate)} {split}" for candidate, split in chosen)
    counts, finished = Counter(candidate for candidate, _ in chosen), models["candidate"].value_counts()
    return ", ".join(f"{display_name(name)} {count} of {finished[name]} models" for name, count in counts.items())


def write_study_results(study, *, compare_paper=False, mixed=False, composite_over_all=False):
    """Collect the finished models and write ``results/``: CSV files, ``tables/``, ``figures/``, claims and a README.

    Args:
        study (Study): The study.
        compare_paper (bool): Also set the paper's numbers beside ours.
        mixed (bool): Also fit a mixed model to each metric; needs statsmodels.
        composite_over_all (bool): Take the composite score's z-scores over all candidates, not over the paper's six.

    Returns:
        Results

    Raises:
        InputError: If no model is finished, or the paper has no numbers for this template.
    """
    folder = study.folder / "results"
    names, consensus = class_names(study), consensus_name(study)
    results = add_composite(collect_results(study), names, over_all=composite_over_all)
    reliability = collect_reliability(study)
    models = collect_models(study, reliability)
    losses = collect_losses(study)
    notes = [*study_notes(study, models), *epochs_notes(models)]
    if composite_over_all:
        notes.append("Composite scores: z-scores over all candidates, not over the paper's six.")
    unlearned = unlearned_models(results, names)
    if unlearned:
        notes.append(
            f"Mean Dice of a class below {UNLEARNED_DICE:g}, little was learned: {_name_or_count(unlearned, models)}. "
            "Their results are in every mean. More epochs or a lower learning rate may help."
        )
    if not Path(study.bids).is_dir():
        notes.append(f"No figure compares the predictions by eye, because {study.bids} is not on this machine.")
    tables = build_tables(results, models, names, candidates=study.candidates, notes=notes, reference=consensus)
    variability = variability_table(results, names, notes=notes)
    tables |= {"variability": variability} if variability else {}
    if mixed:
        tables["mixed_model"] = mixed_table(results, names, notes=notes)
    if compare_paper:
        tables |= compare_with_paper(tables, study.dataset or Path(study.template).name, notes=notes)
    files = []
    for name, frame in (("results", results), ("models", models), ("reliability", reliability), ("losses", losses)):
        files.append(folder / f"{name}.csv")
        write_text(files[-1], frame.to_csv(index=False), overwrite=True)
    files += write_tables(tables, folder / "tables", overwrite=True)
    files += _write_figures(study, results, models, reliability, losses, names, folder / "figures")
    files += write_claims(study)[2]
    files.append(folder / "README.md")
    write_text(files[-1], _readme(study, tables, folder, files), overwrite=True)
    _remove_earlier(folder, files)
    return Results(tables, files, notes)


def _remove_earlier(folder, files):
    """Remove tables and figures of an earlier collection that this one has not."""
    for path in [*(folder / "tables").iterdir(), *(folder / "figures").iterdir()]:
        if path.suffix in (".csv", ".md", ".tex", ".png", ".svg") and path not in files:
            path.unlink()


def _write_figures(study, results, models, reliability, losses, names, folder):
    from ivadomed_labelfusion.paper.comparison import visual_comparison

    reference = consensus_name(study)
    styles = study_figures.candidate_styles({candidate.name: candidate.base for candidate in study.candidates})
    drawn = {}
    if study_figures.entropy_columns_present(results):
        drawn["entropy"] = study_figures.candidate_entropy_figure(results)
    if len(reliability):
        for form, region in dict.fromkeys(zip(reliability["form"], reliability["region"], strict=True)):
            curves = pooled_curves(reliability, form, region)
            ece = models.groupby("candidate")[f"ece_{form}_{region}"].mean().to_dict()
            figure = study_figures.candidate_reliability_figure(
                curves, ece, form=form, region=region, reference=reference
            )
            drawn[f"reliability_{form}_{region}"] = figure
    if "composite_score" in results and results["composite_score"].notna().any():
        drawn["composite"] = study_figures.composite_figure(results, styles)
    if len(losses):
        drawn["validation_loss"] = study_figures.validation_loss_figure(losses, styles)
    if len(set(results["candidate"])) > 1 and study_figures.has_spokes(results, models, names):
        drawn["radar"] = study_figures.radar_figure(results, models, names, styles)
    # results may be made where the images are not, for example from a copy of the study
    if Path(study.bids).is_dir():
        drawn["comparison"] = visual_comparison(study, results)
    files = []
    for name, figure in drawn.items():
        files += write_figure(figure, folder, name, overwrite=True)
    return files


def _readme(study, tables, folder, files):
    """Return one page with every table and figure; what stands under several tables is said once, at the top."""
    counts = Counter(note for table in tables.values() for note in table.notes)
    # how many pairs were tested differs from table to table
    shared = [note for note in counts if (counts[note] > 1 or len(tables) == 1) and not note.startswith(PAIRS)]
    lines = [
        f"# Results of the study {study.folder.name}",
        "",
        *(f"- {note}" for note in shared),
        f"- {_made_with(study)}",
    ]
    lines += ["- Does each of the paper's findings hold on these results? See [claims.md](claims.md).", ""]
    for table in tables.values():
        own = tuple(note for note in table.notes if note not in shared)
        lines += [to_markdown(replace(table, notes=own)), ""]
    lines += ["## Figures", ""]
    for path in files:
        if path.suffix == ".png":
            lines += [f"![{path.stem}]({path.relative_to(folder).as_posix()})", ""]
    return "\n".join(lines)


def _made_with(study):
    """Return the note on software and training time."""
    # results can be made where nothing can be trained
    found = ((name, installed_version(name)) for name in ("ivadomed", "torch"))
    versions = [f"{name} {version}" for name, version in (("ivadomed_labelfusion", __version__), *found) if version]
    trained = [
        read_done(folder, "train", "seconds", "resumed")
        for members in study.models().values()
        for folder in map(study.model_folder, members)
        if (folder / "train.done.json").exists()
    ]
    seconds = [entry["seconds"] for entry in trained]
    resumed = sum(entry["resumed"] for entry in trained)
    return (
        f"Collected with {', '.join(versions)}; {len(seconds)} trainings took "
        f"{duration_text(sum(seconds))} together, {statistics.median(seconds):.0f} s in the median"
        + (f" ({resumed} were resumed, of which only the last part counts)." if resumed else ".")
    )


def write_claims(study):
    """Check the paper's findings on the collected results; write ``results/claims.md`` and ``.json``.

    Reads ``results/results.csv`` and ``models.csv`` as they are.

    Returns:
        tuple: ``(list of Verdict, notes, list of files)``

    Raises:
        InputError: If the results were not collected yet.
    """
    folder = study.folder / "results"
    names = class_names(study)
    results, models = read_frame(folder / "results.csv", names), read_frame(folder / "models.csv")
    verdicts = check_claims(results, models, names, dataset=study.dataset)
    notes = [*study_notes(study, models), OPTIMISM_NOTE]
    write_text(folder / "claims.md", claims_to_markdown(verdicts, notes=notes), overwrite=True)
    write_json(folder / "claims.json", {"claims": claims_to_records(verdicts), "notes": notes}, overwrite=True)
    return verdicts, notes, [folder / "claims.md", folder / "claims.json"]


def has_comparison(study):
    """Whether the last results set the paper's numbers beside ours."""
    return any((study.folder / "results" / "tables").glob("*_vs_paper.csv"))


def has_finished_models(study):
    """Whether there is anything to collect."""
    return bool(finished_models(study))
