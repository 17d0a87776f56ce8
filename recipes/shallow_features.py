"""Few images, unlike data: what the lower layers know, and a new classifier."""

from __future__ import annotations

from recipes.job import Job, Trained
from recipes.training import frozen, gradient


def train(job: Job) -> Trained:
    """Use the lower layers.

    Mode "all_taps": pooled features of all depths under one regularised head, which finds the depths
    that matter (a convex form of Head2Toe, Evci et al., ICML 2022). Mode "cut": the network up to the
    depth at which a linear probe was best. Mode "partial": the low layers frozen, the high ones trained.
    """
    return gradient.train(job) if job.settings.mode == "partial" else frozen.train(job)
