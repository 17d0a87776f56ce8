"""What predictions on labelled images are worth.

How sure an accuracy is, which mistakes are the worst, and whether probabilities can be trusted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from recipes.runs.run_folder import Run

BINS = 15
WORST = 20  # mistakes of an evaluation that are shown


def wilson_interval(accuracy: float, images: int, z: float = 1.96) -> tuple[float, float]:
    """95 % confidence interval of a share (Wilson, JASA 1927).

    Args:
        accuracy: 0..1.
        images: that it was measured on.
        z: quantile of the normal distribution.
    """
    if not images:
        return 0.0, 1.0
    center = (accuracy + z * z / (2 * images)) / (1 + z * z / images)
    half = z / (1 + z * z / images) * np.sqrt(accuracy * (1 - accuracy) / images + z * z / (4 * images**2))
    return float(max(0.0, center - half)), float(min(1.0, center + half))


def worst_mistakes(run: Run, most: int) -> np.ndarray:
    """Positions of misclassified test images, those with the least probability for the truth first."""
    truth = run.test_probabilities[np.arange(len(run.test_labels)), run.test_labels]
    wrong = np.flatnonzero(run.test_probabilities.argmax(axis=1) != run.test_labels)
    return wrong[np.argsort(truth[wrong], kind="stable")][:most]


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images by the probability of their predicted class, in `BINS` bins of equal width.

    Returns:
        Images in each bin, int64 [15]; their mean probability and their accuracy, float64 [15], 0 where
        there are none.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    images = np.bincount(place, minlength=BINS)
    many = np.maximum(images, 1)
    return (
        images,
        np.bincount(place, confidence, BINS) / many,
        np.bincount(place, right, BINS) / many,
    )


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error: how far the probabilities are from the share that is right, 0..1.

    Reference:
        Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    images, confidence, accuracy = reliability(labels, probabilities)
    return float((images * np.abs(confidence - accuracy)).sum() / images.sum())
