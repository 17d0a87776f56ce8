"""What a folder or a table lists: files with their labels and splits, none of them opened yet."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from advisor.system.text import legible


@dataclass(frozen=True)
class Skipped:
    """A file that is left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that should be an image.

    Attributes:
        path: absolute.
        label: as the user wrote it.
        split: one of `SPLITS`; None where the user said nothing.
        group: what it belongs to, as a patient or a scene; None where the user said nothing.
    """

    path: str
    label: str
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Listing:
    """What DATA consists of.

    Attributes:
        root: the folder that shown paths are relative to.
        entries: the files.
        skipped: what was left out.
        warnings: what lies there and is not used, and how it was read where that is not plain.
    """

    root: Path
    entries: list[Entry] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def relative(path: str, root: Path) -> str:
    """A path as the user knows it: relative to the root where it lies inside."""
    folder = os.path.join(root, "")
    inside = path[len(folder) :]
    # Of a million paths nearly all end here; pathlib takes ten times as long.
    if path.startswith(folder) and inside and os.path.normpath(inside) == inside:
        return legible(inside)
    try:
        return legible(str(Path(path).relative_to(root)))
    except ValueError:
        return legible(path)
