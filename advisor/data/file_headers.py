"""Which files are images, by their headers; of very many files only some are looked at."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from advisor.data import images
from advisor.data.dataset import identity_of
from advisor.data.listing import Entry
from advisor.data.sampling import sample

AT_ONCE = 64  # files that one thread looks at


@dataclass(frozen=True)
class File:
    """What a file's header says.

    Attributes:
        reason: why it cannot be read; empty where it can, or is believed to.
        identity: see `Dataset.identities`.
        size: width and height, pixels; 0 of a file that was not looked at.
        has_more: whether there are more pages or frames than the one that is used.
        is_deep: whether its grey values have more than 8 bits.
    """

    reason: str = ""
    identity: str = ""
    size: tuple[int, int] = (0, 0)
    has_more: bool = False
    is_deep: bool = False


def look(
    entries: Sequence[Entry], enough: int | None, progress: Callable[[int, int], None]
) -> tuple[list[File], list[str]]:
    """Look at files, in threads; each has several, for handing one over takes as long.

    Args:
        entries: what should be images.
        enough: of more than these only so many are looked at, drawn at random, of each class its share. All
            are if None.
        progress: called with files done and files to do.

    Returns:
        One for each entry; and what a person should know if not all were looked at.
    """
    at = _some(entries, enough) if enough is not None and len(entries) > enough else range(len(entries))
    paths = [entries[i].path for i in at]
    parts = [paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE)]
    seen: list[File] = []
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        for files in pool.map(lambda part: [_look_at(path) for path in part], parts):
            seen += files
            progress(len(seen), len(paths))
    if len(seen) == len(entries):
        return seen, []
    found = [File()] * len(entries)
    for i, file in zip(at, seen, strict=True):
        found[i] = file
    return found, [_told(sum(bool(file.reason) for file in seen), len(seen), len(entries))]


def _some(entries: Sequence[Entry], enough: int) -> Sequence[int]:
    numbers: dict[str, int] = {}
    labels = np.array([numbers.setdefault(entry.label, len(numbers)) for entry in entries])
    return sample(labels, enough, seed=0).tolist()


def _told(unreadable: int, looked_at: int, files: int) -> str:
    told = f"of {files:,} files {looked_at:,} were looked at, drawn at random"
    if not unreadable:
        return f"{told}; all of them can be read"
    about = round(unreadable * files / looked_at)
    return f"{told}; {unreadable:,} of them cannot be read, so about {about:,} in all"


def _look_at(path: str) -> File:
    try:
        status = os.stat(path)
        header = images.header(path)
    except images.UnreadableImage as error:
        return File(reason=str(error))
    except OSError as error:
        return File(reason=error.strerror or "cannot be read")
    except ValueError as error:  # a zero byte in the path
        return File(reason=str(error))
    return File("", identity_of(status), *header)
