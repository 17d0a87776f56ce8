"""How an image becomes a square: what a linear probe on a sample says, where images are far from square."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor.backbones import Backbone
from advisor.choices import CROP, FITS
from advisor.data.checks import most_are_long
from advisor.data.dataset import Dataset
from advisor.data.names import SPLITS
from advisor.data.sampling import sample
from advisor.evidence import linear_head
from advisor.evidence.embedding import embed
from advisor.evidence.linear_head import Products
from advisor.system.progress import Display
from advisor.system.solvers import solvers

MOST_IMAGES = 400  # that each way is tried on
# By how much the leave-one-out log-loss, summed over the images, has to be lower than with the crop before
# another way is taken. It is what `probe.BELIEF_IN_THE_WHOLE` is to cells.
BELIEF_IN_THE_CROP = 4.0


@dataclass(frozen=True)
class Fit:
    """How images become squares.

    Attributes:
        chosen: one of `FITS`.
        measured: leave-one-out accuracy of a probe on all depths, 0..1, by the way that was tried; none where
            nothing had to be tried.
    """

    chosen: str
    measured: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The object "fit" of `advisor recommend --json`."""
        return {"chosen": self.chosen, "measured": dict(self.measured)}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Fit:
        """What `to_json` gave."""
        return Fit(values["chosen"], values["measured"])


AS_USUAL = Fit(CROP, {})


def choose(
    asked: str,
    backbone: Backbone,
    data: Dataset,
    positions: np.ndarray,
    image_size: int,
    seed: int,
    display: Display,
) -> Fit:
    """Choose among the ways that the user leaves open, by a sample without test images.

    Args:
        asked: "auto", the kind of one of `FITS`, or one of these.
        backbone: whose features are probed.
        data: where the images are.
        positions: int64 [n], which of them are measured.
        image_size: pixels of the square.
        seed: of the sample.
        display: where progress is shown.
    """
    ways = [fit for fit in FITS if asked in ("auto", fit, fit.partition(":")[0])]
    if asked == "auto" and not most_are_long(data):
        return AS_USUAL
    if len(ways) == 1:
        return Fit(ways[0], {})
    judging = positions[data.splits[positions] != SPLITS.index("test")]
    judging = judging[sample(data.labels[judging], MOST_IMAGES, seed)]
    found = {way: _judge(way, backbone, data, judging, image_size, display) for way in ways}
    best = min(found, key=lambda way: found[way].loss - BELIEF_IN_THE_CROP / len(judging) * (way == CROP))
    return Fit(best, {way: judged.accuracy for way, judged in found.items()})


def _judge(
    way: str, backbone: Backbone, data: Dataset, at: Sequence[int] | np.ndarray, size: int, display: Display
) -> linear_head.Judged:
    """What a probe on all depths gets right of images that it has not seen, made squares in one way."""
    bar = display.steps(f"Trying to {way.replace(':', ' with ')}")
    embedded = embed(backbone, data, np.asarray(at), size, bar, fit=way)
    labels, features = data.labels[embedded.positions], embedded.features
    with solvers(len(labels)):
        products = Products.of(features.whole_picture(features.taps))
        held_out = products.held_out(labels, len(data.class_names), data.groups_of(embedded.positions))
    return linear_head.judge(held_out, labels)
