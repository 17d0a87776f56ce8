"""Many images, similar data: the whole network from the pre-trained weights, gently, head first."""

from __future__ import annotations

from recipes.job import Job, Trained
from recipes.training import gradient


def train(job: Job) -> Trained:
    """Fine-tune with batch norm frozen.

    Mode "everything": all layers. Mode "partial": the layers from `settings.train_from` upwards.
    """
    return gradient.train(job)
