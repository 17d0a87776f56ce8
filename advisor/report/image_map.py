"""The map of all measured images as a picture with thumbnails under the pointer, without any script.

Each class has a colour and a shape. The colours are six of the eight that Okabe and Ito chose for people who
are colour-blind (https://jfly.uni-koeln.de/color/), those that stand out on white and on black; with four
shapes they tell 24 classes apart. Where there are more, those with fewest images are grey, and under the
pointer each image says what it is.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from advisor.data import images
from advisor.data.dataset import Dataset
from advisor.data.deep_grey import GreyRange
from advisor.evidence.sights import NOT_ASKED, Sights
from advisor.report.pictures import jpeg
from advisor.report.rendering import safe
from advisor.system.text import shortened

COLORS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7")
GREY = "#8a8f98"
# Steps of a path from the middle of a mark, and how it is drawn: strokes of no length have their ends' shape.
_FILLED = 'stroke="none" fill="{}"'
SHAPES = (
    ("h0", 'fill="none" stroke="{}" stroke-width="7" stroke-linecap="round"'),
    ("m0-5l5 8.6h-10z", _FILLED),
    ("h0", 'fill="none" stroke="{}" stroke-width="6" stroke-linecap="square"'),
    ("m0-5.4l5.4 5.4-5.4 5.4-5.4-5.4z", _FILLED),
)
MOST_CLASSES = len(COLORS) * len(SHAPES)
WIDTH, HEIGHT, MARGIN = 720, 460, 14
MOST_THUMBNAILS, THUMBNAIL, ACROSS = 600, 48, 25  # of 48 pixels, 25 side by side: about 0.6 MB
LONGEST_NAME = 60  # characters under the pointer


@dataclass(frozen=True)
class Marks:
    """What is marked on the map.

    Attributes:
        mistakes: the name of the class that an image was taken for wrongly, by its position in the data set.
        suspects: positions of images whose label may be wrong.
        about: who made the mistakes, as the end of a sentence.
    """

    mistakes: Mapping[int, str]
    suspects: Collection[int]
    about: str


def marks_of_probes(sights: Sights, data: Dataset, suspects: Collection[str]) -> Marks:
    """The mistakes of the head that measured the images, each of which it had not seen.

    Args:
        sights: what it took them for.
        data: the images.
        suspects: paths, as the user knows them, of images whose label may be wrong.
    """
    asked = zip(sights.positions.tolist(), sights.taken_for.tolist(), strict=True)
    mistakes = {at: data.class_names[told] for at, told in asked if told not in (NOT_ASKED, data.labels[at])}
    return Marks(mistakes, _at(sights, data, suspects), "a frozen model that has not seen the image")


def marks_of_tests(
    sights: Sights, data: Dataset, suspects: Collection[str], wrong: Mapping[str, str]
) -> Marks:
    """The mistakes of a finished model on test images.

    Args:
        sights: see `marks_of_probes`, as all that does not stand here.
        data: see there.
        suspects: see there.
        wrong: the name of the class that a file was taken for.
    """
    paths = ((at, data.paths[at]) for at in sights.positions.tolist())
    mistakes = {at: wrong[path] for at, path in paths if path in wrong}
    return Marks(mistakes, _at(sights, data, suspects), "the finished model, on test images")


def _at(sights: Sights, data: Dataset, shown: Collection[str]) -> frozenset[int]:
    wanted = set(shown)
    return frozenset(at for at in sights.positions.tolist() if data.shown(data.paths[at]) in wanted)


def image_map(sights: Sights, data: Dataset, marks: Marks) -> dict[str, Any]:
    """What the template of the map needs.

    Args:
        sights: where the images lie.
        data: the images.
        marks: which of them are marked.
    """
    places, spread = sights.plane
    x, y = _pixels(places)
    styles = _styles(data.labels[sights.positions], len(data.class_names))
    sprite, tiles = _sprite(sights, data, marks)
    return {
        "drawing": _drawing(x, y, sights, data, marks, styles),
        "targets": [
            _target(x[row], y[row], at, data, marks, tiles.get(at))
            for row, at in enumerate(sights.positions.tolist())
        ],
        "sprite": sprite,
        "thumbnail": THUMBNAIL,
        "across": ACROSS,
        "legend": _legend(sights, data, styles),
        "others": int((~np.isin(data.labels[sights.positions], list(styles))).sum()),
        "images": len(sights.positions),
        "spread": spread,
        "mistakes": len(marks.mistakes),
        "by": marks.about,
        "suspects": len(marks.suspects),
    }


def _pixels(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points [n, 2] lie in the drawing."""
    low, high = points.min(axis=0), points.max(axis=0)
    shares = (points - low) / np.where(high > low, high - low, 1)
    return (
        MARGIN + shares[:, 0] * (WIDTH - 2 * MARGIN),
        HEIGHT - MARGIN - shares[:, 1] * (HEIGHT - 2 * MARGIN),
    )


def _styles(labels: np.ndarray, classes: int) -> dict[int, tuple[str, int]]:
    """Colour, and number of the shape, of each class that has its own: those with most images."""
    counts = np.bincount(labels, minlength=classes)
    largest = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    own = sorted(int(label) for label in largest if counts[label])
    return {
        label: (COLORS[number % len(COLORS)], number // len(COLORS) % len(SHAPES))
        for number, label in enumerate(own)
    }


def _legend(sights: Sights, data: Dataset, styles: Mapping[int, tuple[str, int]]) -> list[dict[str, Any]]:
    """The legend: for each class with a colour its number, its sign, its name and how many images it has."""
    counts = np.bincount(data.labels[sights.positions], minlength=len(data.class_names))
    return [
        {
            "number": number,
            "sign": Markup(
                '<svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true">{}</svg>'
            ).format(_path([(7, 7)], *style)),
            "name": data.class_names[label],
            "images": int(counts[label]),
        }
        for number, (label, style) in enumerate(styles.items())
    ]


def _path(points: list[tuple[float, float]], color: str, shape: int) -> Markup:
    steps, how = SHAPES[shape]
    drawn = "".join(f"M{x:.1f} {y:.1f}{steps}" for x, y in points)
    return Markup(f'<path d="{drawn}" {how.format(color)}/>')


def _drawing(
    x: np.ndarray,
    y: np.ndarray,
    sights: Sights,
    data: Dataset,
    marks: Marks,
    styles: Mapping[int, tuple[str, int]],
) -> Markup:
    """All marks as one SVG, a group for each class; those that belong to no coloured class lie lowest."""
    labels = data.labels[sights.positions]
    groups = [("others", GREY, 0, ~np.isin(labels, list(styles)))]
    for number, (label, style) in enumerate(styles.items()):
        groups.append((f"k{number}", *style, labels == label))
    parts = []
    for name, color, shape, rows in groups:
        if rows.any():
            path = _path(list(zip(x[rows], y[rows], strict=True)), color, shape)
            parts.append(f'<g class="k {name}" opacity=".85">{path}</g>')
    rings = (
        (marks.mistakes, 'r="6.5" stroke="currentColor" stroke-width="1.4"'),
        (marks.suspects, f'r="10" stroke="{COLORS[3]}" stroke-width="2.2"'),
    )
    for marked, how in rings:
        at = np.flatnonzero(np.isin(sights.positions, list(marked)))
        parts += [f'<circle cx="{x[row]:.1f}" cy="{y[row]:.1f}" fill="none" {how}/>' for row in at]
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f"<title>{safe('All measured images, those that are alike near each other')}</title>"
        f"{''.join(parts)}</svg>"
    )


def _target(x: float, y: float, at: int, data: Dataset, marks: Marks, tile: int | None) -> dict[str, Any]:
    """What lies under the pointer at one image."""
    name = data.class_names[data.labels[at]]
    if at in marks.mistakes:
        name = f"{name}, taken for {marks.mistakes[at]}"
    if at in marks.suspects:
        name = f"{name} (label may be wrong)"
    down, across = divmod(tile or 0, ACROSS)
    return {
        "x": f"{100 * x / WIDTH:.1f}",
        "y": f"{100 * y / HEIGHT:.1f}",
        "side": ("l" if x > WIDTH / 2 else "r") + ("d" if y < HEIGHT / 2 else "u"),
        "tile": None if tile is None else (across, down),
        "name": name,
        "path": shortened(data.shown(data.paths[at]), LONGEST_NAME),
    }


def _sprite(sights: Sights, data: Dataset, marks: Marks) -> tuple[Markup | None, dict[int, int]]:
    """One picture that holds the thumbnails, and the place of each image in it, counted row by row.

    Where there are more images than it has room for, the marked ones come first and the others are spaced
    evenly.
    """
    positions = sights.positions
    marked = np.isin(positions, [*marks.mistakes, *marks.suspects])
    first, others = positions[marked][:MOST_THUMBNAILS], positions[~marked]
    room = MOST_THUMBNAILS - len(first)
    if len(others) > room:
        others = others[np.linspace(0, len(others) - 1, room).astype(int)]
    wanted = np.concatenate([first, others]).tolist()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tiles = pool.map(_tile, (data.paths[at] for at in wanted), repeat(data.grey))
        found = [(at, tile) for at, tile in zip(wanted, tiles, strict=True) if tile is not None]
    if not found:
        return None, {}
    sheet = Image.new("RGB", (ACROSS * THUMBNAIL, -(-len(found) // ACROSS) * THUMBNAIL))
    for place, (_, tile) in enumerate(found):
        sheet.paste(Image.fromarray(tile), (place % ACROSS * THUMBNAIL, place // ACROSS * THUMBNAIL))
    return jpeg(sheet, quality=60), {at: place for place, (at, _) in enumerate(found)}


def _tile(path: str, grey: GreyRange | None) -> np.ndarray | None:
    try:
        return images.load_square(path, THUMBNAIL, grey=grey)
    except images.UnreadableImage:
        return None
