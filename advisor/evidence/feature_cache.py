"""Features of images on disk, one row for each image, so that no command computes what another one did.

SQLite holds the rows because it adds some of them without writing the others again;
benchmarks/feature_cache.py compares it with a table that is replaced as a whole.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, TypeVar

import numpy as np

from advisor.data import near_copies
from advisor.system import cache, large_array
from advisor.system.storage import cache_folder

OTHERS_BYTES = 200_000_000  # of the rows that are kept of images which are not in the data set
ASKED_AT_ONCE = 500  # rows; the oldest SQLite takes 999 parameters
WAIT_SECONDS = 60.0  # for another process that adds rows

_CONTENT = hashlib.sha256().digest_size
_SIDE = near_copies.THUMBNAIL
_OF_THE_MACHINE = (  # errors that a new database would meet, too
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
)
_TABLE = """CREATE TABLE IF NOT EXISTS features (
    path BLOB PRIMARY KEY, identity BLOB, widths BLOB, checksum INTEGER, row BLOB)"""
_QUERY = """SELECT path, identity, widths, checksum, row FROM features
    WHERE typeof(widths) = 'blob' AND typeof(row) = 'blob'"""  # else damaged
_INSERT = "INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)"

Result = TypeVar("Result")


class Rows:
    """What is known of n images; `put` fills it in.

    Attributes:
        positions: int64 [n], which images of the data set they are.
        known: bool [n], which of them have been filled in; the rest of the arrays is arbitrary elsewhere.
        widths: how many features each tap has; empty as long as nothing is known.
        values: [n, sum(widths)], the features of all taps side by side; of many images mapped from the disk.
        thumbnails: uint8 [n, 24, 24], see `near_copies`.
        contents: uint8 [n, 32], the SHA-256 of each file.
    """

    def __init__(self, positions: np.ndarray, dtype: type = np.float32) -> None:
        count = len(positions)
        self.positions = positions
        self.known = np.zeros(count, bool)
        self.widths: tuple[int, ...] = ()
        self.values: np.ndarray = np.empty((count, 0), dtype)
        self.thumbnails = np.empty((count, _SIDE, _SIDE), np.uint8)
        self.contents = np.empty((count, _CONTENT), np.uint8)

    def put(
        self,
        at: np.ndarray,
        widths: tuple[int, ...],
        values: np.ndarray,
        thumbnails: np.ndarray,
        contents: np.ndarray,
    ) -> None:
        """Fill in some of the images.

        Args:
            at: int64 [m], which of the n.
            widths: how many features each tap has, always the same.
            values: [m, sum(widths)].
            thumbnails: uint8 [m, 24, 24].
            contents: uint8 [m, 32].
        """
        if not self.widths:
            self.widths = widths
            self.values = large_array.empty((len(self.known), sum(widths)), self.values.dtype)
        self.values[at] = values
        self.thumbnails[at] = thumbnails
        self.contents[at] = contents
        self.known[at] = True


class FeatureCache:
    """The rows of one network, input size and data folder, in one SQLite database.

    A row belongs to the path of an image and replaces the earlier row of that path, so a changed file leaves
    nothing behind. Of images that are not in the data set, deleted ones or those of another list in the same
    folder, the latest rows stay, up to `OTHERS_BYTES`.

    Several processes may read and add at once: none loses a row of another, and one that is killed leaves
    the rows that were there before. The journal is SQLite's rollback journal, not WAL, which does not work
    on network file systems. Each row has a checksum over all of it. A row that is damaged, or holds a
    number that is not finite, counts as missing; a database that is damaged or is not ours is made anew.

    The cache only saves time: all that `read` found is in memory, and what happens to the file afterwards
    does not change it.
    """

    def __init__(
        self, key: str, paths: Sequence[str], identities: Sequence[str], dtype: type = np.float32
    ) -> None:
        """Open the cache; the file is made when it is first needed.

        Args:
            key: changes with everything that the features depend on, but for the images.
            paths: the files of the data set.
            identities: of these files, strings that change when a file does.
            dtype: of the features.
        """
        digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
        self.file = cache_folder() / "features" / f"{digest[:24]}.sqlite"
        self._paths, self._identities = paths, identities
        self._dtype = dtype
        cache.use(self.file)

    def read(self, positions: np.ndarray) -> Rows:
        """The rows that the cache has of some images.

        Args:
            positions: int64 [n], which images of the data set.

        Raises:
            OSError: the database cannot be read, although it is not damaged.
        """
        rows = Rows(positions, self._dtype)
        for start in range(0, len(positions), ASKED_AT_ONCE):
            at = np.arange(start, min(start + ASKED_AT_ONCE, len(positions)))
            paths = [os.fsencode(self._paths[position]) for position in positions[at]]
            marks = ",".join("?" * len(paths))
            query = f"{_QUERY} AND path IN ({marks})"
            found = self._with_database(lambda base: base.execute(query, paths).fetchall())  # noqa: B023
            self._take(rows, at, {path: tuple(rest) for path, *rest in found})
        return rows

    def _take(self, rows: Rows, at: np.ndarray, found: dict[bytes, tuple]) -> None:
        """Put what is sound of what was found into `rows`."""
        numbers, sound, widths = [], [], b""
        for n in at:
            path, identity = self._named(rows, n)
            stored, claimed, checksum, row = found.get(path, (None, b"", None, b""))
            if stored == identity and checksum == _checksum(path, identity, claimed, row):
                numbers.append(n)
                sound.append(row)
                widths = claimed
        if not numbers:
            return
        table = np.frombuffer(b"".join(sound), np.uint8).reshape(len(sound), -1)
        contents, thumbnails, features = np.split(table, (_CONTENT, _CONTENT + _SIDE**2), axis=1)
        values: np.ndarray = np.ascontiguousarray(features).view(self._dtype)
        finite: Any = np.isfinite(values).all(axis=1)
        if finite.any():
            finite = slice(None) if finite.all() else finite  # spares copies
            rows.put(
                np.array(numbers)[finite],
                tuple(int(width) for width in widths.split()),
                values[finite],
                thumbnails[finite].reshape(-1, _SIDE, _SIDE),
                contents[finite],
            )

    def add(self, rows: Rows, at: Sequence[int]) -> None:
        """Keep some of the rows, in one transaction; all that are known where the database lost some.

        Args:
            rows: of images of the data set.
            at: which of the rows are new.

        Raises:
            OSError: they cannot be written.
        """
        widths = " ".join(map(str, rows.widths)).encode()

        def write(base: sqlite3.Connection) -> None:
            base.execute("BEGIN IMMEDIATE")
            base.executemany(_INSERT, (self._record(rows, n, widths) for n in at))
            (count,) = base.execute("SELECT count(*) FROM features").fetchone()
            if count < rows.known.sum():  # it was made anew after they were read
                base.executemany(
                    _INSERT, (self._record(rows, n, widths) for n in np.flatnonzero(rows.known).tolist())
                )
            self._forget_others(base, count, rows.values[0].nbytes)

        self._with_database(write)
        cache.trim()

    def _named(self, rows: Rows, n: int) -> tuple[bytes, bytes]:
        """The path and the identity of one of the rows."""
        position = rows.positions[n]
        return os.fsencode(self._paths[position]), self._identities[position].encode()

    def _record(self, rows: Rows, n: int, widths: bytes) -> tuple[bytes, bytes, bytes, int, bytes]:
        """One of the rows as the database holds it."""
        path, identity = self._named(rows, n)
        row = b"".join(part[n].tobytes() for part in (rows.contents, rows.thumbnails, rows.values))
        return path, identity, widths, _checksum(path, identity, widths, row), row

    def _forget_others(self, base: sqlite3.Connection, count: int, features: int) -> None:
        """Delete the oldest rows of images that are not in the data set, where `count` rows are too many.

        Args:
            base: the database.
            count: rows in it.
            features: bytes of each row's features.
        """
        excess = count - len(self._paths) - OTHERS_BYTES // (_CONTENT + _SIDE**2 + features)
        if excess > 0:
            current = {os.fsencode(path) for path in self._paths}
            stored = sorted(base.execute("SELECT rowid, path FROM features"))
            others = [(number,) for number, path in stored if path not in current][:excess]
            base.executemany("DELETE FROM features WHERE rowid = ?", others)

    def _with_database(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do something in one transaction, in a new database where the one that is there is damaged."""
        try:
            try:
                return self._attempt(work)
            except sqlite3.Error as error:
                # The lowest byte says what kind of error it is, the others say more of it.
                if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _OF_THE_MACHINE:
                    raise
                cache.remove(self.file)
                return self._attempt(work)
        except sqlite3.Error as error:
            raise OSError(errno.EIO, str(error), str(self.file)) from error

    def _attempt(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        self.file.parent.mkdir(exist_ok=True)
        with closing(sqlite3.connect(self.file, timeout=WAIT_SECONDS, isolation_level=None)) as base:
            base.text_factory = bytes  # what is damaged may not be UTF-8
            base.execute(_TABLE)
            with base:
                return work(base)


def _checksum(path: bytes, identity: bytes, widths: bytes, row: bytes) -> int:
    """CRC-32 of all that a row holds."""
    return zlib.crc32(row, zlib.crc32(b"\0".join((path, identity, widths))))
