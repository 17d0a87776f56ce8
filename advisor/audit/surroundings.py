"""What the surroundings tell of the class: a head that sees images whose middle is masked.

A model that learns the meadow in the place of the cow fails on the beach (Beery, Van Horn and Perona,
Recognition in terra incognita, ECCV 2018). Yet a meadow is a fair hint of a cow, and a texture is the same in
the middle and at the edges: so it is a question to a person and no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor.backbones import Backbone
from advisor.data.dataset import Dataset
from advisor.data.sampling import sample
from advisor.evidence import linear_head
from advisor.evidence.embedding import Embedded, embed
from advisor.evidence.linear_head import Products
from advisor.evidence.signed_root import signed_root
from advisor.evidence.views import SURROUNDINGS
from advisor.system.progress import Display
from advisor.system.solvers import solvers

MOST = 300  # images that are embedded once more
FEWEST = 50  # images whose accuracy says something


@dataclass(frozen=True)
class Surroundings:
    """What heads know of the same images, each of an image that it has not seen.

    Attributes:
        images: that were looked at.
        accuracy: where the middle is masked, 0..1.
        whole: of the whole pictures, 0..1.
        chance: the share of the largest class, 0..1.
    """

    images: int
    accuracy: float
    whole: float
    chance: float


def measure(
    network: Backbone, embedded: Embedded, data: Dataset, size: int, seed: int, display: Display
) -> Surroundings | None:
    """Solve a head on images whose middle is masked, and one on the same images whole.

    Args:
        network: that sees them.
        embedded: all images of the data set, whole.
        data: the data set.
        size: pixels of the square.
        seed: of the sample.
        display: where progress is shown.

    Returns:
        None where there are too few images.
    """
    rows = sample(data.labels, MOST, seed)
    bar = display.steps("Looking at surroundings")
    masked = embed(network, data, rows, size, bar, (SURROUNDINGS,))
    rows = masked.positions  # an image may vanish meanwhile
    labels = data.labels[rows]
    if len(rows) < FEWEST or len(np.unique(labels)) < 2:
        return None

    def accuracy(seen: Embedded) -> float:
        products = Products.of(signed_root(seen.features.values))
        told = products.held_out(labels, len(data.class_names), data.groups_of(rows))
        return linear_head.judge(told, labels).accuracy

    with solvers(len(rows)):
        return Surroundings(
            images=len(rows),
            accuracy=accuracy(masked),
            whole=accuracy(embedded.take(rows)),
            chance=float(np.bincount(labels).max() / len(labels)),
        )
