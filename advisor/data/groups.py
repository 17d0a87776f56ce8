"""What belongs together: images of one patient, device or scene, as the user says or as names suggest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advisor.data.listing import Entry, Listing, relative
from advisor.data.reading import Reading
from advisor.errors import InputError
from advisor.system.text import legible

SEPARATORS = "_-. "
MOST_WORDS = 3  # of a name that may say what an image belongs to
FEWEST_GROUPS = 10
FEWEST_NAMED = 0.9  # of the images, whose names have to be so
FEWEST_SHARED = 0.5  # of the images, that have to be in groups of several
FEWEST_IN_CLASS = 3  # groups that each class has to have: a class is no group


def of_entries(listing: Listing, entries: Sequence[Entry], reading: Reading) -> np.ndarray | None:
    """Which group each image belongs to, int64 [n]; None where the user says nothing of groups.

    An image that nothing is said of stands alone.

    Raises:
        InputError: what the user says puts no two images together.
    """
    if reading.group_pattern is not None:
        pattern, option = re.compile(reading.group_pattern), f"--group-pattern {reading.group_pattern}"
        names = [_found(pattern, relative(entry.path, listing.root)) for entry in entries]
    elif reading.group_column is not None:
        option, names = f"--group-column {reading.group_column}", [entry.group for entry in entries]
    else:
        return None
    groups = _numbered(names)
    if len(entries) and len(np.unique(groups)) == len(groups):
        raise InputError(
            f"{option} puts no two images together, as {relative(entries[0].path, listing.root)}; give one "
            "that does, or leave it out"
        )
    alone = sum(name is None for name in names)
    if alone:
        listing.warnings.append(f"{alone:,} images belong to no group by {option}; each stands alone")
    return groups


def _found(pattern: re.Pattern[str], path: str) -> str | None:
    match = pattern.search(path.replace("\\", "/"))
    if match is None:
        return None
    return "\0".join(part or "" for part in match.groups()) if match.groups() else match[0]


def _numbered(names: Sequence[str | None]) -> np.ndarray:
    """Numbers for names: one for each, and one for each that is None."""
    known: dict[str, int] = {}
    numbers = [known.setdefault(name, len(known)) if name is not None else -1 for name in names]
    alone = iter(range(len(known), len(known) + len(numbers)))
    return np.array([number if number >= 0 else next(alone) for number in numbers], dtype=np.int64)


@dataclass(frozen=True)
class Suggested:
    """What names suggest of groups.

    Attributes:
        pattern: for --group-pattern.
        groups: int64 [n].
        example: what the images of one of them share in their names.
    """

    pattern: str
    groups: np.ndarray
    example: str


def suggested(names: Sequence[str], labels: np.ndarray) -> Suggested | None:
    """Groups that the beginnings of names suggest; None where they suggest none.

    Taken is what makes the fewest groups of several classes, else what makes the fewest groups: the names of
    images are `patient_image`, `object-view`, `video_scene_frame`. A beginning that is but a number counts
    within its class alone.

    Args:
        names: relative paths of n images.
        labels: int64 [n], their classes.
    """
    found = []
    for separator in SEPARATORS:
        if sum(separator in name.rpartition("/")[2] for name in names) < FEWEST_NAMED * len(names):
            continue
        for words in range(1, MOST_WORDS + 1):
            own = [_beginning(name.rpartition("/")[2], separator, words) for name in names]
            numbers = sum(word is not None and word.isdecimal() for word in own) > len(own) / 2
            if numbers:
                folders = [name.rpartition("/")[0] for name in names]
                own = [word and f"{folder}/{word}" for folder, word in zip(folders, own, strict=True)]
            groups = _numbered(own)
            if may_be_groups(groups, labels, FEWEST_SHARED):
                shared = own[int(np.flatnonzero(groups == np.bincount(groups).argmax())[0])]
                pattern = _pattern(separator, words, numbers)
                found.append(
                    (of_several_classes(groups, labels) == 0, Suggested(pattern, groups, legible(shared)))
                )
    return min(found, key=lambda one: (one[0], one[1].groups.max()))[1] if found else None


def of_several_classes(groups: np.ndarray, labels: np.ndarray) -> int:
    """How many groups have images of several classes."""
    pairs = np.unique(np.stack([groups, labels]), axis=1)
    return int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())


def _beginning(name: str, separator: str, words: int) -> str | None:
    """The first words of a name that has more."""
    parts = name.rpartition(".")[0].split(separator, words)
    return separator.join(parts[:words]) if len(parts) > words and all(parts[:words]) else None


def may_be_groups(groups: np.ndarray, labels: np.ndarray, fewest_shared: float = 0.0) -> bool:
    """Whether there are enough groups to speak of, and in each class.

    Args:
        groups: int64 [n], from zero on.
        labels: int64 [n], their classes.
        fewest_shared: of the images, that have to be in groups of several, 0..1.
    """
    sizes = np.bincount(groups)
    sizes = sizes[sizes > 0]
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    in_class = np.bincount(pairs[0])
    return (
        (sizes > 1).sum() >= FEWEST_GROUPS
        and sizes[sizes > 1].sum() >= fewest_shared * len(groups)
        and in_class[in_class > 0].min() >= FEWEST_IN_CLASS
    )


def _pattern(separator: str, words: int, with_folder: bool) -> str:
    """A regular expression that finds the first words of a name, and the folders before it if they count."""
    between = "[.]" if separator == "." else separator
    beginning = between.join([f"[^/{separator}]+"] * words)
    folder = "(?:.*/)?" if with_folder else ""
    return f"({folder}{beginning}){between}[^/]*$"
