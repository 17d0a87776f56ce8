"""Images that are there more than once, as groups: the same bytes, nearly the same, or a part of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor.data import cut_copies, near_copies, shots
from advisor.data.dataset import Dataset
from advisor.evidence.embedding import Embedded
from advisor.evidence.outliers import unit
from advisor.evidence.signed_root import signed_root


@dataclass(frozen=True)
class Copies:
    """A group of images that show the same.

    Attributes:
        positions: which of the data set they are, ascending, two or more.
        exact: whether all files hold the same bytes.
        across_splits: whether training has one of them and another split another one.
        across_classes: whether they have different labels.
    """

    positions: tuple[int, ...]
    exact: bool
    across_splits: bool
    across_classes: bool


def find(embedded: Embedded, data: Dataset) -> tuple[Copies, ...]:
    """Groups of copies; those that do most harm first: in two classes, then across splits, then the largest.

    Args:
        embedded: images with their thumbnails and contents.
        data: the data set that they are from.
    """
    _, same = np.unique(embedded.contents, axis=0, return_inverse=True)
    by_content: dict[int, int] = {}
    pairs = [(by_content.setdefault(int(content), row), row) for row, content in enumerate(same.ravel())]
    pairs = [(first, row) for first, row in pairs if first != row]
    features = unit(signed_root(embedded.features.last()))
    for more in (near_copies.find(embedded.thumbnails), cut_copies.find(features, embedded.thumbnails)):
        pairs += [(int(first), int(second)) for first, second in more]
    groups = [_group(rows, same.ravel(), embedded, data) for rows in shots.joined(pairs)]
    groups.sort(key=lambda one: (-one.across_classes, -one.across_splits, -len(one.positions), one.positions))
    return tuple(groups)


def _group(rows: list[int], same: np.ndarray, embedded: Embedded, data: Dataset) -> Copies:
    positions = np.sort(embedded.positions[rows])
    in_training = data.splits[positions] == 0
    return Copies(
        positions=tuple(positions.tolist()),
        exact=len(set(same[rows].tolist())) == 1,
        across_splits=bool(in_training.any() and not in_training.all()),
        across_classes=len(set(data.labels[positions].tolist())) > 1,
    )
