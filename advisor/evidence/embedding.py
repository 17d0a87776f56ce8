"""A frozen backbone over images, once: pooled features at every tap.

What was computed is kept on disk by `advisor.evidence.feature_cache`, so that a larger sample, a second
command or another recipe computes only what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from advisor.backbones import Backbone
from advisor.data import copies, images, near_copies
from advisor.data.dataset import Dataset
from advisor.data.listing import Skipped
from advisor.evidence import forward
from advisor.evidence.feature_cache import FeatureCache, Rows
from advisor.evidence.forward import BATCH

SAVE_EVERY_SECONDS = 60.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Features:
    """Pooled features of n images.

    Attributes:
        taps: names of the backbone's layers, from shallow to deep.
        widths: how many features each of them has.
        values: float32 [n, sum(widths)], the taps side by side.
    """

    taps: tuple[str, ...]
    widths: tuple[int, ...]
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def at(self, tap: str) -> np.ndarray:
        """Features at one tap, float32 [n, width]."""
        number = self.taps.index(tap)
        start = sum(self.widths[:number])
        return self.values[:, start : start + self.widths[number]]

    def together(self, taps: tuple[str, ...]) -> np.ndarray:
        """Features at several taps side by side, as a head sees them, float32 [n, sum of widths]."""
        return np.concatenate([self.at(tap) for tap in taps], axis=1)

    def last(self) -> np.ndarray:
        """Features at the deepest tap, float32 [n, width]."""
        return self.at(self.taps[-1])

    def take(self, rows: np.ndarray) -> Features:
        return Features(self.taps, self.widths, self.values[rows])


@dataclass(frozen=True)
class Embedded:
    """What `embed` gives back.

    Attributes:
        positions: int64 [n], which images of the data set could be read.
        features: of those.
        thumbnails: of those, uint8 [n, 24, 24], as `near_copies` compares them.
        contents: of those, uint8 [n, 32], the SHA-256 of each file, see `dataset.content`.
        unreadable: the others.
    """

    positions: np.ndarray
    features: Features
    thumbnails: np.ndarray
    contents: np.ndarray
    unreadable: tuple[Skipped, ...]

    def take(self, rows: np.ndarray) -> Embedded:
        """Some of the images, int64 [m] of the n; `unreadable` stays as it is."""
        return Embedded(
            self.positions[rows],
            self.features.take(rows),
            self.thumbnails[rows],
            self.contents[rows],
            self.unreadable,
        )


def embed(
    backbone: Backbone,
    data: Dataset,
    positions: np.ndarray,
    image_size: int,
    progress: Progress | None = None,
    mirrored: bool = False,
) -> Embedded:
    """Features of some images of a data set, from the cache where it has them.

    Args:
        backbone: run in inference mode; its model is not even built if the cache has everything.
        data: where the images are.
        positions: int64 [n], which of them.
        image_size: pixels of the square input.
        progress: called with images done and images to do.
        mirrored: turn left and right around first.

    Returns:
        Features at all taps, in the order of `positions` without the unreadable ones.

    Raises:
        OSError: the cache can be neither read nor written.
    """
    view = f"{image_size} mirrored" if mirrored else str(image_size)
    key = "\0".join((backbone.fingerprint, *backbone.taps, view, str(data.root)))
    cache = FeatureCache(key, data.paths, data.identities)
    rows = cache.read(positions)
    unreadable: tuple[Skipped, ...] = ()
    if not rows.known.all():
        unreadable = _fill(cache, rows, backbone, data, image_size, mirrored, progress)
    features = Features(backbone.taps, rows.widths or (0,) * len(backbone.taps), rows.values)
    embedded = Embedded(positions, features, rows.thumbnails, rows.contents, unreadable)
    return embedded if rows.known.all() else embedded.take(np.flatnonzero(rows.known))


def _fill(
    cache: FeatureCache,
    rows: Rows,
    backbone: Backbone,
    data: Dataset,
    image_size: int,
    mirrored: bool,
    progress: Progress | None,
) -> tuple[Skipped, ...]:
    """Compute the rows that are missing and add them to the cache; what was computed is kept on Ctrl-C, too.

    Returns:
        The images that cannot be read.
    """
    missing = np.flatnonzero(~rows.known)
    paths = [data.paths[i] for i in rows.positions[missing]]
    run = runner(backbone, image_size)
    contents: dict[str, bytes] = {}
    reasons: dict[int, str] = {}
    unsaved: list[int] = []
    saved = time.monotonic()
    try:
        for batch, pixels in images.stream(paths, image_size, BATCH, reasons.__setitem__, _hashing(contents)):
            features = run(pixels[:, :, ::-1] if mirrored else pixels)
            rows.put(
                missing[batch],
                tuple(part.shape[1] for part in features),
                np.concatenate(features, axis=1),
                np.stack([near_copies.thumbnail(image) for image in pixels]),
                np.stack([np.frombuffer(contents[paths[m]], np.uint8) for m in batch]),
            )
            unsaved += missing[batch].tolist()
            if progress:
                progress(int(batch[-1]) + 1, len(paths))
            if time.monotonic() - saved > SAVE_EVERY_SECONDS:
                cache.add(rows, unsaved)
                unsaved, saved = [], time.monotonic()
    finally:
        if unsaved:
            cache.add(rows, unsaved)
    return tuple(Skipped(paths[m], reason) for m, reason in reasons.items())


def _hashing(contents: dict[str, bytes]) -> Callable[[str, int], np.ndarray]:
    """`images.load_square` that also writes down each file's SHA-256 by its path.

    A file is hashed right after it was decoded, in the same thread, while the operating system still has it
    in memory, so that its bytes come from the disk once.
    """

    def load(path: str, size: int) -> np.ndarray:
        pixels = images.load_square(path, size)
        try:
            contents[path] = bytes.fromhex(copies.content(path))
        except OSError as error:
            raise images.UnreadableImage(error.strerror or str(error)) from None
        return pixels

    return load


def runner(backbone: Backbone, image_size: int) -> forward.Forward:
    """From uint8 [b, size, size, 3], b up to `forward.BATCH`, to features at each tap."""
    key = "\0".join((backbone.fingerprint, *backbone.taps))
    return forward.runner(lambda: backbone.features(backbone.taps), key, image_size)
