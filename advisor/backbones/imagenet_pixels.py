"""How networks that were trained with PyTorch on ImageNet want their pixels scaled."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

# Red, green and blue of pixels in 0..1, over ImageNet's training images; as torchvision and
# `keras.applications.imagenet_utils` have them.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def standardising_layer(name: str) -> keras.layers.Rescaling:
    """Make a layer that turns pixels in 0..255 into ones of mean 0 and deviation 1 over ImageNet."""
    from keras import layers

    scale = [1 / (255 * deviation) for deviation in DEVIATION]
    offset = [-mean / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)]
    return layers.Rescaling(scale, offset=offset, name=name)
