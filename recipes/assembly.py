"""Backbone and head to one plain Keras model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from advisor.backbones import Backbone
from advisor.settings import Settings, hidden_units

if TYPE_CHECKING:
    import keras


def head_layers(head: str, classes: int) -> list[keras.layers.Layer]:
    """Layers from features to probabilities, with random weights."""
    from keras import layers

    units = hidden_units(head)
    hidden = [] if units is None else [layers.Dense(units, "relu", name="hidden"), layers.Dropout(0.3)]
    return [*hidden, layers.Dense(classes, "softmax", dtype="float32", name="predictions")]


def assemble(
    backbone: Backbone, settings: Settings, head: list[keras.layers.Layer], size: int | None
) -> keras.Model:
    """Images [n, size, size, 3] in 0..255 to probabilities [n, classes].

    The layers of the backbone and the head are shared with every other model assembled of them, so a
    model for training at one size and a model for use at another have the same weights.

    Batch norm: with "frozen" statistics the backbone is called with training=False, which keeps every
    batch norm in inference mode while its scale and offset may learn; with "adapt", only those below
    `train_from` stay so, because a batch norm that is not trainable is in inference mode (Keras).

    Args:
        backbone: shared.
        settings: which taps, and how batch norm behaves.
        head: from `head_layers`.
        size: pixels, or None for any.
    """
    import keras
    from keras import layers

    features = backbone.features(settings.taps)
    image = keras.Input((size, size, 3), name="image")
    frozen = {"training": False} if settings.batch_norm == "frozen" else {}
    outputs = features(image, **frozen)
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    x = layers.Concatenate(name="taps")(outputs) if len(outputs) > 1 else outputs[0]
    for layer in head:
        x = layer(x)
    return keras.Model(image, x, name=settings.recipe)


def freeze(backbone: Backbone, train_from: str | None) -> None:
    """Make the layers from `train_from` upwards trainable and the others not; None freezes all."""
    layers = backbone.model.layers
    first = len(layers) if train_from is None else backbone.layer_index(train_from) if train_from else 0
    for index, layer in enumerate(layers):
        layer.trainable = index >= first


def set_head(head: list[keras.layers.Layer], kernel: np.ndarray, bias: np.ndarray) -> None:
    """Give a linear head its weights: kernel [features, classes], bias [classes]."""
    (dense,) = head
    if not dense.built:
        dense.build((None, len(kernel)))
    dense.set_weights([kernel, bias])


def metrics() -> list[keras.metrics.Metric]:
    """What is measured in each epoch, beside the loss."""
    import keras

    return [keras.metrics.CategoricalAccuracy("accuracy"), keras.metrics.MeanSquaredError("brier")]
