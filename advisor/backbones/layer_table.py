"""The layers of a network as `advisor backbones NAME` lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from advisor.backbones.backbone import Backbone
from advisor.backbones.layer_names import block_of


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        number: as in the original; negative for what we put before it.
        name: in Keras.
        kind: its class.
        block: what it belongs to, by its name, or the child that begins here; empty where nothing tells.
        pixels: of the height of its output; None where that is no map.
        channels: of its output; None where it is used several times.
        parameters_below: weights of all layers before it: what `--train-from` it leaves frozen.
        is_probed: whether a head may see it, see `taps` in docs/settings.md.
    """

    number: int
    name: str
    kind: str
    block: str
    pixels: int | None
    channels: int | None
    parameters_below: int
    is_probed: bool


def layers(backbone: Backbone) -> list[Layer]:
    """All layers of a network, from the image upwards."""
    children = {first: f"child:{number} {name}" for number, (name, first) in enumerate(backbone.children)}
    shapes, found, below, child = _shapes(backbone), [], 0, ""
    for index, layer in enumerate(backbone.model.layers):
        shape = shapes.get(layer.name, ())
        child = children.get(layer.name, child)
        found.append(
            Layer(
                number=index - backbone.index_shift,
                name=layer.name,
                kind=type(layer).__name__,
                block=child or block_of(layer.name),
                pixels=shape[1] if len(shape) == 4 else None,
                channels=shape[-1] if shape else None,
                parameters_below=below,
                is_probed=layer.name in backbone.taps,
            )
        )
        below += layer.count_params()
    return found


def _shapes(backbone: Backbone) -> dict[str, tuple[int, ...]]:
    """Of the outputs of layers that are used once, for one image of the network's size."""
    import keras

    once = [layer for layer in backbone.model.layers if len(layer._inbound_nodes) == 1]
    model = keras.Model(backbone.model.inputs[0], [layer.output for layer in once])
    outputs: Any = model(keras.KerasTensor((1, backbone.image_size, backbone.image_size, 3)))
    shapes = [tuple(tensor.shape) for tensor in keras.tree.flatten(outputs)]
    return {layer.name: shape for layer, shape in zip(once, shapes, strict=True)}
