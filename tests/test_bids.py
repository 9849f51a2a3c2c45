"""Finding the raters' masks of an image: exact suffixes, the configuration's order, gaps and clashes named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivadomed_labelfusion.data.bids import find_label_sets, nested_target_suffix, stem, target_suffix
from ivadomed_labelfusion.errors import InputError

CLASSES, RATERS = ("GM", "WM"), ("rater10", "rater1", "rater2")


@pytest.fixture
def dataset(tmp_path):
    """Two subjects, three raters, two classes; rater1 and rater10 differ only at the end."""
    for subject in ("sub-02", "sub-01"):
        folder = tmp_path / "derivatives" / "labels" / subject / "anat"
        folder.mkdir(parents=True)
        for suffixes in target_suffix(CLASSES, RATERS):
            for suffix in suffixes:
                (folder / f"{subject}_T2w{suffix}.nii.gz").touch()
                (folder / f"{subject}_T2w{suffix}.json").touch()
    return tmp_path


def test_files_come_in_the_order_of_the_suffixes(dataset):
    suffixes = target_suffix(CLASSES, RATERS)
    sets = find_label_sets(dataset, suffixes)
    assert [found.image_stem for found in sets] == ["sub-01_T2w", "sub-02_T2w"]
    for found in sets:
        names = [[path.name for path in row] for row in found.files]
        assert names == [[f"{found.subject}_T2w{suffix}.nii.gz" for suffix in row] for row in suffixes]
        assert found.missing(suffixes) == []


def test_rater1_is_not_rater10(dataset):
    for path in dataset.rglob("*rater1_*"):
        path.unlink()
    suffixes = target_suffix(("GM",), ("rater1", "rater10"))
    found = find_label_sets(dataset, suffixes)[0]
    assert found.files[0][0] is None
    assert found.missing(suffixes) == [(0, "_desc-rater1_label-GM_seg")]


def test_a_folder_named_like_a_rater_does_not_match(dataset):
    folder = dataset / "derivatives" / "sub-03_T2w_desc-rater1_label-GM_seg"
    folder.mkdir()
    (folder / "sub-03_T2w_other.nii.gz").touch()
    assert len(find_label_sets(dataset, ["_desc-rater1_label-GM_seg"])) == 2


def test_subjects_with_and_without_prefix(dataset):
    suffixes = target_suffix(CLASSES, RATERS)
    for name in ("01", "sub-01"):
        assert [found.subject for found in find_label_sets(dataset, suffixes, subjects=[name])] == ["sub-01"]


def test_two_files_for_one_mask(dataset):
    copy = dataset / "derivatives" / "copy"
    copy.mkdir()
    (copy / "sub-01_T2w_desc-rater1_label-GM_seg.nii").touch()
    with pytest.raises(InputError, match="Two files are both sub-01_T2w_desc-rater1_label-GM_seg"):
        find_label_sets(dataset, ["_desc-rater1_label-GM_seg"])


def test_nothing_found_lists_what_there_is(dataset, tmp_path):
    with pytest.raises(InputError, match="There is: desc-rater10_label-GM_seg"):
        find_label_sets(dataset, ["_desc-rater9_label-GM_seg"])
    with pytest.raises(InputError, match=r"with a derivatives/ folder"):
        find_label_sets(tmp_path / "nowhere", ["_seg"])


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("_seg", "non-empty list"),
        ([], "non-empty list"),
        ([[]], "must hold suffixes"),
        ([["_a", 3]], "must hold suffixes"),
        ([["_a", "_a"]], "names a rater twice"),
        ([["_a", "_b"], ["_c"]], "got 2, 1 raters"),
    ],
)
def test_bad_target_suffix(value, match):
    with pytest.raises(InputError, match=match):
        nested_target_suffix(value)


@given(
    st.lists(st.text("abcWM", min_size=1), min_size=1), st.lists(st.text("r123", min_size=1), min_size=1, unique=True)
)
def test_target_suffix_is_nested_already(classes, raters):
    suffixes = target_suffix(classes, raters)
    assert nested_target_suffix(suffixes) == suffixes
    assert nested_target_suffix([row[0] for row in suffixes]) == [[row[0]] for row in suffixes]


@pytest.mark.parametrize("name", ["sub-01_T1w.nii.gz", "sub-01_T1w.nii", "sub-01_T1w.json"])
def test_stem(name):
    assert stem(f"some/folder.nii/{name}") == "sub-01_T1w"
