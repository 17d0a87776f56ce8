"""A plain small CNN without pre-training: the baseline that transfer learning has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

FILTERS = (32, 64, 128)
TAPS = tuple(f"block{block}_pool" for block in range(1, len(FILTERS) + 1))
IMAGE_SIZE = 128
MINIMUM_SIZE = 32


def SimpleCNN() -> keras.Model:
    """Three times convolution and pooling, with random weights.

    The network that tutorials start from before they turn to transfer learning.

    Returns:
        A `keras.Model` from [n, height, width, 3] RGB in 0..255 to [n, height/8, width/8, 128].
    """
    import keras
    from keras import layers

    image = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / 255, name="rescaling")(image)
    for block, filters in enumerate(FILTERS, start=1):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"block{block}_conv")(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    return keras.Model(image, x, name="simple_cnn")
