"""How a frozen network looks at one image: once, also mirrored, or at two sizes.

The model still takes one square image of one size and makes the other views of it, by layers that every
format of export has. What the network says of an image and of its mirror image is averaged; what it says of
the image and of the same at half its size lies side by side. What either brings is measured by
benchmarks/views.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

ONE, MIRROR, SIZES = "one", "mirror", "sizes"
MASKED, GREY = 0.75, 127  # of the side of the square, where its middle is masked; and with what


@dataclass(frozen=True)
class View:
    """One look at a square image.

    Attributes:
        name: changes with what is shown; "" for the image as it is.
        mirrored: left and right turned around.
        halved: every 2 x 2 pixels become one.
        masked: the middle of the square is grey, so that its surroundings alone are seen; of images to
            be measured, never in a model.
    """

    name: str = ""
    mirrored: bool = False
    halved: bool = False
    masked: bool = False

    def size(self, image_size: int) -> int:
        """Pixels that the network sees of the sides of an image."""
        return image_size // 2 if self.halved else image_size

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """What the network sees of images [n, size, size, 3], uint8 or, halved, float32."""
        if self.mirrored:
            return pixels[:, :, ::-1]
        if self.masked:
            return _without_middle(pixels)
        if self.halved:
            count, side = len(pixels), self.size(pixels.shape[1])
            even = pixels[:, : 2 * side, : 2 * side].astype(np.float32)
            return even.reshape(count, side, 2, side, 2, 3).mean(axis=(2, 4))
        return pixels

    def in_model(self, image: keras.KerasTensor) -> keras.KerasTensor:
        """The same of a symbolic tensor, by layers."""
        import keras

        if self.mirrored:
            return keras.ops.flip(image, axis=2)
        return keras.layers.AveragePooling2D(2, name="half_the_size")(image) if self.halved else image


PLAIN = View()
MIRRORED, HALVED = View("mirrored", mirrored=True), View("halved", halved=True)
SURROUNDINGS = View("masked", masked=True)
VIEWS = {ONE: (PLAIN,), MIRROR: (PLAIN, MIRRORED), SIZES: (PLAIN, HALVED)}  # the setting, and what is seen
# What a look costs, as times that of the image as it is: operations grow with the area.
TIMES = {views: sum(0.25 if view.halved else 1.0 for view in seen) for views, seen in VIEWS.items()}
LEAST_SIZE = 64  # pixels of an image that is halved, too; smaller ones leave next to nothing of their maps


def _without_middle(pixels: np.ndarray) -> np.ndarray:
    """uint8 [b, size, size, 3] with a grey square in the middle."""
    size = pixels.shape[1]
    border = round((1 - MASKED) / 2 * size)
    masked = pixels.copy()
    masked[:, border : size - border, border : size - border] = GREY
    return masked


def turned_back(cells: np.ndarray, channels: int) -> np.ndarray:
    """What was seen of the cells of mirror images, [n, cells * channels], in the cells of the images."""
    side = round((cells.shape[1] / channels) ** 0.5)
    return cells.reshape(-1, side, side, channels)[:, :, ::-1].reshape(cells.shape)


def mean_of(plain: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Of what was seen of images and of their mirror images, [n, d], as both are stored."""
    return ((plain.astype(np.float32) + mirrored) / 2).astype(plain.dtype)
