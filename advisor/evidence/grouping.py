"""What accuracy owes to images that belong together: leaving out images against leaving out whole groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor.data import groups, near_copies, shots
from advisor.data.dataset import Dataset
from advisor.data.groups import Suggested
from advisor.data.sampling import sample
from advisor.evidence.embedding import Embedded
from advisor.evidence.linear_head import Products
from advisor.evidence.probe import MOST_PROBED, standard_error
from advisor.system.solvers import solvers
from advisor.system.text import legible


@dataclass(frozen=True)
class Grouping:
    """Groups of images, and what a linear probe on all depths reaches with and without them.

    Attributes:
        kept: whether the user says that they belong together; else names suggest it, or cameras and pictures
            do: images that one camera took within seconds, and images that show nearly the same.
        pattern: for --group-pattern, where names suggest it; else empty.
        example: what the names of the images of one group share, where names suggest it; two images, where
            cameras and pictures do; else empty.
        groups: how many there are among the images that were measured, those of single images left out where
            cameras and pictures suggest them.
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


def measure(embedded: Embedded, data: Dataset, seed: int) -> Grouping | None:
    """Look for groups among some images and measure what they do; None where there are none.

    Args:
        embedded: some images, at most `MOST_PROBED` of which are looked at.
        data: all images.
        seed: of the sample.
    """
    if len(embedded.positions) > MOST_PROBED:
        embedded = embedded.take(sample(data.labels[embedded.positions], MOST_PROBED, seed))
    positions, features = embedded.positions, embedded.features
    labels, own = data.labels[positions], data.groups_of(positions)
    found = Suggested("", own, "") if own is not None else _suggested(embedded, data)
    if found is None:
        return None
    own = found.groups
    with solvers(len(labels)):
        products, classes = Products.of(features.whole_picture(features.taps)), len(data.class_names)
        one, whole = (
            products.held_out(labels, classes, left_out).argmax(axis=1) == labels for left_out in (None, own)
        )
    difference = one.astype(float) - whole
    sizes = np.bincount(own)
    return Grouping(
        kept=data.groups is not None,
        pattern=found.pattern,
        example=found.example,
        groups=int((sizes > (data.groups is None and not found.pattern)).sum()),
        of_several_classes=groups.of_several_classes(own, labels),
        leave_one_out=float(one.mean()),
        leave_group_out=float(whole.mean()),
        error=standard_error(difference),
    )


def _suggested(embedded: Embedded, data: Dataset) -> Suggested | None:
    """What names suggest, else what cameras and pictures do."""
    paths, labels = [data.paths[at] for at in embedded.positions], data.labels[embedded.positions]
    names = [data.shown(path) for path in paths]
    by_names = groups.suggested(names, labels)
    if by_names is not None:
        return by_names
    same = near_copies.find(embedded.thumbnails).tolist()
    own = shots.groups(shots.origins(paths), same)
    if not groups.may_be_groups(own, labels):
        return None
    largest = np.flatnonzero(own == np.bincount(own).argmax())[:2]
    return Suggested("", own, " = ".join(legible(names[at]) for at in largest))
