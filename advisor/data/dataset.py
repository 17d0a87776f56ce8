"""Labelled images on disk, and the same in numbers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from advisor.data.deep_grey import GreyRange
from advisor.data.listing import Skipped, relative
from advisor.data.names import SPLITS
from advisor.data.reading import AS_FOUND, Reading

DROPPED = -1  # the corrected label of an image that is to be left out
UNBALANCED = 3.0  # times the images of the smallest class that the largest has


def identity_of(status: os.stat_result) -> str:
    """What changes when a file does, by what the operating system says of it."""
    return f"{status.st_size}:{status.st_mtime_ns}"


@dataclass(frozen=True)
class Dataset:
    """Labelled images on disk.

    Attributes:
        source: what the user named.
        root: the folder that shown paths are relative to.
        paths: n absolute file names.
        labels: int64 [n], indices into `class_names`.
        class_names: in natural order: 2 before 10.
        splits: int64 [n], indices into `SPLITS`.
        identities: n strings that change when a file changes (size and time of modification); empty for
            files that were not looked at.
        shorter_sides: int64 [n], pixels; 0 of files that were not looked at.
        longer_sides: int64 [n], pixels; likewise.
        deep: bool [n], whether grey values have more than 8 bits; unknown ones count as not.
        given_splits: the splits that the user made; the others were drawn.
        skipped: files that are left out.
        warnings: what a person should know before they trust a result.
        source_warnings: those of them that hold however the splits are drawn.
        reading: what the user said of how it is to be read.
        groups: int64 [n], equal for images that belong together; None where the user said nothing of it.
        corrected: int64 [n], labels as `--corrections` has them; they differ from `labels` for test images
            alone, and are `DROPPED` where one of those should be left out. None where nothing was corrected.
        corrected_by: the file that the corrections are from.
        grey: the values of deep grey that are black and white; None where nothing is deep.
    """

    source: str
    root: Path
    paths: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    splits: np.ndarray
    identities: tuple[str, ...]
    shorter_sides: np.ndarray
    longer_sides: np.ndarray
    deep: np.ndarray
    given_splits: frozenset[str]
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    source_warnings: tuple[str, ...] = ()
    reading: Reading = AS_FOUND
    groups: np.ndarray | None = None
    corrected: np.ndarray | None = None
    corrected_by: str | None = None
    grey: GreyRange | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def indices(self, split: str) -> np.ndarray:
        """Positions of the images of one of `SPLITS`."""
        return np.flatnonzero(self.splits == SPLITS.index(split))

    @property
    def looked_at(self) -> np.ndarray:
        """Whether the header of each file was read, bool [n]; of very many only some are."""
        return self.shorter_sides > 0

    def counted(self, found: np.ndarray) -> str:
        """How many images were found, bool [n], in words; of those looked at, if these are not all."""
        looked_at = self.looked_at
        return f"{found.sum():,}" + ("" if looked_at.all() else f" of {looked_at.sum():,}")

    def with_identities(self, at: np.ndarray) -> Dataset:
        """The same with the identities at these positions, int64 [m]; vanished files have none."""
        missing = [int(i) for i in at if not self.identities[i]]
        if not missing:
            return self
        identities = list(self.identities)
        for i in missing:
            with suppress(OSError, ValueError):
                identities[i] = identity_of(os.stat(self.paths[i]))
        return replace(self, identities=tuple(identities))

    def groups_of(self, at: np.ndarray) -> np.ndarray | None:
        """The groups of the images at these positions, if there are groups."""
        return None if self.groups is None else self.groups[at]

    def counts(self) -> np.ndarray:
        """Images of each class, int64 [classes]."""
        return np.bincount(self.labels, minlength=len(self.class_names))

    def shown(self, path: str) -> str:
        """A path as the user knows it: relative to the data where it lies inside."""
        return relative(path, self.root)

    def fingerprint(self) -> str:
        """Changes when any label, split or image that was looked at does. Hexadecimal, 16 characters."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for path, identity in zip(self.paths, self.identities, strict=True):
            digest.update(f"{self.shown(path)}\0{identity}\0".encode())
        digest.update(self.labels.tobytes() + self.splits.tobytes())
        digest.update(b"" if self.corrected is None else self.corrected.tobytes())
        return digest.hexdigest()[:16]

    def take(self, kept: np.ndarray) -> Dataset:
        """The images at these positions, with the same classes."""
        return replace(
            self,
            paths=tuple(self.paths[i] for i in kept),
            labels=self.labels[kept],
            splits=self.splits[kept],
            identities=tuple(self.identities[i] for i in kept),
            shorter_sides=self.shorter_sides[kept],
            longer_sides=self.longer_sides[kept],
            deep=self.deep[kept],
            groups=self.groups_of(kept),
            corrected=None if self.corrected is None else self.corrected[kept],
        )

    def as_corrected(self) -> Dataset:
        """The same where the corrections of test images count, too."""
        if self.corrected is None:
            return self
        return replace(self, labels=self.corrected).take(np.flatnonzero(self.corrected != DROPPED))

    def summary(self) -> Summary:
        """The same in numbers and names, without the images."""
        counts = self.counts()
        return Summary(
            source=self.source,
            images=len(self),
            class_names=self.class_names,
            smallest_class=int(counts.min()),
            median_class=float(np.median(counts)),
            largest_class=int(counts.max()),
            splits={split: len(self.indices(split)) for split in SPLITS},
            skipped=self.skipped,
            fingerprint=self.fingerprint(),
            grey=self.grey,
        )


@dataclass(frozen=True)
class Summary:
    """A data set in numbers and names.

    Attributes:
        source: what the user named.
        images: of all splits, without those that were skipped.
        class_names: in natural order.
        smallest_class: images of the class that has fewest.
        median_class: median of the images of a class.
        largest_class: images of the class that has most.
        splits: images of each of `SPLITS`.
        skipped: files that are left out.
        fingerprint: see `Dataset.fingerprint`.
        grey: see `Dataset.grey`.
    """

    source: str
    images: int
    class_names: tuple[str, ...]
    smallest_class: int
    median_class: float
    largest_class: int
    splits: Mapping[str, int]
    skipped: tuple[Skipped, ...]
    fingerprint: str
    grey: GreyRange | None = None

    @property
    def fitted(self) -> int:
        """How many images a finished frozen model has learnt from: all but those of the test split."""
        return self.images - self.splits["test"]

    @property
    def is_unbalanced(self) -> bool:
        """Whether accuracy says little of the smaller classes."""
        return self.largest_class > UNBALANCED * self.smallest_class

    def to_json(self) -> dict[str, Any]:
        """The object "dataset" of `advisor recommend --json`."""
        return {
            "source": self.source,
            "images": self.images,
            "classes": len(self.class_names),
            "class_names": list(self.class_names),
            "images_per_class": {
                "min": self.smallest_class,
                "median": self.median_class,
                "max": self.largest_class,
            },
            "splits": dict(self.splits),
            "skipped": [vars(item) for item in self.skipped],
            **({"grey": list(self.grey)} if self.grey else {}),
        }

    @staticmethod
    def from_json(values: Mapping[str, Any], fingerprint: str) -> Summary:
        """What `to_json` gave; the fingerprint stands elsewhere there."""
        each = values["images_per_class"]
        return Summary(
            source=values["source"],
            images=values["images"],
            class_names=tuple(values["class_names"]),
            smallest_class=each["min"],
            median_class=each["median"],
            largest_class=each["max"],
            splits=values["splits"],
            skipped=tuple(Skipped(**item) for item in values["skipped"]),
            fingerprint=fingerprint,
            grey=(values["grey"][0], values["grey"][1]) if values.get("grey") else None,
        )
