"""By what features are divided before a head sees them."""

from __future__ import annotations

import numpy as np


def spread(features: np.ndarray) -> np.ndarray:
    """By what features are divided: their standard deviation, but no less than its median over all.

    Features that hardly vary are left small. Blown up to unit variance they would do harm: as noise in
    the head, and in fine-tuning, where images are augmented and such features suddenly vary.

    Returns:
        [features], over 0.
    """
    return floored(features.std(axis=0))


def floored(deviation: np.ndarray) -> np.ndarray:
    """Standard deviations [features] of at least their median, as `spread` has them."""
    floor = np.median(deviation[deviation > 0]) if (deviation > 0).any() else 1.0
    return np.maximum(deviation, floor)
