"""Files that hold the same bytes, under whatever name in whatever folder."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from advisor.data.dataset import Dataset

BEGINNING = 65_536  # bytes, by which nearly all files of one size differ


def content(path: str) -> str:
    """What a file is known by, under whatever name in whatever folder: SHA-256, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find(data: Dataset) -> list[np.ndarray]:
    """Groups of positions whose files hold the same bytes.

    Only files of equal size are read, and to their end only those that begin alike. What was not looked at is
    left out.
    """
    looked_at = np.flatnonzero(data.looked_at).tolist()
    same_size = _alike([looked_at], lambda i: data.identities[i].partition(":")[0])
    begin_alike = _alike(same_size, lambda i: _beginning(data.paths[i]))
    return [np.array(group) for group in _alike(begin_alike, lambda i: content(data.paths[i]))]


def _beginning(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(BEGINNING)).digest()


def _alike(groups: Iterable[Sequence[int]], key: Callable[[int], object]) -> list[list[int]]:
    """Parts of these groups that agree in a key, those of several; files that vanished are left out."""
    parts = []
    for group in groups:
        by_key = defaultdict(list)
        for i in group:
            try:
                by_key[key(i)].append(i)
            except OSError:
                continue  # decoding will say so
        parts += [part for part in by_key.values() if len(part) > 1]
    return parts
