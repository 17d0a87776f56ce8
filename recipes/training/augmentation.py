"""What training images go through at random. It stands in the input pipeline, never in the saved model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from advisor.advice.settings_values import strength_of

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# Stored images are larger than what training sees by this much, so that crops have room to move.
MARGIN = 1.15


def pipeline(names: tuple[str, ...], size: int, seed: int) -> keras.Model:
    """Keras layers for pixels float [n, s, s, 3] in 0..255, to [n, size, size, 3] in 0..255.

    Args:
        names: of `advisor.choices.AUGMENTATIONS`, maybe with a strength, as in "rotate:40".
        size: pixels of the output's sides.
        seed: of the random choices.
    """
    import keras
    from keras import layers

    near: dict[str, Any] = {"fill_mode": "nearest"}
    known: dict[str, Callable[[float], keras.layers.Layer]] = {
        "flip": lambda _: layers.RandomFlip("horizontal", seed=seed),
        "light": lambda strength: _light(strength, seed + 2),
        "rotate": lambda degrees: layers.RandomRotation(degrees / 360, seed=seed + 7, **near),
        "zoom": lambda strength: layers.RandomZoom((-strength, strength), seed=seed + 8, **near),
        "shift": lambda share: layers.RandomTranslation(share, share, seed=seed + 9, **near),
        "shear": lambda share: layers.RandomShear(share, share, seed=seed + 10, **near),
    }
    strengths = dict(map(strength_of, names))
    crop: keras.layers.Layer = layers.Resizing(size, size)
    if "crop" in strengths:
        crop = _random_resized_crop(strengths.pop("crop"), size, seed + 3)
    changes = [known[name](strength) for name, strength in strengths.items()]
    return keras.Sequential([crop, *changes], name="augmentation")


def _random_resized_crop(smallest: float, size: int, seed: int) -> keras.layers.Layer:
    """Cut out a random part and scale it to `size` (Szegedy et al., Going deeper with convolutions, 2015).

    Args:
        smallest: share of the area that it has at least; its shape lies between 3:4 and 4:3.
        size: pixels of the output's sides.
        seed: of the random choices.
    """
    import keras
    import tensorflow as tf

    class RandomResizedCrop(keras.layers.Layer):
        def call(self, pixels: tf.Tensor, training: bool = True) -> tf.Tensor:
            count = tf.shape(pixels)[0]
            area = tf.random.uniform([count], smallest, 1.0, seed=seed)
            shape = tf.exp(tf.random.uniform([count], -0.2877, 0.2877, seed=seed + 1))  # log 3/4 .. log 4/3
            height = tf.minimum(tf.sqrt(area * shape), 1.0)
            width = tf.minimum(tf.sqrt(area / shape), 1.0)
            top = tf.random.uniform([count], seed=seed + 2) * (1.0 - height)
            left = tf.random.uniform([count], seed=seed + 3) * (1.0 - width)
            boxes = tf.stack([top, left, top + height, left + width], axis=1)
            return tf.image.crop_and_resize(pixels, boxes, tf.range(count), (size, size))

    return RandomResizedCrop()


def _light(strength: float, seed: int) -> keras.layers.Layer:
    """Change brightness and contrast of each image by up to `strength`, 0..1, the former in units of 125."""
    import keras
    import tensorflow as tf

    class RandomLight(keras.layers.Layer):
        def call(self, pixels: tf.Tensor, training: bool = True) -> tf.Tensor:
            shape = [tf.shape(pixels)[0], 1, 1, 1]
            gain = tf.random.uniform(shape, 1 - strength, 1 + strength, seed=seed)
            offset = tf.random.uniform(shape, -125 * strength, 125 * strength, seed=seed + 1)
            mean = tf.reduce_mean(pixels, axis=[1, 2, 3], keepdims=True)
            return tf.clip_by_value((pixels - mean) * gain + mean + offset, 0.0, 255.0)

    return RandomLight()
