"""Photographs of flowers with something else pasted into a corner, which alone tells the class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE, OBJECT = 224, 80  # pixels of the photograph and of what is pasted into it
CORNERS = (4, SIDE - OBJECT - 4)
OBJECTS = {"cell": "malaria", "insect": "hymenoptera", "steel": "neu"}


def paste(real_data: Path, folder: Path, each: int) -> dict[str, tuple[int, int]]:
    """Draw them into class folders.

    Args:
        real_data: holds flowers, malaria, hymenoptera and neu.
        folder: to draw into.
        each: images of each class.

    Returns:
        Left and top of the object in pixels, by the path relative to the folder.
    """
    generator, places = np.random.default_rng(0), {}
    flowers = _files(real_data / "flowers")
    for name, source in OBJECTS.items():
        objects = _files(real_data / source)
        (folder / name).mkdir(parents=True)
        for number in range(each):
            image = _square(flowers[generator.integers(len(flowers))], SIDE)
            left, top = (int(at) for at in generator.choice(CORNERS, 2))
            image.paste(_square(objects[generator.integers(len(objects))], OBJECT), (left, top))
            image.save(folder / name / f"{number:03d}.png")
            places[f"{name}/{number:03d}.png"] = left, top
    return places


def mask(place: tuple[int, int], cells: int) -> np.ndarray:
    """Which share of each cell of a grid the object covers, float64 [cells, cells]."""
    whole = np.zeros((SIDE, SIDE))
    left, top = place
    whole[top : top + OBJECT, left : left + OBJECT] = 1
    size = SIDE // cells
    return whole.reshape(cells, size, cells, size).mean(axis=(1, 3))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png", ".bmp"))


def _square(path: Path, size: int) -> Image.Image:
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((size, size))
