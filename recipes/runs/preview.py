"""What a network sees while it learns, for people to check that no change spoils what an image is."""

from __future__ import annotations

import math

import numpy as np

from advisor.advice.settings import Settings
from advisor.data import images
from advisor.data.dataset import Dataset
from recipes.training import augmentation

IMAGES, TIMES = 4, 6


def batches(data: Dataset, settings: Settings, seed: int) -> list[np.ndarray]:
    """A few training images as they are, then changed at random a few times.

    Returns:
        1 + TIMES arrays of pixels in 0..255: uint8 [n, stored, stored, 3], where stored images are a
        little larger, then float32 [n, size, size, 3]; n is `IMAGES`, or fewer where there are fewer.
    """
    size = settings.training_size
    chosen = data.indices("train")
    chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, IMAGES).astype(int))]
    stored = math.ceil(size * augmentation.MARGIN)
    paths = [data.paths[i] for i in chosen]
    squares = settings.fit, settings.grey
    decoded = images.stream(paths, stored, IMAGES, lambda position, reason: None, *squares)
    found = [pixels for _, pixels in decoded]
    if not found:
        return []
    augment = augmentation.pipeline(settings.augmentation, size, seed)
    changed = [np.asarray(augment(found[0].astype(np.float32), training=True)) for _ in range(TIMES)]
    return [found[0], *changed]
