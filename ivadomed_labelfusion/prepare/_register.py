"""Rigid registration of a raw image to FLAIR with SimpleITK."""

import numpy as np

# RAS (nibabel) to LPS (ITK) coordinates
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def register_rigid(fixed_path, moving_path):
    """Register ``moving`` rigidly to ``fixed`` and resample it onto the fixed grid.

    Mattes mutual information on at most 200,000 voxels drawn with a fixed seed, regular step gradient descent over
    three resolutions (one for small images), one thread: the same input gives the same result. Both images are in the
    same scanner's coordinates, so the search starts at the identity. Intensities are interpolated linearly, 0 outside.

    Args:
        fixed_path (str or Path): The FLAIR image.
        moving_path (str or Path): The image to move.

    Returns:
        tuple: ``(data, matrix, metric)``: float32 ndarray on the fixed image's voxel grid (nibabel's axis order); the
        (4, 4) matrix in mm, RAS, that takes a point of FLAIR space to the moving image's space; the final metric.
    """
    import SimpleITK as sitk

    fixed, moving = (sitk.ReadImage(str(path), sitk.sitkFloat32) for path in (fixed_path, moving_path))
    start = sitk.Euler3DTransform()
    start.SetCenter(fixed.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed.GetSize()]))
    method = sitk.ImageRegistrationMethod()
    method.SetGlobalDefaultNumberOfThreads(1)
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=48)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(_sampling(fixed), seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-3, numberOfIterations=200, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1] if min(fixed.GetSize()) >= 64 else [1])
    method.SetSmoothingSigmasPerLevel([4, 2, 0] if min(fixed.GetSize()) >= 64 else [0])
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, moving)
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(fixed)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetTransform(start)
    data = sitk.GetArrayFromImage(resampler.Execute(moving)).transpose(2, 1, 0)
    rotation = np.array(start.GetMatrix()).reshape(3, 3)
    centre = np.array(start.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = centre + np.array(start.GetTranslation()) - rotation @ centre
    return data.astype(np.float32), _FLIP @ matrix @ _FLIP, float(method.GetMetricValue())


def _sampling(fixed):
    """Share of voxels for the metric: about 200,000 are plenty, small images take all."""
    return float(min(1.0, max(0.01, 200_000 / fixed.GetNumberOfPixels())))
