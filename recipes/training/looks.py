"""A backbone on several views of one image, inside one plain Keras model: `advisor.evidence.views`.

The network is in the model once and is used for each view. What comes out is what
`advisor.evidence.embedding.embed` gives for the same images and views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from advisor.advice.settings import Settings
from advisor.backbones import Backbone
from advisor.evidence.signed_root import signed_root
from advisor.evidence.views import VIEWS, View

if TYPE_CHECKING:
    import keras

Parts = list["keras.KerasTensor"]


def in_views(
    backbone: Backbone,
    settings: Settings,
    image: keras.KerasTensor,
    taps: tuple[str, ...],
    cells: int,
    cells_of: tuple[str, ...],
) -> tuple[dict[str, keras.KerasTensor], tuple[keras.KerasTensor, ...]]:
    """What a head sees of images, in the views of the settings.

    Args:
        backbone: that sees them.
        settings: which views.
        image: float [n, size, size, 3] in 0..255.
        taps: whose averages are wanted.
        cells: cells each way, at most.
        cells_of: taps whose cells are wanted.

    Returns:
        Averages over the whole picture by tap, and roots of the averages over cells.
    """
    import keras

    trunk = backbone.trunk(tuple(dict.fromkeys((*taps, *cells_of))))
    averages: dict[str, Parts] = {tap: [] for tap in taps}
    grids: dict[str, Parts] = {tap: [] for tap in cells_of}
    views = VIEWS[settings.views]
    for view in views:
        shown = view.in_model(image)
        maps = dict(zip(dict.fromkeys((*taps, *cells_of)), keras.tree.flatten(trunk(shown)), strict=True))
        names = _suffix(view)
        outputs = backbone.pooled(maps, taps, cells, cells_of, shown.shape[1], names)
        for tap, average in zip(taps, outputs, strict=False):
            averages[tap].append(average)
        for tap, grid in zip(cells_of, outputs[len(taps) :], strict=False):
            grids[tap].append(signed_root(_turned_back(grid, maps[tap]) if view.mirrored else grid))
    is_mean = any(view.mirrored for view in views)
    join = _mean if is_mean else beside
    roots = [join(parts) for parts in grids.values() if parts]
    return {tap: join(parts) for tap, parts in averages.items()}, (beside(roots),) if roots else ()


def beside(parts: Parts) -> keras.KerasTensor:
    """Features side by side."""
    from keras import layers

    return layers.Concatenate()(parts) if len(parts) > 1 else parts[0]


def _mean(parts: Parts) -> keras.KerasTensor:
    from keras import layers

    return layers.Average()(parts)


def _suffix(view: View):
    """Names of layers, with that of the view behind them."""
    return lambda name: f"{name}_{view.name}" if view.name else name


def _turned_back(cells: keras.KerasTensor, of: keras.KerasTensor) -> keras.KerasTensor:
    """Cells of mirror images, side by side, where they are in the images; `of` is the map of theirs."""
    import keras
    from keras import layers

    channels = of.shape[-1]
    side = round((cells.shape[1] / channels) ** 0.5)
    square = layers.Reshape((side, side, channels))(cells)
    return layers.Flatten()(keras.ops.flip(square, axis=2))
