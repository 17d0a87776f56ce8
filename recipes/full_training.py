"""Many images, unlike data: the whole network."""

from __future__ import annotations

from recipes.job import Job, Trained
from recipes.training import gradient


def train(job: Job) -> Trained:
    """Train all layers with all depths under the head, starting from the solution of shallow features.

    Starts from random weights where `settings.init` is "random"; only then do batch norm's statistics
    follow the new data, and the head sees the last layer alone.
    """
    return gradient.train(job)
