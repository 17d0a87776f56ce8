"""What accuracy owes to images that belong together: leaving out images against leaving out whole groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor.data import groups
from advisor.data.dataset import Dataset
from advisor.data.sampling import sample
from advisor.evidence.embedding import Features
from advisor.evidence.linear_head import Products
from advisor.evidence.probe import MOST_PROBED, standard_error
from advisor.system.solvers import solvers


@dataclass(frozen=True)
class Grouping:
    """Groups of images, and what a linear probe on all depths reaches with and without them.

    Attributes:
        kept: whether the user says that they belong together; else names suggest it.
        pattern: for --group-pattern, where names suggest it; else empty.
        example: what the names of the images of one group share, where names suggest it; else empty.
        groups: how many there are among the images that were measured.
        of_several_classes: how many of them have images of several classes.
        leave_one_out: accuracy on images that the probe has not seen, 0..1.
        leave_group_out: accuracy on images of groups that it has not seen, 0..1.
        error: the standard error of the difference, both judged on the same images.
    """

    kept: bool
    pattern: str
    example: str
    groups: int
    of_several_classes: int
    leave_one_out: float
    leave_group_out: float
    error: float

    @property
    def drop(self) -> float:
        """Accuracy that is lost on images of groups that the probe has not seen, -1..1."""
        return self.leave_one_out - self.leave_group_out

    def to_json(self) -> dict[str, Any]:
        """The object "groups" of `advisor recommend --json`."""
        return dict(vars(self))

    @staticmethod
    def from_json(values: Mapping[str, Any] | None) -> Grouping | None:
        """What `to_json` gave, if it gave something."""
        return None if values is None else Grouping(**values)


def measure(features: Features, data: Dataset, positions: np.ndarray, seed: int) -> Grouping | None:
    """Look for groups among some images and measure what they do; None where there are none.

    Args:
        features: of n images, at most `MOST_PROBED` of which are looked at.
        data: all images.
        positions: int64 [n], which of them the features are of.
        seed: of the sample.
    """
    if len(positions) > MOST_PROBED:
        rows = sample(data.labels[positions], MOST_PROBED, seed)
        features, positions = features.take(rows), positions[rows]
    labels, own = data.labels[positions], data.groups_of(positions)
    pattern = example = ""
    if own is None:
        names = [data.shown(data.paths[at]) for at in positions]
        suggested = groups.suggested(names, labels)
        if suggested is None:
            return None
        own, pattern, example = suggested.groups, suggested.pattern, suggested.example
    with solvers(len(labels)):
        products, classes = Products.of(features.whole_picture(features.taps)), len(data.class_names)
        one, whole = (
            products.held_out(labels, classes, left_out).argmax(axis=1) == labels for left_out in (None, own)
        )
    difference = one.astype(float) - whole
    sizes = np.bincount(own)
    return Grouping(
        kept=data.groups is not None,
        pattern=pattern,
        example=example,
        groups=int((sizes > 0).sum()),
        of_several_classes=groups.of_several_classes(own, labels),
        leave_one_out=float(one.mean()),
        leave_group_out=float(whole.mean()),
        error=standard_error(difference),
    )
