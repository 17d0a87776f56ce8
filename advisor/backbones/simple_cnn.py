"""A plain small CNN without pre-training: the baseline that transfer learning has to beat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from advisor.backbones.backbone import Backbone, fingerprint, source_of_weights
from advisor.backbones.row import Row

if TYPE_CHECKING:
    import keras

ROW = Row(
    name="simple_cnn",
    image_size=128,
    minimum_size=32,
    parameters=0.1,
    top1=None,
    gflop=0.33,
    megabytes=0.4,
    source="",
    licence="",
    ready=True,
    weights="random",
    command="",
)
FILTERS = (32, 64, 128)
TAPS = tuple(f"block{block}_pool" for block in range(1, len(FILTERS) + 1))


def load(weights: Path | None, image_size: int | None, random: bool) -> Backbone:
    """Get the network ready, with random weights or those of a Keras file; see `catalogue.Network`.

    Raises:
        InputError: The file does not fit, or the images are too small.
    """
    from advisor.backbones.weights_file import read_weights

    model = SimpleCNN()
    if weights is not None:
        read_weights(model, weights)
    return Backbone(
        name=ROW.name,
        build=lambda: model,
        taps=TAPS,
        image_size=ROW.checked_size(image_size),
        fixed_size=False,
        source=source_of_weights("none", weights, random),
        fingerprint=fingerprint(model),
    )


def SimpleCNN() -> keras.Model:
    """Build the network with random weights: three times a convolution and a pooling.

    It is the network that tutorials start from before they turn to transfer learning.

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
