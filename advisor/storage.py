"""Where things are kept on disk, and how they get there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to, and move it onto `path` if the block succeeds.

    Readers see the old file or the new one, never half of it, also with two writers at once.
    The temporary name keeps the suffix, for libraries that choose a format by it.

    Raises:
        OSError: with `path` as its file name, whatever the library in the block said.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        try:
            yield Path(name)
            os.chmod(name, 0o644)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def cache_folder() -> Path:
    """Where measurements and embedded data sets are kept: $ADVISOR_CACHE, else the user's cache.

    Falls back to a folder for temporary files where the home cannot be written.
    """
    chosen = os.environ.get("ADVISOR_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(chosen) if chosen else Path(base) / "transfer-advisor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    folder = Path(tempfile.gettempdir()) / f"transfer-advisor-{os.getuid() if hasattr(os, 'getuid') else 0}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
