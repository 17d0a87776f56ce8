"""What nothing can be learned from is refused; what may mislead is told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from advisor.data import table_file
from advisor.data.dataset import Dataset
from advisor.data.listing import Skipped
from advisor.data.names import SPLITS, listed, look, told_apart
from advisor.errors import InputError

LONG = 1.5  # times the shorter side: from here on the centre crop drops more than a third of the pixels


def check(data: Dataset) -> None:
    """Refuse what nothing can be learned from.

    Raises:
        InputError: no images, one class, a class with fewer than two images, or none to train on.
    """
    first = f" (the first skipped: {data.skipped[0].path}: {data.skipped[0].reason})" if data.skipped else ""
    if not len(data):
        way_out = "put images into its class folders"
        if data.source.lower().endswith(table_file.ENDINGS):
            way_out = "its paths must be relative to its own folder, or to --images DIR"
        raise InputError(f"{data.source} holds no readable images{first}; {way_out}")
    if len(data.class_names) < 2:
        raise InputError(
            f"{data.source} has one class only ({data.class_names[0]!r}); add a folder for a second class"
        )
    counts = data.counts()
    if counts.min() < 2:
        name, count = data.class_names[counts.argmin()], counts.min()
        of_class = [item for item in data.skipped if name in Path(item.path).parts]
        first = f" (the first skipped: {of_class[0].path}: {of_class[0].reason})" if of_class else ""
        raise InputError(
            f"class {name!r} has {count} readable image{'' if count == 1 else 's'}{first}; "
            f"add images until it has at least 2, or remove the class{_or_its_twin(data, name)}"
        )
    if data.given_splits:
        training = np.bincount(data.labels[data.indices("train")], minlength=len(counts))
        if training.min() < 1:
            absent = [data.class_names[i] for i in np.flatnonzero(training == 0)]
            twins = _twins(data.class_names)
            name = next((name for name in absent if name in twins), absent[0])
            raise InputError(
                f"class {name!r} has no images in the training split; add some, or remove the class"
                f"{_or_its_twin(data, name)}"
            )


def check_splits(data: Dataset, but: str = "") -> None:
    for split in SPLITS:
        if not len(data.indices(split)):
            raise InputError(
                f"the {split} split of {data.source} has no readable images of its own; add some{but}"
            )


def _twins(class_names: Sequence[str]) -> dict[str, str]:
    """For each class that looks like others, one of those."""
    alike = defaultdict(list)
    for name in class_names:
        alike[look(name)].append(name)
    return {name: names[i - 1] for names in alike.values() if len(names) > 1 for i, name in enumerate(names)}


def look_alikes(class_names: Sequence[str]) -> list[str]:
    """Classes that may be one class."""
    seen: set[str] = set()
    warnings = []
    for name, twin in _twins(class_names).items():
        if twin in seen:
            one, other = told_apart(twin, name)
            warnings.append(f"classes {one} and {other} look alike; merge them if they are one")
        seen.add(name)
    return warnings


def _or_its_twin(data: Dataset, name: str) -> str:
    """The other class that may be meant, for the end of a message; empty where there is none."""
    twin = _twins(data.class_names).get(name)
    if not twin:
        return ""
    one, other = told_apart(name, twin)
    return f"; {one} looks like {other}: if they are one class, call both the same"


def are_long(data: Dataset) -> np.ndarray:
    """Which images lose more than a third where they are cut to the square in the middle, bool [n]."""
    # One pixel is allowed for rounding: 500 x 333 has the form of 3:2.
    return data.longer_sides > LONG * (data.shorter_sides + 1)


def most_are_long(data: Dataset) -> bool:
    """Of the images that were looked at."""
    return bool(2 * are_long(data).sum() > data.looked_at.sum())


def long_images(data: Dataset) -> list[str]:
    """Where networks see the square in the middle: tell if most images lose more than a third."""
    long = np.flatnonzero(are_long(data))
    if not most_are_long(data):
        return []
    first = long[0]
    return [
        f"{len(long):,} of {data.looked_at.sum():,} images are long, as {data.shown(data.paths[first])} "
        f"({data.longer_sides[first]} x {data.shorter_sides[first]}): the network sees the square in their "
        "middle, less than two thirds; if what matters may lie at the ends, give --fit pad"
    ]


def untested_classes(data: Dataset) -> tuple[str, ...]:
    """Classes that a test would say nothing about."""
    warnings: list[str] = []
    for split in sorted(data.given_splits - {"train"}):
        present = set(data.labels[data.indices(split)])
        absent = [name for i, name in enumerate(data.class_names) if i not in present]
        if absent:
            warnings.append(f"the {split} split has no images of {listed(absent)}")
    return tuple(warnings)


def leave_out(data: Dataset, unreadable: Sequence[Skipped]) -> Dataset:
    """The data set without files that turned out to be unreadable when they were decoded.

    Raises:
        InputError: too little is left, see `check`.
    """
    if not unreadable:
        return data
    left_out = {skipped.path for skipped in unreadable}
    kept = np.array([i for i, path in enumerate(data.paths) if path not in left_out], dtype=np.int64)
    shown = tuple(Skipped(data.shown(item.path), item.reason) for item in unreadable)
    rest = replace(data.take(kept), skipped=data.skipped + shown)
    check(rest)
    check_splits(rest)
    return rest
