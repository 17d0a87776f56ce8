"""neighbours.npz of a run folder: the training images that new ones are compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from advisor.evidence.outliers import MOST, MOST_NUMBERS, Neighbours
from advisor.system.array_file import read_arrays
from advisor.system.storage import replacing
from recipes.runs.run_files import reading

FILE = "neighbours.npz"


def write(neighbours: Neighbours, folder: Path) -> None:
    """Write neighbours.npz, in half precision.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(folder / FILE) as unfinished:
        np.savez(unfinished, features=neighbours.features.astype(np.float16), threshold=neighbours.threshold)


def read(folder: Path) -> Neighbours:
    """What `write` wrote.

    Raises:
        InputError: it is missing or damaged.
    """
    with reading(folder, FILE):
        return _neighbours(read_arrays(folder / FILE, 2 * MOST_NUMBERS + 8))


def _neighbours(arrays: dict[str, np.ndarray]) -> Neighbours:
    """Neighbours of the arrays in the file.

    Raises:
        ValueError: these are none.
    """
    if set(arrays) != {"features", "threshold"}:
        raise ValueError("does not hold features and a threshold")
    features, threshold = arrays["features"], arrays["threshold"]
    if features.ndim != 2 or not 0 < len(features) <= MOST or features.dtype != np.float16:
        raise ValueError(f"holds features of another form ({features.dtype} {list(features.shape)})")
    if threshold.shape or threshold.dtype != np.float64 or not np.isfinite(threshold):
        raise ValueError("holds no number for the threshold")
    if not np.isfinite(features).all():
        raise ValueError("holds features that are not finite")
    return Neighbours(features.astype(np.float32), float(threshold))
