"""A network without its task: from images to feature maps at several depths."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.backbones.layer_names import free_name, graph_name, layer_index
from advisor.errors import InputError
from advisor.system import devices

if TYPE_CHECKING:
    import keras
    import numpy as np

    from advisor.backbones.litert_graph import Graph, Tensor


CHILD = "child:"  # before the number of a module


@dataclass(frozen=True)
class Backbone:
    """A network without its task.

    Attributes:
        name: as in `advisor backbones`, or the name of the user's file.
        build: makes `model`, when that is first asked for: features that are in the cache need no network.
        taps: names of the layers whose outputs are probed, from shallow to deep; the last one is
            what a plain feature extractor uses.
        image_size: pixels of the square input that fits the weights best.
        fixed_size: whether `model` takes `image_size` only; `load` may build it for another.
        source: what the weights were trained on, for people, as in "ImageNet-1k"; "none" for random
            weights.
        fingerprint: text that changes with the architecture and the weights.
        build_classifier: makes `classifier`, when that is first asked for.
        index_shift: what to add to the index of a layer in the original, as in `keras.applications` or in
            the user's file, to find the same layer in `model.layers`.
        notes: what the user should know about the network, one sentence each.
        pooling: what becomes of the feature maps of taps: "average", "maximum" or "flatten".
        children: where people count modules in the place of layers: the name of each, and its first layer;
            "" where it has none here, for it is above the features.
        head: kernel and bias of each dense layer of the head, where the network is that of a finished run.
        draw: writes the network for LiteRT, without TensorFlow: from a graph and the images in it to the
            output of each tap; None where only TensorFlow's converter can.
        parts: the networks that stand side by side in it, each from images of `image_size`, so that their
            features can be computed and kept one by one; empty where it is one network.
    """

    name: str
    build: Callable[[], keras.Model]
    taps: tuple[str, ...]
    image_size: int
    fixed_size: bool
    source: str
    fingerprint: str
    build_classifier: Callable[[], tuple[np.ndarray, np.ndarray] | None] = lambda: None
    index_shift: int = 0
    notes: tuple[str, ...] = ()
    pooling: str = "average"
    children: tuple[tuple[str, str], ...] = ()
    head: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    draw: Callable[[Graph, Tensor], Mapping[str, Tensor]] | None = None
    parts: tuple[Backbone, ...] = ()

    @property
    def networks(self) -> tuple[Backbone, ...]:
        """Those that stand side by side in it, or itself."""
        return self.parts or (self,)

    @cached_property
    def model(self) -> keras.Model:
        """The Keras model from [n, height, width, 3] RGB in 0..255 to the last features. The names in `taps`
        are names of its layers."""
        devices.load_tensorflow()
        return self.build()

    @cached_property
    def classifier(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The kernel [d, classes] and bias [classes] of the network's own classifier on the pooled features
        of the last tap; None where the weights came without one."""
        return self.build_classifier()

    def layer_index(self, layer: str | int, last: bool = False) -> int:
        """Find the layer that a user names, or counts as in the original, in `model.layers`.

        Args:
            layer: see `layer_names.layer_index`; or "child:6", the module of this number, from 0.
            last: of a block or a module, take the last layer in the place of the first.

        Raises:
            InputError: There is no such layer; the message names the closest ones.
        """
        if str(layer).startswith(CHILD):
            return self._child(str(layer).removeprefix(CHILD), last)
        return layer_index(self.model, layer, self.index_shift, last)

    def _child(self, number: str, last: bool) -> int:
        names = [first for _, first in self.children if first]
        if not names:
            raise InputError(
                f"{self.name} has no children to count; give a layer's name or number, "
                f"see: advisor backbones {self.name}"
            )
        if not number.isdecimal() or int(number) >= len(names):
            above = ", ".join(name for name, first in self.children if not first)
            raise InputError(
                f"no layer child:{number}; give child:0 to child:{len(names) - 1}, for what is above them "
                f"({above}) is the head's place"
            )
        firsts = [self.layer_index(name) for name in names]
        return ([*firsts[1:], len(self.model.layers)][int(number)] - 1) if last else firsts[int(number)]

    def below(self, layer: str | int) -> str:
        """What lies below a layer, for people, as they count: "the first 129 of 154 layers"."""
        index = self.layer_index(layer)
        count, all_of_them = index - self.index_shift, len(self.model.layers) - self.index_shift
        firsts = [first for _, first in self.children]
        name = self.model.layers[index].name
        if name in firsts:
            number = firsts.index(name)
            names = f" ({self.children[0][0]} to {self.children[number - 1][0]})" if number else ""
            return f"the first {number} of {len(firsts)} children{names}"
        return f"the first {max(0, count)} of {all_of_them} layers"

    def frozen_layers(self, train_from: str | None) -> int:
        """How many layers are frozen, counted as in the original, where those from one upwards are trained.

        Args:
            train_from: name or index of this layer, "" for the first, None where all are frozen.
        """
        if train_from == "":
            return 0
        first = len(self.model.layers) if train_from is None else self.layer_index(train_from)
        return max(0, first - self.index_shift)

    def features(
        self, taps: tuple[str, ...], cells: int = 0, cells_of: tuple[str, ...] = (), size: int = 0
    ) -> keras.Model:
        """Build the model from images to a list of pooled features [n, width].

        Args:
            taps: layers whose outputs are averaged over the whole picture, or what `pooling` says: the first
                outputs.
            cells: cells each way, at most, of a grid.
            cells_of: layers whose outputs are averaged over the cells of this grid, row by row: the outputs
                after those of `taps`. Those that are no maps have none, nor any that comes after one.
            size: pixels of the square input; only needed for cells.
        """
        import keras

        taken = {operation.name for operation in self.model.operations}

        def named(name: str) -> str:
            free = free_name(name, taken)
            taken.add(free)
            return free

        outputs = self.pooled(self._maps((*taps, *cells_of)), taps, cells, cells_of, size, named)
        return keras.Model(self.model.inputs[0], outputs, name=graph_name(self.name))

    def written_features(self, taps: tuple[str, ...], cells: int, size: int, batch: int) -> bytes:
        """What `features` builds as a flat buffer for LiteRT, without TensorFlow; only where the network can
        be drawn. Outputs are called Identity, Identity_1 ... in their order.

        Args:
            taps: as for `features`, which also give the cells.
            cells: see `features`.
            size: pixels of the square input.
            batch: images that go in at once.

        Raises:
            ImportError: LiteRT is not installed.
        """
        from advisor.backbones.litert_graph import Graph

        assert self.draw is not None
        graph = Graph(batch, size)
        maps = self.draw(graph, graph.image)
        averages = [graph.average(maps[tap]) for tap in taps]
        grids = itertools.takewhile(lambda tap: maps[tap].shape[1] > 1, taps)
        return graph.content([*averages, *(graph.cells(maps[tap], cells) for tap in grids)])

    def trunk(self, taps: tuple[str, ...]) -> keras.Model:
        """Build the model from images, of any size that the network takes, to a list of feature maps."""
        import keras

        maps = list(self._maps(taps).values())
        return keras.Model(self.model.inputs[0], maps, name=graph_name(self.name))

    def pooled(
        self,
        maps: Mapping[str, keras.KerasTensor],
        taps: tuple[str, ...],
        cells: int,
        cells_of: tuple[str, ...],
        size: int,
        named: Callable[[str], str],
    ) -> list[keras.KerasTensor]:
        """What `features` gives, from feature maps.

        Args:
            maps: by layer.
            taps: see `features`.
            cells: see `features`.
            cells_of: see `features`.
            size: pixels of the square input that the maps were made of.
            named: makes the name of a layer one that is free.
        """
        from keras import layers

        outputs = [_pooled(maps[tap], named(f"{tap}_pooled"), self.pooling) for tap in taps]
        for tap, shape in zip(cells_of, self._shapes(cells_of, size), strict=True):
            if len(shape) != 4 or shape[1] * shape[2] == 1:
                break
            window = tuple(-(-pixels // cells) for pixels in shape[1:3])
            grid = layers.AveragePooling2D(window, window, "same", name=named(f"{tap}_cells"))
            outputs.append(layers.Flatten(name=named(f"{tap}_cells_flat"))(grid(maps[tap])))
        return outputs

    def _maps(self, taps: tuple[str, ...]) -> dict[str, keras.KerasTensor]:
        """The outputs of layers, each once."""
        return {tap: self.model.get_layer(tap).output for tap in taps}

    def _shapes(self, taps: tuple[str, ...], size: int) -> list[tuple[int, ...]]:
        """Of the outputs of layers, for one square image of `size` pixels."""
        import keras

        if not taps:
            return []
        model = keras.Model(self.model.inputs[0], [self.model.get_layer(tap).output for tap in taps])
        outputs = model(keras.KerasTensor((1, size, size, 3)))
        return [tuple(tensor.shape) for tensor in keras.tree.flatten(outputs)]

    def with_pooling(self, pooling: str, taps: tuple[str, ...]) -> Backbone:
        """The same network with other values for a whole feature map than its averages.

        Args:
            pooling: "maximum" or "flatten".
            taps: those of its taps that are used; whole maps of all of them could fill the memory.
        """
        fingerprint = f"{self.fingerprint} {pooling}"
        return replace(self, pooling=pooling, taps=taps, fingerprint=fingerprint, draw=None, parts=())

    def cut(self, layer: str | int) -> Backbone:
        """Keep the network up to a layer, which is then the last tap.

        Raises:
            InputError: There is no such layer, or the network uses it several times.
        """
        import keras

        index = self.layer_index(layer, last=True)
        name = self.model.layers[index].name
        if len(self.model.layers[index]._inbound_nodes) > 1:
            raise InputError(f"{self.name} uses its layer {name!r} several times; cut at another one")
        below = {earlier.name for earlier in self.model.layers[:index]}
        output = self.model.layers[index].output
        shallow = keras.Model(self.model.inputs[0], output, name=graph_name(self.name))
        whole = name == self.taps[-1]
        return replace(
            self,
            build=lambda: shallow,
            taps=(*(tap for tap in self.taps if tap in below), name),
            build_classifier=self.build_classifier if whole else lambda: None,
            draw=None,
            parts=(),
        )


def _pooled(output, name: str, pooling: str):
    """A feature map [n, h, w, c], [n, tokens, c] or [n, d, h, w, c] as one row of numbers.

    Averages or maxima over its positions are [n, c]; flattened it is [n, positions * c].
    """
    from keras import layers

    dimensions = len(output.shape) - 2
    if not dimensions:
        return output
    if pooling == "flatten":
        return layers.Flatten(name=name)(output)
    kind = {"average": "Average", "maximum": "Max"}[pooling]
    return getattr(layers, f"Global{kind}Pooling{dimensions}D")(name=name)(output)


def fingerprint(model: Any) -> str:
    """Make 16 hexadecimal digits that change with the layers of a Keras model or their weights."""
    digest = hashlib.sha256()
    for layer in model.layers:
        digest.update(f"{layer.name} {type(layer).__name__};".encode())
        for array in layer.get_weights():
            digest.update(f"{array.shape} {array.dtype};".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def source_of_weights(published: str, weights: Path | None, random: bool) -> str:
    """Say for people what the weights of a network were trained on.

    Args:
        published: what the published weights were trained on, as in "ImageNet-1k".
        weights: the user's file of weights, if there is one.
        random: whether the weights are random.

    >>> source_of_weights("ImageNet-1k", Path("mine/birds.weights.h5"), random=False)
    'the weights in birds.weights.h5'
    """
    if random:
        return "none"
    return published if weights is None else f"the weights in {weights.name}"
