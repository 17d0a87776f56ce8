"""A frozen backbone over images, once: pooled features at every tap, kept on disk.

The cache holds one row for each image, with a thumbnail, under a key made of its path, size and time of
modification, so that a larger sample, a second command or another recipe computes only what is missing,
and a changed file is computed again.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from advisor.backbones import Backbone
from advisor.data import images, near_copies
from advisor.data.dataset import Dataset
from advisor.data.listing import Skipped
from advisor.evidence import forward
from advisor.evidence.forward import BATCH
from advisor.system.storage import cache_folder, replacing

SAVE_EVERY_SECONDS = 60.0
KEY_HALF = 16  # hexadecimal digits
OTHERS_KEPT = 20_000  # rows, of about 10 KB each
CHECKED_AT_ONCE = 2_000  # rows

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
        unreadable: the others.
    """

    positions: np.ndarray
    features: Features
    thumbnails: np.ndarray
    unreadable: tuple[Skipped, ...]


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
    """
    cache = _Cache(backbone, data, image_size, mirrored)
    keys = [cache.key(i) for i in positions]
    cache.forget_damaged(keys)
    missing = [n for n, key in enumerate(keys) if key not in cache.rows]
    unreadable: dict[int, str] = {}
    if missing:
        _fill(
            cache,
            backbone,
            [data.paths[positions[n]] for n in missing],
            [keys[n] for n in missing],
            image_size,
            lambda m, reason: unreadable.update({missing[m]: reason}),
            progress,
            mirrored,
        )
    readable = np.array([n for n in range(len(keys)) if n not in unreadable], dtype=np.int64)
    return Embedded(
        positions[readable],
        *cache.read([keys[n] for n in readable]),
        tuple(Skipped(data.paths[positions[n]], reason) for n, reason in sorted(unreadable.items())),
    )


def _fill(
    cache: _Cache,
    backbone: Backbone,
    paths: list[str],
    keys: list[bytes],
    image_size: int,
    unreadable: Callable[[int, str], None],
    progress: Progress | None,
    mirrored: bool,
) -> None:
    """Compute features and add them to the cache; what was computed is kept on Ctrl-C, too."""
    run = _runner(backbone, image_size)
    new_keys: list[bytes] = []
    new_values: list[list[np.ndarray]] = []
    saved = time.monotonic()
    try:
        for batch, pixels in images.stream(paths, image_size, BATCH, unreadable):
            small = np.stack([near_copies.thumbnail(image) for image in pixels])
            new_values.append([*run(pixels[:, :, ::-1] if mirrored else pixels), small])
            new_keys += [keys[m] for m in batch]
            if progress:
                progress(int(batch[-1]) + 1, len(paths))
            if time.monotonic() - saved > SAVE_EVERY_SECONDS:
                cache.add(new_keys, new_values)
                new_keys, new_values, saved = [], [], time.monotonic()
    finally:
        if new_keys:
            cache.add(new_keys, new_values)


class _Cache:
    """One file of rows (key, features) for one backbone, input size and data folder.

    Replaced as a whole by an atomic rename, so that two commands at once can only lose each other's
    work, never read half a file. Rows of files that changed are dropped; of other images in the same folder,
    deleted ones or those of another list, the latest `OTHERS_KEPT` stay. Each row has a checksum; one that
    is damaged counts as missing.
    """

    def __init__(self, backbone: Backbone, data: Dataset, image_size: int, mirrored: bool) -> None:
        view = f"{image_size} mirrored" if mirrored else str(image_size)
        name = "\0".join((backbone.fingerprint, *backbone.taps, view, str(data.root)))
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
        self.file = cache_folder() / "features" / f"{digest[:24]}.npy"
        self.data = data
        self.taps = backbone.taps
        self.columns = (*self.taps, "thumbnail")  # behind the key and the checksum
        self._open(self.file)

    def key(self, position: int) -> bytes:
        """Of the path, then of what changes with the file."""
        parts = self.data.paths[position], self.data.identities[position]
        digests = (hashlib.sha256(part.encode(errors="surrogateescape")) for part in parts)
        return b"".join(digest.hexdigest()[:KEY_HALF].encode() for digest in digests)

    def _open(self, file: Path) -> None:
        """Map a file, or start anew where there is none or it is not ours."""
        try:
            table = np.lib.format.open_memmap(file, mode="r")
            known = self._is_ours(table)
        except Exception:  # NumPy raises nearly anything for damaged headers
            known = False
        self.table = table if known else None
        self.rows = {key: row for row, key in enumerate(table["key"])} if known else {}

    def _is_ours(self, table: np.ndarray) -> bool:
        names = ("key", "check", *self.columns)
        if table.ndim != 1 or table.dtype.names != names:
            return False
        key, check, *taps, thumbnail = (table.dtype[name] for name in names)
        side = near_copies.THUMBNAIL
        return (key, check, thumbnail) == (
            np.dtype("S32"),
            np.dtype("u4"),
            np.dtype(("u1", (side, side))),
        ) and all(tap.base == np.float32 and len(tap.shape) == 1 for tap in taps)

    def forget_damaged(self, keys: list[bytes]) -> None:
        """Take those of the keys for missing whose rows are not as they were written, or not finite."""
        known = [key for key in keys if key in self.rows]
        for start in range(0, len(known), CHECKED_AT_ONCE):
            part = known[start : start + CHECKED_AT_ONCE]
            rows = self._copied(part)
            sound = rows["check"] == _checksums(rows)
            for tap in self.taps:
                sound &= np.isfinite(rows[tap]).all(axis=1)
            for key in np.array(part)[~sound]:
                self.rows.pop(key, None)

    def _copied(self, keys: list[bytes]) -> np.ndarray:
        assert self.table is not None
        return np.array(self.table[[self.rows[key] for key in keys]])

    def read(self, keys: list[bytes]) -> tuple[Features, np.ndarray]:
        """Features and thumbnails."""
        if self.table is None:
            nothing = np.empty((0, near_copies.THUMBNAIL, near_copies.THUMBNAIL), np.uint8)
            return Features(self.taps, (0,) * len(self.taps), np.empty((0, 0), np.float32)), nothing
        rows = self._copied(keys)
        widths = tuple(self.table.dtype[tap].shape[0] for tap in self.taps)
        values = np.concatenate([rows[tap] for tap in self.taps], axis=1)
        return Features(self.taps, widths, values), rows["thumbnail"]

    def _located(self) -> dict[bytes, tuple[np.ndarray, int]]:
        """The table and the row of each key."""
        return {} if self.table is None else {key: (self.table, row) for key, row in self.rows.items()}

    def add(self, keys: list[bytes], values: list[list[np.ndarray]]) -> None:
        known = self._located()
        self._open(self.file)  # another process may have added rows meanwhile, or lost ours
        known |= self._located()
        columns = dict(
            zip(self.columns, (np.concatenate(parts) for parts in zip(*values, strict=True)), strict=True)
        )
        dtype = np.dtype(
            [
                ("key", "S32"),
                ("check", "u4"),
                *((name, column.dtype.str, column.shape[1:]) for name, column in columns.items()),
            ]
        )
        known = {key: (source, row) for key, (source, row) in known.items() if source.dtype == dtype}
        current = {self.key(position) for position in range(len(self.data))}
        paths = {key[:KEY_HALF] for key in current}
        wanted = current.difference(keys)
        others = [key for key in known if key[:KEY_HALF] not in paths][-OTHERS_KEPT:]
        kept = [*others, *(key for key in known if key in wanted)]
        table = np.empty(len(kept) + len(keys), dtype)
        for number, key in enumerate(kept):
            source, row = known[key]
            table[number] = source[row]
        table["key"][len(kept) :] = keys
        for name, column in columns.items():
            table[name][len(kept) :] = column
        new = table[len(kept) :]
        new["check"] = _checksums(new)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.file) as unfinished:
            np.save(unfinished, table, allow_pickle=False)
            self._open(unfinished)  # before another process can put its own in this one's place


def _checksums(rows: np.ndarray) -> np.ndarray:
    """CRC-32 of each row of a table and of its columns' types, without that of its checksum, uint32 [n]."""
    columns = zlib.crc32(repr(rows.dtype.descr).encode())
    rows = rows.copy()
    rows["check"] = 0
    bytes_of = rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
    return np.array([zlib.crc32(row.tobytes(), columns) for row in bytes_of], dtype=np.uint32)


def _runner(backbone: Backbone, image_size: int) -> forward.Forward:
    """From uint8 [b, size, size, 3] to features at each tap."""
    key = "\0".join((backbone.fingerprint, *backbone.taps))
    return forward.runner(lambda: backbone.features(backbone.taps), key, image_size)
