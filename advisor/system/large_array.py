"""Arrays that need not fit into memory: large ones lie in a file without a name, which goes with them."""

from __future__ import annotations

import os
import tempfile
from math import prod

import numpy as np

from advisor.system.storage import cache_folder

IN_MEMORY = 500_000_000  # bytes
ROWS = 4096  # that are copied at once


def empty(shape: tuple[int, ...], dtype: type | np.dtype) -> np.ndarray:
    """An array to fill in, in memory up to `IN_MEMORY` bytes, else mapped from the disk that has the cache.

    Raises:
        OSError: the disk has no room for it.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    if size <= IN_MEMORY:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(dir=cache_folder()) as file:
        if hasattr(os, "posix_fallocate"):  # else a full disk would end the process when a row is written
            os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype, "r+", shape=shape)


def is_on_disk(values: np.ndarray) -> bool:
    """Whether `empty` put the array on the disk."""
    return isinstance(values, np.memmap)


def take(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some rows of an array, int64 [m], copied to where `empty` puts so many.

    Raises:
        OSError: the disk has no room for them.
    """
    if not is_on_disk(values):
        return values[rows]
    taken = empty((len(rows), *values.shape[1:]), values.dtype)
    for start in range(0, len(rows), ROWS):
        taken[start : start + ROWS] = values[rows[start : start + ROWS]]
    return taken


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two arrays [n, a] and [n, b] as one [n, a + b], where `empty` puts so much.

    Raises:
        OSError: the disk has no room for it.
    """
    both = empty((len(left), left.shape[1] + right.shape[1]), left.dtype)
    for start in range(0, len(both), ROWS):
        rows = slice(start, start + ROWS)
        both[rows] = np.concatenate([left[rows], right[rows]], axis=1)
    return both
