"""What a frozen network sees of images: pooled features at all depths, of the whole picture and its cells."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from advisor.evidence.head_input import HeadInput, Roots
from advisor.evidence.pooling import SHARES
from advisor.evidence.signed_root import signed_root
from advisor.evidence.views import mean_of, turned_back
from advisor.system import large_array


@dataclass(frozen=True)
class Features:
    """Pooled features of n images.

    Attributes:
        taps: names of the backbone's layers, from shallow to deep.
        widths: how many features each of them has.
        values: float32 [n, sum(widths)], averages over the whole picture, the taps side by side; of many
            images mapped from the disk.
        cell_widths: how many numbers each of them has in `cells`.
        cells: signed roots of averages over the cells of a grid, float16 [n, sum(cell_widths)], the taps side
            by side; nothing where there is no grid.
    """

    taps: tuple[str, ...]
    widths: tuple[int, ...]
    values: np.ndarray
    cell_widths: tuple[int, ...]
    cells: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def at(self, tap: str) -> np.ndarray:
        """Averages at one tap, float32 [n, width]."""
        return self.values[:, _columns(self.widths, self.taps.index(tap))]

    def together(self, taps: tuple[str, ...]) -> np.ndarray:
        """Averages at several taps side by side, float32 [n, sum of widths]."""
        return np.concatenate([self.at(tap) for tap in taps], axis=1)

    def last(self) -> np.ndarray:
        """Averages at the deepest tap, float32 [n, width]."""
        return self.at(self.taps[-1])

    def whole_picture(self, taps: tuple[str, ...]) -> HeadInput:
        """What a head sees: roots of the averages over the whole picture at some taps, of many images on the
        disk those from one tap to another."""
        numbers = [self.taps.index(tap) for tap in taps]
        columns = [_columns(self.widths, number) for number in numbers]
        if large_array.is_on_disk(self.values) and numbers == list(range(numbers[0], numbers[-1] + 1)):
            return HeadInput((Roots(self.values, slice(columns[0].start, columns[-1].stop)),))
        return HeadInput((signed_root(self.together(taps)),))

    def with_cells(self, taps: tuple[str, ...]) -> HeadInput:
        """The same, then the roots of the averages over cells; only where `has_cells`."""
        numbers = [self.taps.index(tap) for tap in taps]
        cells = [self.cells[:, _columns(self.cell_widths, number)] for number in numbers]
        if len(taps) == len(self.taps):
            grid = self.cells
        else:
            grid = cells[0] if len(cells) == 1 else np.concatenate(cells, axis=1)
        return HeadInput((*self.whole_picture(taps).parts, grid), SHARES)

    def has_cells(self, taps: tuple[str, ...]) -> bool:
        """Whether any of these taps has cells."""
        return any(self.cell_widths[self.taps.index(tap)] for tap in taps)

    def without_cells(self) -> Features:
        """The averages alone."""
        none = np.empty((len(self), 0), np.float16)
        return Features(self.taps, self.widths, self.values, (0,) * len(self.taps), none)

    def take(self, rows: np.ndarray) -> Features:
        """Some of the images, int64 [m] of the n."""
        values = large_array.take(self.values, rows)
        return Features(self.taps, self.widths, values, self.cell_widths, self.cells[rows])

    def beside(self, other: Features) -> Features:
        """What was seen of the same images by the same taps in another view, right of each tap's own."""
        widths, values = _tap_by_tap(self.widths, self.values, other.widths, other.values)
        cell_widths, cells = _tap_by_tap(self.cell_widths, self.cells, other.cell_widths, other.cells)
        return Features(self.taps, widths, values, cell_widths, cells)

    def and_of(self, other: Features, taps: tuple[str, ...]) -> Features:
        """With what another network saw of the same images, right of this.

        Where a tap has no cells, those that come after it have none, as in `Backbone.features`.

        Args:
            other: what it saw.
            taps: names of the taps of both.
        """
        if not all(self.cell_widths):
            other = other.without_cells()
        return Features(
            taps,
            (*self.widths, *other.widths),
            large_array.side_by_side(self.values, other.values),
            (*self.cell_widths, *other.cell_widths),
            large_array.side_by_side(self.cells, other.cells),
        )

    def averaged_with_mirrored(self, mirrored: Features) -> Features:
        """The mean of what was seen of the same images and of their mirror images."""
        numbers = range(len(self.taps))
        back = [
            turned_back(mirrored.cells[:, _columns(self.cell_widths, number)], self.widths[number])
            for number in numbers
            if self.cell_widths[number]
        ]
        cells = mean_of(self.cells, np.concatenate(back, axis=1)) if back else self.cells
        return replace(self, values=mean_of(self.values, mirrored.values), cells=cells)


def _tap_by_tap(
    widths: tuple[int, ...], values: np.ndarray, others: tuple[int, ...], other_values: np.ndarray
) -> tuple[tuple[int, ...], np.ndarray]:
    """Two tables side by side, tap by tap: how many columns each tap has in both, and these."""
    both = [
        part
        for number in range(len(widths))
        for part in (values[:, _columns(widths, number)], other_values[:, _columns(others, number)])
    ]
    return tuple(map(sum, zip(widths, others, strict=True))), np.concatenate(both, axis=1)


def _columns(widths: tuple[int, ...], number: int) -> slice:
    """Where the features of one tap stand."""
    start = sum(widths[:number])
    return slice(start, start + widths[number])
