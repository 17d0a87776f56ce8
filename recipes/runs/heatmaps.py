"""Where a finished model looked: class activation maps at every depth that its head sees.

At each depth the head sees averages of feature maps. The gradient of the answer by these maps, times the
maps, summed over their channels, says what each place gave to the answer (Selvaraju et al., Grad-CAM, ICCV
2017, arXiv 1610.02391; place by place, as Draelos and Carin, HiResCAM, arXiv 2011.08891, because a head may
see the cells of a grid). The gradient goes through the head alone: what a shallow map does for a deeper one
shows in the deeper one. The answer is the logit of a class less the mean of all logits, for what all
classes share says nothing about any.

A head may see signed roots of averages. Their slope is finite at 0 (see `advisor.evidence.signed_root`),
and nowhere less than half or more than the whole of the root over the average, so that no channel that is
nearly 0 takes over the map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from advisor.data import images
from advisor.data.deep_grey import GreyRange
from advisor.errors import InputError, one_line
from recipes.runs import classifier

if TYPE_CHECKING:
    import keras

# Images at once at the usual size, fewer at larger ones: the maps of all depths are in memory.
BATCH, USUAL_SIZE = 8, 224
GRID = 14  # cells each way of what is shown: maps of shallow layers are edges, not places


class Heat(NamedTuple):
    """Where the model looked in one image.

    Attributes:
        position: of the image among the files that were given.
        label: of the class that is explained.
        pixels: of the square that the model saw, uint8 [size, size, 3].
        by_depth: what each place gave to the answer, a map for each depth, float32 [depths, GRID, GRID]; its
            mean is what that depth gave, and below 0 what spoke for other classes.
    """

    position: int
    label: int
    pixels: np.ndarray
    by_depth: np.ndarray

    @property
    def together(self) -> np.ndarray:
        """What spoke for the class at all depths together, float32 [GRID, GRID]: 0, or by how much more than
        an average place of the picture did.

        Without that comparison a class that many places speak for weakly would hide the place that decides:
        of objects that were pasted into photographs, 56 to 60 % of the map lie on the object with it, and 44
        to 50 % without (benchmarks/heatmaps.py).
        """
        whole = self.by_depth.sum(axis=0)
        return np.maximum(whole - whole.mean(), 0)


@dataclass(frozen=True)
class Explainer:
    """A model taken apart at the maps that its head sees.

    Attributes:
        depths: name of the layer that each map comes from, from shallow to deep.
        maps: from images to these maps.
        pools: for each output of the network under the head the number of its map and the layers between;
            none where it is no map.
        head: from these outputs to what the last layer sees.
        mirrored: of each map, whether it is one of the mirror image.
        kernel: of the last layer, [d, classes].
        bias: [classes].
    """

    depths: tuple[str, ...]
    maps: keras.Model
    pools: tuple[tuple[int, tuple[Any, ...]], ...]
    head: keras.Model
    mirrored: tuple[bool, ...]
    kernel: Any
    bias: Any

    def explain(self, pixels: np.ndarray, labels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Maps of a few images.

        Args:
            pixels: uint8 [b, size, size, 3].
            labels: of the classes to be explained, int64 [b]; the most probable ones if left out.

        Returns:
            The labels, and float32 [b, depths, GRID, GRID], see `Heat.by_depth`.
        """
        import tensorflow as tf

        maps = tf.nest.flatten(self.maps(tf.cast(pixels, tf.float32), training=False))
        with tf.GradientTape() as tape:
            tape.watch(maps)
            seen = []
            for number, layers in self.pools:
                x = maps[number]
                for layer in layers:
                    x = layer(x)
                seen.append(x)
            logits = tf.matmul(self.head(seen, training=False), self.kernel) + self.bias
            told = tf.argmax(logits, axis=1).numpy() if labels is None else labels
            answer = tf.gather(logits, told, batch_dims=1) - tf.reduce_mean(logits, axis=1)
        gradients = tape.gradient(answer, maps)
        grids = []
        for each, slope, is_mirrored in zip(maps, gradients, self.mirrored, strict=True):
            given = tf.reduce_sum(each * slope, axis=-1, keepdims=True)
            scale = float(given.shape[1] * given.shape[2])  # a share of the sum as one of the mean
            way = "area" if min(given.shape[1:3]) >= GRID else "bilinear"
            grid = tf.image.resize(given * scale, (GRID, GRID), way)[..., 0]
            grids.append(grid[:, :, ::-1] if is_mirrored else grid)
        return np.asarray(told), np.stack([grid.numpy() for grid in grids], axis=1)


def look(
    folder: Path,
    image_size: int,
    fit: str,
    grey: GreyRange | None,
    paths: Sequence[str],
    unreadable: Callable[[int, str], None],
    labels: np.ndarray | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Heat]:
    """Say of image files where the model of a run looked, in order; memory stays flat.

    Args:
        folder: of the run, with its model.keras.
        image_size: pixels of the model's square input.
        fit: how images become squares, one of `advisor.choices.FITS`.
        grey: the values of deep grey that are black and white.
        paths: the files.
        unreadable: called with position and reason for each file that cannot be decoded.
        labels: of the classes to be explained, int64 [n]; the most probable ones if left out.
        progress: called with images done and images to do.

    Raises:
        InputError: the model cannot be loaded, or its head sees no feature maps.
    """
    model = classifier.load_model(folder)
    with _as_input_error(folder):
        explainer = take_apart(model, folder)
    at_once = max(1, min(BATCH, BATCH * USUAL_SIZE**2 // image_size**2))
    for positions, pixels in images.stream(paths, image_size, at_once, unreadable, fit, grey):
        with _as_input_error(folder):
            found = explained(explainer, pixels, None if labels is None else labels[positions])
        for heat, position in zip(found, positions.tolist(), strict=True):
            yield heat._replace(position=position)
        progress(int(positions[-1]) + 1, len(paths))


def explained(explainer: Explainer, pixels: np.ndarray, labels: np.ndarray | None = None) -> list[Heat]:
    """Say of a few images where a model looked.

    Args:
        explainer: of the model.
        pixels: uint8 [b, size, size, 3].
        labels: of the classes to be explained, int64 [b]; the most probable ones if left out.
    """
    told, maps = explainer.explain(pixels, labels)
    return [Heat(at, int(told[at]), pixels[at], maps[at]) for at in range(len(pixels))]


@contextmanager
def _as_input_error(folder: Path) -> Iterator[None]:
    """One line for a model from elsewhere that has other parts than those of our runs."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # of as many kinds as there are layers
        raise InputError(f"the model in {folder} has no heat maps ({one_line(error)})") from error


def take_apart(model: keras.Model, folder: Path) -> Explainer:
    """Take a model of a run apart.

    Args:
        model: as `recipes.training.assembly` and `recipes.training.pool` make it.
        folder: of its run, for messages.

    Raises:
        InputError: its head sees no feature maps.
    """
    import keras

    inner = next((layer for layer in model.layers if isinstance(layer, keras.Model)), None)
    end = model.layers[-1]
    if inner is None or not isinstance(end, keras.layers.Dense):
        raise InputError(f"the model in {folder} is none of advisor run; heat maps need one")
    nodes = [node for nodes in model._nodes_by_depth.values() for node in nodes if node.operation is inner]
    if len(nodes) > 1:
        return _of_views(model, nodes, folder)
    maps: dict[int, Any] = {}
    pools = []
    for output in inner.outputs:
        tensor = output
        layers: list[Any] = []
        while len(tensor.shape) != 4:
            operation = tensor._keras_history.operation
            if not isinstance(operation, keras.layers.Layer) or isinstance(operation.input, list):
                raise InputError(f"the head of the model in {folder} sees no feature maps")
            layers.insert(0, operation)
            tensor = operation.input
        if isinstance(tensor._keras_history.operation, keras.layers.AveragePooling2D):
            layers.insert(0, tensor._keras_history.operation)
            tensor = layers[0].input
        maps.setdefault(id(tensor), tensor)
        pools.append((list(maps).index(id(tensor)), tuple(layers)))
    head = keras.Model(list(nodes[0].outputs), end.input)
    depths = tuple(tensor._keras_history.operation.name for tensor in maps.values())
    seen, mirrored = keras.Model(inner.inputs, list(maps.values())), (False,) * len(maps)
    return Explainer(depths, seen, tuple(pools), head, mirrored, end.kernel, end.bias)


def _of_views(model: keras.Model, nodes: list[Any], folder: Path) -> Explainer:
    """A model that looks at each image several times: see `recipes.training.looks`, by which maps are pooled
    around its network.

    Args:
        model: of which `nodes` are the uses of its network.
        nodes: one for each view.
        folder: of its run, for messages.

    Raises:
        InputError: its head sees no feature maps.
    """
    import keras

    maps = [tensor for node in nodes for tensor in node.outputs]
    if any(len(tensor.shape) != 4 for tensor in maps):
        raise InputError(f"the head of the model in {folder} sees no feature maps")
    shown = [node.input_tensors[0]._keras_history.operation for node in nodes for _ in node.outputs]
    inner, end = nodes[0].operation, model.layers[-1]
    depths = tuple(tensor._keras_history.operation.name for tensor in inner.outputs) * len(nodes)
    pools = tuple((number, ()) for number in range(len(maps)))
    mirrored = tuple(type(one).__name__ == "Flip" for one in shown)
    seen, head = keras.Model(model.inputs, maps), keras.Model(maps, end.input)
    return Explainer(depths, seen, pools, head, mirrored, end.kernel, end.bias)
