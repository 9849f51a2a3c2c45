"""What a terminal shows of a study: plan, status, tables, verdicts."""


def print_plan(study):
    """Print what a run would do: splits, candidates, trainings."""
    from rich.console import Console
    from rich.table import Table

    from ivadomed_labelfusion.experiment.prepare import check_study

    study, splits, files = check_study(study)
    console = Console()
    table = Table(title=f"{len(files)} subjects, {len(splits)} split{'' if len(splits) == 1 else 's'}")
    for heading in ("split", "seed", "test centre", "train", "valid", "test"):
        table.add_column(heading)
    for split in splits:
        counts = [str(len(part)) for part in (split.train, split.valid, split.test)]
        table.add_row(split.name, str(split.seed), split.test_centre or "", *counts)
    console.print(table)
    trainings = [study.model_folder(member) for members in study.models().values() for member in members]
    done = sum((folder / "train.done.json").exists() for folder in trainings)
    names = ", ".join(candidate.name for candidate in study.candidates)
    print(f"Candidates: {names}")
    print(f"{len(trainings)} trainings, each followed by a test and an evaluation; {done} of them are done already.")
    for note in study.changed_settings():
        print(note)


def print_status(study, *, every_model):
    """Print how many models of each candidate are done, running, failed and to go, why, and the time left."""
    from rich.console import Console
    from rich.table import Table

    from ivadomed_labelfusion.experiment.status import STATES, TO_GO, duration_text, model_statuses, progress

    statuses = model_statuses(study)
    console = Console()
    table = Table(title=f"{study.folder.name}: {len(statuses)} models")
    table.add_column("candidate", overflow="fold")
    for state in STATES:
        table.add_column(state, justify="right")
    for candidate in study.candidates:
        own = [item.state for item in statuses if item.candidate == candidate.name]
        table.add_row(candidate.name, *(str(own.count(state) or "") for state in STATES))
    every = [item.state for item in statuses]
    table.add_section()
    table.add_row("all", *(str(every.count(state)) for state in STATES))
    console.print(table)
    for item in statuses:
        if every_model or (item.detail and item.state != TO_GO):
            print(f"{item.candidate}/{item.split}: {item.state}" + (f": {item.detail}" if item.detail else ""))
    now = progress(study)
    if every.count("done") < len(every):
        number, kind = (study.gpus, "GPU") if study.gpus else (study.cores, "core")
        workers = f"{number} {kind}{'' if number == 1 else 's'}"
        if study.scheduled:
            workers = "one node; divide by the number of jobs that your cluster runs at once"
        if not now.running:
            print("Nothing runs now. Repeat 'study run' to go on.")
        print(
            "Time left: not known before the first epoch is done."
            if now.seconds_left is None
            else f"Time left: about {duration_text(now.seconds_left)} on {workers}."
        )


def print_table(table):
    """Print a `tables.table.Table`: with rich on a wide terminal, as Markdown elsewhere."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ivadomed_labelfusion.tables.render import to_markdown

    console = Console()
    # a file or a pipe gets Markdown, and so does a terminal too narrow for the table
    if not console.is_terminal or console.width < 10 * len(table.header) + 20:
        print(to_markdown(table))
        return
    shown = Table(title=table.title)
    for index, heading in enumerate(table.header):
        # a Text, because rich would take [nats] for markup
        shown.add_column(Text(heading), justify="left" if index == 0 else "right")
    for row in table.rows:
        shown.add_row(*(Text(cell.text + cell.marks, style="bold" if cell.bold else "") for cell in row))
    console.print(shown)
    for note in table.notes:
        console.print(Text(note, style="dim"))


def print_verdicts(verdicts, notes, files):
    """Print the check of the paper's findings: a table on a terminal, lines elsewhere."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if console.is_terminal:
        table = Table(title="The paper's findings on these results", show_lines=True)
        for heading in ("finding", "verdict", "numbers"):
            table.add_column(heading)
        for item in verdicts:
            table.add_row(Text(item.claim.statement), item.verdict, Text("\n".join(item.evidence)))
        console.print(table)
    else:
        for item in verdicts:
            print(f"{item.verdict}: {item.claim.statement} ({item.claim.source})")
            print("\n".join(f"    {line}" for line in item.evidence))
    for note in notes:
        print(note)
    print(f"Written: {', '.join(str(path) for path in files)}")
