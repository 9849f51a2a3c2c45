"""Splits: the paper's numbers, nothing leaks, equal for every candidate, readable by ivadomed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.splits import (
    PARTS,
    centre_splits,
    find_subjects,
    make_seeds,
    make_splits,
    random_splits,
    read_centres,
    read_split,
    write_splits,
)

SCGM = {
    f"sub-{centre}{number:02d}": centre for centre in ("ucl", "unf", "zurich", "vanderbilt") for number in range(1, 11)
}
MS = [f"sub-{number:02d}" for number in range(1, 16)]


def assert_nothing_leaks(split, subjects):
    parts = [set(getattr(split, part)) for part in PARTS]
    assert all(parts)
    assert set.union(*parts) == set(subjects)
    assert sum(map(len, parts)) == len(set(subjects))


def test_paper_splits_of_scgm():
    splits = make_splits(SCGM, design="centre", centre_of=SCGM)
    assert len(splits) == 40
    for centre in set(SCGM.values()):
        assert sum(split.test_centre == centre for split in splits) == 10
    for split in splits:
        assert_nothing_leaks(split, SCGM)
        assert {SCGM[subject] for subject in split.test} == {split.test_centre}
        assert (len(split.train), len(split.valid), len(split.test)) == (24, 6, 10)
    # ten different draws for each centre
    assert len({(split.test_centre, split.valid) for split in splits}) == 40


def test_paper_splits_of_ms():
    splits = make_splits(MS, design="random")
    assert len(splits) == 20
    assert len({(split.test, split.valid) for split in splits}) == 20
    for split in splits:
        assert_nothing_leaks(split, MS)
        assert (len(split.train), len(split.valid), len(split.test)) == (9, 3, 3)


@given(st.integers(3, 60), st.integers(0, 2**32 - 1))
def test_random_splits_never_leak(n, seed):
    subjects = [f"sub-{number}" for number in range(n)]
    assert_nothing_leaks(random_splits(subjects, [seed])[0], subjects)


@given(st.lists(st.sampled_from("abcd"), min_size=4, max_size=40), st.integers(0, 2**32 - 1))
def test_centre_splits_never_leak(centres, seed):
    centre_of = {f"sub-{number}": centre for number, centre in enumerate(centres)}
    try:
        splits = centre_splits(centre_of, [seed] * 4)
    except InputError:
        return
    for split in splits:
        assert_nothing_leaks(split, centre_of)
        assert {centre_of[subject] for subject in split.test} == {split.test_centre}


def test_seeds_are_distinct_and_a_longer_study_keeps_the_first_splits():
    seeds = make_seeds(500)
    assert len(set(seeds)) == 500
    assert make_seeds(500) == seeds
    assert make_seeds(500, study_seed=1)[0] != seeds[0]
    assert make_splits(MS, design="random", n=5) == make_splits(MS, design="random")[:5]
    assert (
        make_splits(SCGM, design="centre", n=6, centre_of=SCGM)
        == make_splits(SCGM, design="centre", centre_of=SCGM)[:6]
    )


def test_order_of_subjects_does_not_matter():
    assert random_splits(MS[::-1], [4]) == random_splits(MS, [4])
    assert centre_splits(dict(reversed(SCGM.items())), [4]) == centre_splits(SCGM, [4])


def test_too_few_subjects_or_centres():
    with pytest.raises(InputError, match="at least 3 subjects"):
        random_splits(["sub-01", "sub-02"], [0])
    with pytest.raises(InputError, match="at least 2 centres, got ucl"):
        centre_splits(dict.fromkeys(MS, "ucl"), [0])
    with pytest.raises(InputError, match="outside the test centre a"):
        centre_splits({"sub-1": "a", "sub-2": "a", "sub-3": "b"}, [0])


@pytest.fixture
def two_contrasts(tmp_path):
    """A BIDS tree of empty files: two contrasts, two raters, one subject without masks."""
    for subject in (*MS, "sub-nomask"):
        anat = tmp_path / subject / "anat"
        anat.mkdir(parents=True)
        for contrast in ("FLAIR", "T1w", "ce-gadolinium_T1w", "T2w"):
            (anat / f"{subject}_{contrast}.nii.gz").touch()
            (anat / f"{subject}_{contrast}.json").touch()
        if subject != "sub-nomask":
            labels = tmp_path / "derivatives" / "labels" / subject / "anat"
            labels.mkdir(parents=True)
            for rater in (1, 2):
                (labels / f"{subject}_FLAIR_desc-rater{rater}_label-lesion_seg.nii.gz").touch()
    return tmp_path


SUFFIXES = [["_desc-rater1_label-lesion_seg", "_desc-rater2_label-lesion_seg"]]


def test_find_subjects_lists_the_images_of_the_contrasts(two_contrasts):
    files = find_subjects(two_contrasts, SUFFIXES, ["FLAIR", "ce-gadolinium_T1w"])
    assert sorted(files) == MS
    assert files["sub-01"] == ["sub-01_FLAIR.nii.gz", "sub-01_ce-gadolinium_T1w.nii.gz"]
    # ce-gadolinium_T1w ends in _T1w, and is another contrast
    files = find_subjects(two_contrasts, SUFFIXES, ["FLAIR", "T1w"])
    assert files["sub-01"] == ["sub-01_FLAIR.nii.gz", "sub-01_T1w.nii.gz"]
    with pytest.raises(InputError, match="no image of the contrasts T2starw"):
        find_subjects(two_contrasts, SUFFIXES, ["T2starw"])


def test_a_subject_without_one_of_the_channels_is_refused(two_contrasts):
    both = {"contrasts": ["FLAIR", "T2w"], "multichannel": True}
    assert len(find_subjects(two_contrasts, SUFFIXES, **both)["sub-02"]) == 2
    (two_contrasts / "sub-02" / "anat" / "sub-02_T2w.nii.gz").unlink()
    with pytest.raises(InputError, match=r"sub-02 must have an image of every contrast.*it lacks T2w"):
        find_subjects(two_contrasts, SUFFIXES, **both)
    assert len(find_subjects(two_contrasts, SUFFIXES, ["FLAIR", "T2w"])["sub-02"]) == 1


def test_saved_splits_are_the_same_for_people_and_for_ivadomed(two_contrasts, tmp_path):
    pytest.importorskip("ivadomed", reason="the extra 'ivadomed' is not installed")
    from ivadomed_labelfusion.hosts.ivadomed2.restricted import read_split_file

    files = find_subjects(two_contrasts, SUFFIXES, ["FLAIR", "T1w"])
    splits = make_splits(files, design="random", n=3)
    folder = tmp_path / "splits"
    write_splits(splits, files, folder)
    assert json.loads((folder / "seeds.json").read_text())["seeds"] == {split.name: split.seed for split in splits}
    for split in splits:
        saved = read_split(folder, split.name)
        for_ivadomed = read_split_file(folder / f"{split.name}.json")
        assert for_ivadomed == saved["files"]
        for part in PARTS:
            assert saved["subjects"][part] == list(getattr(split, part))
            assert {name.split("_")[0] for name in for_ivadomed[part]} == set(getattr(split, part))


def test_writing_again_keeps_the_files_and_refuses_other_subjects(two_contrasts, tmp_path):
    files = find_subjects(two_contrasts, SUFFIXES, ["FLAIR"])
    folder = tmp_path / "splits"
    write_splits(make_splits(files, design="random", n=2), files, folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("split-*")}
    write_splits(make_splits(files, design="random", n=3), files, folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("split-0[12]*")} == before
    assert (folder / "split-03.json").exists()
    files.pop("sub-01")
    with pytest.raises(InputError, match="Choose another --output"):
        write_splits(make_splits(files, design="random", n=2), files, folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"participant_id\tinstitution_id\nsub-01\tuc\xb8l\n", "UTF-8, but line 2"),
        (b"participant_id\tx\nsub-01\ta\tb\n", "must have 2 values"),
        (b"\n\n", "is empty"),
        (b"", "is empty"),
        (b"participant_id\tinstitution_id\nsub-01\n", "missing for sub-01"),
    ],
)
def test_damaged_tables_of_centres_are_one_message(tmp_path, content, message):
    (tmp_path / "participants.tsv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_centres(tmp_path, ["sub-01"])


def test_read_centres(tmp_path):
    table = tmp_path / "participants.tsv"
    with pytest.raises(InputError, match="must exist"):
        read_centres(tmp_path, ["sub-01"])
    table.write_text("participant_id\tinstitution_id\nsub-01\tucl\nsub-02\tn/a\n")
    assert read_centres(tmp_path, ["sub-01"]) == {"sub-01": "ucl"}
    with pytest.raises(InputError, match="missing for sub-02, sub-03"):
        read_centres(tmp_path, ["sub-01", "sub-02", "sub-03"])
    table.write_text("participant_id\tsex\nsub-01\tF\n")
    with pytest.raises(InputError, match=r"column institution_id .* got participant_id, sex"):
        read_centres(tmp_path, ["sub-01"])


@pytest.mark.slow
def test_ivadomed_reads_the_split_file(two_contrasts, tmp_path, request):
    import pandas as pd

    loader_utils = pytest.importorskip("ivadomed.loader.utils")
    from ivadomed_labelfusion.hosts.ivadomed2.patches import disable, enable

    enable()
    request.addfinalizer(disable)
    files = find_subjects(two_contrasts, SUFFIXES, ["FLAIR"])
    splits = make_splits(files, design="random", n=1)
    write_splits(splits, files, tmp_path / "splits")
    names = [name for subject in files for name in files[subject]]
    frame = pd.DataFrame({"filename": names, "participant_id": [name.split("_")[0] for name in names]})
    parameters = {"fname_split": str(tmp_path / "splits" / "split-01.json")}
    train, valid, test = loader_utils.get_subdatasets_subject_files_list(parameters, frame, str(tmp_path))
    # training and the threshold search see train and valid, evaluation sees test
    assert {name.split("_")[0] for name in train + valid}.isdisjoint(splits[0].test)
    assert [name.split("_")[0] for name in test] == list(splits[0].test)
