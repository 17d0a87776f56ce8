"""Backbone and head to one plain Keras model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from advisor.advice.settings import Settings, hidden_units
from advisor.backbones import Backbone
from advisor.evidence.gaussian import Gaussian
from advisor.evidence.linear_head import LinearHead
from advisor.evidence.pooling import CELLS
from advisor.evidence.signed_root import signed_root
from advisor.evidence.views import ONE
from recipes.job import Job
from recipes.training.looks import beside, in_views

if TYPE_CHECKING:
    import keras


WHOLE_PICTURE = "whole_picture"  # the layer that gives the averages; they tell images unlike those of a run
COMPONENTS, LIKENESS = "components", "likeness"  # the dense layers of a Gaussian kernel


def head_layers(head: str, classes: int, dropout: float = 0.0) -> list[keras.layers.Layer]:
    """Layers from features to probabilities, with random weights.

    Args:
        head: as in `Settings`.
        classes: number of classes.
        dropout: as in `Settings`.
    """
    from keras import layers

    below: list[keras.layers.Layer] = []
    for number, units in enumerate(hidden_units(head), 1):
        below.append(layers.Dense(units, "relu", name="hidden" if number == 1 else f"hidden_{number}"))
        below += [layers.Dropout(dropout)] if dropout else []
    if not below and dropout:
        below = [layers.Dropout(dropout)]
    return [*below, layers.Dense(classes, "softmax", dtype="float32", name="predictions")]


@dataclass(frozen=True)
class Seen:
    """What heads can see of images, as symbolic tensors.

    Attributes:
        averages: by tap, over the whole picture.
        cells: of the frozen network, over its taps, as the head sees them; none where no head does.
        settings: whether roots are taken, and whether the backbone's own classifier is part of the head.
    """

    averages: Mapping[str, keras.KerasTensor]
    cells: tuple[keras.KerasTensor, ...]
    settings: Settings

    @staticmethod
    def of(
        backbone: Backbone,
        settings: Settings,
        image: keras.KerasTensor,
        taps: tuple[str, ...],
        cells_of: tuple[str, ...] = (),
    ) -> Seen:
        """Put a backbone on images.

        Args:
            backbone: that sees them.
            settings: see `Seen`.
            image: float [n, size, size, 3] in 0..255.
            taps: that a head may see.
            cells_of: those of them whose cells are wanted.
        """
        import keras

        cells = CELLS.get(settings.pooling, 0)
        if settings.views != ONE:
            return Seen(*in_views(backbone, settings, image, taps, cells, cells_of), settings)
        features = backbone.features(taps, cells, cells_of, image.shape[1] or 0)
        outputs = keras.tree.flatten(features(image))
        averages = dict(zip(taps, outputs, strict=False))
        return Seen(averages, _rooted(settings, outputs[len(taps) :]), settings)

    def by(
        self, taps: tuple[str, ...], last: str, cells: bool, name: str, gaussian: Gaussian | None = None
    ) -> keras.KerasTensor:
        """What one head sees, in the order of `Job.head_features`, [n, d].

        Args:
            taps: under it.
            last: the tap that the backbone's own classifier sees.
            cells: whether it sees those, too.
            name: of the layer that gives the averages.
            gaussian: the kernel whose likenesses it sees, if it does.
        """
        from keras import layers

        (whole,) = _rooted(self.settings, [self.averages[tap] for tap in taps])
        parts = [layers.Identity(name=name)(whole)]
        parts += self.cells if cells else ()
        parts += [_likeness(parts[0], gaussian)] if gaussian else []
        if self.settings.base_labels:
            parts.append(self.averages[last])
        return beside(parts)


def _likeness(averages: keras.KerasTensor, gaussian: Gaussian) -> keras.KerasTensor:
    """What `Gaussian.likeness` gives, by layers that every format of export has."""
    from keras import layers

    components = layers.Dense(gaussian.directions.shape[1], name=COMPONENTS, trainable=False)
    likeness = layers.Dense(len(gaussian.points), "exponential", name=LIKENESS, trainable=False)
    result = likeness(layers.UnitNormalization(name=f"{COMPONENTS}_of_length_one")(components(averages)))
    set_dense(components, gaussian.directions, gaussian.offset)
    least = np.full(len(gaussian.points), gaussian.at_right_angles)
    set_dense(likeness, gaussian.points.T * np.float32(2 / gaussian.width), least)
    return result


def _rooted(settings: Settings, parts: list[keras.KerasTensor]) -> tuple[keras.KerasTensor, ...]:
    """Features side by side, or their roots, as one part; none where there are none."""
    if not parts:
        return ()
    return (signed_root(beside(parts)) if settings.roots else beside(parts),)


def assemble(
    backbone: Backbone,
    settings: Settings,
    head: list[keras.layers.Layer],
    size: int | None,
    cells_of: tuple[str, ...] = (),
    gaussian: Gaussian | None = None,
) -> keras.Model:
    """Images [n, size, size, 3] in 0..255 to probabilities [n, classes].

    The layers of the backbone and the head are shared with every other model assembled of them, so a
    model for training at one size and a model for use at another have the same weights.

    Args:
        backbone: shared.
        settings: which taps, and whether their roots.
        head: from `head_layers`.
        size: pixels, or None for any.
        cells_of: those of the taps whose cells the head sees beside the averages, by `settings.pooling`.
        gaussian: the kernel whose likenesses it sees beside these, if it does.
    """
    import keras

    image = keras.Input((size, size, 3), name="image")
    last = backbone.taps[-1]
    taps = tuple(dict.fromkeys((*settings.taps, *((last,) if settings.base_labels else ()))))
    seen = Seen.of(backbone, settings, image, taps, cells_of)
    x = seen.by(settings.taps, last, bool(cells_of), WHOLE_PICTURE, gaussian)
    for layer in head:
        x = layer(x)
    return keras.Model(image, x, name=settings.recipe)


def assemble_frozen(job: Job, solved: LinearHead) -> keras.Model:
    """The frozen network of a job with a head on `Job.head_features`."""
    freeze(job.backbone, None, "frozen")
    head = head_layers("linear", job.classes)
    set_dense(head[0], solved.kernel, solved.bias)
    settings = job.settings
    return assemble(job.backbone, settings, head, settings.image_size, settings.cells_of, solved.gaussian)


def clone(backbone: Backbone, precision: str) -> Backbone:
    """The same network and weights, with variables of its own: made under the distribution strategy in
    force, and computing in another precision.

    Args:
        backbone: built; which of its layers may be trained is copied, too.
        precision: a dtype policy of Keras, as "mixed_float16"; variables stay float32.
    """
    import keras

    def copy(layer: keras.Operation) -> keras.Operation:
        has_precision = isinstance(layer, keras.layers.Layer)  # a bare operation of keras.ops has none
        return layer.__class__.from_config(
            {**layer.get_config(), **({"dtype": precision} if has_precision else {})}
        )

    def build() -> keras.Model:
        model = keras.models.clone_model(backbone.model, clone_function=copy)
        model.set_weights(backbone.model.get_weights())
        for layer in model.layers:
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()  # it computes with what it made of its weights when it was built
        return model

    return replace(backbone, build=build)


def freeze(backbone: Backbone, train_from: str | None, batch_norm: str) -> None:
    """Make the layers from `train_from` upwards trainable and the others not; None freezes all.

    A batch norm that is not trainable is in inference mode (Keras). Calling the backbone with
    `training=False` instead does not do it: `fit` overrides that within a functional model. With "frozen"
    every batch norm is left so, and the convolutions learn what its scale could: more accurate and faster,
    see benchmarks/training_choices.py.

    Args:
        backbone: changed in place.
        train_from: name or index of a layer, "" for the first, None for none.
        batch_norm: "frozen" or "adapt".
    """
    from keras import layers

    known = backbone.model.layers
    first = len(known) if train_from is None else backbone.layer_index(train_from) if train_from else 0
    for index, layer in enumerate(known):
        kept = batch_norm == "frozen" and isinstance(layer, layers.BatchNormalization)
        layer.trainable = index >= first and not kept


def set_head(head: list[keras.layers.Layer], weights: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Give the dense layers of a head their weights: kernel [inputs, outputs] and bias [outputs] of each."""
    import keras

    dense = [layer for layer in head if isinstance(layer, keras.layers.Dense)]
    for layer, (kernel, bias) in zip(dense, weights, strict=True):
        set_dense(layer, kernel, bias)


def set_dense(layer: keras.layers.Layer, kernel: np.ndarray, bias: np.ndarray) -> None:
    """Give a dense layer, as a linear head is one, its weights: kernel [inputs, outputs], bias [outputs]."""
    if not layer.built:
        layer.build((None, len(kernel)))
    layer.set_weights([kernel, bias])


def metrics() -> list[keras.metrics.Metric]:
    """What is measured in each epoch, beside the loss."""
    import keras

    return [keras.metrics.CategoricalAccuracy("accuracy"), keras.metrics.MeanSquaredError("brier")]
