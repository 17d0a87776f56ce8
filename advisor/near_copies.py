"""Images that are nearly the same: re-encoded, scaled, recoloured, or shot twice in a row.

A copy in the test split that training has seen, too, makes the test accuracy too good.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

THUMBNAIL = 24  # pixels
# Thumbnails that correlate more than this are one motif. Measured on 1,000 images each of flowers, ants and
# bees, steel, blood cells, digits and garments: JPEG at quality 50, 60 % of the size or 15 % brighter leave
# photographs at 0.992 or more; two images that are not copies reached 0.990 (steel and digits).
CORRELATION = 0.995
FLATTEST = 2.0  # grey levels of standard deviation; below it there is no motif to compare
CHUNK = 2048


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Shrink uint8 [size, size, 3] to grey uint8 [24, 24]."""
    grey = Image.fromarray(pixels).convert("L")
    return np.asarray(grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))


def find(thumbnails: np.ndarray) -> np.ndarray:
    """Pairs of images that are nearly the same.

    Args:
        thumbnails: uint8 [n, 24, 24].

    Returns:
        int64 [pairs, 2], positions in ascending order; the second of a pair is the larger.
    """
    flat = thumbnails.reshape(len(thumbnails), THUMBNAIL**2).astype(np.float32)
    spread = flat.std(axis=1, keepdims=True)
    rows = np.flatnonzero(spread[:, 0] >= FLATTEST)
    standard = (flat - flat.mean(axis=1, keepdims=True))[rows] / spread[rows] / THUMBNAIL
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(rows), CHUNK):
        high = standard[start : start + CHUNK] @ standard[start:].T > CORRELATION
        first, second = np.nonzero(np.triu(high, 1))
        found.append(np.stack([rows[start + first], rows[start + second]], axis=1))
    return np.concatenate(found)
