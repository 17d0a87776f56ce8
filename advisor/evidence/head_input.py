"""What a linear head sees of images: numbers in memory or on disk, read a few images at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np

from advisor.evidence.gaussian import ALIKE, SHARE, Gaussian
from advisor.evidence.signed_root import signed_root

ROWS = COLUMNS = 4096  # that are worked on at once, so that memory stays flat


class Part(Protocol):
    """Numbers of n images, [n, d]; an array is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """n and d."""

    @property
    def dtype(self) -> Any:
        """Of the numbers."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Those of some images, by a slice or by positions: an array [m, d], or a part."""


@dataclass(frozen=True, eq=False)
class Roots:
    """Signed roots of a table that need not fit into memory; they are taken when images are read.

    Attributes:
        table: float32 [m, w], such as a file that is mapped into memory.
        columns: which of its columns.
        rows: int64 [n], which of its rows; all if left out.
    """

    table: np.ndarray
    columns: slice
    rows: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """n and d."""
        start, stop, _ = self.columns.indices(self.table.shape[1])
        return len(self.table if self.rows is None else self.rows), stop - start

    @property
    def dtype(self) -> np.dtype:
        """Of the numbers."""
        return self.table.dtype

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        at = rows if self.rows is None else self.rows[rows]
        return signed_root(np.asarray(self.table[at, self.columns]))

    def take(self, rows: np.ndarray) -> Roots:
        """Those of some images, int64 [k] of the n; none is read yet."""
        return Roots(self.table, self.columns, rows if self.rows is None else self.rows[rows])


@dataclass(frozen=True, eq=False)
class Likeness:
    """How like n images are to each of the m that a Gaussian kernel knows; computed when it is read.

    Attributes:
        features: of the images, as the kernel takes them, [n, d].
        gaussian: the kernel.
        own: int64 [n], which of the m each image is; -1 for one that is none of them. A head is fitted to
            some of the m.
    """

    features: Part
    gaussian: Gaussian
    own: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """n and m."""
        return self.features.shape[0], len(self.gaussian.points)

    @property
    def dtype(self) -> np.dtype:
        """Of the numbers."""
        return np.dtype(np.float32)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return self.gaussian.likeness(self.features[rows])

    def take(self, rows: np.ndarray) -> Likeness:
        """That of some images, int64 [k] of the n."""
        return Likeness(_taken(self.features, rows), self.gaussian, self.own[rows])

    def between(self) -> np.ndarray:
        """The kernel itself of each two images, all of which are among the m: 0..1, [n, n]."""
        assert (self.own >= 0).all()
        return self[:][:, self.own] / ALIKE

    def weights(self, of_images: np.ndarray) -> np.ndarray:
        """Weights of the kernel with n images, all of which are among the m, [n, c], as weights of the
        likenesses to the m, [m, c]."""
        weights = np.zeros((len(self.gaussian.points), of_images.shape[1]), of_images.dtype)
        np.add.at(weights, self.own, of_images / ALIKE)
        return weights


@dataclass(frozen=True)
class HeadInput:
    """What a head sees of n images: parts side by side.

    Attributes:
        parts: each [n, its width]. Those in half precision are multiplied in single precision, the others in
            double precision.
        shares: of each part in the squared length of standardised features, of a `Likeness` in the inner
            products; they sum to 1.
    """

    parts: tuple[Part, ...]
    shares: tuple[float, ...] = (1.0,)

    def __len__(self) -> int:
        return self.parts[0].shape[0]

    @property
    def widths(self) -> tuple[int, ...]:
        """Of each part."""
        return tuple(part.shape[1] for part in self.parts)

    @property
    def width(self) -> int:
        """Of all parts together."""
        return sum(self.widths)

    def take(self, rows: np.ndarray) -> HeadInput:
        """Some of the images, int64 [m] of the n."""
        return HeadInput(tuple(_taken(part, rows) for part in self.parts), self.shares)

    def read(self, rows: slice | np.ndarray) -> np.ndarray:
        """All that is seen of some images, float32 [m, width]."""
        read = [part[rows].astype(np.float32, copy=False) for part in self.parts]
        return read[0] if len(read) == 1 else np.concatenate(read, axis=1)

    def by_images(self) -> Iterator[tuple[slice, np.ndarray]]:
        """A few images at a time: which they are, and what is seen of them, float32 [b, width]."""
        for rows in in_turn(len(self), self.width):
            yield rows, self.read(rows)

    def by_columns(self) -> Iterator[tuple[slice, np.ndarray]]:
        """The columns from left to right, a few at a time: where they stand, and [n, b] float32.

        For few images: all of them are in memory at once. Those of `likenesses` are left out.
        """
        for at, part in self._placed():
            if isinstance(part, Likeness):
                continue
            values = part[:]
            for start in range(0, values.shape[1], COLUMNS):
                block = values[:, start : start + COLUMNS].astype(np.float32, copy=False)
                yield slice(at.start + start, at.start + start + block.shape[1]), block

    def likenesses(self) -> Iterator[tuple[slice, Likeness, float]]:
        """The parts that come from a Gaussian kernel: where their columns stand, and their shares."""
        for (at, part), share in zip(self._placed(), self.shares, strict=True):
            if isinstance(part, Likeness):
                yield at, part, share

    def _placed(self) -> Iterator[tuple[slice, Part]]:
        """The parts, and where their columns stand."""
        left = 0
        for part in self.parts:
            yield slice(left, left + part.shape[1]), part
            left += part.shape[1]

    def and_likeness(self, gaussian: Gaussian, own: np.ndarray) -> HeadInput:
        """The same with the likeness to the images of a kernel, as a last part; `own` as in `Likeness`."""
        shares = (*((1 - SHARE) * share for share in self.shares), SHARE)
        return HeadInput((*self.parts, Likeness(self.parts[0], gaussian, own)), shares)


def _taken(part: Part, rows: np.ndarray) -> Part:
    """Some of the images, int64 [k], of a part."""
    return part.take(rows) if isinstance(part, (Roots, Likeness)) else cast(Part, part[rows])


def as_input(features: np.ndarray | HeadInput) -> HeadInput:
    """Features [n, d] as one part."""
    return features if isinstance(features, HeadInput) else HeadInput((features,))


def in_turn(count: int, width: int = 1) -> list[slice]:
    """All of `count` rows of so many numbers, a few at a time."""
    at_once = max(1, min(ROWS, ROWS * COLUMNS // width))
    return [slice(start, start + at_once) for start in range(0, count, at_once)]
