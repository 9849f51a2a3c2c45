"""Running a plan: staging, subjects one by one or in parallel, the files of the dataset as a whole, fusion, summary."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ivadomed_labelfusion._version import __version__
from ivadomed_labelfusion.coding import coding_note
from ivadomed_labelfusion.data.raters import target_suffix
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import read_json, resolve, write_json, write_text
from ivadomed_labelfusion.locks import only_one
from ivadomed_labelfusion.prepare import _coverage, _report
from ivadomed_labelfusion.prepare._convert import convert_subject
from ivadomed_labelfusion.prepare._plan import DatasetPlan, PlanProblem
from ivadomed_labelfusion.prepare._source import Accept, SourceFile, open_source
from ivadomed_labelfusion.prepare._subject import SubjectOptions, SubjectReport

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

# processes; more than any machine has cores
MOST_JOBS = 1024
BIDS_VERSION = "1.10.0"
GENERATOR = {"Name": "ivadomed_labelfusion", "Version": __version__}


def run(
    raw: str | os.PathLike[str],
    out: str | os.PathLike[str],
    make_plan: Callable[[list[SourceFile]], DatasetPlan],
    accept: Accept,
    *,
    subjects: Iterable[str] | None = None,
    fuse: str | Iterable[str] = (),
    roi: str | None = None,
    jobs: int = 1,
    dry_run: bool = False,
    overwrite: bool = False,
    symlink: bool = False,
    repair_affine: bool = False,
    strict: bool = False,
    progress: bool = False,
    out_may_lie_in_raw: bool = False,
) -> _report.Report:
    """Open ``raw``, plan with ``make_plan(files)``, and write the dataset; see ``prepare_scgm`` for the arguments.

    Args:
        raw: The download.
        out: The dataset to write.
        make_plan: Takes the list of SourceFile, returns a DatasetPlan.
        accept: Tells from the parts of a place whether the converter can use a file.
        subjects, fuse, roi, jobs, dry_run, overwrite, symlink, repair_affine, strict, progress: See ``prepare_scgm``.
        out_may_lie_in_raw: ``raw`` is only a folder above the input, which ``accept`` picks file by file.

    Returns:
        Report: What was planned, written and found.
    """
    from rich.console import Console

    out = Path(out)
    if not 1 <= jobs <= MOST_JOBS:
        raise InputError(f"jobs must be at least 1 and at most {MOST_JOBS}, got {jobs}.")
    fuse = [fuse] if isinstance(fuse, str) else list(dict.fromkeys(fuse))
    if fuse:
        from ivadomed_labelfusion.fusion import check_method

        for method in fuse:
            check_method(method)
    claim = {"overwrite": overwrite or dry_run, "may_lie_in_raw": out_may_lie_in_raw}
    _check_out(raw, out, **claim)
    console = Console(stderr=True)
    announce = (lambda text: console.print(text, markup=False, soft_wrap=True)) if progress else (lambda text: None)
    scratch = existing_parent(out)
    with (
        contextlib.nullcontext() if dry_run else _claimed(raw, out, scratch, **claim),
        open_source(raw, scratch=scratch, announce=announce, accept=accept) as files,
    ):
        plan = make_plan(files)
        _select(plan, subjects)
        if symlink and any(image.file.packed for subject in plan.subjects for image in subject.images):
            raise InputError("--symlink needs an unpacked folder, got a zip. Unpack it, or copy (the default).")
        if not plan.subjects:
            found = "\n".join(str(problem) for problem in plan.problems)
            raise InputError(
                f"{raw} holds no usable subject of {plan.title}. docs/datasets.md shows the layouts.\n{found}".rstrip()
            )
        if progress or dry_run:
            _report.print_plan(plan, _wide(Console(stderr=not dry_run)))
        _stop_on(plan.problems, strict=strict, done="Nothing was written.")
        if dry_run:
            return _report.Report(None, plan, [], plan.problems, [])
        crop = _coverage.template_crop(plan.template) if plan.template else None
        options = SubjectOptions(symlink, repair_affine, roi, crop, plan.template)
        with _staging(out, overwrite=overwrite) as staging:
            reports = list(_convert_all(plan, staging, options, jobs, progress, console))
            problems = [*plan.problems, *(problem for report in reports for problem in report.problems)]
            coded = coding_note({place: coding for report in reports for place, coding in report.codings.items()})
            problems += [PlanProblem("note", "", coded)] if coded else []
            _stop_on(problems, strict=strict, done="Nothing was written.")
            if fuse:
                problems += _fuse(plan, staging, fuse, jobs, progress, console)
            _write_dataset_files(plan, staging, problems)
    return _report.Report(out, plan, reports, problems, fuse)


def _wide(console: Console) -> Console:
    from rich.console import Console

    return console if console.is_terminal else Console(file=console.file, width=_report.PLAIN_WIDTH)


def existing_parent(out: str | os.PathLike[str]) -> Path:
    """Return the folder that will hold ``out``, creating it."""
    parent = resolve(out).parent
    parent.mkdir(parents=True, exist_ok=True)
    return parent


def _check_out(raw: str | os.PathLike[str], out: Path, *, overwrite: bool, may_lie_in_raw: bool) -> None:
    raw_path, out_path = resolve(raw), resolve(out)
    inside = raw_path in out_path.parents and not may_lie_in_raw
    if out_path == raw_path or inside or out_path in raw_path.parents:
        raise InputError(f"OUT must lie outside of RAW, which is never changed, got RAW {raw} and OUT {out}.")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise InputError(f"{out} exists already. Add --overwrite to replace it, or choose another folder.")
    marks = {}
    with contextlib.suppress(InputError):
        marks = read_json(out / "dataset_description.json")
    generators = [entry.get("Name") for entry in marks.get("GeneratedBy", [])] if isinstance(marks, dict) else []
    if GENERATOR["Name"] not in generators:
        raise InputError(f"{out} was not written by {GENERATOR['Name']} and is not replaced. Choose another folder.")


@contextlib.contextmanager
def _claimed(raw: str | os.PathLike[str], out: Path, parent: Path, **claim: bool) -> Generator[None]:
    """Let no second conversion write the same dataset at the same time, or replace what one has just written."""
    busy = f"Another 'prepare' is writing {out}. Wait for it, or choose another folder."
    with only_one(parent / f".preparing-{resolve(out).name}", busy=busy):
        _check_out(raw, out, **claim)
        yield


@contextlib.contextmanager
def _staging(out: Path, *, overwrite: bool) -> Generator[Path]:
    """Yield a folder beside ``out`` that takes its name when the block succeeds; a failure leaves ``out`` as it was."""
    partial = out.parent / f".partial-{out.name}"
    old = out.parent / f".replaced-{out.name}"
    # leftovers of a run that was killed
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if out.exists():
            if any(out.iterdir()) and not overwrite:
                raise InputError(f"{out} has appeared meanwhile and is not replaced.")
            shutil.rmtree(old, ignore_errors=True)
            out.rename(old)
        partial.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _select(plan: DatasetPlan, subjects: Iterable[str] | None) -> None:
    """Keep the subjects that match a name or pattern, with or without ``sub-``, or their source's name."""
    if subjects is None:
        return
    patterns = [str(pattern).removeprefix("sub-") for pattern in subjects]
    unused = set(patterns)
    chosen = []
    for subject in plan.subjects:
        names = (subject.name.removeprefix("sub-"), subject.source_id)
        hits = [pattern for pattern in patterns if any(fnmatch.fnmatchcase(name, pattern) for name in names)]
        unused -= set(hits)
        if hits:
            chosen.append(subject)
    if unused:
        names = ", ".join(subject.name for subject in plan.subjects)
        raise InputError(
            f"--subjects must name subjects of the download, got {', '.join(sorted(unused))}. There are: {names}."
        )
    kept = {subject.name for subject in chosen}
    plan.subjects = chosen
    plan.problems = [problem for problem in plan.problems if not problem.subject or problem.subject in kept]


def _stop_on(problems: Sequence[PlanProblem], *, strict: bool, done: str) -> None:
    """Raise InputError that lists all errors (and warnings if ``strict``)."""
    errors = [problem for problem in problems if problem.level == "error"]
    warnings = [problem for problem in problems if problem.level == "warning"]
    if errors:
        rest = (
            f"\nand {_count(warnings, 'warning')}:\n" + _report.problems_text(warnings, "warning") if warnings else ""
        )
        raise InputError(
            f"the download has {_count(errors, 'error')}. {done}\n{_report.problems_text(errors, 'error')}{rest}"
        )
    if strict and warnings:
        raise InputError(
            f"{_count(warnings, 'warning')}, turned into errors by --strict. {done}\n"
            + _report.problems_text(warnings, "warning")
        )


def _count(problems: Sequence[PlanProblem], word: str) -> str:
    return f"{len(problems)} {word}{'s' if len(problems) != 1 else ''}"


def _convert_all(
    plan: DatasetPlan, staging: Path, options: SubjectOptions, jobs: int, progress: bool, console: Console
) -> Iterator[SubjectReport]:
    """Yield the reports of all subjects in the order of the plan."""
    arguments = [(subject, staging, plan.classes, options) for subject in plan.subjects]
    if jobs == 1:
        tasks = (convert_subject(*args, exclusive=plan.exclusive) for args in arguments)
        yield from _track(tasks, len(arguments), progress, console)
        return
    with ProcessPoolExecutor(max_workers=min(jobs, len(arguments))) as pool:
        futures = [pool.submit(convert_subject, *args, exclusive=plan.exclusive) for args in arguments]
        try:
            for _ in _track(as_completed(futures), len(futures), progress, console):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        yield from (future.result() for future in futures)


def _track(items: Iterable[T], total: int, progress: bool, console: Console) -> Iterable[T]:
    from rich.progress import track

    return track(items, total=total, description="Subjects", console=console, disable=not progress)


def _write_dataset_files(plan: DatasetPlan, staging: Path, problems: Sequence[PlanProblem]) -> None:
    """Write description, participants, README, licence and the description of the derivatives."""
    write_json(
        staging / "dataset_description.json",
        {
            "Name": plan.title,
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "raw",
            **plan.description,
            "GeneratedBy": [GENERATOR],
        },
    )
    columns = list(plan.columns)
    rows = [["participant_id", *columns]]
    for subject in plan.subjects:
        values = {**subject.participant, "source_id": subject.source_id}
        rows.append([subject.name, *(str(values.get(column, "n/a")) for column in columns)])
    write_text(staging / "participants.tsv", "".join("\t".join(row) + "\n" for row in rows))
    write_json(staging / "participants.json", {name: {"Description": text} for name, text in plan.columns.items()})
    notes = [str(problem) for problem in problems]
    found = (
        "\n\nNotes of the conversion\n-----------------------\n" + "\n".join(f"- {note}" for note in notes)
        if notes
        else ""
    )
    write_text(staging / "README", plan.readme.strip() + found + "\n")
    if plan.license_file is not None:
        text = plan.license_file.path.read_bytes().decode("utf-8", errors="replace")
        write_text(staging / "LICENSE", text)
    write_json(
        staging / "derivatives" / "labels" / "dataset_description.json",
        {
            "Name": f"{plan.title}: labels of the raters",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [GENERATOR],
        },
    )


def _fuse(
    plan: DatasetPlan, staging: Path, methods: Sequence[str], jobs: int, progress: bool, console: Console
) -> list[PlanProblem]:
    """Write the fused derivatives; return the fusion's remarks as notes."""
    from rich.progress import Progress

    from ivadomed_labelfusion.data.fused import write_fused

    suffixes = target_suffix(plan.classes, plan.raters)
    with Progress(console=console, disable=not progress) as bar:
        task = bar.add_task(f"Fusion by {', '.join(methods)}", total=len(plan.subjects))
        # gaps are warnings already, and the sidecars name the raters that were fused
        fused = write_fused(
            staging, suffixes, list(methods), allow_missing=True, jobs=jobs,
            progress=lambda done, total, image_stem: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    return [
        PlanProblem("note", image_stem.split("_")[0], f"fusion: {text}")
        for image_stem, texts in sorted(fused.notes.items())
        for text in texts
    ]
