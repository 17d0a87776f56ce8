"""Where things are kept on disk, and how they get there whole or not at all."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from advisor.errors import InputError

OTHERS_MAY_WRITE = 0o022
OTHERS_MAY_ANYTHING = 0o077


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to, and move it onto `path` if the block succeeds.

    Readers see the old file or the new one, never half of it, also with two writers at once, and also
    after a power cut: what was written is on the disk before it gets its name. The temporary name keeps
    the suffix, for libraries that choose a format by it.

    Raises:
        OSError: with `path` as its file name, whatever the library in the block said.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        try:
            yield Path(name)
            os.chmod(name, 0o644)
            with open(name, "r+b") as written:
                os.fsync(written.fileno())
            os.replace(name, path)
            _sync_folder(path.parent)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system and the file system know how."""
    with suppress(OSError):  # Windows does not open folders; some file systems do not sync them
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def is_unfinished(name: str, of: str) -> bool:
    """Whether a file name is one that `replacing` gave for `of`, left behind by a process that was killed."""
    path = Path(of)
    random = name.removeprefix(f".{path.stem}-").removesuffix(path.suffix)
    return name == f".{path.stem}-{random}{path.suffix}" and len(random) == 8


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def open_plain(path: Path) -> io.FileIO:
    """Open a file of somebody else's for reading, in bytes.

    Raises:
        FileNotFoundError: it is not there.
        OSError: it cannot be read.
        ValueError: it is no plain file: a link may lead anywhere, a pipe or a device may never end.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if path.is_symlink():
        raise ValueError("is a link, not a file")
    handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError("is not a file")
    return io.FileIO(handle)


def cache_folder() -> Path:
    """Where features, converted networks and data sets that come with packages are kept.

    That is $ADVISOR_CACHE, else where the operating system wants the caches of a user. Falls back to a folder
    for temporary files where the user's cache cannot be written. What lies in the cache is believed, so a
    folder that another user owns or may write to is not used.

    Raises:
        InputError: there is no folder that is the user's own.
    """
    chosen = os.environ.get("ADVISOR_CACHE")
    folder = Path(chosen or platformdirs.user_cache_dir("transfer-advisor", appauthor=False))
    reason = _why_unfit(folder)
    if reason and not chosen:
        user = os.geteuid() if hasattr(os, "geteuid") else 0
        folder = Path(tempfile.gettempdir()) / f"transfer-advisor-{user}"
        reason = "it is a link" if folder.is_symlink() else _why_unfit(folder)
    if reason:
        raise InputError(
            f"{folder} cannot hold the cache: {reason}; set ADVISOR_CACHE to a folder of your own"
        )
    return folder


def _why_unfit(folder: Path) -> str:
    """Make a folder that only this user can use; why that cannot be, or nothing."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.stat()
        if hasattr(os, "geteuid"):
            if status.st_uid != os.geteuid():
                return "it belongs to another user"
            if status.st_mode & OTHERS_MAY_WRITE:
                return f"others may write to it (chmod 700 {folder} ends that)"
            if status.st_mode & OTHERS_MAY_ANYTHING:
                folder.chmod(0o700)
        return "" if os.access(folder, os.W_OK) else "it cannot be written"
    except FileExistsError:
        return "it is a file"
    except OSError as error:
        return error.strerror or str(error)
