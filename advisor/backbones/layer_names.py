"""Names of layers: which layer a user means, and which name is still free."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from advisor.errors import InputError

if TYPE_CHECKING:
    import keras


def layer_index(model: keras.Model, layer: str | int, shift: int = 0, last: bool = False) -> int:
    """Find the layer that a user means in `model.layers`.

    Args:
        model: any Keras model.
        layer: its name, or the beginning of the names of a block's layers, as "block_14" or "conv4", or its
            index, also as text; a negative index counts from the end.
        shift: how many layers `model` has at the front that the user does not count.
        last: of a block, take the last layer in the place of the first.

    Raises:
        InputError: There is no such layer; the message names the closest ones.
    """
    names = [each.name for each in model.layers]
    if layer in names:
        return names.index(str(layer))
    try:
        index = int(layer)
    except ValueError:
        of_block = [number for number, name in enumerate(names) if _begins(name, str(layer))]
        if of_block:
            return of_block[-1 if last else 0]
        known = [*names, *dict.fromkeys(block for block in map(block_of, names) if block)]
        close = difflib.get_close_matches(str(layer), known, n=3, cutoff=0.5) or [*names[1:3], names[-1]]
        raise InputError(f"no layer {layer!r}; close or typical names: {', '.join(close)}") from None
    size = len(names) - shift
    if not -size <= index < size:
        raise InputError(f"no layer {index}: the network's layers are 0 ({names[shift]}) to {size - 1}")
    return index % size + shift


def block_of(name: str) -> str:
    """The block that a layer belongs to by its name; empty where the name tells none.

    >>> block_of("block_14_expand"), block_of("conv4_block1_1_pad"), block_of("conv2d_1")
    ('block_14', 'conv4', '')
    """
    found = re.match(r"([A-Za-z]+_?\d+[a-z]?)_(?!\d+$)", name)
    return found[1] if found else ""


def _begins(name: str, block: str) -> bool:
    """Whether a layer is one of a block: "block_1" has block_1_expand, not block_14_expand."""
    following = name[len(block) : len(block) + 1]
    is_end = following == "_" or (block[-1:].isdigit() and following.isalpha())
    return name.startswith(block) and is_end


def graph_name(name: str) -> str:
    """Make a name one that TensorFlow takes in a graph: users' may have spaces and any letters.

    >>> graph_name("my model (1)")
    'my_model__1_'
    """
    return re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)


def free_name(name: str, taken: Iterable[str], prefix: str = "") -> str:
    """Give a layer the name itself, else with the prefix before it or a number behind it, so that it is free.

    Layers of a user's network may be called anything, and two layers of one network not alike.

    >>> free_name("features", ["image", "features"])
    'features_1'
    """
    taken = set(taken)
    choice, number = name, 1
    while choice in taken:
        choice = f"{prefix}{name}" if number == 1 and prefix else f"{prefix}{name}_{number}"
        number += 1
    return choice
