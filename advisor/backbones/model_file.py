"""The user's own model file as a backbone: its layers below the classifier, for RGB images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.backbones.backbone import Backbone, fingerprint, source_of_weights
from advisor.backbones.keras_file import check_outputs, load_safely
from advisor.backbones.layer_names import free_name
from advisor.backbones.nested_models import without_nested_models
from advisor.backbones.taps import choose_taps
from advisor.errors import InputError, one_line

if TYPE_CHECKING:
    import keras

SUFFIXES = (".keras", ".h5", ".hdf5")

# Pixels, where the file leaves the size open and none is asked for.
DEFAULT_SIZE = 224

# Weights that map red, green and blue to grey: ITU-R BT.601, as in Pillow's convert("L").
_GREY = (0.299, 0.587, 0.114)
_GREY_LAYERS = ("grey_weights", "grey_channels", "grey_sum", "grey_image")


def load(path: Path, image_size: int | None, random: bool) -> Backbone:
    """Get the network in a model file ready, up to the features [n, ...] below its classifier.

    Pixels go in as they are, RGB in 0..255: the file's own Rescaling or Normalization applies, or none.
    A model for grey images gets the grey of the colours.

    Args:
        path: a .keras, .h5 or .hdf5 file with a whole model.
        image_size: pixels of the square input, where the file leaves it open.
        random: keep the architecture only, with fresh random weights.

    Raises:
        InputError: The file holds no model, one that could run code, or one that is not from images to
            features.
    """
    import keras

    original = load_safely(path)
    size, channels = _size_and_channels(original, path, image_size)
    image = keras.Input((size, size, 3), name="image")
    pixels = _grey(image, size) if channels == 1 else image
    try:
        whole = without_nested_models(original, image, pixels, keep_weights=not random)
    except Exception as error:  # whatever a layer may say about a size that does not fit
        raise InputError(
            f"{path} does not take images of {size} pixels ({one_line(error)}); choose another --image-size"
        ) from error
    check_outputs(whole, path)
    features, classifier = _without_classifier(whole)
    if features is image or features is pixels:
        raise InputError(f"{path} has no layers below its classifier; use another file")
    model = keras.Model(image, features, name=path.stem)
    _check_that_it_runs(model, size, path)
    return Backbone(
        name=path.name,
        build=lambda: model,
        taps=choose_taps(model),
        image_size=size,
        fixed_size=True,
        source=source_of_weights(f"the training data of {path.name}", None, random),
        fingerprint=fingerprint(model),
        build_classifier=lambda: None if random else classifier,
        index_shift=len(_GREY_LAYERS) * (channels == 1) + isinstance(original, keras.Sequential),
        notes=_notes(model, path, channels),
    )


def _check_that_it_runs(model: keras.Model, size: int, path: Path) -> None:
    """Run the network on a black image of `size` pixels.

    Raises:
        InputError: It could be put together, but gives no finite numbers.
    """
    try:
        found = np.asarray(model(np.zeros((1, size, size, 3), np.float32)), np.float32)
    except Exception as error:  # of as many kinds as there are layers
        raise InputError(f"{path} cannot be run on an image ({one_line(error)}); save it again") from error
    if not np.isfinite(found).all():
        raise InputError(f"{path} gives no finite numbers for a black image; train it again")


def _size_and_channels(model: keras.Model, path: Path, asked: int | None) -> tuple[int, int]:
    """Give the pixels of the square input and how many colours the model takes, 3 or 1.

    Args:
        model: as the file holds it.
        path: of the file, for the messages.
        asked: pixels, where the file leaves the size open.

    Raises:
        InputError: It is no model of square images, or of others than are asked for.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"{path} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; only one of each works"
        )
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise InputError(f"{path} takes {shape}; wanted images, (None, height, width, 3 or 1)")
    height, width, channels = shape[1:]
    if height != width:
        raise InputError(f"{path} takes images of {width}x{height} pixels; only squares are supported")
    size = height or asked or DEFAULT_SIZE
    if asked not in (None, size):
        raise InputError(f"{path} takes images of {height} pixels only; leave out --image-size {asked}")
    return size, channels


def _grey(image: Any, size: int) -> Any:
    """Turn colours [n, size, size, 3] into grey [n, size, size, 1], by layers without weights to train."""
    from keras import layers

    weights, channels, total, grey = _GREY_LAYERS
    x = layers.Rescaling([3 * weight for weight in _GREY], name=weights)(image)
    x = layers.Reshape((size * size * 3, 1), name=channels)(x)
    x = layers.AveragePooling1D(3, name=total)(x)
    return layers.Reshape((size, size, 1), name=grey)(x)


def _without_classifier(model: keras.Model) -> tuple[Any, tuple[np.ndarray, np.ndarray] | None]:
    """Give the tensor below the classifier, and the classifier's kernel [d, classes] and bias [classes].

    A classifier is a final Dense layer with softmax, sigmoid or no activation, at most followed by an
    activation. Without one the tensor is the model's own output, and None comes with it; None also comes
    where the classifier looks at positions one by one.
    """
    from keras import layers

    taken = {operation.name for operation in model.operations}
    features = model.outputs[0]
    last = _operation_before(features)
    if isinstance(last, (layers.Activation, layers.Softmax)):
        last = _operation_before(last.input)
    if (
        not isinstance(last, layers.Dense)
        or len(last._inbound_nodes) > 1
        or last.activation.__name__ not in ("softmax", "sigmoid", "linear")
    ):
        return _from_layer(features, taken), None
    below = last.input
    while isinstance(_operation_before(below), layers.Dropout):
        below = _operation_before(below).input
    if len(below.shape) != 2:
        return _from_layer(below, taken), None
    kernel, *bias = last.get_weights()
    return _from_layer(below, taken), (kernel, bias[0] if bias else np.zeros(kernel.shape[1], kernel.dtype))


def _operation_before(tensor: Any) -> Any:
    """Give the layer or operation that a tensor comes from."""
    return tensor._keras_history.operation


def _from_layer(tensor: Any, taken: set[str]) -> Any:
    """Give the tensor, or itself through a layer of its own: a tap needs a layer that is used once."""
    from keras import layers

    last = _operation_before(tensor)
    if isinstance(last, layers.Layer) and len(last._inbound_nodes) == 1:
        return tensor
    return layers.Activation("linear", name=free_name("features", taken))(tensor)


def _notes(model: keras.Model, path: Path, channels: int) -> tuple[str, ...]:
    """Say what the user should know about a model, one sentence each: grey images, pixels without scaling."""
    notes = []
    if channels == 1:
        notes.append(f"{path.name} takes grey images: colours are turned into grey before it")
    kinds = []
    for layer in model.layers:
        if layer.name not in _GREY_LAYERS:
            kinds.append(type(layer).__name__)
        if layer.trainable_weights:
            break
    if not {"Rescaling", "Normalization", "BatchNormalization"} & set(kinds):
        notes.append(
            f"{path.name} does not scale pixels before its first weights, so it gets 0..255; "
            "if it was trained on 0..1, put a Rescaling layer in front and save it again"
        )
    return tuple(notes)
