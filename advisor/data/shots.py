"""Shots of one thing: taken within seconds by one camera, or nearly the same picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from advisor.data import images
from advisor.data.images import Origin, UnreadableImage

BURST_SECONDS = 5.0  # from one shot to the next


def groups(origins: Sequence[Origin | None], same: Iterable[tuple[int, int]]) -> np.ndarray:
    """Which images belong together, int64 [n]: equal numbers, from zero on.

    Args:
        origins: of n images.
        same: pairs of them that show the same.
    """
    found = np.arange(len(origins))
    for members in joined([*same, *_bursts(origins)]):
        found[members] = min(members)
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def joined(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Groups of positions that are linked by pairs, directly or through others."""
    parent: dict[int, int] = {}

    def root(at: int) -> int:
        parent.setdefault(at, at)
        while parent[at] != at:
            parent[at] = at = parent[parent[at]]
        return at

    for first, second in pairs:
        parent[root(second)] = root(first)
    found: dict[int, list[int]] = {}
    for at in parent:
        found.setdefault(root(at), []).append(at)
    return list(found.values())


def _bursts(origins: Sequence[Origin | None]) -> list[tuple[int, int]]:
    """Pairs of shots that follow each other."""
    told = [
        (one.camera, one.taken, at)
        for at, one in enumerate(origins)
        if one is not None and one.camera and one.taken is not None
    ]
    told.sort()
    return [
        (first, second)
        for (camera, before, first), (other, after, second) in pairwise(told)
        if camera == other and after - before <= BURST_SECONDS
    ]


def origins(
    paths: Sequence[str], progress: Callable[[int, int], None] = lambda *_: None
) -> list[Origin | None]:
    """What files say of where they are from, read in threads; None of those that cannot be read.

    Args:
        paths: the files.
        progress: called with images done and images to do.
    """

    def look(path: str) -> Origin | None:
        try:
            return images.origin(path)
        except UnreadableImage:
            return None

    found = []
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        for one in pool.map(look, paths):
            found.append(one)
            progress(len(found), len(paths))
    return found
