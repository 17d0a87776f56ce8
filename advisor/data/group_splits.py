"""Splits of whole groups."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence

import numpy as np

from advisor.data.dataset import Dataset
from advisor.data.names import SPLITS, listed
from advisor.errors import InputError

FOLDS = 10  # each holds a tenth of the images, as a split that is drawn from single images


def draw(data: Dataset, copies: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """Take validation and test images from the training images, whole groups, stratified by class.

    A group with an image in two classes stays in training, and so does one that lies in a split of the user,
    too. Each class keeps images to train on.

    Args:
        data: has groups.
        copies: positions of files that hold the same bytes; they belong together, too.
        seed: of the draw.

    Returns:
        int64 [n], indices into `SPLITS`.

    Raises:
        InputError: there are too few groups.
    """
    missing = [split for split in ("test", "validation") if split not in data.given_splits]
    splits = data.splits.copy()
    if not missing:
        return splits
    groups, training = joined(data, copies), data.indices("train")
    stays = {group for rows in copies if len(set(data.labels[rows])) > 1 for group in groups[rows].tolist()}
    stays |= set(groups[np.flatnonzero(splits != SPLITS.index("train"))].tolist())
    free = training[~np.isin(groups[training], list(stays))]
    folds = _folds(data.labels[free], groups[free], seed)
    for chosen in itertools.permutations(range(len(folds)), len(missing)):
        held_out = [free[folds[fold]] for fold in chosen]
        left = np.setdiff1d(training, np.concatenate(held_out))
        if len(np.unique(data.labels[left])) == len(data.class_names):
            for split, rows in zip(missing, held_out, strict=True):
                splits[rows] = SPLITS.index(split)
            return splits
    raise InputError(
        f"{data.source} has {len(np.unique(groups)):,} groups, too few to split: some class lies in one or "
        "two; give groups of which each class has three or more, or splits of your own"
    )


def joined(data: Dataset, copies: Sequence[np.ndarray]) -> np.ndarray:
    """The groups, with those made one of which images are copies of each other."""
    assert data.groups is not None
    groups = data.groups.copy()
    for rows in copies:
        groups[np.isin(groups, groups[rows])] = groups[rows[0]]
    return groups


def across(data: Dataset) -> tuple[str, ...]:
    """A warning where splits of the user share groups."""
    if data.groups is None:
        return ()
    pairs = np.unique(np.stack([data.groups, data.splits]), axis=1)
    several = np.flatnonzero(np.bincount(pairs[0]) > 1)
    if not len(several):
        return ()
    rows = [np.flatnonzero(data.groups == group)[0] for group in several[:3]]
    shown = [data.shown(data.paths[row]) for row in rows]
    more = ["..."] * (len(several) > len(shown))
    return (
        f"{len(several):,} groups lie in several of your splits, as those of {listed(shown + more)}: "
        "accuracy will look too good",
    )


def _folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> list[np.ndarray]:
    """Positions of the images in each fold of whole groups, those with most classes first."""
    from sklearn.model_selection import StratifiedGroupKFold

    if len(np.unique(groups)) < 2:
        return []
    count = min(FOLDS, len(np.unique(groups)), np.bincount(labels).max())
    folds = StratifiedGroupKFold(max(2, count), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer images than folds
        found = [rows for _, rows in folds.split(labels, labels, groups)]
    return sorted(found, key=lambda rows: -len(np.unique(labels[rows])))
