"""Masks with known habits, and SimpleITK's answers."""

import numpy as np
import pytest


def random_masks(seed, n_raters, shape, *, foreground=0.2, hit=0.85, false_alarm=0.05):
    """Independent votes around a random truth: ``(R, *shape)`` uint8."""
    generator = np.random.default_rng(seed)
    truth = generator.random(shape) < foreground
    hit = hit - 0.03 * np.arange(n_raters) % 0.4
    return np.stack(
        [np.where(truth, generator.random(shape) < p, generator.random(shape) < false_alarm) for p in hit]
    ).astype(np.uint8)


def ball_masks(seed, n_raters, shape):
    """Balls of jittered centre and radius: smooth outlines that disagree at the boundary, ``(R, *shape)`` uint8."""
    generator = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(size) for size in shape], indexing="ij"), axis=-1)
    masks = []
    for _ in range(n_raters):
        centre = np.array(shape) / 2 + generator.normal(0, 0.7, len(shape))
        radius = min(shape) / 3 + generator.normal(0, 0.8)
        masks.append(np.linalg.norm(grid - centre, axis=-1) < radius)
    return np.stack(masks).astype(np.uint8)


def random_label_maps(seed, n_raters, shape, n_labels, *, right=0.8):
    """Votes that are the true label with probability ``right``, else any label: ``(R, *shape)`` uint8."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, n_labels, shape)
    return np.stack(
        [
            np.where(generator.random(shape) < right, truth, generator.integers(0, n_labels, shape))
            for _ in range(n_raters)
        ]
    ).astype(np.uint8)


def without_ties(label_maps):
    """Give every voxel whose vote is tied the first rater's label everywhere, so that no vote is tied."""
    n_labels = int(label_maps.max()) + 1
    votes = np.stack([(label_maps == label).sum(axis=0) for label in range(n_labels)])
    tied = (votes == votes.max(axis=0)).sum(axis=0) > 1
    return np.where(tied, label_maps[0], label_maps)


def itk_staple(masks, **settings):
    """SimpleITK's posterior, sensitivities and specificities."""
    sitk = pytest.importorskip("SimpleITK")
    staple = sitk.STAPLEImageFilter()
    staple.SetForegroundValue(1.0)
    for name, value in settings.items():
        getattr(staple, f"Set{name}")(value)
    posterior = staple.Execute([sitk.GetImageFromArray(np.asarray(mask, np.uint8)) for mask in masks])
    return sitk.GetArrayFromImage(posterior), np.array(staple.GetSensitivity()), np.array(staple.GetSpecificity())


def itk_multilabel_staple(label_maps, **settings):
    """SimpleITK's fused labels."""
    sitk = pytest.importorskip("SimpleITK")
    staple = sitk.MultiLabelSTAPLEImageFilter()
    for name, value in settings.items():
        getattr(staple, f"Set{name}")(value)
    images = [sitk.GetImageFromArray(np.asarray(labels, np.uint8)) for labels in label_maps]
    return sitk.GetArrayFromImage(staple.Execute(images))
