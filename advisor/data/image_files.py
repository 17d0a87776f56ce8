"""What a table means by the names of its images: files, with or without their ending or their folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PICTURES = {
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
}
LIST_FROM = 100  # files asked for in one folder, from which on listing it pays


def is_picture(name: str) -> bool:
    """Whether a file is called as images are."""
    return os.path.splitext(name)[1].lower() in PICTURES


class ImageFiles:
    """The images in a folder, found by what a table calls them.

    The folder is only looked through where a name is not that of a file as it stands there. Where many files
    of one folder are asked for, that folder is listed once, so that a network file system is not asked for
    each.

    Attributes:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[str]] | None = None
        self._asked: Counter[str] = Counter()  # how often, by folder
        self._listed: dict[str, frozenset[str]] = {}

    def find(self, name: str) -> list[str]:
        """The files that may be meant: one if it is clear, none if there are none.

        A path is meant as it stands there, with the backslashes of Windows read as slashes if only that is
        there. Else it is the end of a path in the folder, its ending left out or not.
        """
        direct = [os.path.join(self.root, one) for one in dict.fromkeys((name, name.replace("\\", "/")))]
        there = [path for path in direct if self._is_there(path)]
        if there:
            return there[:1]
        inside = os.path.normpath(direct[-1])[len(os.path.join(self.root, "")) :]
        last = os.path.basename(inside)
        near = self._names().get(last, []) + self._names().get(_without_ending(last), [])
        end = os.sep + inside
        return sorted(
            path for path in {*near} if path.endswith(end) or (os.sep + _without_ending(path)).endswith(end)
        )

    def _is_there(self, path: str) -> bool:
        folder, name = os.path.split(path)
        self._asked[folder] += 1
        if self._asked[folder] == LIST_FROM:
            with suppress(OSError):
                self._listed[folder] = frozenset(os.listdir(folder))
        # What is not in the list may still be there, as where capitals do not count.
        return name in self._listed.get(folder, ()) or os.path.lexists(path)

    def _names(self) -> dict[str, list[str]]:
        """Paths of the images by their names without ending."""
        if self._by_name is None:
            self._by_name = {}
            for path in self._walk():
                self._by_name.setdefault(_without_ending(os.path.basename(path)), []).append(path)
        return self._by_name

    def _walk(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (os.path.join(folder, name) for name in sorted(files) if is_picture(name))


def _without_ending(path: str) -> str:
    """A path without the ending of an image; any other dot belongs to the name."""
    return os.path.splitext(path)[0] if is_picture(path) else path
