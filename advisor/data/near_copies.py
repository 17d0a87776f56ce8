"""Images that are nearly the same: re-encoded, scaled, recoloured, or shot twice in a row.

A copy in the test split that training has seen, too, makes the test accuracy too good.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

THUMBNAIL = 24  # pixels
# Thumbnails that correlate more than this are one motif. Chosen so that images that are no copies stay below
# (steel and digits come nearest) and that photographs saved or scaled anew are found: measured with
# benchmarks/near_copies.py, table in benchmarks/README.md. A copy that was cut is not found.
CORRELATION = 0.995
FLATTEST = 2.0  # grey levels of standard deviation; below it there is no motif to compare
CHUNK = 512  # 80 MB at 40,000 images


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Shrink uint8 [size, size, 3] to grey uint8 [24, 24]."""
    grey = Image.fromarray(pixels).convert("L")
    return np.asarray(grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))


def are_flat(thumbnails: np.ndarray) -> np.ndarray:
    """On which of the thumbnails, uint8 [n, 24, 24], there is no motif, bool [n]."""
    return thumbnails.reshape(len(thumbnails), -1).std(axis=1) < FLATTEST


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
