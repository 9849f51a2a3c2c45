"""A study on disk: the same subjects for every candidate, growth allowed, changes refused."""

import contextlib
import json
import shutil
import socket
import time
from pathlib import Path

import pytest

from ivadomed_labelfusion.config import load_template
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.experiment.candidates import Candidate, resolve_candidates
from ivadomed_labelfusion.experiment.jobs import MARKERS, file_lock
from ivadomed_labelfusion.experiment.plan import class_names, consensus_name, load_study, uses_one_class
from ivadomed_labelfusion.experiment.prepare import check_study, prepare_study
from ivadomed_labelfusion.experiment.splits import PARTS
from ivadomed_labelfusion.experiment.status import (
    DONE,
    FAILED,
    HALF,
    RUNNING,
    TO_GO,
    duration_text,
    model_statuses,
    progress,
)
from tests.builders.study_files import SUBJECTS, make_study


def read(path):
    return json.loads(path.read_text())


def test_subjects_are_equal_across_candidates_and_never_leak(dataset, tmp_path):
    study = prepare_study(make_study(dataset, tmp_path))
    for split in study.split_names:
        configs = [
            read(study.model_folder(model) / name)
            for candidate in study.candidates
            for model in study.members(candidate, split)
            for name in ("train.json", "test.json")
        ]
        assert len(configs) == 2 * (6 + 4)
        files = {config["split_dataset"]["fname_split"] for config in configs}
        assert len(files) == 1
        # what ivadomed trains on, searches the threshold on (train + valid) and tests on
        subjects = json.loads(Path(files.pop()).read_text())["files"]
        people = {part: {name.split("_")[0] for name in subjects[part]} for part in PARTS}
        assert not people["test"] & (people["train"] | people["valid"])
        assert not people["train"] & people["valid"]
        assert set.union(*people.values()) == set(SUBJECTS)
        # weights and augmentation start from the split's seed, whatever the candidate
        assert {config["split_dataset"]["random_seed"] for config in configs} == {
            read(study.folder / "splits" / f"{split}.json")["seed"]
        }


def test_configurations_hold_overrides_data_and_output(dataset, tmp_path):
    study = prepare_study(make_study(dataset, tmp_path))
    train = read(study.model_folder("softseg_random/split-02") / "train.json")
    assert train["training_parameters"]["training_time"]["num_epochs"] == 2
    assert train["training_parameters"]["training_time"]["early_stopping_patience"] == 50
    assert train["default_model"]["n_filters"] == 4
    assert train["loader_parameters"]["path_data"] == [str(dataset)]
    assert train["path_output"] == str(study.model_folder("softseg_random/split-02"))
    assert train["transformation"]["SampleRater"]["seed"] == train["split_dataset"]["random_seed"]
    test = read(study.model_folder("softseg_random/split-02") / "test.json")
    assert test["command"] == "test"
    assert "inter_rater" not in test["evaluation_parameters"]


def test_members_of_an_ensemble_train_on_one_rater_each(dataset, tmp_path):
    study = prepare_study(make_study(dataset, tmp_path))
    members = study.members(study.candidate("conv_ensemble"), "split-01")
    assert members == [f"conv_ensemble/split-01/rater{rater}" for rater in range(1, 5)]
    draws = [
        read(study.model_folder(model) / "train.json")["transformation"]["SampleRater"]["weights"] for model in members
    ]
    assert draws == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_rater_subsets_train_on_some_and_test_on_all(dataset, tmp_path):
    few = Candidate("few", "softseg_average", raters=(1, 4))
    study = prepare_study(make_study(dataset, tmp_path, candidates=(few,)))
    folder = study.model_folder("few/split-01")
    assert len(read(folder / "train.json")["loader_parameters"]["target_suffix"][0]) == 2
    assert len(read(folder / "test.json")["loader_parameters"]["target_suffix"][0]) == 4


def test_a_study_is_read_back_as_it_was(dataset, tmp_path):
    study = prepare_study(make_study(dataset, tmp_path, candidates=(Candidate("few", "conv_average", raters=(2,)),)))
    assert load_study(study.folder) == study
    assert class_names(study) == ("GM", "WM")
    assert not uses_one_class(study)
    with pytest.raises(InputError, match="Start one with"):
        load_study(tmp_path)


def test_a_study_may_grow_but_not_change(dataset, tmp_path):
    first = prepare_study(
        make_study(dataset, tmp_path, candidates=tuple(resolve_candidates("conv_staple")), n_splits=2)
    )
    before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*.json") if path.name != "study.json"}
    grown = prepare_study(
        make_study(dataset, tmp_path, candidates=tuple(resolve_candidates("softseg_staple")), n_splits=3)
    )
    assert [candidate.name for candidate in grown.candidates] == ["conv_staple", "softseg_staple"]
    assert grown.n_splits == 3
    kept = [path for path in before if path.name != "seeds.json"]
    assert all(path.stat().st_mtime_ns == before[path] for path in kept)
    with pytest.raises(InputError, match="holds a study with overrides"):
        prepare_study(make_study(dataset, tmp_path, overrides={}))
    with pytest.raises(InputError, match="holds a study with study_seed 0, got 1"):
        prepare_study(make_study(dataset, tmp_path, study_seed=1))
    other = Candidate("conv_staple", "conv_staple", {"default_model": {"depth": 2}})
    write(first.model_folder("conv_staple/split-01") / "train.done.json", {"seconds": 1})
    with pytest.raises(InputError, match="conv_staple with other settings"):
        prepare_study(make_study(dataset, tmp_path, candidates=(other,)))


def test_contradicting_overrides_stop_before_anything_is_written(dataset, tmp_path):
    with pytest.raises(InputError, match=r"default_model.n_filter\b.*n_filters"):
        prepare_study(make_study(dataset, tmp_path, overrides={"default_model": {"n_filter": 4}}))
    assert not (tmp_path / "study" / "splits").exists()


def test_changed_settings_are_named(dataset, tmp_path):
    (note,) = make_study(dataset, tmp_path).changed_settings()
    assert "training_parameters.training_time.num_epochs = 2 (template: 200)" in note
    assert make_study(dataset, tmp_path, overrides={}).changed_settings() == []
    assert make_study(dataset, tmp_path, overrides={"default_model": {"depth": 3}}).changed_settings() == []
    own = Candidate("mine", "softseg_average", {"transformation": {"FuseRaters": {"method": "majority"}}}, (1, 2))
    (note,) = make_study(dataset, tmp_path, overrides={}, candidates=(own,)).changed_settings()
    assert note == (
        'Candidate mine: base softseg_average; overrides {"transformation": {"FuseRaters": {"method": "majority"}}}; '
        "trained on raters 1, 2."
    )


def test_a_study_keeps_its_template(dataset, tmp_path):
    template = tmp_path / "mine.json"
    template.write_text(json.dumps(load_template("scgm_conv_staple")))
    study = prepare_study(make_study(dataset, tmp_path, template=str(template)))
    assert study.template == str(study.folder / "template" / "mine.json")
    # the same content again, from elsewhere
    moved = template.rename(tmp_path / "moved.json")
    assert prepare_study(make_study(dataset, tmp_path, template=str(moved))) == study
    assert class_names(load_study(study.folder)) == ("GM", "WM")
    # results can be made from a copy, without the first one
    copy = shutil.copytree(study.folder, tmp_path / "copy")
    study.folder.rename(tmp_path / "away")
    assert class_names(load_study(copy)) == ("GM", "WM")
    (tmp_path / "away").rename(study.folder)
    moved.write_text(json.dumps({**load_template("scgm_conv_staple"), "debugging": True}))
    with pytest.raises(InputError, match="holds a study with template"):
        prepare_study(make_study(dataset, tmp_path, template=str(moved)))


def test_folders_that_are_no_study_are_refused(dataset, tmp_path):
    for folder in (dataset, dataset / "derivatives" / "study"):
        with pytest.raises(InputError, match="outside of the dataset"):
            check_study(make_study(dataset, tmp_path, folder=folder))
    # a write that was cut off is nobody's work
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / ".tmp-abc.json").touch()
    check_study(make_study(dataset, tmp_path))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.docx").touch()
    with pytest.raises(InputError, match=r"holds thesis\.docx"):
        check_study(make_study(dataset, tmp_path, folder=tmp_path / "thesis"))


def test_a_missing_mask_is_found_before_anything_is_trained(dataset, tmp_path):
    name = "sub-03_T2starw_desc-rater2_label-WM_seg"
    (dataset / "derivatives" / "labels" / "sub-03" / "anat" / f"{name}.nii.gz").unlink()
    with pytest.raises(InputError, match=rf"Masks are missing \(1\), such as {name}"):
        check_study(make_study(dataset, tmp_path))
    allowed = {"loader_parameters": {"allow_missing_raters": True}}
    six = tuple(resolve_candidates("all"))
    assert len(check_study(make_study(dataset, tmp_path, candidates=six, overrides=allowed))[2]) == len(SUBJECTS)


@pytest.mark.parametrize(
    ("candidate", "refused"),
    [
        (Candidate("conv_ensemble", "conv_staple", ensemble=True), "rater 2 of target_suffix, who did not mark sub-03"),
        (Candidate("lone", "conv_staple", raters=(2,)), "Candidate lone trains a model on rater 2 of"),
        (Candidate("others", "conv_staple", ensemble=True, raters=(1, 3, 4)), None),
        (Candidate("pair", "conv_staple", raters=(1, 2)), None),
    ],
)
def test_a_model_needs_a_rater_for_every_image(dataset, tmp_path, candidate, refused):
    (dataset / "derivatives/labels/sub-03/anat/sub-03_T2starw_desc-rater2_label-WM_seg.nii.gz").unlink()
    allowed = {"loader_parameters": {"allow_missing_raters": True}}
    study = make_study(dataset, tmp_path, candidates=(candidate,), overrides=allowed)
    with pytest.raises(InputError, match=refused) if refused else contextlib.nullcontext():
        check_study(study)


def test_training_and_testing_must_have_the_same_contrasts(dataset, tmp_path):
    one = {"loader_parameters": {"contrast_params": {"testing": ["T1w"]}}}
    with pytest.raises(InputError, match="same contrasts for testing as for training_validation, got T1w and T2starw"):
        check_study(make_study(dataset, tmp_path, overrides=one))


def test_candidates_are_evaluated_against_the_same_raters(dataset, tmp_path):
    other = {"loader_parameters": {"target_suffix": [["_desc-rater1_label-GM_seg", "_desc-rater2_label-GM_seg"]]}}
    pair = Candidate("conv_staple", "conv_staple"), Candidate("mine", "softseg_staple", other)
    with pytest.raises(InputError, match="mine must have the target_suffix of conv_staple"):
        check_study(make_study(dataset, tmp_path, candidates=pair))
    pair = Candidate("conv_staple", "conv_staple"), Candidate("mine", "softseg_staple", raters=(9,))
    with pytest.raises(InputError, match="Candidate mine: raters must be positions"):
        check_study(make_study(dataset, tmp_path, candidates=pair))


def test_candidates_are_evaluated_alike(dataset, tmp_path):
    for own in ({"reference": "majority"}, {"n_bins": 5}, {"metrics": ["dice"]}):
        other = Candidate("mine", "softseg_staple", {"evaluation_parameters": {"inter_rater": own}})
        with pytest.raises(InputError, match=r"mine must have the evaluation_parameters.inter_rater of conv_staple"):
            check_study(make_study(dataset, tmp_path, candidates=(Candidate("conv_staple", "conv_staple"), other)))
    everybody = {"evaluation_parameters": {"inter_rater": {"reference": "majority"}}}
    study = make_study(dataset, tmp_path, overrides=everybody)
    check_study(study)
    assert consensus_name(study) == "majority"
    wrong = {"evaluation_parameters": {"inter_rater": {"foo": 1}}}
    with pytest.raises(InputError, match="inter_rater has no key 'foo'"):
        check_study(make_study(dataset, tmp_path, overrides=wrong))


def test_a_candidate_trains_on_contrasts_that_the_splits_are_made_of(dataset, tmp_path):
    own = {"loader_parameters": {"contrast_params": {"training_validation": ["T1w"], "testing": ["T1w"]}}}
    pair = Candidate("conv_staple", "conv_staple"), Candidate("mine", "softseg_staple", own)
    with pytest.raises(InputError, match=r"mine must have contrasts of conv_staple.* got T1w"):
        check_study(make_study(dataset, tmp_path, candidates=pair))
    none = Candidate("mine", "softseg_staple", {"loader_parameters": {"contrast_params": None}})
    with pytest.raises(InputError, match=r"mine must have loader_parameters.contrast_params.training_validation"):
        check_study(make_study(dataset, tmp_path, candidates=(pair[0], none)))


def test_weights_must_fit_the_raters_that_a_candidate_trains_on(dataset, tmp_path):
    weighted = {"transformation": {"SampleRater": {"policy": "weighted", "weights": [1, 1, 1, 1]}}}
    own = Candidate("mine", "softseg_random", weighted, raters=(1, 2))
    with pytest.raises(InputError, match="must be 2 numbers, one per rater, got 4"):
        check_study(make_study(dataset, tmp_path, candidates=(own,)))


def test_a_wrong_candidate_is_corrected_as_long_as_nothing_of_it_is_trained(dataset, tmp_path):
    first = Candidate("conv_staple", "conv_staple")
    lr = [{"training_parameters": {"scheduler": {"initial_lr": value}}} for value in (0.1, 0.01)]
    wrong, right = (Candidate("mine", "softseg_staple", overrides) for overrides in lr)
    study = prepare_study(make_study(dataset, tmp_path, candidates=(first, wrong)))
    folder = study.model_folder("mine/split-01")
    write(folder / "failed.json", {"kind": "train"})
    check_study(make_study(dataset, tmp_path, candidates=(right,)))
    assert (folder / "failed.json").exists()
    study = prepare_study(make_study(dataset, tmp_path, candidates=(right,)))
    assert study.candidate("mine") == right
    assert study.candidate("conv_staple") == first
    assert read(folder / "train.json")["training_parameters"]["scheduler"]["initial_lr"] == 0.01
    assert not (folder / "failed.json").exists()
    write(folder / "train.done.json", {"seconds": 1})
    with pytest.raises(InputError, match="holds trained models of a candidate mine with other settings"):
        check_study(make_study(dataset, tmp_path, candidates=(wrong,)))


def test_a_dry_run_refuses_what_the_run_would_refuse(dataset, tmp_path):
    study = prepare_study(make_study(dataset, tmp_path))
    check_study(make_study(dataset, tmp_path))
    shutil.copytree(study.folder, tmp_path / "copy")
    with pytest.raises(InputError, match=r"copy is a study that was started as .*study, and its paths"):
        check_study(make_study(dataset, tmp_path, folder=tmp_path / "copy"))
    train = study.model_folder("conv_staple/split-01") / "train.json"
    kept = train.read_text()
    train.write_text(json.dumps({**read(train), "debugging": True}))
    with pytest.raises(InputError, match=r"train\.json differs from what this study would use"):
        check_study(make_study(dataset, tmp_path))
    train.write_text(kept)
    shutil.rmtree(dataset / "derivatives" / "labels" / "sub-03")
    with pytest.raises(InputError, match=r"split-01\.json holds other subjects"):
        check_study(make_study(dataset, tmp_path))


@pytest.mark.parametrize("content", ["{}", "[]", '{"version": "9.9"}'])
def test_settings_of_another_version_are_no_traceback(dataset, tmp_path, content):
    study = prepare_study(make_study(dataset, tmp_path))
    (study.folder / "study.json").write_text(content)
    with pytest.raises(InputError, match="must be of this version"):
        load_study(study.folder)
    with pytest.raises(InputError, match="must be of this version"):
        check_study(make_study(dataset, tmp_path))


def test_every_result_says_what_an_own_ensemble_is(dataset, tmp_path):
    own = Candidate("pair", "conv_staple", ensemble=True, raters=(1, 2))
    (note,) = make_study(dataset, tmp_path, candidates=(own,), overrides={}).changed_settings()
    assert note == "Candidate pair: base conv_staple; one model per rater, outputs averaged; trained on raters 1, 2."
    assert make_study(dataset, tmp_path, overrides={}).changed_settings() == []


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_status_follows_the_files_of_the_jobs(dataset, tmp_path):
    candidates = tuple(resolve_candidates("conv_staple,conv_average,conv_random,softseg_staple,softseg_average"))
    study = prepare_study(make_study(dataset, tmp_path, candidates=candidates, n_splits=1, cores=2))
    folders = {name: study.model_folder(f"{name}/split-01") for name in (c.name for c in candidates)}
    for kind, seconds in (("train", 100), ("test", 10), ("evaluate", 10)):
        write(folders["conv_staple"] / f"{kind}.done.json", {"seconds": seconds})
    running = {"kind": "train", "host": socket.gethostname(), "log": "x", "started": time.time() - 30, "log_start": 0}
    write(folders["conv_average"] / "running.json", running)
    failure = {"kind": "train", "reason": "no memory", "attempts": 2, "log": "logs/x", "time": 0}
    write(folders["conv_random"] / "failed.json", failure)
    # nobody holds the lock of this one: its processes are gone
    write(folders["softseg_staple"] / "running.json", running)
    with file_lock(folders["conv_average"] / ".train.lock"):
        statuses = {item.candidate: item for item in model_statuses(study)}
    assert [statuses[name].state for name in folders] == [DONE, RUNNING, FAILED, HALF, TO_GO]
    assert statuses["conv_random"].detail == "train, 2 times: no memory (logs/x)"
    # a trained model that waits for its test was not interrupted
    write(folders["softseg_average"] / "train.done.json", {"seconds": 100})
    waiting = next(item for item in model_statuses(study) if item.candidate == "softseg_average")
    assert (waiting.state, waiting.detail) == (TO_GO, "1 of 3 jobs done")
    (folders["softseg_average"] / "train.done.json").unlink()
    assert statuses["conv_average"].detail == f"train on {socket.gethostname()}"
    # four models of 120 s on two cores
    now = progress(study)
    assert (now.jobs_done, now.n_jobs, now.running) == (3, 15, 0)
    assert now.seconds_left == pytest.approx(240)
    (folders["conv_staple"] / "train.done.json").unlink()
    assert progress(study).seconds_left is None


def test_a_running_training_tells_how_long_the_others_will_take(dataset, tmp_path):
    candidates = tuple(resolve_candidates("conv_staple,conv_ensemble"))
    study = prepare_study(make_study(dataset, tmp_path, candidates=candidates, n_splits=1, cores=2))
    member = study.model_folder("conv_ensemble/split-01/rater2")
    running = {"kind": "train", "host": socket.gethostname(), "log": "x", "started": time.time() - 30, "log_start": 0}
    write(member / "running.json", running)
    with file_lock(member / ".train.lock"):
        assert progress(study).seconds_left is None
        (member / "log").write_text("Epoch 1 validation loss: 0.5.\n")
        now = progress(study)
        # one of two epochs took 30 s: that training is half done, four others wait, on two cores
        assert (now.jobs_done, now.n_jobs, now.running) == (0.5, 5 + 5 + 2, 1)
        assert now.seconds_left == pytest.approx(4.5 * 60 / 2, rel=0.02)
        ensemble = next(item for item in model_statuses(study) if item.candidate == "conv_ensemble")
        assert ensemble.detail == f"train rater2 on {socket.gethostname()}, epoch 1 of 2"
        # a resumed training may go back behind the last epoch of its log
        written = (member / "log").stat().st_size
        write(member / "running.json", {**running, "log_start": written})
        assert progress(study).seconds_left is None
        with open(member / "log", "a") as log:
            log.write("Epoch 1 validation loss: 0.5.\n")
        assert progress(study).seconds_left == pytest.approx(4.5 * 60 / 2, rel=0.02)
    assert progress(study).running == 0


def test_an_ensemble_that_is_evaluated_has_no_training_of_its_own(dataset, tmp_path):
    candidates = tuple(resolve_candidates("conv_ensemble"))
    study = prepare_study(make_study(dataset, tmp_path, candidates=candidates, n_splits=1))
    folder = study.model_folder("conv_ensemble/split-01")
    running = {"kind": "evaluate", "host": socket.gethostname(), "log": "x", "started": time.time(), "log_start": 0}
    write(folder / "running.json", running)
    with file_lock(folder / ".evaluate.lock"):
        (ensemble,) = model_statuses(study)
        assert (ensemble.state, ensemble.detail) == (RUNNING, f"evaluate on {socket.gethostname()}")
        assert progress(study).running == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "1 min"), (90, "2 min"), (3600, "1 h"), (3 * 86400 + 7 * 3600 + 60, "3 d 7 h 1 min")]
)
def test_durations_are_told_to_the_minute(seconds, text):
    assert duration_text(seconds) == text


def test_every_kind_of_job_has_a_marker_and_resources():
    from ivadomed_labelfusion.experiment.plan import RESOURCES

    assert set(MARKERS) == set(RESOURCES)
