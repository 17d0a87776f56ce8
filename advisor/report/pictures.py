"""Small pictures inside a page: addresses that carry their pixels."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from advisor.data import images
from advisor.data.deep_grey import GreyRange

THUMBNAIL = 128  # pixels


def thumbnail(path: str, grey: GreyRange | None, pixels: int = THUMBNAIL) -> Markup | None:
    """A small square image; None where the file cannot be read.

    Args:
        path: the file.
        grey: the values of deep grey that are black and white.
        pixels: of its sides.
    """
    try:
        return jpeg(Image.fromarray(images.load_square(path, pixels, grey=grey)))
    except images.UnreadableImage:
        return None


def plot(file: Path) -> Markup | None:
    """A picture as it is; None where there is no such file."""
    if not file.exists():
        return None
    with Image.open(file) as drawn:
        return jpeg(drawn.convert("RGB"))


def jpeg(image: Image.Image, quality: int = 75) -> Markup:
    """An image as an address that carries its pixels."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Markup(f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}")
