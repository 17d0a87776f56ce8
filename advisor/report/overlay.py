"""A heat map over its picture, and files of such."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

OPAQUE = 0.65  # how much of the picture the hottest place hides
LEAST_PIXELS = 224  # of the sides of what is drawn
MOST_BYTES = 200  # of the name of a file, as file systems take 255


def overlay(pixels: np.ndarray, heat: np.ndarray, least: int = LEAST_PIXELS) -> Image.Image:
    """A picture in grey with the places that count in colour, from purple to yellow.

    In grey, for on a picture in colour the colours of the map could be its own.

    Args:
        pixels: uint8 [size, size, 3].
        heat: 0 or more, float [cells, cells]; the hottest place is as opaque as any.
        least: pixels of the sides; a smaller picture is enlarged.
    """
    import matplotlib

    side = max(least, len(pixels))
    picture = Image.fromarray(pixels).convert("L").resize((side, side), Image.Resampling.BICUBIC)
    share = heat / (heat.max() or 1.0)
    smooth = Image.fromarray(share.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    hot = np.clip(np.asarray(smooth), 0, 1)[..., None]
    color = 255 * matplotlib.colormaps["plasma"](hot[..., 0])[..., :3]
    shown = np.asarray(picture)[..., None] * (1 - OPAQUE * hot) + color * OPAQUE * hot
    return Image.fromarray(shown.round().astype(np.uint8))


def save(image: Image.Image, folder: Path, path: str) -> Path:
    """Write a PNG named like the file that it shows; with -2, -3 ... behind it where that is taken.

    Args:
        image: to write.
        folder: exists.
        path: of the file that it shows.

    Returns:
        Where it lies; no file was overwritten.
    """
    stream = io.BytesIO()
    image.save(stream, "PNG")
    stem, number = _short(Path(path).stem), 1
    while True:
        file = folder / f"{stem}{f'-{number}' if number > 1 else ''}.png"
        try:
            with open(file, "xb") as opened:
                opened.write(stream.getvalue())
            return file
        except FileExistsError:
            number += 1


def _short(stem: str) -> str:
    """As much of a name as leaves room for what comes behind it."""
    while len(stem.encode("utf-8", "surrogateescape")) > MOST_BYTES:
        stem = stem[:-1]
    return stem
