"""Depth inside a network: which layers to probe, and which layer a user means."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from advisor.errors import InputError

if TYPE_CHECKING:
    import keras

TAPS = 8

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


def choose_taps(model: keras.Model, count: int = TAPS) -> tuple[str, ...]:
    """Names of about `count` layers whose outputs describe an image at rising depth.

    A good tap is a bottleneck: a layer through which all information passes, so that the network
    below it is a network of its own. Of these, the outputs of residual sums and concatenations come
    first, else activations, else whatever there is. The last of each resolution is taken, then the
    widest gaps are filled. The choice depends on the architecture alone.

    Args:
        model: a functional model from images to features with known sizes; its output comes from
            a layer that is used once, which becomes the last tap.
        count: how many, unless there are fewer candidates.
    """
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in _nodes(model, depth)]
    last = len(nodes) - 1
    candidates = _best_of_each_size(nodes, _bottlenecks(nodes))
    merges = [i for i, node in enumerate(nodes) if _kind(node) in _MERGES]
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


def _nodes(model: keras.Model, depth: int) -> list[Any]:
    return list(model._nodes_by_depth[depth])


def _bottlenecks(nodes: list[Any]) -> list[int]:
    """Indices of layer calls such that nothing later looks at anything earlier."""
    from keras import layers

    last_use = {id(tensor): i for i, node in enumerate(nodes) for tensor in node.input_tensors}
    found = []
    reach = 0  # the latest use of any output so far
    for i, node in enumerate(nodes):
        if reach <= i and len(node.outputs) == 1 and isinstance(node.operation, layers.Layer):
            found.append(i)
        reach = max(reach, *(last_use.get(id(tensor), i) for tensor in node.outputs))
    return found


def _best_of_each_size(nodes: list[Any], bottlenecks: list[int]) -> list[int]:
    """Of the bottlenecks at each resolution those of the best kind, in order."""
    ranked: dict[Any, dict[int, list[int]]] = {}
    after_merge = False
    for i, following in zip(bottlenecks, [*bottlenecks[1:], None], strict=True):
        kind = _kind(nodes[i])
        after_merge = kind in _MERGES or (after_merge and kind in _TRAILING)
        if kind in _NOTHING_NEW or _trails(nodes, following):
            continue
        rank = 2 if after_merge else int(_bends(nodes[i].operation))
        ranked.setdefault(_size(nodes[i]), {}).setdefault(rank, []).append(i)
    return sorted(i for by_rank in ranked.values() for i in by_rank[max(by_rank)])


def _trails(nodes: list[Any], following: int | None) -> bool:
    return following is not None and _kind(nodes[following]) in _TRAILING


def _kind(node: Any) -> str:
    return type(node.operation).__name__


def _bends(layer: Any) -> bool:
    """Whether the layer is not linear."""
    activation = getattr(layer, "activation", None)
    linear = getattr(activation, "__name__", "linear") == "linear"
    return _kind_bends(type(layer).__name__) or not linear


def _kind_bends(kind: str) -> bool:
    return kind.endswith(("ReLU", "ELU"))


def _size(node: Any) -> tuple[int, ...]:
    """Height and width in powers of two, rounded, as convolutions without padding shave off some."""
    return tuple(round(math.log2(pixels)) for pixels in node.outputs[0].shape[1:-1])


def layer_index(model: keras.Model, layer: str | int, shift: int = 0) -> int:
    """Where in `model.layers` the layer is that a user means.

    Args:
        layer: its name, or its index, also as text; a negative index counts from the end.
        shift: how many layers `model` has at the front that the user does not count.

    Raises:
        InputError: no such layer; the message names the closest ones.
    """
    names = [each.name for each in model.layers]
    if layer in names:
        return names.index(str(layer))
    try:
        index = int(layer)
    except ValueError:
        close = difflib.get_close_matches(str(layer), names, n=3, cutoff=0.5) or [*names[1:3], names[-1]]
        raise InputError(f"no layer {layer!r}; close or typical names: {', '.join(close)}") from None
    size = len(names) - shift
    if not -size <= index < size:
        raise InputError(f"no layer {index}: the network's layers are 0 ({names[shift]}) to {size - 1}")
    return index % size + shift
