"""What training images go through at random. It stands in the input pipeline, never in the saved model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# Stored images are larger than what training sees by this much, so that crops have room to move.
MARGIN = 1.15
SMALLEST_CROP = 0.4  # share of the area; the shape of a crop lies between 3:4 and 4:3


def pipeline(names: tuple[str, ...], size: int, seed: int) -> keras.Model:
    """Keras layers for pixels float [n, s, s, 3] in 0..255, to [n, size, size, 3] in 0..255.

    Args:
        names: any of "crop", "flip", "light".
        size: pixels of the output's sides.
        seed: of the random choices.
    """
    import keras
    from keras import layers

    known = {
        "flip": lambda: layers.RandomFlip("horizontal", seed=seed),
        "light": lambda: _light(seed + 2),
    }
    crop = _random_resized_crop(size, seed + 3) if "crop" in names else layers.Resizing(size, size)
    return keras.Sequential([crop, *(known[name]() for name in names if name != "crop")], name="augmentation")


def _random_resized_crop(size: int, seed: int) -> keras.layers.Layer:
    """Cut out a random part and scale it to `size` (Szegedy et al., Going deeper with convolutions, 2015)."""
    import keras
    import tensorflow as tf

    class RandomResizedCrop(keras.layers.Layer):
        def call(self, pixels: tf.Tensor, training: bool = True) -> tf.Tensor:
            count = tf.shape(pixels)[0]
            area = tf.random.uniform([count], SMALLEST_CROP, 1.0, seed=seed)
            shape = tf.exp(tf.random.uniform([count], -0.2877, 0.2877, seed=seed + 1))  # log 3/4 .. log 4/3
            height = tf.minimum(tf.sqrt(area * shape), 1.0)
            width = tf.minimum(tf.sqrt(area / shape), 1.0)
            top = tf.random.uniform([count], seed=seed + 2) * (1.0 - height)
            left = tf.random.uniform([count], seed=seed + 3) * (1.0 - width)
            boxes = tf.stack([top, left, top + height, left + width], axis=1)
            return tf.image.crop_and_resize(pixels, boxes, tf.range(count), (size, size))

    return RandomResizedCrop()


def _light(seed: int) -> keras.layers.Layer:
    """Change brightness and contrast of each image by up to a fifth."""
    import keras
    import tensorflow as tf

    class RandomLight(keras.layers.Layer):
        def call(self, pixels: tf.Tensor, training: bool = True) -> tf.Tensor:
            shape = [tf.shape(pixels)[0], 1, 1, 1]
            gain = tf.random.uniform(shape, 0.8, 1.2, seed=seed)
            offset = tf.random.uniform(shape, -25.0, 25.0, seed=seed + 1)
            mean = tf.reduce_mean(pixels, axis=[1, 2, 3], keepdims=True)
            return tf.clip_by_value((pixels - mean) * gain + mean + offset, 0.0, 255.0)

    return RandomLight()
