"""Results of a study that never ran, with the paper's findings built in."""

import numpy as np
import pandas as pd

from ivadomed_labelfusion.experiment.columns import ECE_METRICS, ENTROPY_PREDICTION, ENTROPY_RATERS, column

CLASSES = ("GM", "WM")
# candidate: Dice, Brier, share of the raters' entropy in the prediction, ECE
CANDIDATES = {
    "conv_staple": (0.85, 3.0e-4, 0.4, 0.16),
    "conv_average": (0.82, 3.1e-4, 0.4, 0.17),
    "conv_random": (0.83, 2.9e-4, 0.45, 0.15),
    "softseg_staple": (0.87, 2.6e-4, 0.98, 0.02),
    "softseg_average": (0.84, 2.5e-4, 1.3, 0.05),
    "softseg_random": (0.84, 2.2e-4, 1.12, 0.03),
}


def simulate(candidates, *, n_splits=8, n_subjects=4, seed=0):
    """Return results per image and per model with the columns of the evaluation."""
    rng = np.random.default_rng(seed)
    person = rng.normal(0, 0.02, n_splits * n_subjects // 2)
    entropy = rng.uniform(800, 2500, person.size)
    images, models = [], []
    for split in range(n_splits):
        tested = rng.choice(person.size, n_subjects, replace=False)
        for name, (dice, brier, share, ece) in candidates.items():
            for subject in tested:
                row = {
                    "candidate": name,
                    "split": f"split-{split + 1:02d}",
                    "subject": f"sub-{subject:02d}",
                    "image_id": f"sub-{subject:02d}_T2starw",
                    ENTROPY_RATERS: entropy[subject],
                    ENTROPY_PREDICTION: entropy[subject] * share * rng.normal(1, 0.05),
                }
                row[column("entropy_mae")] = abs(row[ENTROPY_PREDICTION] - row[ENTROPY_RATERS])
                for offset, class_name in enumerate(CLASSES):
                    value = dice + 0.05 * offset + person[subject] + rng.normal(0, 0.005)
                    volume = (1 - dice) / 2 + rng.normal(0, 0.003)
                    row |= {
                        column("dice", class_name): value,
                        column("precision", class_name): value + rng.normal(0, 0.02),
                        column("recall", class_name): value + rng.normal(0, 0.02),
                        column("relative_volume_difference", class_name): volume,
                        column("absolute_volume_difference", class_name): abs(volume),
                        column("brier_score", class_name): brier * (1 + offset) * rng.normal(1, 0.05),
                    }
                images.append(row)
            drawn = {metric: ece * rng.normal(1, 0.1) for metric in ECE_METRICS}
            models.append({"candidate": name, "split": f"split-{split + 1:02d}", **drawn})
    return pd.DataFrame(images), pd.DataFrame(models)
