"""Few images, similar data: the whole backbone frozen, a new classifier on its features."""

from __future__ import annotations

from recipes.job import Job, Trained
from recipes.training import frozen, gradient


def train(job: Job) -> Trained:
    """Train a head on frozen features.

    Mode "cached": features are computed once and the head is solved on them. Mode "augmented": images
    go through the frozen backbone anew in each epoch, each time changed at random.
    """
    return gradient.train(job) if job.settings.mode == "augmented" else frozen.train(job)
