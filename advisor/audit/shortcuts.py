"""What gives a class away beside the picture: file format, size, camera, border, a mark in a corner.

A model learns such a thing in the place of the class, and fails where it is missing. Looked at is a sample of
the images as their files are, not cut to squares. A property is named where an image that has it is nearly
always of one class, and a good part of this class has it; that is a question to a person and no verdict.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from advisor.data import images
from advisor.data.dataset import Dataset
from advisor.data.deep_grey import GreyRange
from advisor.data.images import UnreadableImage
from advisor.data.sampling import sample

MOST = 1_000  # images looked at
LEAST_SIDE = 512  # pixels that are left of the shorter side of a large picture
# Named where this share of those that have a property above what chance gives is of one class, and where so
# large a share of the class has it: with them planted ones are named, and nothing on flowers, ants and bees
# and steel (tests/test_shortcuts.py).
PURITY, COVERAGE = 0.8, 0.3
FEWEST = 10  # images of the class that have it
# A border has one colour where so many of its pixels are within so many levels of their median, as JPEG
# blurs it, and no more than so many in the middle: else it is the ground that things lie on.
OF_ONE_COLOR, IN_THE_MIDDLE, SHADES = 0.9, 0.5, 40
CORNER, CELL = 64, 4  # pixels of the side of a corner that is looked at, and of its cells
# A mark stands where the edges in a class of images have the same direction at the same place: the mean of
# a gradient over its standard deviation (gradients of many images show a watermark: Dekel, Rubinstein, Liu
# and Freeman, On the effectiveness of visible watermarks, CVPR 2017), in so many cells at least. An image has
# it where its gradients there correlate so well with the mean.
SAME, CELLS, CORRELATION = 1.0, 8, 0.5

CORNERS = ("upper left", "upper right", "lower left", "lower right")
_COLORS = {
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "white": (255, 255, 255),
    "red": (220, 30, 30),
    "green": (30, 180, 30),
    "blue": (30, 30, 220),
    "yellow": (230, 220, 30),
    "cyan": (30, 210, 220),
    "magenta": (220, 30, 220),
    "orange": (230, 130, 20),
}


@dataclass(frozen=True)
class Shortcut:
    """A property that gives a class away.

    Attributes:
        kind: "file format", "image size", "camera", "border" or "mark".
        value: what the images have, for people.
        label: the class, an index into the names of the classes.
        with_it: images of the class that have it, among those looked at.
        of_class: images of the class among those.
        elsewhere: images of other classes that have it.
        positions: of images of the class that have it, a few.
    """

    kind: str
    value: str
    label: int
    with_it: int
    of_class: int
    elsewhere: int
    positions: tuple[int, ...]


@dataclass(frozen=True)
class _Look:
    """What a file shows beside its content.

    Attributes:
        values: by kind; empty where there is nothing to name.
        corners: gradients in the corners, float32 [4, cells, cells, 2].
        sharpness: how much neighbouring pixels differ, in grey levels.
    """

    values: dict[str, str]
    corners: np.ndarray
    sharpness: float


@dataclass(frozen=True)
class Looked:
    """A sample of images as their files are.

    Attributes:
        positions: of those that can be read, int64 [n].
        looks: what each of them shows.
    """

    positions: np.ndarray
    looks: tuple[_Look, ...]

    def sharpness(self) -> dict[int, float]:
        """How much neighbouring pixels differ, in grey levels, by position."""
        return {int(at): look.sharpness for at, look in zip(self.positions, self.looks, strict=True)}


def look(data: Dataset, seed: int, progress: Callable[[int, int], None] = lambda *_: None) -> Looked:
    """Look at a sample of images.

    Args:
        data: the images.
        seed: of the sample.
        progress: called with images done and images to do.
    """
    positions, looks = sample(data.labels, MOST, seed), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for one in pool.map(_look, (data.paths[i] for i in positions), repeat(data.grey)):
            looks.append(one)
            progress(len(looks), len(positions))
    read = [i for i, one in enumerate(looks) if one]
    return Looked(positions[read], tuple(one for one in looks if one))


def find(looked: Looked, data: Dataset) -> tuple[Shortcut, ...]:
    """The properties that give a class away, the one that most images have first.

    Args:
        looked: a sample of the images.
        data: all of them.
    """
    seen, positions = looked.looks, looked.positions
    if not seen:
        return ()
    labels = data.labels[positions]
    kinds = {kind: [look.values[kind] for look in seen] for kind in seen[0].values}
    found = [one for kind, values in kinds.items() for one in _named(kind, values, labels, positions)]
    corners = np.stack([look.corners for look in seen])
    bordered = {one.label for one in found if one.kind == "border"}  # which ends in each corner
    for corner, where in enumerate(CORNERS):
        marks = _marks(corners[:, corner], f"{where} corner", labels, positions)
        found += [one for one in marks if one.label not in bordered]
    return tuple(sorted(found, key=lambda one: -one.with_it))


def _named(kind: str, values: Sequence[str], labels: np.ndarray, positions: np.ndarray) -> list[Shortcut]:
    """The values of one property that give a class away."""
    column, found = np.array(values), []
    for value in sorted(set(values) - {""}):
        has = column == value
        label = int(np.bincount(labels[has]).argmax())
        own = labels == label
        with_it, of_class, elsewhere = int((has & own).sum()), int(own.sum()), int((has & ~own).sum())
        chance = own.mean()
        above_chance = (with_it / has.sum() - chance) / max(1 - chance, 1e-12)
        if with_it >= FEWEST and with_it >= COVERAGE * of_class and above_chance >= PURITY:
            shown = tuple(positions[has & own][:5].tolist())
            found.append(Shortcut(kind, value, label, with_it, of_class, elsewhere, shown))
    return found


def _marks(gradients: np.ndarray, where: str, labels: np.ndarray, positions: np.ndarray) -> list[Shortcut]:
    """A mark in one corner that gives a class away.

    Args:
        gradients: float32 [n, cells, cells, 2].
        where: the corner.
        labels: int64 [n].
        positions: int64 [n].
    """
    found: list[Shortcut] = []
    for label in np.flatnonzero(np.bincount(labels) >= FEWEST):
        own = gradients[labels == label]
        mean, spread = own.mean(axis=0), own.std(axis=0)
        same = (np.abs(mean) > SAME * np.maximum(spread, 1.0)).any(axis=-1)
        if same.sum() < CELLS:
            continue
        pattern, there = mean[same].ravel(), gradients[:, same].reshape(len(gradients), -1)
        lengths = np.linalg.norm(there, axis=1) * np.linalg.norm(pattern)
        has = there @ pattern > CORRELATION * np.maximum(lengths, 1e-6)
        named = _named("mark", [where if one else "" for one in has], labels, positions)
        found += [one for one in named if one.label == label]
    return found


def _look(path: str, grey: GreyRange | None) -> _Look | None:
    """What a file shows beside its content; None where it cannot be read."""
    try:
        told = images.origin(path)
        pixels = np.asarray(images.read(path, LEAST_SIDE, grey), np.float32)
    except UnreadableImage:
        return None
    values = {
        "file format": told.format,
        "image size": f"{told.size[0]} x {told.size[1]}",
        "camera": told.camera,
        "border": _border(pixels),
    }
    corners = np.stack([_gradients(corner) for corner in _corners(pixels)])
    return _Look(values, corners, _sharpness(pixels))


def _sharpness(pixels: np.ndarray) -> float:
    """Root mean square of what each pixel of [h, w, 3] differs from the mean of its four neighbours."""
    grey = pixels.mean(axis=-1)
    around = (grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]) / 4
    return float(np.sqrt(((grey[1:-1, 1:-1] - around) ** 2).mean())) if around.size else 0.0


def _border(pixels: np.ndarray) -> str:
    """The name of the colour of the outermost pixels of [h, w, 3], where they have one of their own."""
    ring = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    color = np.median(ring, axis=0)
    height, width = (length // 5 for length in pixels.shape[:2])
    middle = pixels[height : -height or None, width : -width or None]
    if _near(ring, color) < OF_ONE_COLOR or _near(middle, color) > IN_THE_MIDDLE:
        return ""
    return min(_COLORS, key=lambda name: float(((color - _COLORS[name]) ** 2).sum()))


def _near(pixels: np.ndarray, color: np.ndarray) -> float:
    """The share of pixels [..., 3] that have about some colour."""
    return float((np.abs(pixels - color).max(axis=-1) <= SHADES).mean())


def _corners(pixels: np.ndarray) -> list[np.ndarray]:
    """Grey corners, float32 [CORNER, CORNER] each; of a small picture its quarters, enlarged."""
    grey = pixels.mean(axis=-1)
    side = min(CORNER, *(max(length // 2, 1) for length in grey.shape))
    at = np.arange(CORNER) * side // CORNER
    parts = (grey[:side, :side], grey[:side, -side:], grey[-side:, :side], grey[-side:, -side:])
    return [part[np.ix_(at, at)] for part in parts]


def _gradients(corner: np.ndarray) -> np.ndarray:
    """Differences of neighbouring cells, downwards and to the right, float32 [cells - 1, cells - 1, 2]."""
    count = CORNER // CELL
    cells = corner.reshape(count, CELL, count, CELL).mean(axis=(1, 3))
    down, right = np.diff(cells, axis=0)[:, :-1], np.diff(cells, axis=1)[:-1]
    return np.stack([down, right], axis=-1)
