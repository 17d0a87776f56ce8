"""The user's own model file as a backbone: its layers below the classifier, for RGB images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.backbones.flat import flat, free_name
from advisor.backbones.keras_file import check_outputs, load_safely
from advisor.backbones.weights_file import one_line
from advisor.errors import InputError

if TYPE_CHECKING:
    import keras

SUFFIXES = (".keras", ".h5", ".hdf5")

# Pixels, where the file leaves the size open and none is asked for.
DEFAULT_SIZE = 224

# Weights that map red, green and blue to grey: ITU-R BT.601, as in Pillow's convert("L").
_GREY = (0.299, 0.587, 0.114)


class ModelFile:
    """A model file, taken apart.

    Attributes:
        model: [n, size, size, 3] RGB in 0..255 to the features below the classifier.
        image_size: pixels.
        fixed_size: whether the file states the size.
        classifier: kernel [d, classes] and bias [classes] of the Dense layer on these features, or
            None if the file does not end in one.
        index_shift: what to add to an index in the file's own `layers` for the same layer here.
        notes: what the user should know, one sentence each.
    """

    def __init__(self, path: Path, image_size: int | None = None, random: bool = False) -> None:
        """Read the file.

        Pixels go in as they are, 0..255: the file's own Rescaling or Normalization applies, or none.
        A model for grey images gets the grey of the colours.

        Args:
            path: a .keras, .h5 or .hdf5 file with a whole model.
            image_size: pixels of the square input, where the file leaves it open.
            random: keep the architecture only.

        Raises:
            InputError: not a model, one that could run code, or not one from images to features.
        """
        import keras

        original = load_safely(path)
        height, width, channels = _input_shape(original, path)
        self.fixed_size = height is not None
        self.image_size = height or image_size or DEFAULT_SIZE
        if height != width:
            raise InputError(f"{path} takes images of {width}x{height} pixels; only squares are supported")
        if image_size not in (None, self.image_size):
            raise InputError(
                f"{path} takes images of {height} pixels only; leave out --image-size {image_size}"
            )
        image = keras.Input((self.image_size, self.image_size, 3), name="image")
        pixels = _grey(image, self.image_size) if channels == 1 else image
        try:
            whole = flat(original, image, pixels, keep_weights=not random)
        except Exception as error:  # whatever a layer may say about a size that does not fit
            raise InputError(
                f"{path} does not take images of {self.image_size} pixels ({one_line(error)})"
            ) from error
        check_outputs(whole, path)
        features, self.classifier = _without_classifier(whole)
        if features is image or features is pixels:
            raise InputError(f"{path} has no layers below its classifier")
        self.model = keras.Model(image, features, name=path.stem)
        _try(self.model, self.image_size, path)
        self.index_shift = len(_GREY_LAYERS) * (channels == 1) + isinstance(original, keras.Sequential)
        self.notes = _notes(self.model, path, channels)


def _try(model: keras.Model, size: int, path: Path) -> None:
    """Raises `InputError` where a network that could be put together gives no numbers for a black image."""
    try:
        found = np.asarray(model(np.zeros((1, size, size, 3), np.float32)), np.float32)
    except Exception as error:  # of as many kinds as there are layers
        raise InputError(f"{path} cannot be run on an image ({one_line(error)}); save it again") from error
    if not np.isfinite(found).all():
        raise InputError(f"{path} gives no finite numbers for a black image; train it again")


def _input_shape(model: keras.Model, path: Path) -> tuple[int | None, int | None, int]:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"{path} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; only one of each works"
        )
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise InputError(f"{path} takes {shape}; wanted images, (None, height, width, 3 or 1)")
    return shape[1:]


_GREY_LAYERS = ("grey_weights", "grey_channels", "grey_sum", "grey_image")


def _grey(image: Any, size: int) -> Any:
    """Colours to one channel of grey, by layers without weights that training could change."""
    from keras import layers

    weights, channels, total, grey = _GREY_LAYERS
    x = layers.Rescaling([3 * weight for weight in _GREY], name=weights)(image)
    x = layers.Reshape((size * size * 3, 1), name=channels)(x)
    x = layers.AveragePooling1D(3, name=total)(x)
    return layers.Reshape((size, size, 1), name=grey)(x)


def _without_classifier(model: keras.Model) -> tuple[Any, tuple[np.ndarray, np.ndarray] | None]:
    """The tensor below the final Dense layer, and that layer's kernel and bias.

    The model's own output and None if it does not end in a classifier: a Dense layer with softmax,
    sigmoid or no activation, at most followed by an activation.
    """
    from keras import layers

    taken = {operation.name for operation in model.operations}
    features = model.outputs[0]
    last = _maker(features)
    if isinstance(last, (layers.Activation, layers.Softmax)):
        last = _maker(last.input)
    if (
        not isinstance(last, layers.Dense)
        or len(last._inbound_nodes) > 1
        or last.activation.__name__ not in ("softmax", "sigmoid", "linear")
    ):
        return _from_layer(features, taken), None
    below = last.input
    while isinstance(_maker(below), layers.Dropout):
        below = _maker(below).input
    if len(below.shape) != 2:
        return _from_layer(below, taken), None
    kernel, *bias = last.get_weights()
    return _from_layer(below, taken), (kernel, bias[0] if bias else np.zeros(kernel.shape[1], kernel.dtype))


def _maker(tensor: Any) -> Any:
    return tensor._keras_history.operation


def _from_layer(tensor: Any, taken: set[str]) -> Any:
    """The tensor, or itself through a layer of its own: taps need a layer that is used once."""
    from keras import layers

    maker = _maker(tensor)
    if isinstance(maker, layers.Layer) and len(maker._inbound_nodes) == 1:
        return tensor
    return layers.Activation("linear", name=free_name("features", taken))(tensor)


def _notes(model: keras.Model, path: Path, channels: int) -> tuple[str, ...]:
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
