"""Networks as users save them, with Keras' default names or with ours, after another network was used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from advisor import backbones
from advisor.errors import InputError
from recipes.training.assembly import clone

keras = pytest.importorskip("keras")
from keras import layers  # noqa: E402


def sequential(*parts: keras.layers.Layer) -> keras.Model:
    return keras.Sequential(list(parts))


def two_convolutions() -> list[keras.layers.Layer]:
    return [
        layers.Rescaling(1 / 255),
        layers.Conv2D(8, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(16, 3, activation="relu"),
    ]


def tutorial() -> keras.Model:
    body = [
        part
        for filters in (8, 8, 16, 16, 32)
        for part in (layers.Conv2D(filters, 3, padding="same", activation="relu"), layers.MaxPooling2D())
    ]
    head = layers.GlobalAveragePooling2D(), layers.Dense(5, activation="softmax")
    return sequential(layers.Input((64, 64, 3)), layers.Rescaling(1 / 255), *body, *head)


def one_sigmoid_unit() -> keras.Model:
    head = layers.Flatten(), layers.Dense(16, activation="relu"), layers.Dense(1, activation="sigmoid")
    return sequential(layers.Input((32, 32, 3)), *two_convolutions(), *head)


def base_inside() -> keras.Model:
    base = sequential(layers.Input((32, 32, 3)), *two_convolutions())
    head = layers.GlobalAveragePooling2D(), layers.Dropout(0.2), layers.Dense(4, activation="softmax")
    return sequential(layers.Input((32, 32, 3)), layers.Rescaling(1 / 127.5, -1), base, *head)


def logits() -> keras.Model:
    head = layers.GlobalAveragePooling2D(), layers.Dense(4)
    return sequential(layers.Input((32, 32, 3)), *two_convolutions(), *head)


def any_size() -> keras.Model:
    head = layers.GlobalAveragePooling2D(), layers.Dense(4, activation="softmax")
    return sequential(layers.Input((None, None, 3)), *two_convolutions(), *head)


def mixed_precision() -> keras.Model:
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        head = layers.GlobalAveragePooling2D(), layers.Dense(4), layers.Activation("softmax", dtype="float32")
        return sequential(layers.Input((32, 32, 3)), *two_convolutions(), *head)
    finally:
        keras.mixed_precision.set_global_policy("float32")


def attention() -> keras.Model:
    image = layers.Input((32, 32, 3), name="image")
    x = layers.Conv2D(8, 8, strides=8, activation="relu")(layers.Rescaling(1 / 255)(image))
    x = layers.Reshape((16, 8))(x)
    x = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)]))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="predictions")(x))


def grey_with_our_names() -> keras.Model:
    body = layers.Rescaling(1 / 255, name="grey_sum"), layers.Conv2D(8, 3, name="grey_image")
    return sequential(layers.Input((32, 32, 1)), *body, layers.Flatten(), layers.Dense(4, name="features"))


def our_names_and_a_layer_used_twice() -> keras.Model:
    image = layers.Input((32, 32, 3), name="image")
    twice = layers.Conv2D(3, 3, padding="same", activation="relu", name="features")
    x = twice(twice(layers.Rescaling(1 / 255, name="taps")(image)))
    x = layers.Conv2D(8, 3, name="features_pooled")(layers.MaxPooling2D(name="concatenate")(x))
    x = layers.GlobalAveragePooling2D(name="global_average_pooling2d")(keras.ops.relu(x))
    return keras.Model(image, layers.Dense(4, activation="softmax", name="predictions")(x), name="image")


def names_of_another_backend() -> keras.Model:
    image = layers.Input((32, 32, 3), name="ein Bild")
    x = layers.Conv2D(8, 3, activation="relu", name="größe 1")(layers.Rescaling(1 / 255)(image))
    x = layers.Conv2D(8, 3, activation="relu", name="gr__e_1")(x)
    x = layers.GlobalAveragePooling2D(name="(mean)")(x)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="A, B")(x), name="mein Netz")


def five_dimensions() -> keras.Model:
    body = layers.Rescaling(1 / 255), layers.Reshape((4, 8, 32, 3)), layers.Conv3D(4, 3, activation="relu")
    return sequential(layers.Input((32, 32, 3)), *body, layers.GlobalAveragePooling3D(), layers.Dense(4))


def layer_used_twice_at_the_end() -> keras.Model:
    image = layers.Input((32, 32, 3))
    twice = layers.Conv2D(3, 3, padding="same", activation="relu")
    return keras.Model(image, twice(twice(image)))


NETWORKS = (
    tutorial,
    one_sigmoid_unit,
    base_inside,
    logits,
    any_size,
    mixed_precision,
    attention,
    grey_with_our_names,
    our_names_and_a_layer_used_twice,
    names_of_another_backend,
    five_dimensions,
    layer_used_twice_at_the_end,
)


def saved(make, folder: Path) -> tuple[keras.Model, Path]:
    model = make()
    file = folder / ("model.h5" if make is one_sigmoid_unit else "my größe (1).keras")
    model.save(file)
    return model, file


@pytest.mark.parametrize("make", NETWORKS)
def test_features_of_a_users_network(make, tmp_path):
    """The same numbers as in the user's own network, in a process that has used another one."""
    bundled = backbones.load(backbones.BUNDLED)
    bundled.features(bundled.taps)
    theirs, file = saved(make, tmp_path)
    ours = backbones.load(str(file), image_size=32 if make is any_size else None)
    pixels = (
        np.random.default_rng(0).uniform(0, 255, (2, ours.image_size, ours.image_size, 3)).astype("float32")
    )
    outputs = ours.features(ours.taps).predict(pixels, verbose=0)  # in a graph, which takes fewer names
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    assert [output.shape[0] for output in outputs] == [2] * len(ours.taps)
    if ours.classifier:
        kernel, bias = ours.classifier
        found = np.asarray(ours.model(pixels)) @ kernel + bias
        found = 1 / (1 + np.exp(-found)) if make is one_sigmoid_unit else found
        without_softmax = (logits, five_dimensions, grey_with_our_names, one_sigmoid_unit)
        found = found if make in without_softmax else keras.ops.softmax(found)
    else:
        found = ours.model(pixels)
    shown = (
        pixels @ np.array([[0.299], [0.587], [0.114]], "float32") if make is grey_with_our_names else pixels
    )
    near = 0.01 if make is mixed_precision else 1e-4
    np.testing.assert_allclose(np.asarray(found), np.asarray(theirs(shown)), atol=near, rtol=near)
    again = clone(ours, "float32")
    again.features(again.taps)


def test_scaling_by_operations_is_scaling(tmp_path):
    image = layers.Input((32, 32, 3))
    x = layers.Conv2D(8, 3)(keras.applications.mobilenet_v2.preprocess_input(image))
    keras.Model(image, layers.GlobalAveragePooling2D()(x)).save(file := tmp_path / "model.keras")
    assert backbones.load(str(file)).notes == ()


def test_a_layer_that_is_used_twice_is_no_place_to_cut(tmp_path):
    _, file = saved(our_names_and_a_layer_used_twice, tmp_path)
    backbone = backbones.load(str(file))
    with pytest.raises(InputError, match="several times"):
        backbone.cut("features")


def test_a_network_is_tried_as_it_is_used(tmp_path):
    """Not as in training, in which this layer fails on two channels."""
    parts = layers.Conv2D(2, 3), layers.RandomGrayscale(1.0), layers.Flatten(), layers.Dense(2)
    sequential(layers.Input((32, 32, 3)), *parts).save(tmp_path / "random.keras")
    assert backbones.load(str(tmp_path / "random.keras")).taps


def test_a_network_that_gives_its_input_back_is_refused(tmp_path):
    image = layers.Input((32, 32, 3))
    keras.Model(image, image).save(file := tmp_path / "same.keras")
    with pytest.raises(InputError, match="no layers below its classifier"):
        backbones.load(str(file))
