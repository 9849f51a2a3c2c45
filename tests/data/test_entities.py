"""Names of images and labels: contrasts, acquisitions, and which image a label belongs to."""

import pytest

from ivadomed_labelfusion.data.entities import (
    acquisition_key,
    channel_files,
    contrast_name,
    images_of_contrasts,
    natural,
    owner,
    parse,
    stem,
)
from ivadomed_labelfusion.errors import InputError


def test_names_are_taken_apart():
    name = parse("sub-01_ses-2_acq-ax_T2w.nii.gz")
    assert name.entities == {"sub": "01", "ses": "2", "acq": "ax"}
    assert name.suffix == "T2w"
    assert name.subject == "sub-01"
    assert acquisition_key("sub-01_ses-2_acq-ax_T2w.nii") == "sub-01_ses-2"
    assert contrast_name("sub-01_ses-2_acq-ax_T2w.nii") == "acq-ax_T2w"
    assert [stem(f"a.b{end}") for end in (".nii.gz", ".nii", ".png", ".TIF")] == ["a.b"] * 4
    assert sorted(["rater10", "rater2", "rater1"], key=natural) == ["rater1", "rater2", "rater10"]


@pytest.mark.parametrize(
    ("label", "suffixes", "images", "expected"),
    [
        ("sub-01_T2w_seg", ["_seg"], [], ("sub-01_T2w", "_seg")),
        # no image ends with an entity, so rater 2's masks are no masks of rater 1 on another image
        ("sub-01_T2w_desc-r2_label-GM_seg", ["_label-GM_seg"], [], None),
        ("sub-01_T2w_desc-r2_x-G_seg", ["_x-G_seg", "_desc-r2_x-G_seg"], [], ("sub-01_T2w", "_desc-r2_x-G_seg")),
        ("sub-01_T2w_r2_seg", ["_seg", "_r2_seg"], [], ("sub-01_T2w", "_r2_seg")),
        ("sub-01_T2w_r2_seg", ["_seg"], ["sub-01_T2w"], None),
        ("sub-01_T2w_r2_seg", ["_seg"], ["sub-01_T2w", "sub-01_T2w_r2"], ("sub-01_T2w_r2", "_seg")),
        ("sub-01_acq-ax_T2w_seg", ["_seg"], ["sub-01_T2w", "sub-01_acq-ax_T2w"], ("sub-01_acq-ax_T2w", "_seg")),
        ("sub-01_seg", ["_seg"], [], ("sub-01", "_seg")),
        ("sub-01_T2w-manual", ["-manual"], ["sub-01_T2w"], ("sub-01_T2w", "-manual")),
        ("sub-01_T2w_desc-rater10_seg", ["_desc-rater1_seg"], [], None),
        ("sub-01_T2w", ["_seg"], ["sub-01_T2w"], None),
    ],
)  # fmt: skip
def test_owner(label, suffixes, images, expected):
    assert owner(label, suffixes, images) == expected


def test_every_acquisition_run_and_session_of_a_contrast():
    names = ["sub-1_T2w.nii", "sub-1_acq-ax_T2w.nii", "sub-1_run-2_T2w.nii", "sub-1_ses-1_T2w.nii", "sub-1_T1w.nii"]
    assert images_of_contrasts(names, ["T2w"]) == {("sub-1", "T2w"): names[:3], ("sub-1_ses-1", "T2w"): names[3:4]}
    assert images_of_contrasts(names, ["acq-ax_T2w"]) == {("sub-1", "acq-ax_T2w"): names[1:2]}


def test_a_contrast_agent_is_another_contrast():
    names = ["sub-1_T1w.nii", "sub-1_ce-gadolinium_T1w.nii"]
    assert images_of_contrasts(names, ["T1w"]) == {("sub-1", "T1w"): names[:1]}
    assert images_of_contrasts(names, ["ce-gadolinium_T1w"]) == {("sub-1", "ce-gadolinium_T1w"): names[1:]}
    assert images_of_contrasts(names[1:], ["T1w"]) == {("sub-1", "T1w"): names[1:]}


def test_channels_of_runs_and_of_acquisitions():
    runs = [f"sub-1_run-{run}_{contrast}.nii" for run in (1, 2) for contrast in ("FLAIR", "T1w")]
    assert channel_files(runs, ["FLAIR", "T1w"]) == {
        f"sub-1_run-{run}": {name: f"sub-1_run-{run}_{name}.nii" for name in ("FLAIR", "T1w")} for run in (1, 2)
    }
    shared = ["sub-1_acq-ax_FLAIR.nii", "sub-1_acq-sag_FLAIR.nii", "sub-1_T1w.nii"]
    assert channel_files(shared, ["FLAIR", "T1w"]) == {
        f"sub-1_acq-{acq}": {"FLAIR": f"sub-1_acq-{acq}_FLAIR.nii", "T1w": "sub-1_T1w.nii"} for acq in ("ax", "sag")
    }
    with pytest.raises(InputError, match="fits sub-1_acq-a_T1w"):
        channel_files(["sub-1_acq-a_T1w.nii", "sub-1_rec-c_T1w.nii", "sub-1_FLAIR.nii"], ["FLAIR", "T1w"])


def test_the_exact_name_wins_over_the_bare_suffix():
    names = ["sub-1_T1w.nii", "sub-1_ce-gadolinium_T1w.nii"]
    assert channel_files(names, ["T1w", "ce-gadolinium_T1w"])["sub-1"] == {
        "T1w": names[0], "ce-gadolinium_T1w": names[1]
    }  # fmt: skip
    assert channel_files(names, ["T1w"])["sub-1"] == {"T1w": names[0]}
