"""One network out of a network with others inside it, so that every layer can be named, cut at and frozen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from advisor.backbones.layer_names import free_name

if TYPE_CHECKING:
    import keras


def without_nested_models(
    model: keras.Model, image: Any, pixels: Any = None, keep_weights: bool = True
) -> keras.Model:
    """Copy `model`, with the layers of models nested in it in their place.

    A layer keeps its name unless another one has it already; then the nested model's name goes
    before it. All layers of the copy are trainable, and compute in single precision: half precision is for
    training on a GPU.

    Args:
        model: sequential or functional, with one input and one output.
        image: the input tensor of the copy, [n, height, width, channels].
        pixels: the tensor that the first layers get, where it is computed from `image`.
        keep_weights: copy the weights too, instead of drawing new ones. What a Normalization layer
            has measured is kept in any case.

    Raises:
        Exception: Whatever a layer raises that does not take tensors of the size of `pixels`.
    """
    import keras

    copies: dict[int, tuple[Any, Any]] = {}
    names = {operation.name for operation in _between(image, pixels)}

    def run(network: keras.Model, tensors: Any, prefix: str) -> Any:
        # A Sequential does not know its graph; a Model over its tensors does.
        graph = keras.Model(network.inputs, network.outputs)
        outputs = graph._run_through_graph(tensors, lambda operation: copy_of(operation, prefix))
        return outputs[0] if len(outputs) == 1 else outputs

    def copy_of(operation: Any, prefix: str) -> Callable[..., Any]:
        if isinstance(operation, keras.Model):
            return lambda tensors, **_: run(operation, tensors, f"{prefix}{operation.name}_")
        if id(operation) not in copies:
            config = operation.get_config()
            config["name"] = free_name(operation.name, names, prefix)
            names.add(config["name"])
            if isinstance(operation, keras.layers.Layer):
                config["dtype"] = "float32"
            copies[id(operation)] = operation, type(operation).from_config(config)
        return copies[id(operation)][1]

    output = run(model, image if pixels is None else pixels, "")
    copied = keras.Model(image, output, name=model.name)
    for original, copy in copies.values():
        if isinstance(original, keras.layers.Layer) and (
            keep_weights or isinstance(original, keras.layers.Normalization)
        ):
            copy.set_weights(original.get_weights())
    copied.trainable = True
    return copied


def _between(image: Any, pixels: Any) -> list[Any]:
    """List the layers from the input tensor to what the first layers of the network get."""
    import keras

    known = keras.Model(image, image if pixels is None else pixels)
    return list(known.operations)
