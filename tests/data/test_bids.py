"""Finding the raters' masks of an image: exact suffixes, the configuration's order, gaps and clashes named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivadomed_labelfusion.data.bids import expand_suffixes, find_label_sets
from ivadomed_labelfusion.data.entities import stem
from ivadomed_labelfusion.data.masks import load_masks
from ivadomed_labelfusion.data.raters import nested_target_suffix, target_suffix
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
        assert found.missing() == []


def test_rater1_is_not_rater10(dataset):
    for path in dataset.rglob("*rater1_*"):
        path.unlink()
    suffixes = target_suffix(("GM",), ("rater1", "rater10"))
    found = find_label_sets(dataset, suffixes)[0]
    assert found.files[0][0] is None
    assert found.missing() == [(0, 0)]


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


def test_two_ways_to_one_file_are_one_file(dataset):
    (dataset / "derivatives" / "copy").symlink_to(dataset / "derivatives" / "labels")
    assert len(find_label_sets(dataset, ["_desc-rater1_label-GM_seg"])) == 2


@pytest.mark.parametrize(
    "what", ["derivatives/labels", "derivatives/labels/sub-01", "derivatives/labels/sub-01/anat", "."]
)
def test_linked_folders_are_followed(dataset, tmp_path_factory, what):
    if what == ".":
        linked = tmp_path_factory.mktemp("links") / "dataset"
        linked.symlink_to(dataset)
        dataset = linked
    else:
        elsewhere = tmp_path_factory.mktemp("elsewhere") / "moved"
        (dataset / what).rename(elsewhere)
        (dataset / what).symlink_to(elsewhere)
    assert len(find_label_sets(dataset, target_suffix(CLASSES, RATERS))) == 2


def test_a_link_to_a_folder_above_ends(dataset):
    (dataset / "derivatives" / "labels" / "sub-01" / "loop").symlink_to(dataset / "derivatives")
    (dataset / "derivatives" / "self").symlink_to("self")
    assert len(find_label_sets(dataset, ["_desc-rater1_label-GM_seg"])) == 2


def test_two_datasets_with_one_subject(dataset, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    folder = other / "derivatives" / "labels"
    folder.mkdir(parents=True)
    (folder / "sub-02_FLAIR_desc-rater1_label-GM_seg.nii").touch()
    with pytest.raises(InputError, match="sub-02 is in") as caught:
        find_label_sets([dataset, other], ["_desc-rater1_label-GM_seg"])
    assert str(other) in str(caught.value)
    assert str(dataset) in str(caught.value)
    (folder / "sub-02_FLAIR_desc-rater1_label-GM_seg.nii").rename(folder / "sub-03_T2w_desc-rater1_label-GM_seg.nii")
    found = find_label_sets([dataset, other], ["_desc-rater1_label-GM_seg"])
    assert [labels.subject for labels in found] == ["sub-01", "sub-02", "sub-03"]


def test_two_ways_to_one_dataset_are_one_dataset(dataset, tmp_path_factory):
    link = tmp_path_factory.mktemp("links") / "again"
    link.symlink_to(dataset)
    assert len(find_label_sets([dataset, f"{dataset}/../{dataset.name}", link], ["_desc-rater1_label-GM_seg"])) == 2


def test_two_images_of_one_stem_are_refused_but_for_the_copy_of_a_picture(dataset):
    folder = dataset / "sub-01" / "anat"
    folder.mkdir(parents=True)
    (folder / "sub-01_T2w.png").touch()
    (folder / "sub-01_T2w.nii.gz").touch()
    assert find_label_sets(dataset, ["_desc-rater1_label-GM_seg"])[0].image == folder / "sub-01_T2w.png"
    (folder / "sub-01_T2w.png").rename(folder / "sub-01_T2w.nii")
    with pytest.raises(InputError, match="Two files are both sub-01_T2w"):
        find_label_sets(dataset, ["_desc-rater1_label-GM_seg"])


def test_a_label_whose_content_was_not_fetched_is_named(dataset):
    path = next(dataset.rglob("sub-01*rater1_label-GM_seg.nii.gz"))
    path.unlink()
    path.symlink_to("../../.git/annex/objects/x.nii.gz")
    labels = find_label_sets(dataset, ["_desc-rater1_label-GM_seg"])[0]
    assert not labels.missing()
    with pytest.raises(InputError, match=f"datalad get {path}"):
        load_masks(labels)
    path.unlink()
    path.write_text("/annex/objects/MD5E-s123--abc.nii.gz\n")
    with pytest.raises(InputError, match=f"datalad get {path}"):
        load_masks(labels)


def test_the_one_rule_for_missing_masks(dataset):
    suffixes = target_suffix(CLASSES, ("rater1", "rater2"))
    next(dataset.rglob("sub-01*rater2_label-WM_seg.nii.gz")).unlink()
    labels = find_label_sets(dataset, suffixes)[0]
    with pytest.raises(InputError, match=r"rater2 has no mask of WM \(sub-01_T2w_desc-rater2_label-WM_seg\).*--allow"):
        labels.present(allow_missing=False, cure="add --allow-missing")
    assert labels.present(allow_missing=True) == [0]
    assert labels.of_raters([0]).rater_names == ["rater1"]
    next(dataset.rglob("sub-01*rater1_label-GM_seg.nii.gz")).unlink()
    with pytest.raises(InputError, match="No rater has marked every class"):
        find_label_sets(dataset, suffixes)[0].present(allow_missing=True)


def test_wildcards_leave_out_what_was_fused_unless_a_rater_drew_it(dataset):
    folder = dataset / "derivatives/labels/sub-01/anat"
    for name in ("staple", "consensus", "r1"):
        (folder / f"sub-01_T2w_desc-{name}_label-GM_seg.nii.gz").touch()
    found = expand_suffixes(dataset, [["_desc-*_label-GM_seg"]])
    assert [suffix.split("_")[1] for suffix in found[0]] == ["desc-r1", "desc-rater1", "desc-rater2", "desc-rater10"]
    (folder / "sub-01_T2w_desc-consensus_label-GM_seg.json").write_text('{"Method": "manual segmentation"}')
    assert "_desc-consensus_label-GM_seg" in expand_suffixes(dataset, [["_desc-*_label-GM_seg"]])[0]


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
