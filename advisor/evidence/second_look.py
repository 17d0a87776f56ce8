"""What a second look at each image brings to a frozen recipe: mirrored, at two sizes, or by a second network.

Judged by leave-one-out on some of the images that were probed, beside the one look on the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from advisor.backbones import Backbone
from advisor.data.dataset import Dataset
from advisor.data.sampling import sample
from advisor.evidence import linear_head
from advisor.evidence.embedding import embed
from advisor.evidence.features import Features
from advisor.evidence.gaussian import LINEAR, Gaussian
from advisor.evidence.head_input import HeadInput
from advisor.evidence.linear_head import Products
from advisor.evidence.pooling import AVERAGE, CELLS
from advisor.evidence.probe import Probes
from advisor.evidence.views import ONE, VIEWS
from advisor.system.progress import Display
from advisor.system.solvers import solvers

MOST_IMAGES = 300  # that are looked at again, so that it takes seconds


@dataclass(frozen=True)
class Look:
    """What a second look brings.

    Attributes:
        views: one of `advisor.evidence.views.VIEWS`.
        network: that looks, too, each at its own size; None for the same network.
        recipe: the frozen recipe that looks so.
        images: that were looked at.
        gain: accuracy over the better frozen recipe with one look, -1..1, of the same images.
        taken: the share of the log-loss of that which is gone, at most 1.
        width: features that the head sees, without likenesses.
    """

    views: str
    network: str | None
    recipe: str
    images: int
    gain: float
    taken: float
    width: int


@dataclass(frozen=True)
class First:
    """The first look at some images: what second ones are compared with.

    Attributes:
        data: all images.
        rows: those that are looked at, int64 [n].
        backbone: that looks.
        image_size: pixels that it sees.
        fit: how images become squares.
        pooling: what its head takes of the picture.
        kernel: of its head, in every look.
        recipe: the better frozen recipe.
        taps: under its head.
        loss: log-loss of leave-one-out in nats, the mean over the images.
        right: which of them leave-one-out gets right, bool [n].
    """

    data: Dataset
    rows: np.ndarray
    backbone: Backbone
    image_size: int
    fit: str
    pooling: str
    kernel: str
    recipe: str
    taps: tuple[str, ...]
    loss: float
    right: np.ndarray

    @staticmethod
    def of(
        data: Dataset,
        probed: np.ndarray,
        backbone: Backbone,
        image_size: int,
        fit: str,
        recipe: str,
        probes: Probes,
        seed: int,
        display: Display,
    ) -> First:
        """Look at some of the images that were probed, int64 [m], with the head that `probes` take for the
        recipe; these images are in the cache."""
        rows = probed[sample(data.labels[probed], min(MOST_IMAGES, len(probed)), seed)]
        bar = display.steps("Looking again")
        pooling, kernel = probes.position[recipe].pooling, probes.kernel[recipe].kernel
        grid = pooling if pooling in CELLS else AVERAGE
        seen = embed(backbone, data, rows, image_size, bar, VIEWS[ONE], grid, fit)
        taps = backbone.taps if recipe == "shallow_features" else backbone.taps[-1:]
        loss, right = _judged(data, seen.positions, _input(seen.features, taps, kernel))
        how = backbone, image_size, fit, grid, kernel, recipe, taps
        return First(data, seen.positions, *how, loss, right)

    def in_views(self, views: str, display: Display) -> Look | None:
        """The same network in several views; None where an image has vanished meanwhile."""
        bar = display.steps("Looking again")
        of = self.backbone, self.data, self.rows, self.image_size, bar, VIEWS[views], self.pooling, self.fit
        return self._compared(embed(*of).features, self.taps, self.recipe, views=views)

    def with_network(self, second: Backbone, probes: Probes, display: Display) -> Look | None:
        """Both networks side by side, at all depths, as `advisor.backbones.pair` has them, with the head that
        `probes` take for all depths."""
        recipe = "shallow_features"
        bar, grid = display.steps(f"Looking again with {second.name}"), probes.position[recipe].pooling
        own, others = (
            embed(network, self.data, self.rows, size, bar, VIEWS[ONE], grid, self.fit).features
            for network, size in ((self.backbone, self.image_size), (second, second.image_size))
        )
        if min(len(own), len(others)) < len(self.rows):
            return None
        taps = (*own.taps, *(f"{tap} of {second.name}" for tap in others.taps))
        both = own.and_of(others, taps)
        as_all_depths = replace(self, kernel=probes.kernel[recipe].kernel)
        return as_all_depths._compared(both, both.taps, recipe, network=second.name)

    def _compared(
        self,
        features: Features,
        taps: tuple[str, ...],
        recipe: str,
        views: str = ONE,
        network: str | None = None,
    ) -> Look | None:
        if len(features) < len(self.rows):
            return None
        seen = _input(features, taps, self.kernel)
        loss, right = _judged(self.data, self.rows, seen)
        gain = float(right.mean() - self.right.mean())
        taken = 1 - loss / self.loss if self.loss > 0 else 0.0
        width = sum(seen.widths[: 2 if features.has_cells(taps) else 1])
        return Look(views, network, recipe, len(self.rows), gain, taken, width)


def _input(features: Features, taps: Sequence[str], kernel: str) -> HeadInput:
    """What a head sees, with cells where there are some."""
    of = tuple(taps)
    seen = features.with_cells(of) if features.has_cells(of) else features.whole_picture(of)
    if kernel == LINEAR:
        return seen
    return seen.and_likeness(Gaussian.of(seen.parts[0][:]), np.arange(len(seen)))


def _judged(data: Dataset, rows: np.ndarray, seen: HeadInput) -> tuple[float, np.ndarray]:
    """Log-loss of leave-one-out, and which images it gets right."""
    labels = data.labels[rows]
    with solvers(len(rows)):
        held_out = Products.of(seen).held_out(labels, len(data.class_names), data.groups_of(rows))
    return linear_head.judge(held_out, labels).loss, held_out.argmax(axis=1) == labels
