"""Time all metrics of one subject against the same figures from torchmetrics, netcal, SimpleITK and ivadomed.

    python benchmarks/evaluation.py                     # 256 x 256 x 176 voxels, 7 raters
    python benchmarks/evaluation.py --shape 96 96 64    # a quick look

Both sides run in one process on the same arrays, so that the ratios hold whatever the machine. Ours is
`evaluate_subject` with every metric, STAPLE included (best of three); the peers give fewer figures: one form of the ECE
over the whole image, no entropy, no energy distance. Where both give a figure, the difference is printed.
"""

import argparse
import time

import numpy as np
from scipy import ndimage


def subject(shape, kind, seed=0):
    """Return ``(prediction, raters)``: lesions in a head, one class, seven raters of growing caution."""
    rng = np.random.default_rng(seed)
    # NIfTI order: the first axis runs fastest
    field = ndimage.gaussian_filter(rng.standard_normal(shape[::-1]).astype(np.float32), 3).T
    field /= field.std()
    grid = np.ogrid[tuple(slice(-1, 1, complex(0, size)) for size in shape)]
    head = sum(axis**2 for axis in grid) < 0.45
    raters = np.zeros((7, 1, *shape[::-1]), np.uint8).transpose(0, 1, 4, 3, 2)
    for rater in range(7):
        raters[rater, 0] = (field > 2.2 + 0.06 * rater) & head
    if kind == "normalised ReLU":
        prediction = np.clip((field - 1.8) / 1.2, 0, 1) * head
    else:
        prediction = np.where(head, 1 / (1 + np.exp(-5 * (field - 2.4))), 1e-6)
    return np.asfortranarray(prediction.astype(np.float32))[None], raters


def timed(function, repeats=1):
    """Return ``(result, seconds)``, the best of some repeats."""
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        best = min(best, time.perf_counter() - start)
    return result, best


def peers(prediction, raters):
    """Yield ``(name, function)``; functions return a dict of figures named as our columns."""
    import netcal.metrics
    import SimpleITK as sitk
    import torch
    import torchmetrics
    from ivadomed.evaluation import Evaluation3DMetrics
    from torchmetrics import classification

    flat = np.ascontiguousarray(prediction[0]).ravel()
    images = [sitk.GetImageFromArray(np.ascontiguousarray(mask[0])) for mask in raters]
    average = np.ascontiguousarray(raters[:, 0].mean(axis=0, dtype=np.float32))
    found = {}

    def staple():
        posterior = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
        found["reference"] = (posterior > 0.5).astype(np.uint8)
        found["mask"] = (np.ascontiguousarray(prediction[0]) > 0.5).astype(np.uint8)
        return {}

    def torch_metrics():
        truth = torch.from_numpy(found["reference"].ravel().astype(np.int64))
        prob = torch.from_numpy(flat)
        both = torch.stack([1 - prob, prob], dim=1)
        options = {"num_classes": 2, "n_bins": 10}
        return {
            "ir_ece_exact_image": classification.MulticlassCalibrationError(norm="l1", **options)(both, truth),
            "ir_mce_exact_image": classification.MulticlassCalibrationError(norm="max", **options)(both, truth),
            "ir_brier_lesion": torchmetrics.MeanSquaredError()(prob, torch.from_numpy(average.ravel())),
            "ir_dice_lesion": classification.BinaryF1Score()(prob, truth),
            "ir_precision_lesion": classification.BinaryPrecision()(prob, truth),
            "ir_recall_lesion": classification.BinaryRecall()(prob, truth),
        }

    def net_cal():
        # the maximum confidence and whether it is right, as for the whole distribution
        confidence = np.maximum(flat, 1 - flat)
        correct = (flat > 0.5) == found["reference"].ravel()
        return {"ir_ece_exact_image": netcal.metrics.ECE(bins=10).measure(confidence, correct.astype(np.int64))}

    def simple_itk():
        reference, mask = (sitk.GetImageFromArray(found[name]) for name in ("reference", "mask"))
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        overlap.Execute(mask, reference)
        surfaces = [sitk.GetArrayFromImage(sitk.LabelContour(image)) > 0 for image in (mask, reference)]
        to = []
        for image, other in ((mask, surfaces[1]), (reference, surfaces[0])):
            contour = sitk.LabelContour(image)
            distances = sitk.SignedMaurerDistanceMap(contour, squaredDistance=False, useImageSpacing=True)
            to.append(np.abs(sitk.GetArrayFromImage(distances)[other]))
        return {
            "ir_dice_lesion": overlap.GetDiceCoefficient(),
            "ir_hd95_mm_lesion": max(np.percentile(part, 95) for part in to),
            "ir_assd_mm_lesion": np.concatenate(to).mean(),
        }

    def ivadomed():
        metrics = Evaluation3DMetrics(
            data_pred=found["mask"].astype(float),
            data_gt=found["reference"].astype(float),
            dim_lst=(1.0, 1.0, 1.0),
            params={"object_detection_metrics": True},
        )
        results, _ = metrics.run_eval()
        return {"ir_dice_lesion": results["dice_class0"], "ir_rvd_lesion": results["rvd_class0"]}

    yield "SimpleITK: STAPLE", staple
    yield "torchmetrics: ECE, MCE, Brier, Dice, precision, recall", torch_metrics
    yield "netcal: ECE", net_cal
    yield "SimpleITK: overlap, surface distances", simple_itk
    yield "ivadomed: overlap, volumes, lesions", ivadomed


def main():
    """Print one table per kind of prediction."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(256, 256, 176), help="voxels of each axis")
    shape = tuple(parser.parse_args().shape)
    from ivadomed_labelfusion.evaluation import Settings, evaluate_subject

    print(f"one subject, {' x '.join(map(str, shape))} voxels, 7 raters, 1 class")
    for kind in ("normalised ReLU", "sigmoid"):
        prediction, raters = subject(shape, kind)
        settings = Settings(disagreement_slices=0)

        def ours(prediction=prediction, raters=raters, settings=settings):
            return evaluate_subject(
                prediction, raters, class_names=["lesion"], voxel_size_mm=(1, 1, 1), settings=settings
            ).columns

        columns, seconds = timed(ours, repeats=3)
        print(f"\n{kind} output, {columns['ir_lesion_n_reference_lesion']:.0f} lesions")
        print(f"  {'ivadomed_labelfusion: ' + str(len(columns)) + ' columns, STAPLE':<58} {seconds:8.2f} s")
        total = without = 0.0
        for name, function in peers(prediction, raters):
            figures, peer_seconds = timed(function)
            total += peer_seconds
            without += 0 if name.startswith("ivadomed") else peer_seconds
            print(f"  {name:<58} {peer_seconds:8.2f} s   {peer_seconds / seconds:7.1f} x")
            for column, value in figures.items():
                print(f"      {column:<24} {float(value):.6f}   ours {columns[column]:.6f}")
        print(f"  {'all peers but ivadomed':<58} {without:8.2f} s   {without / seconds:7.1f} x")
        print(f"  {'all peers':<58} {total:8.2f} s   {total / seconds:7.1f} x")


if __name__ == "__main__":
    main()
