"""Many images, unlike data: the whole network."""

from __future__ import annotations

from recipes import training
from recipes.job import Job, Trained


def train(job: Job) -> Trained:
    """Train all layers at a larger learning rate than fine-tuning has.

    Starts from the pre-trained weights, or from random ones where `settings.init` is "random"; only then
    do batch norm's statistics follow the new data.
    """
    return training.train(job)
