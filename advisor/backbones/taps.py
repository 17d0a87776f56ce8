"""Which layers of a network to probe: its taps."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

USUAL_COUNT = 8

# They merge what several layers found ...
_MERGES = {"Add", "Concatenate", "CustomScaleLayer"}  # the last is the residual sum of InceptionResNetV2
# ... and these belong to the layer below them.
_TRAILING = {"Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "BatchNormalization", "LayerNormalization"}
# Their outputs hold nothing that another tap does not hold.
_NOTHING_NEW = {
    "InputLayer",
    "Rescaling",
    "Normalization",
    "Resizing",
    "ZeroPadding2D",
    "Reshape",
    "Flatten",
    "Dropout",
    "SpatialDropout2D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
}


def choose_taps(model: keras.Model, count: int = USUAL_COUNT) -> tuple[str, ...]:
    """Choose about `count` layers whose outputs describe an image at rising depth, and give their names.

    A good tap is a bottleneck: a layer through which all information passes, so that the network
    below it is a network of its own. Of these, the outputs of residual sums and concatenations come
    first, else activations, else whatever there is. The last of each resolution is taken, then the
    widest gaps are filled. The choice depends on the architecture alone.

    Args:
        model: a functional model from images to features with known sizes; its output comes from
            a layer that is used once, which becomes the last tap.
        count: how many layers, unless there are fewer candidates.
    """
    nodes = [
        node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]
    ]
    last = len(nodes) - 1
    candidates = _best_of_each_size(nodes, _bottlenecks(nodes))
    merges = [i for i, node in enumerate(nodes) if _kind(node) in _MERGES and _is_layer(node)]
    if len(candidates) < count // 2 and len(merges) > len(candidates):
        candidates = merges  # as in NASNet, where each cell also looks past the one before
    calls = Counter(id(node.operation) for node in nodes)  # a layer used twice has two outputs under one name
    candidates = [i for i in candidates if i != last and calls[id(nodes[i].operation)] == 1]

    ends = {_size(nodes[i]): i for i in candidates}  # the last one of each size wins
    chosen = sorted(ends.values())[-(count - 1) :]
    while len(chosen) < count - 1 and len(chosen) < len(candidates):
        known = (0, *chosen, last)
        chosen.append(max(candidates, key=lambda i: min(abs(i - other) for other in known)))
    return tuple(nodes[i].operation.name for i in (*sorted(chosen), last))


def _bottlenecks(nodes: list[Any]) -> list[int]:
    """Find the calls of layers such that nothing later looks at anything earlier, as indices of `nodes`."""
    last_use = {id(tensor): i for i, node in enumerate(nodes) for tensor in node.input_tensors}
    found = []
    reach = 0  # the latest use of any output so far
    for i, node in enumerate(nodes):
        if reach <= i and len(node.outputs) == 1 and _is_layer(node):
            found.append(i)
        reach = max(reach, *(last_use.get(id(tensor), i) for tensor in node.outputs))
    return found


def _best_of_each_size(nodes: list[Any], bottlenecks: list[int]) -> list[int]:
    """Keep those bottlenecks at each resolution that are of the best kind, in order."""
    ranked: dict[Any, dict[int, list[int]]] = {}
    after_merge = False
    for i, following in zip(bottlenecks, [*bottlenecks[1:], None], strict=True):
        kind = _kind(nodes[i])
        after_merge = kind in _MERGES or (after_merge and kind in _TRAILING)
        belongs_below = following is not None and _kind(nodes[following]) in _TRAILING
        if kind in _NOTHING_NEW or belongs_below:
            continue
        rank = 2 if after_merge else int(_is_nonlinear(nodes[i].operation))
        ranked.setdefault(_size(nodes[i]), {}).setdefault(rank, []).append(i)
    return sorted(i for by_rank in ranked.values() for i in by_rank[max(by_rank)])


def _kind(node: Any) -> str:
    """Give the name of the class of a node's layer."""
    return type(node.operation).__name__


def _is_layer(node: Any) -> bool:
    """Say whether it is the call of a layer, not of a bare operation of `keras.ops`."""
    from keras import layers

    return isinstance(node.operation, layers.Layer)


def _is_nonlinear(layer: Any) -> bool:
    """Say whether the layer is an activation or has one that is not linear."""
    activation = getattr(layer, "activation", None)
    linear = getattr(activation, "__name__", "linear") == "linear"
    return type(layer).__name__.endswith(("ReLU", "ELU")) or not linear


def _size(node: Any) -> tuple[int, ...]:
    """Give height and width as powers of two, rounded because convolutions without padding shave off some."""
    return tuple(round(math.log2(pixels)) for pixels in node.outputs[0].shape[1:-1])
