"""What comes out of a container, which may be a stranger's: no file outside its folder, and not too much."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, TextIO

from advisor.errors import InputError
from advisor.system.text import legible

TABLE = "labels.jsonl"  # of containers that hold pictures without names
MOST_FILES = 2_000_000
# Pictures hardly shrink when they are packed. A bomb grows a thousandfold and more.
MOST_GROWTH, ALWAYS_ALLOWED = 100, 100_000_000
SPARE_BYTES = 500_000_000  # that are left free on the disk
PIECE = 1 << 20
_OF_NAMES = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL)
_CLUTTER = "__MACOSX"


class Unpacking:
    """Puts files into an empty folder, as a container names them.

    Attributes:
        source: the container.
        folder: where the files are put.
        progress: called with megabytes done and megabytes in all.
    """

    def __init__(
        self, source: Path, size: int, modified: int, folder: Path, progress: Callable[[int, int], None]
    ) -> None:
        """Begin.

        Args:
            source: the container.
            size: its bytes.
            modified: nanoseconds since 1970, the time that all files get.
            folder: an empty one.
            progress: called with megabytes done and megabytes in all.
        """
        self.source, self.folder, self.progress = source, folder, progress
        self._modified = modified
        self._free = shutil.disk_usage(folder).free - SPARE_BYTES
        self.most_bytes = MOST_GROWTH * size + ALWAYS_ALLOWED
        self._bytes = self._files = 0
        self._table: TextIO | None = None
        self._made: set[str] = set()

    def __enter__(self) -> Unpacking:
        return self

    def __exit__(self, *_: object) -> None:
        if self._table:
            self._table.close()

    def refuse(self, what: str) -> InputError:
        """The error that says what is wrong with the container."""
        return InputError(f"{legible(str(self.source))} {what}")

    def leads_out(self, name: str) -> InputError:
        """The error that says that a path leads out of the folder."""
        return self.refuse(
            f"holds {legible(name)[:80]!r}, which leads out of it; do not use it unless you trust it: then "
            "unpack it by hand and give the folder"
        )

    def put(self, name: str, content: BinaryIO) -> None:
        """Write a file.

        Args:
            name: its path in the container, with slashes or backslashes.
            content: read to its end.

        Raises:
            InputError: the path leads out of the folder or cannot be written, or it is too much.
        """
        parts = self._parts(name)
        if parts[0] == _CLUTTER:
            return
        self._files += 1
        if self._files > MOST_FILES:
            raise self.refuse(f"holds more than {MOST_FILES:,} files; unpack it and give the folder")
        folder, path = os.path.join(self.folder, *parts[:-1]), os.path.join(self.folder, *parts)
        try:
            if folder not in self._made:
                os.makedirs(folder, exist_ok=True)
                self._made.add(folder)
            with open(path, "wb") as file:
                while piece := content.read(PIECE):
                    self._count(len(piece))
                    file.write(piece)
            os.utime(path, ns=(self._modified, self._modified))
        except OSError as error:
            if error.errno not in _OF_NAMES:
                raise
            what = f"holds {legible(name)[:80]!r}, which cannot be a file here; unpack it by hand"
            raise self.refuse(what) from None

    def row(self, values: Mapping[str, str]) -> None:
        """Add a row to the table beside the files, by the names of its columns."""
        if self._table is None:
            self._table = (self.folder / TABLE).open("w", encoding="utf-8")
        self._table.write(json.dumps(values) + "\n")

    def _parts(self, name: str) -> list[str]:
        """A path as a list of names.

        Raises:
            InputError: it leads out of the folder.
        """
        plain = name.replace("\\", "/")
        parts = [part for part in plain.split("/") if part not in ("", ".")]
        if plain.startswith("/") or ".." in parts or not parts or ":" in parts[0][:2] or "\0" in plain:
            raise self.leads_out(name)
        return parts

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self.most_bytes:
            raise self.refuse(
                f"becomes more than {self.most_bytes / 1e9:,.1f} GB, many times its size; if it is no bomb, "
                "unpack it by hand and give the folder"
            )
        if self._bytes > self._free:
            raise self.refuse(
                "does not fit on the disk of the cache once it is unpacked; free some space, or set "
                "ADVISOR_CACHE to a folder on another disk"
            )
