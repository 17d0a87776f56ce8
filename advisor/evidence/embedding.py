"""A frozen backbone over images: pooled features at every tap, of the whole picture and of its cells.

What was computed is kept on disk by `advisor.evidence.feature_cache`, so that a larger sample, a second
command or another recipe computes only what is missing.
"""

from __future__ import annotations

import errno
import functools
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from advisor.backbones import Backbone
from advisor.choices import CROP
from advisor.data.dataset import Dataset
from advisor.data.listing import Skipped
from advisor.errors import InputError
from advisor.evidence import forward
from advisor.evidence.embedder import Embedder
from advisor.evidence.feature_cache import FeatureCache
from advisor.evidence.features import Features
from advisor.evidence.pooling import AVERAGE, CELLS, FINEST
from advisor.evidence.views import PLAIN, View
from advisor.system import cluster, speed
from advisor.system.stopwatch import Stopwatch

if TYPE_CHECKING:
    import keras

SAVE_EVERY_SECONDS = 60.0  # of what this process computes; what a cluster does is saved as it comes
BLOCK = 128  # images that a worker of a cluster gets at once

Progress = Callable[[int, int], None]


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

    def with_positions(self, positions: np.ndarray) -> Embedded:
        """The same of a data set in which the images have other positions, int64 [n]."""
        return replace(self, positions=positions)


def embed(
    backbone: Backbone,
    data: Dataset,
    positions: np.ndarray,
    image_size: int,
    progress: Progress | None = None,
    views: Sequence[View] = (PLAIN,),
    pooling: str = AVERAGE,
    fit: str = CROP,
) -> Embedded:
    """Features of some images of a data set, from the cache where it has them.

    Args:
        backbone: run in inference mode; its model is not even built if the cache has everything. Of two side
            by side each has features of its own there.
        data: where the images are.
        positions: int64 [n], which of them.
        image_size: pixels of the square input.
        progress: called with images done and images to do.
        views: of each image. What mirror images show is averaged with what is there; what halved ones show
            stands beside it, tap by tap.
        pooling: one of `advisor.evidence.pooling.POOLINGS`; the averages over the whole picture come always.
        fit: one of `advisor.choices.FITS`.

    Returns:
        Features at all taps, in the order of `positions` without the unreadable ones.

    Raises:
        OSError: the cache can be neither read nor written.
    """
    data = data.with_identities(positions)

    def opened(network: Backbone, view: View) -> list[_Table]:
        grey = f"grey {data.grey[0]!r} {data.grey[1]!r}" if data.grey else ""
        parts = str(image_size), view.name, fit if fit != CROP else "", grey
        key = "\0".join((network.fingerprint, *network.taps, " ".join(filter(None, parts)), str(data.root)))
        caches = [FeatureCache(key, data.paths, data.identities)]
        if pooling != AVERAGE:
            caches.append(FeatureCache(f"{key}\0{pooling}", data.paths, data.identities, np.float16))
        return [_Table(cache, positions) for cache in caches]

    looks = [_Look(network, view, opened(network, view)) for network in backbone.networks for view in views]
    known = np.stack([look.known for look in looks])
    unreadable: tuple[Skipped, ...] = ()
    if not known.all():
        unreadable = _fill(backbone, looks, known, data, image_size, pooling, fit, progress)
        known = np.stack([look.known for look in looks])
    of_networks = [looks[start : start + len(views)] for start in range(0, len(looks), len(views))]
    features, *others = [_together(of_network) for of_network in of_networks]
    for other in others:
        features = features.and_of(other, backbone.taps)
    rows, everywhere = looks[0].tables[0].rows, known.all(axis=0)
    embedded = Embedded(positions, features, rows.thumbnails, rows.contents, unreadable)
    return embedded if everywhere.all() else embedded.take(np.flatnonzero(everywhere))


def _together(looks: Sequence[_Look]) -> Features:
    """What one network sees in all views; arbitrary where a row is not known."""
    first, *others = looks
    features = _features(first.network.taps, first.tables)
    for look in others if all(one.known.any() for one in looks) else ():
        seen = _features(look.network.taps, look.tables)
        features = features.averaged_with_mirrored(seen) if look.view.mirrored else features.beside(seen)
    return features


def _features(taps: tuple[str, ...], tables: Sequence[_Table]) -> Features:
    """What was seen in one view; arbitrary where a row is not known."""
    rows = tables[0].rows
    none = np.empty((len(rows.positions), 0), np.float16)
    nothing = (0,) * len(taps)
    features = Features(taps, rows.widths or nothing, rows.values, nothing, none)
    if len(tables) == 1:
        return features
    cells = tables[1].rows
    of_taps = (*cells.widths, *nothing[len(cells.widths) :])
    return replace(features, cell_widths=of_taps, cells=cells.values)


class _Table:
    """Rows of the images that are asked for, and the cache that keeps them.

    Attributes:
        cache: on disk.
        rows: in memory.
        unsaved: which of them are new, int64.
    """

    def __init__(self, cache: FeatureCache, positions: np.ndarray) -> None:
        self.cache, self.rows = cache, cache.read(positions)
        self.unsaved: list[int] = []

    def put(
        self, at: np.ndarray, parts: list[np.ndarray], thumbnails: np.ndarray, contents: np.ndarray
    ) -> None:
        """Fill in some of the rows, with the features of each tap."""
        widths = tuple(part.shape[1] for part in parts)
        values = np.concatenate(parts, axis=1) if parts else np.empty((len(at), 0))
        self.rows.put(at, widths, values, thumbnails, contents)
        self.unsaved += at.tolist()

    def save(self) -> None:
        """Keep what is new on disk."""
        if self.unsaved:
            self.cache.add(self.rows, self.unsaved)
            self.unsaved = []


@dataclass(frozen=True, eq=False)
class _Look:
    """What one network sees of the images in one view.

    Attributes:
        network: of those that stand side by side, or the only one.
        view: of each image.
        tables: of averages and, where they are wanted, of cells.
    """

    network: Backbone
    view: View
    tables: Sequence[_Table]

    @property
    def known(self) -> np.ndarray:
        """Of which images everything is known, bool [n]."""
        return np.logical_and.reduce([table.rows.known for table in self.tables])


def _fill(
    backbone: Backbone,
    looks: Sequence[_Look],
    known: np.ndarray,
    data: Dataset,
    image_size: int,
    pooling: str,
    fit: str,
    progress: Progress | None,
) -> tuple[Skipped, ...]:
    """Compute the rows that are missing and add them to the cache; what was computed is kept on Ctrl-C, too.

    Each image is decoded once, for all looks that lack it.

    Args:
        backbone: see `embed`, as the others.
        looks: all of them.
        known: bool [looks, n], what each of them knows of the images.

    Returns:
        The images that cannot be read.
    """
    where = cluster.current()

    def network(look: _Look) -> Callable[[], forward.Forward]:
        of = _network(look.network, look.view.size(image_size), pooling)
        if not where.is_here:
            return forward.packed(*of, on_gpus=where.has_gpus())
        run = forward.runner(*of)
        return lambda: run

    networks = {look: network(look) for look, knows in zip(looks, known, strict=True) if not knows.all()}
    seen_by, of_which = np.unique(known, axis=1, return_inverse=True)
    todo, done = int((~known.all(axis=0)).sum()), 0
    unreadable: list[Skipped] = []
    for number, has in enumerate(seen_by.T):
        if has.all():
            continue
        missing = np.flatnonzero(of_which.ravel() == number)
        lacking = {look: networks[look] for look, does in zip(looks, has, strict=True) if not does}

        def told(count: int, before: int = done) -> None:
            if progress:
                progress(before + count, todo)

        views = {look.view for look in lacking}
        is_one_look = len(lacking) == len(backbone.networks) and len(views) == 1
        timed = backbone.name if is_one_look and not views.pop().halved else None
        unreadable += _compute(lacking, missing, data, image_size, pooling, fit, told, timed)
        done += len(missing)
    return tuple(unreadable)


def _compute(
    looks: Mapping[_Look, Callable[[], forward.Forward]],
    missing: np.ndarray,
    data: Dataset,
    image_size: int,
    pooling: str,
    fit: str,
    told: Callable[[int], None],
    timed: str | None,
) -> list[Skipped]:
    """Compute rows that all of some looks lack, int64 [m] of the n.

    Args:
        looks: with what gives the network of each, see `Embedder`.
        missing: the rows.
        data: see `embed`, as the others.
        told: gets the number of rows that are done.
        timed: the network whose speed this shows; None for none.

    Returns:
        The images that cannot be read.
    """
    positions = next(iter(looks)).tables[0].rows.positions[missing]
    paths, where = [data.paths[i] for i in positions], cluster.current()
    networks = tuple((look.view, network, len(look.network.taps)) for look, network in looks.items())
    work = Embedder(networks, image_size, fit, data.grey, pooling != AVERAGE)
    reasons: dict[int, str] = {}
    watch, saved, done = Stopwatch(), time.monotonic(), 0
    try:
        for results in where.blocks(work, paths, BLOCK):
            for start, batch in results:
                for look, seen in zip(looks, batch.seen, strict=False):
                    for table, parts in zip(look.tables, (seen.averages, seen.cells), strict=False):
                        table.put(missing[start + batch.at], parts, batch.thumbnails, batch.contents)
                for at, reason in batch.unreadable.items():
                    _check_that_all_see_it(paths[start + at], reason)
                    reasons[start + at] = reason
                done += len(batch.at) + len(batch.unreadable)
            if not where.is_here or time.monotonic() - saved > SAVE_EVERY_SECONDS:
                _save(looks)
                saved = time.monotonic()
            told(done)
    finally:
        if where.is_here and timed:
            speed.learn("embed", timed, image_size, done, watch.seconds())
        _save(looks)
    return [Skipped(paths[m], reasons[m]) for m in sorted(reasons)]


def _save(looks: Iterable[_Look]) -> None:
    """Keep what is new on disk."""
    for look in looks:
        for table in look.tables:
            table.save()


def _check_that_all_see_it(path: str, reason: str) -> None:
    """Tell a file that a worker of a cluster does not find from one that is gone.

    Raises:
        InputError: this machine finds it.
    """
    if reason == os.strerror(errno.ENOENT) and os.path.exists(path):
        raise InputError(
            f"a worker of the cluster does not find {path}: "
            "put the images where all of its machines see them under this name"
        )


def runner(backbone: Backbone, image_size: int, pooling: str = AVERAGE) -> forward.Forward:
    """The frozen network as a fast function: uint8 [b, size, size, 3], to [b, width] a tap; of two networks
    first what the first one gives.

    The cells of each tap that is a map come after them. They cost next to nothing, so that with "average" the
    finest come, too: one network to convert for who wants them and for who does not.

    Args:
        backbone: run in inference mode.
        image_size: pixels of the square input.
        pooling: one of `advisor.evidence.pooling.POOLINGS`.
    """
    runs = [forward.runner(*_network(part, image_size, pooling)) for part in backbone.networks]
    return lambda pixels: [output for run in runs for output in run(pixels)]


def _network(
    backbone: Backbone, image_size: int, pooling: str
) -> tuple[Callable[[], keras.Model], str, int, Callable[[int], bytes] | None]:
    """What `forward.runner` takes; arguments as for `runner`."""
    taps, grid = backbone.taps, FINEST if pooling == AVERAGE else pooling
    key = "\0".join((backbone.fingerprint, *taps, grid))
    cells, write = CELLS[grid], None
    if backbone.draw:
        write = functools.partial(backbone.written_features, taps, cells, image_size)
    return lambda: backbone.features(taps, cells, taps, image_size), key, image_size, write
