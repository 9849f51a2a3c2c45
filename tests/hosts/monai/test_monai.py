"""Transforms, metrics and modules inside the real MONAI."""

import pickle

import nibabel
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from monai.data import CacheDataset, DataLoader, Dataset, MetaTensor, decollate_batch  # noqa: E402
from monai.transforms import Compose, Flipd, LoadImaged, RandFlipd, Randomizable, Spacingd  # noqa: E402

from ivadomed_labelfusion import fusion, metrics  # noqa: E402
from ivadomed_labelfusion.errors import InputError  # noqa: E402
from ivadomed_labelfusion.hosts.monai import (  # noqa: E402
    BrierMetric,
    EntropyMetric,
    FuseRatersd,
    NormalisedReLU,
    RandRaterd,
    RaterCalibrationMetric,
)
from ivadomed_labelfusion.sampling import draw_rater  # noqa: E402

KEYS = ["rater1", "rater2", "rater3"]
SHAPES = [(1, 12, 10), (1, 8, 9, 4), (2, 8, 9, 4)]


def sample(shape, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.random(shape) < 0.4
    # classes exclude each other
    truth[1:] &= ~truth[:1]
    masks = {}
    for key in KEYS:
        mask = truth & (rng.random(shape) < 0.8)
        masks[key] = torch.from_numpy(mask.astype(np.float32))
    return masks


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", list(fusion.METHODS))
def test_fused_labels_are_the_cores(shape, method):
    data = sample(shape)
    found = FuseRatersd(KEYS, method=method)(data)["label"]
    masks = np.stack([data[key].numpy() for key in KEYS])
    expected = fusion.fuse_classes(masks, method)
    assert isinstance(found, torch.Tensor)
    assert found.dtype == (torch.float32 if fusion.METHODS[method].soft else torch.uint8)
    np.testing.assert_array_equal(found.numpy(), expected)
    if method == "staple":
        soft = FuseRatersd(KEYS, "target", method, soft=True)(data)["target"]
        np.testing.assert_array_equal(soft.numpy(), fusion.fuse_classes(masks, method, soft=True))


def test_arrays_stay_arrays_and_the_affine_stays():
    data = {key: value.numpy() for key, value in sample(SHAPES[1]).items()}
    assert isinstance(FuseRatersd(KEYS)(data)["label"], np.ndarray)
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    data = {key: MetaTensor(value, affine=affine) for key, value in sample(SHAPES[1]).items()}
    found = FuseRatersd(KEYS)(data)["label"]
    assert isinstance(found, MetaTensor)
    assert torch.equal(found.affine, affine)


@pytest.mark.parametrize("transform", [FuseRatersd(KEYS), RandRaterd(KEYS, case_key="name", seed=0)])
def test_missing_raters(transform):
    data = sample(SHAPES[0]) | {"name": "a"}
    del data["rater2"]
    with pytest.raises(InputError, match="rater2 is missing"):
        transform(data)
    tolerant = type(transform)(KEYS, allow_missing_keys=True, **({"case_key": "name", "seed": 0} if "Rand" in type(transform).__name__ else {}))  # fmt: skip # noqa: E501
    found = tolerant(data)["label"]
    if isinstance(transform, FuseRatersd):
        np.testing.assert_array_equal(found, fusion.fuse_classes([data["rater1"].numpy(), data["rater3"].numpy()]))
    else:
        assert any(found is data[key] for key in ("rater1", "rater3"))
    with pytest.raises(InputError, match="must find the raters"):
        tolerant({"name": "a"})
    with pytest.raises(InputError, match="one shape"):
        tolerant({"rater1": torch.zeros(1, 3, 3), "rater3": torch.zeros(1, 3, 4), "name": "a"})


def test_bad_arguments():
    for build in (
        lambda: FuseRatersd(KEYS, method="median"),
        lambda: FuseRatersd(KEYS, method="average", ties="lowest"),
        lambda: RandRaterd(KEYS, policy="sometimes"),
        lambda: RandRaterd(KEYS, policy="weighted", weights=[1, 2]),
        lambda: RandRaterd(KEYS, policy="balanced"),
    ):
        with pytest.raises(InputError):
            build()
    with pytest.raises(InputError, match="case_key"):
        RandRaterd(KEYS, seed=0)(sample(SHAPES[0]))


def items(n=12):
    return [{key: torch.full((1, 2, 2), float(rater)) for rater, key in enumerate(KEYS)} | {"name": f"case{i}"} for i in range(n)]  # fmt: skip # noqa: E501


def drawn(dataset, n_passes=3, **options):
    """Return the raters drawn in each pass, by case."""
    loader = DataLoader(dataset, batch_size=3, **options)
    passes = []
    for _ in range(n_passes):
        found = {}
        for batch in loader:
            found |= dict(zip(batch["name"], batch["label"][:, 0, 0, 0].int().tolist(), strict=True))
        passes.append([found[f"case{index}"] for index in range(len(found))])
    return passes


@pytest.mark.parametrize("policy", ["uniform", "balanced", "weighted"])
def test_draws_are_ours_with_any_loader_cache_order_and_number_of_workers(policy):
    def transform():
        weights = [3, 1, 0] if policy == "weighted" else None
        return Compose([RandRaterd(KEYS, case_key="name", policy=policy, weights=weights, seed=5)])

    reference = drawn(Dataset(items(), transform()))
    assert len({tuple(row) for row in reference}) > 1
    assert drawn(Dataset(items(), transform()), num_workers=2, shuffle=True) == reference
    assert drawn(CacheDataset(items(), transform(), progress=False), num_workers=1) == reference
    # MONAI reseeds the transforms of a chain, of a loader and of each worker
    reseeded = Dataset(items(), transform())
    reseeded.transform.set_random_state(9)
    assert drawn(reseeded, shuffle=True) == reference
    if policy == "balanced":
        assert all({row[case] for row in reference[:3]} == {0, 1, 2} for case in range(12))
    if policy == "weighted":
        assert {rater for row in reference for rater in row} == {0, 1}


def test_a_draw_is_the_samplers():
    import hashlib

    transform = RandRaterd(KEYS, case_key="name", rater_key="who", seed=5)
    transform.set_epoch(7)
    for item in items(5):
        case = int.from_bytes(hashlib.sha256(item["name"].encode()).digest()[:4], "big")
        assert transform(item)["who"] == KEYS[draw_rater(3, seed=5, case=case, epoch=7)]


def test_persistent_workers_are_told_the_epoch():
    transform = RandRaterd(KEYS, case_key="name", seed=5)
    loader = DataLoader(Dataset(items(), transform), num_workers=2, persistent_workers=True)
    # MONAI wraps what a transform raises
    with pytest.raises(RuntimeError, match="set_epoch"):
        next(iter(loader))
    transform = RandRaterd(KEYS, case_key="name", seed=5)
    loader = DataLoader(Dataset(items(), transform), num_workers=2, persistent_workers=True)
    found = []
    for epoch in range(3):
        transform.set_epoch(epoch)
        found.append([int(batch["label"][0, 0, 0, 0]) for batch in loader])
    assert found == drawn(Dataset(items(), RandRaterd(KEYS, case_key="name", seed=5)), 3)


def test_without_a_seed_monais_own_state_decides():
    transform = RandRaterd(KEYS)
    assert isinstance(transform, Randomizable)
    rows = []
    for seed in (1, 1, 2):
        transform.set_random_state(seed)
        rows.append([int(transform(item)["label"][0, 0, 0]) for item in items(20)])
    assert rows[0] == rows[1] != rows[2]


def test_staple_weights_leave_out_a_useless_rater():
    rng = np.random.default_rng(0)
    truth = rng.random((1, 20, 20)) < 0.3
    data = {key: torch.from_numpy(truth.astype(np.float32)) for key in KEYS}
    data["rater2"] = torch.zeros(1, 20, 20)
    transform = RandRaterd(KEYS, rater_key="who", policy="weighted", weights="staple", seed=1, case_key="name")
    found = []
    for epoch in range(40):
        transform.set_epoch(epoch)
        found.append(transform(data | {"name": "a"})["who"])
    assert set(found) == {"rater1", "rater3"}


@pytest.fixture
def files(tmp_path):
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    found = {}
    for key, mask in sample((1, 8, 10, 6)).items():
        found[key] = str(tmp_path / f"{key}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(mask[0].numpy().astype(np.uint8), affine), found[key])
    return found


@pytest.mark.parametrize("lazy", [False, True])
def test_lazy_resampling_is_done_before_fusing(files, lazy):
    nearest = {key: {"mode": "nearest"} for key in KEYS} if lazy else None

    def chain(*last):
        spacing = Spacingd(KEYS, pixdim=(1, 1, 1), mode="nearest")
        steps = [LoadImaged(KEYS, ensure_channel_first=True), spacing, Flipd(KEYS, 0), *last]
        return Compose(steps, lazy=lazy, overrides=nearest)(files)

    apart, fused = chain(), chain(FuseRatersd(KEYS, method="staple"))["label"]
    assert fused.shape[1] > 10
    assert not fused.pending_operations
    masks = [np.rint(np.asarray(apart[key])) for key in KEYS]
    np.testing.assert_array_equal(np.asarray(fused), fusion.fuse_classes(masks, "staple"))


def test_a_label_drawn_by_its_file_can_be_transformed(files):
    transform = Compose(
        [LoadImaged(KEYS, ensure_channel_first=True), RandRaterd(KEYS, seed=0), RandFlipd("label", 1.0, 0)]
    )
    loaded = LoadImaged(KEYS, ensure_channel_first=True)(files)
    found = transform(files)
    assert any(torch.equal(torch.flip(found["label"], [1]).as_tensor(), loaded[key].as_tensor()) for key in KEYS)


@pytest.mark.parametrize("shape", SHAPES)
def test_metrics_are_the_cores_over_batches(shape):
    rng = np.random.default_rng(3)
    predictions = torch.from_numpy(rng.random((5, *shape)) / shape[0])
    raters = torch.stack([torch.stack([sample(shape, seed)[key] for key in KEYS]) for seed in range(5)])
    average = raters.mean(dim=1).double().numpy()
    pairs = list(zip(predictions.numpy(), average, strict=True))
    expected = {
        RaterCalibrationMetric(region="image"): [
            metrics.expected_calibration_error(ours, theirs, form="raters", class_axis=0) for ours, theirs in pairs
        ],
        BrierMetric(): [metrics.brier_score(ours, theirs, class_axis=0) for ours, theirs in pairs],
        EntropyMetric("shannon"): [
            metrics.entropy_error(ours, theirs, form="shannon", class_axis=0) for ours, theirs in pairs
        ],
    }
    for metric, rows in expected.items():
        metric(predictions[:2], raters[:2])
        metric(decollate_batch(predictions[2:]), decollate_batch(raters[2:]))
        assert metric.aggregate().item() == pytest.approx(np.mean(rows), rel=1e-6)
        assert metric.aggregate("none").shape[0] == 5
        metric.reset()
        metric(MetaTensor(predictions[:1]), MetaTensor(raters[:1]))
        assert metric.aggregate().item() == pytest.approx(np.mean(rows[0]), rel=1e-6)


def test_calibration_inside_the_region_is_that_of_an_evaluation():
    rng = np.random.default_rng(3)
    prediction = rng.random((2, 8, 9, 4)) / 2
    masks = np.stack([sample(SHAPES[2])[key].numpy() for key in KEYS])
    metric = RaterCalibrationMetric()
    metric(torch.from_numpy(prediction)[None], torch.from_numpy(masks)[None])
    full = np.concatenate([1 - prediction.sum(axis=0, keepdims=True), prediction])
    inside = (masks > 0).any(axis=(0, 1)) | (full.argmax(axis=0) > 0)
    expected = metrics.expected_calibration_error(
        prediction, masks.mean(axis=0), form="raters", mask=inside, class_axis=0
    )
    assert metric.aggregate().item() == pytest.approx(expected)


def test_metrics_say_what_they_need():
    for metric in (RaterCalibrationMetric(), BrierMetric(), EntropyMetric()):
        with pytest.raises(InputError, match="batch, raters, classes"):
            metric(torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4))
    with pytest.raises(InputError, match="region"):
        RaterCalibrationMetric(region="box")


def test_transforms_travel_to_other_processes():
    transform = pickle.loads(pickle.dumps(RandRaterd(KEYS, case_key="name", seed=2)))  # noqa: S301 - our own
    assert transform(items(1)[0])["label"].shape == (1, 2, 2)
    assert isinstance(NormalisedReLU("running"), torch.nn.Module)
