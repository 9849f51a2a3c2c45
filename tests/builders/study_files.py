"""A dataset of empty files and a study on it, for tests that train nothing."""

from ivadomed_labelfusion.experiment.candidates import resolve_candidates
from ivadomed_labelfusion.experiment.plan import Study

SUBJECTS = [f"sub-{number:02d}" for number in range(1, 8)]


def make_dataset(folder):
    """Seven subjects of two centres with the files that the SCGM template names; empty, because nothing reads them."""
    root = folder / "bids"
    for subject in SUBJECTS:
        for folder in (root / subject / "anat", root / "derivatives" / "labels" / subject / "anat"):
            folder.mkdir(parents=True)
        (root / subject / "anat" / f"{subject}_T2starw.nii.gz").touch()
        for tissue in ("GM", "WM"):
            for rater in range(1, 5):
                name = f"{subject}_T2starw_desc-rater{rater}_label-{tissue}_seg.nii.gz"
                (root / "derivatives" / "labels" / subject / "anat" / name).touch()
    rows = [f"{subject}\t{'ucl' if number < 3 else 'unf'}" for number, subject in enumerate(SUBJECTS)]
    (root / "participants.tsv").write_text("participant_id\tinstitution_id\n" + "\n".join(rows) + "\n")
    return root


def make_study(dataset, tmp_path, **options):
    defaults = {
        "folder": tmp_path / "study",
        "bids": str(dataset),
        "template": "scgm",
        "design": "centre",
        "candidates": tuple(resolve_candidates("all,conv_ensemble")),
        "n_splits": 3,
        "overrides": {"training_parameters": {"training_time": {"num_epochs": 2}}, "default_model": {"n_filters": 4}},
    }
    return Study(**{**defaults, **options})
