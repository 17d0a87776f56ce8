"""What lies in the cache, how large it may become, and what is taken out of it first.

An entry is what is used and taken out as a whole: the features of one network over one folder, a network that
was converted for LiteRT, a data set that came with a package, an archive that was unpacked.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import filelock

from advisor.errors import InputError
from advisor.system import storage

MOST_BYTES = 10_000_000_000
MOST_OF_THE_DISK = 0.5  # of what would be free without the cache
WAIT_SECONDS = 60.0  # for another process that looks through the cache

KINDS = {  # no other files are touched, for the user may have named a folder that holds some
    "features": ("features/*.sqlite",),
    "networks for LiteRT": ("litert/*.checked",),
    "data sets": ("data/sklearn-*", "data/tfds-*", "data/.sklearn-*", "data/.tfds-*"),
    "unpacked data": ("data/unpacked-*", "data/.unpacked-*"),
    "measured speed": ("speed.json", "gigaflops.txt"),
}
LOCKS = "in-use"  # a folder with one file for each entry and process that uses it, locked by that process

_ours: dict[Path, filelock.BaseFileLock] = {}


@dataclass(frozen=True)
class Entry:
    """Something in the cache.

    Attributes:
        kind: one of `KINDS`.
        path: the file or folder.
        size: bytes.
        used: when it was last used, in seconds since 1970.
    """

    kind: str
    path: Path
    size: int
    used: float


def entries() -> list[Entry]:
    """All that lies in the cache, the least recently used first."""
    folder = storage.cache_folder()
    found = []
    for kind, patterns in KINDS.items():
        for path in (path for pattern in patterns for path in folder.glob(pattern)):
            with suppress(FileNotFoundError):  # another process took it out meanwhile
                found.append(Entry(kind, path, _size(path), path.stat().st_mtime))
    return sorted(found, key=lambda entry: entry.used)


def summary() -> dict[str, Any]:
    """What `advisor cache` tells, for JSON: the folder, bytes, and each kind with its number and bytes."""
    found = entries()
    kinds = []
    for kind in KINDS:
        own = [entry for entry in found if entry.kind == kind]
        last = datetime.fromtimestamp(own[-1].used).astimezone().isoformat("T", "seconds") if own else None
        size = sum(entry.size for entry in own)
        kinds.append({"kind": kind, "number": len(own), "bytes": size, "last_used": last})
    return {
        "schema": 1,
        "folder": str(storage.cache_folder()),
        "bytes": sum(entry.size for entry in found),
        "most_bytes": _bound(found),
        "kinds": kinds,
    }


def use(path: Path) -> None:
    """Say that this process uses an entry, whether it is there yet or not.

    It becomes the latest used. Until the process ends, however it ends, no other takes it out of the cache.

    Raises:
        InputError: the file system of the cache has no locks.
    """
    with _alone() as locks:
        if path not in _ours:
            _ours[path] = _locked(locks / f"{path.stem}.{secrets.token_hex(4)}.lock")
    with suppress(FileNotFoundError):
        os.utime(path)


def trim() -> None:
    """Take out what was not used for the longest time until the cache is within its bound."""
    with _alone() as locks:
        found = entries()
        _shrink(found, _bound(found), locks)


def clear() -> None:
    """Take out everything that no running command uses."""
    with _alone() as locks:
        _shrink(entries(), -1, locks)  # empty files go, too


def remove(path: Path) -> None:
    """Remove an entry, with the journal that SQLite leaves beside a database when it is killed.

    The journal goes first: beside a new database it would be taken for that one's.
    """
    storage.remove(Path(f"{path}-journal"))
    storage.remove(path)


def _shrink(found: list[Entry], bound: int, locks: Path) -> None:
    """Take out entries, the first ones first, until the rest has no more bytes than `bound`."""
    size = sum(entry.size for entry in found)
    used = _used_names(locks)
    for entry in found:
        if size <= bound:
            return
        # The name of what is not yet finished has that of the entry in it.
        if not any(name in entry.path.name for name in used):
            with suppress(OSError):  # Windows keeps files that are open
                remove(entry.path)
                size -= entry.size


def _bound(found: list[Entry]) -> int:
    free = shutil.disk_usage(storage.cache_folder()).free
    return min(MOST_BYTES, int(MOST_OF_THE_DISK * (free + sum(entry.size for entry in found))))


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if not path.is_dir():
        return path.stat().st_size
    size = 0
    for inside, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.lstat(os.path.join(inside, name)).st_size
    return size


@contextmanager
def _alone() -> Iterator[Path]:
    """Keep other processes from saying what they use, and from taking out; gives the folder of the locks."""
    locks = storage.cache_folder() / LOCKS
    locks.mkdir(exist_ok=True)
    lock = _locked(locks / "all", WAIT_SECONDS)
    try:
        yield locks
    finally:
        lock.release()


def _locked(file: Path, seconds: float = 0.0) -> filelock.BaseFileLock:
    """Lock a file; the lock is the operating system's and ends with this process, however that ends.

    Args:
        file: made if it is not there.
        seconds: to wait where another process has locked it.

    Raises:
        filelock.Timeout: another process has locked it.
        InputError: the file system has no locks.
    """
    lock = filelock.FileLock(file, timeout=seconds, fallback_to_soft=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise
    except (OSError, NotImplementedError) as error:
        raise InputError(
            f"cannot lock a file in {file.parent} ({error}); set ADVISOR_CACHE to a folder on a local disk"
        ) from None
    return lock


def _used_names(locks: Path) -> set[str]:
    """Names, without what follows the last dot, of the entries that a running process uses."""
    used = set()
    for file in locks.glob("*.lock"):
        try:
            _locked(file).release()
            file.unlink(missing_ok=True)  # its process has ended
        except filelock.Timeout:
            used.add(file.name.rsplit(".", 2)[0])
    return used
