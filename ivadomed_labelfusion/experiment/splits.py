"""Train, validation and test subjects of every split, shared by all candidates.

A split is a function of the subjects and of one seed. The seeds are prefix-stable: the first five splits of a study of
twenty are the five splits of a smaller study, so that a study can be extended without redoing finished models.
"""

from dataclasses import dataclass
from pathlib import Path

from ivadomed_labelfusion.data.bids import find_images, find_label_sets
from ivadomed_labelfusion.data.entities import channel_files, images_of_contrasts, stem
from ivadomed_labelfusion.data.texts import PARTICIPANTS, read_participants
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.records import SPLIT, check_fields
from ivadomed_labelfusion.experiment.records import SPLIT_PARTS as LISTS
from ivadomed_labelfusion.files import read_json, write_json

# Lemay et al. 2022, Section 2.3.1
PAPER_SPLITS = {"centre": 40, "random": 20}
CENTRE_COLUMN = "institution_id"
TRAIN_FRACTION = 0.6
TEST_FRACTION = 0.2
PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Split:
    """Subjects of one split.

    Attributes:
        name (str): ``split-01``.
        seed (int): Seed of the random draw.
        test_centre (str or None): The centre that is the test set, None for random test subjects.
        train, valid, test (tuple of str): Subjects such as ``sub-01``, sorted; no subject is in two of them.
    """

    name: str
    seed: int
    test_centre: str | None
    train: tuple
    valid: tuple
    test: tuple


def make_seeds(n, *, study_seed=0):
    """Return ``n`` distinct seeds; a longer list starts with the shorter one.

    Args:
        n (int): How many.
        study_seed (int): Seed of the whole study.

    Returns:
        list of int: Each in [0, 2**32).
    """
    import numpy as np

    seeds, index = [], 0
    while len(seeds) < n:
        seed = int(np.random.SeedSequence([study_seed, index]).generate_state(1)[0])
        index += 1
        if seed not in seeds:
            seeds.append(seed)
    return seeds


def random_splits(subjects, seeds):
    """Split subjects at random into 60 % training, 20 % validation and 20 % test (at least one each), once per seed.

    Args:
        subjects (iterable of str): Subjects; their order does not matter.
        seeds (list of int): One per split.

    Returns:
        list of Split

    Raises:
        InputError: If there are fewer than three subjects.
    """
    subjects = sorted(subjects)
    if len(subjects) < 3:
        raise InputError(
            f"Random splits must have at least 3 subjects, one each to train, validate and test, got {len(subjects)}."
        )
    n_test = max(1, round(TEST_FRACTION * len(subjects)))
    n_train = min(max(1, round(TRAIN_FRACTION * len(subjects))), len(subjects) - n_test - 1)
    splits = []
    for index, seed in enumerate(seeds):
        drawn = _shuffled(subjects, seed)
        parts = drawn[n_test : n_test + n_train], drawn[n_test + n_train :], drawn[:n_test]
        splits.append(Split(_split_name(index), seed, None, *(tuple(sorted(part)) for part in parts)))
    return splits


def centre_splits(centre_of, seeds):
    """Make each centre in turn the test set and split the other centres' subjects at random.

    As in ivadomed, 60 % of all subjects train (24 of 40) and what is left of the other centres validates (6 of 40).
    Centres take turns, so that the first splits already test every centre.

    Args:
        centre_of (dict): Subject to centre.
        seeds (list of int): One per split.

    Returns:
        list of Split

    Raises:
        InputError: If there are fewer than two centres, or too few subjects outside one.
    """
    centres = sorted(set(centre_of.values()))
    if len(centres) < 2:
        raise InputError(
            f"Testing on each centre in turn must have at least 2 centres, got {', '.join(centres) or 'none'}."
        )
    splits = []
    for index, seed in enumerate(seeds):
        centre = centres[index % len(centres)]
        test = sorted(subject for subject in centre_of if centre_of[subject] == centre)
        others = _shuffled(sorted(subject for subject in centre_of if centre_of[subject] != centre), seed)
        if len(others) < 2:
            raise InputError(
                f"At least 2 subjects must lie outside the test centre {centre}, one each to train and validate, "
                f"got {len(others)}."
            )
        n_train = min(max(1, round(TRAIN_FRACTION * len(centre_of))), len(others) - 1)
        parts = others[:n_train], others[n_train:], test
        splits.append(Split(_split_name(index), seed, centre, *(tuple(sorted(part)) for part in parts)))
    return splits


def _shuffled(subjects, seed):
    import numpy as np

    return [subjects[position] for position in np.random.default_rng(seed).permutation(len(subjects))]


def _split_name(index):
    return f"split-{index + 1:02d}"


def find_subjects(bids_dir, target_suffix, contrasts, *, multichannel=False, allow_missing=False):
    """Return the image files of every subject that has masks.

    Args:
        bids_dir (str or Path): Root of the BIDS dataset.
        target_suffix (list): As in ivadomed's ``loader_parameters``.
        contrasts (iterable of str): Contrasts of the configuration, such as ``FLAIR`` or ``ce-gadolinium_T1w``.
        multichannel (bool): Whether the contrasts are channels of one input, so that ivadomed skips an image that lacks
            one.
        allow_missing (bool): Whether a rater's mask may be missing.

    Returns:
        dict: ``sub-01`` to the sorted list of its raw image file names of these contrasts.

    Raises:
        InputError: If no subject has masks, a subject with masks has none of the contrasts (``multichannel``: not all
            of them in any session), or a mask is missing.
    """
    bids_dir = Path(bids_dir)
    label_sets = find_label_sets(bids_dir, target_suffix)
    # found now, and not after hours of training
    lacking = [label_set for label_set in label_sets if label_set.missing()]
    if lacking and not allow_missing:
        count = sum(len(label_set.missing()) for label_set in lacking)
        first = lacking[0]
        index, rater = first.missing()[0]
        raise InputError(
            f"Masks are missing ({count}), such as {first.image_stem}{first.nested[index][rater]}. Add them, or start "
            "a study on the other raters with --set loader_parameters.allow_missing_raters=true."
        )
    for label_set in lacking:
        label_set.present(allow_missing=True)
    files, with_masks = {}, {label_set.image_stem for label_set in label_sets}
    for subject in sorted({label_set.subject for label_set in label_sets}):
        images = sorted(path.name for path in find_images(bids_dir, subjects=[subject]).values())
        acquisitions = []
        if multichannel:
            acquisitions = channel_files(images, contrasts).values()
            files[subject] = sorted({filename for channels in acquisitions for filename in channels.values()})
        else:
            of_contrast = images_of_contrasts(images, contrasts).values()
            # an acquisition that nobody marked is left out beside one that was
            marked = [[name for name in names if stem(name) in with_masks] or names for names in of_contrast]
            files[subject] = sorted({name for names in marked for name in names})
        if not files[subject]:
            raise InputError(
                f"{subject} has masks but no image of the contrasts {', '.join(contrasts)} in {bids_dir / subject}. "
                "Check contrast_params in the template."
            )
        if multichannel and not any(set(channels) == set(contrasts) for channels in acquisitions):
            lacking = [contrast for contrast in contrasts if not any(contrast in channels for channels in acquisitions)]
            raise InputError(
                f"{subject} must have an image of every contrast in {bids_dir / subject}, because they are channels of "
                f"one input; it lacks {', '.join(lacking) or 'a session with all of them'}. "
                "Add it, or take the subject out of the dataset."
            )
    return files


def read_centres(bids_dir, subjects):
    """Return the centre of each subject from the column ``institution_id`` of ``participants.tsv``.

    Raises:
        InputError: If the file, the column or a subject's value is missing, or the file is no such table.
    """
    path = Path(bids_dir) / PARTICIPANTS
    rows = read_participants(bids_dir, why=f"it holds each subject's centre ({CENTRE_COLUMN})")
    if rows and CENTRE_COLUMN not in rows[0]:
        found = ", ".join(rows[0])
        raise InputError(f"{path} must have a column {CENTRE_COLUMN} with each subject's centre, got {found}.")
    table = {row.get("participant_id"): row[CENTRE_COLUMN] for row in rows}
    lacking = ", ".join([subject for subject in subjects if table.get(subject) in (None, "", "n/a")][:5])
    if lacking:
        raise InputError(f"{path} must give {CENTRE_COLUMN} for every subject, it is missing for {lacking}.")
    return {subject: table[subject] for subject in subjects}


def make_splits(subjects, *, design, n=None, study_seed=0, centre_of=None):
    """Make the splits of a study.

    Args:
        subjects (iterable of str): All subjects.
        design (str): ``centre`` (each centre in turn is the test set) or ``random``.
        n (int): Number of splits; None takes the paper's, 40 for ``centre`` and 20 for ``random``.
        study_seed (int): Seed from which the splits' seeds derive.
        centre_of (dict): Subject to centre, needed for ``centre``.

    Returns:
        list of Split
    """
    seeds = make_seeds(PAPER_SPLITS[design] if n is None else n, study_seed=study_seed)
    return centre_splits(centre_of, seeds) if design == "centre" else random_splits(subjects, seeds)


def _content(split, files_of):
    """Return what is saved of a split, ready for JSON."""
    return {
        "name": split.name,
        "seed": split.seed,
        "test_centre": split.test_centre,
        "subjects": {part: list(getattr(split, part)) for part in PARTS},
        "files": {part: [name for subject in getattr(split, part) for name in files_of[subject]] for part in PARTS},
    }


def check_saved_splits(splits, files_of, folder):
    """Check that splits saved before are the same: finished models were trained on them. Splits may be added.

    Args:
        splits (list of Split): From `make_splits`.
        files_of (dict): Subject to its image file names, from `find_subjects`.
        folder (str or Path): Where `write_splits` puts them.

    Raises:
        InputError: If a saved split differs.
    """
    for split in splits:
        path = Path(folder) / f"{split.name}.json"
        if path.exists() and read_json(path) != _content(split, files_of):
            raise InputError(
                f"{path} holds other subjects than this study would use: the dataset, the template or the seed "
                "changed since the study was started. Choose another --output."
            )


def write_splits(splits, files_of, folder):
    """Save each split as JSON, which people and ivadomed's ``split_dataset.fname_split`` read, and the seeds.

    Args:
        splits (list of Split): From `make_splits`.
        files_of (dict): Subject to its image file names, from `find_subjects`.
        folder (str or Path): Receives ``split-01.json``, ... and ``seeds.json``.

    Raises:
        InputError: As `check_saved_splits`.
    """
    folder = Path(folder)
    check_saved_splits(splits, files_of, folder)
    for split in splits:
        path = folder / f"{split.name}.json"
        if not path.exists():
            write_json(path, _content(split, files_of))
    write_json(folder / "seeds.json", {"seeds": {split.name: split.seed for split in splits}}, overwrite=True)


def read_split(folder, name):
    """Return the saved content of a split: name, seed, test_centre, subjects and files of each part.

    Raises:
        InputError: If the file is missing or damaged.
    """
    path, cure = Path(folder) / f"{name}.json", "Restore it from a copy of the study."
    content = check_fields(read_json(path), SPLIT, path, cure)
    for key in ("subjects", "files"):
        check_fields(content[key], LISTS, f"{path}: {key}", cure)
    return content
