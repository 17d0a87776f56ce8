"""Folders in the cache that are filled once, whole or not at all, so that all data are files."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from advisor.system import cache
from advisor.system.storage import cache_folder, remove

LISTING = ".listing"  # in each folder: a digest of the names and sizes of its files


def write_once(name: str, fill: Callable[[Path], None]) -> Path:
    """A folder below the cache that `fill` filled, now or in an earlier call that left it whole.

    Until this process ends nobody takes the folder out of the cache. A filling that was interrupted leaves
    nothing that is taken for the folder, and is done again.

    Args:
        name: of the folder.
        fill: called with an empty folder to put files into.
    """
    folder = cache_folder() / "data" / name
    cache.use(folder)
    if _is_whole(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    try:
        fill(unfinished)
        (unfinished / LISTING).write_text(_listed(unfinished), encoding="utf-8")
        if hasattr(os, "sync"):
            os.sync()  # once for all of the files
        if not _is_whole(folder):
            remove(folder)  # something was deleted from it, or an older version wrote it
        try:
            os.replace(unfinished, folder)
        except OSError:
            if not _is_whole(folder):  # else another process was first, with the same content
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    cache.trim()
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        return (folder / LISTING).read_text(encoding="utf-8") == _listed(folder)
    except (OSError, ValueError):
        return False


def _listed(folder: Path) -> str:
    """A digest of the names and sizes of all files in a folder, hexadecimal."""
    files = []
    for inside, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(inside, name)
            files.append(f"{os.path.relpath(path, folder)}\0{os.path.getsize(path)}")
    listed = "\n".join(sorted(file for file in files if not file.startswith(f"{LISTING}\0")))
    return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()
