"""Files that hold a whole data set: each is unpacked once, and then a folder like any other.

A container is one module with `ENDINGS`, the ends of the names of its files, and `unpack`, which puts what is
in one into an empty folder by an `Unpacking`. A container of pictures without names puts a table beside them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from advisor.data.containers import npz_file, parquet_files, tar_file, zip_file
from advisor.data.containers.unpacking import Unpacking
from advisor.data.written_once import write_once


class Container(Protocol):
    """A kind of container."""

    ENDINGS: tuple[str, ...]

    def unpack(self, source: Path, into: Unpacking) -> None:
        """Put all that a data set may consist of into a folder.

        Raises:
            InputError: it is damaged, or what is in it is not to be trusted.
        """


CONTAINERS: tuple[Container, ...] = (zip_file, tar_file, npz_file, parquet_files)
ENDINGS = tuple(ending for container in CONTAINERS for ending in container.ENDINGS)


def is_container(path: Path) -> bool:
    """Whether a file is called as a container is, or a folder holds Parquet files and no other data."""
    return path.name.lower().endswith(ENDINGS) if path.is_file() else parquet_files.are_in(path)


def unpacked(source: Path, progress: Callable[[int, int], None]) -> Path:
    """The folder with what is in a container; it lies in the cache.

    Args:
        source: is a container.
        progress: called with megabytes done and megabytes in all.

    Raises:
        InputError: it is damaged, too large, or what is in it is not to be trusted.
    """
    files = list(_files(source))
    stamps = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    digest = hashlib.sha256(repr(stamps).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    # All files get the time of the container, so that what is unpacked again is the same data.
    size, modified = sum(stamp[1] for stamp in stamps), max(stamp[2] for stamp in stamps)
    container = next((one for one in CONTAINERS if source.name.lower().endswith(one.ENDINGS)), parquet_files)

    def fill(folder: Path) -> None:
        with Unpacking(source, size, modified, folder, progress) as into:
            container.unpack(source, into)

    return write_once(f"unpacked-{digest}", fill)


def _files(source: Path) -> Iterator[Path]:
    """The container itself, or the files of the folder that is one."""
    yield from [source] if source.is_file() else parquet_files.files_in(source)
