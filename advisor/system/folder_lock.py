"""One command at a time writes to a folder: two would leave a folder of both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from advisor.errors import InputError

LOCK = ".advisor.lock"


def is_locked(folder: Path) -> bool:
    """Whether a command is writing to a folder."""
    if not (folder / LOCK).exists():
        return False
    lock = filelock.FileLock(folder / LOCK, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        return True
    except OSError:  # somebody else's, where nobody can write
        return False
    lock.release()
    return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other commands from writing to a folder that exists.

    The lock is the operating system's: it ends with the process, however that ends. The file that it is
    on is removed with it; one that a killed process left behind holds nobody up.

    Raises:
        InputError: another command writes to the folder, or it cannot be locked.
    """
    path = folder / LOCK
    lock = filelock.FileLock(path, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise InputError(
            f"another command is writing to {folder}; wait until it is done, or choose another --output"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot write to {folder}: {reason}; choose another --output") from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps it while it is open
            path.unlink()  # while it is held: whoever has opened it meanwhile sees that it is gone
        lock.release()
