"""Many images, unlike data: the whole network, all of it free to change."""

from __future__ import annotations

from recipes import training
from recipes.job import Job, Trained


def train(job: Job) -> Trained:
    """Train all layers, with batch norm's statistics following the new data and a larger learning rate.

    Starts from the pre-trained weights, or from random ones where `settings.init` is "random".
    """
    return training.train(job)
