"""How many operations one image takes in each network, and how many bytes its weights are.

    python -m benchmarks.operations

Prints the GFLOP and the megabytes that each network has in `advisor backbones --json`: multiplications and
additions of convolutions and dense layers, counted at the network's own size, and weights in single
precision, both without the classifier. Nothing is downloaded.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from advisor import backbones
from advisor.backbones import Backbone
from advisor.backbones.catalogue import catalogue

if TYPE_CHECKING:
    import keras


def main() -> None:
    import keras

    for row in catalogue():
        keras.backend.clear_session()
        gflop, megabytes = counted(backbones.load(row.name, random=True))
        print(f"{row.name:20}{gflop:10.3g}{megabytes:10.1f}", flush=True)


def counted(backbone: Backbone) -> tuple[float, float]:
    """Billions of operations for one image of the network's own size, and megabytes of its weights."""
    import keras

    size, tap = backbone.image_size, backbone.model.get_layer(backbone.taps[-1])
    whole = keras.Model(backbone.model.inputs[0], tap.output)
    shapes: list[tuple[keras.Layer, Any]] = [
        (layer, layer.output) for layer in whole.layers if _kernels(layer)
    ]
    outputs = keras.Model(whole.inputs[0], [output for _, output in shapes])
    seen = keras.tree.flatten(outputs(keras.KerasTensor((1, size, size, 3))))
    operations = sum(
        2 * math.prod(output.shape[1:-1]) * sum(math.prod(kernel.shape) for kernel in _kernels(layer))
        for (layer, _), output in zip(shapes, seen, strict=True)
    )
    return operations / 1e9, 4 * whole.count_params() / 1e6


def _kernels(layer: keras.Layer) -> list[Any]:
    """Weights that are multiplied with each position of the layer's output."""
    return [weight for weight in layer.weights if len(weight.shape) >= 2 and "kernel" in weight.path]


if __name__ == "__main__":
    main()
