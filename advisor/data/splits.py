"""Training, validation and test images: those of the user, or drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from advisor.data import copies as file_copies
from advisor.data import group_splits
from advisor.data.checks import check_splits, untested_classes
from advisor.data.dataset import Dataset
from advisor.data.names import SPLITS, listed
from advisor.data.sampling import stratified_order

HELD_OUT = 0.1  # of all images, for each of validation and test where the user gave none


def split(data: Dataset, seed: int) -> Dataset:
    """Draw the splits that the user did not make, stratified, and keep copies out of the test split.

    Where images belong together, whole groups are drawn.

    Splits that were drawn before are drawn anew.

    Raises:
        InputError: a split comes out empty.
    """
    given = [SPLITS.index(name) for name in data.given_splits]
    kept = np.where(np.isin(data.splits, given), data.splits, SPLITS.index("train"))
    data = replace(data, splits=kept)
    copies = file_copies.find(data)
    draw = _draw_missing_splits if data.groups is None else group_splits.draw
    data = replace(data, splits=draw(data, copies, seed))
    data = replace(
        data, warnings=(*data.source_warnings, *untested_classes(data), *group_splits.across(data))
    )
    return _keep_copies_out_of_test(data, copies)


def _draw_missing_splits(data: Dataset, copies: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """Take validation and test images from the training images.

    Copies go where the first of them goes. What is in two classes, or has a copy in the validation split
    that the user made, stays in training, for it can test nothing; so does one image of each class, at least.
    """
    labels, splits = data.labels, data.splits.copy()
    training = data.indices("train")
    first = np.arange(len(data))
    stays = np.zeros(len(data), dtype=bool)
    for group in copies:
        pool = group[splits[group] == SPLITS.index("train")]
        if len(set(labels[group])) > 1 or SPLITS.index("validation") in splits[group]:
            stays[pool] = True
        else:
            first[pool] = pool[:1]
    drawn = training[first[training] == training]
    order = drawn[stratified_order(labels[drawn], seed)]
    order = order[~stays[order]]
    # A quarter each at most, so that the ranks above leave half of each class, or nearly, to train on.
    size = max(1, min(round(HELD_OUT * len(data)), len(order) // 4))
    classes, from_the_end = np.unique(labels[order][::-1], return_index=True)
    last = len(order) - 1 - from_the_end
    order = np.delete(order, last[~np.isin(classes, labels[training[stays[training]]])])
    for split in ("test", "validation"):
        if split not in data.given_splits:
            splits[order[:size]] = SPLITS.index(split)
            order = order[size:]
    splits[training] = splits[first[training]]
    return splits


def _keep_copies_out_of_test(data: Dataset, copies: Sequence[np.ndarray]) -> Dataset:
    """Byte-for-byte copies: name those with two labels; leave out of the user's splits what training has."""
    labels, splits = data.labels, data.splits
    conflicts, dropped = [], []
    for group in copies:
        if len(set(labels[group])) > 1:
            conflicts.append(" = ".join(data.shown(data.paths[i]) for i in group))
        dropped += list(group[splits[group] > splits[group].min()])
    warnings = list(data.warnings)
    if conflicts:
        warnings.append(f"{_some('the same image', conflicts)} in two classes: {conflicts[0]}")
    if dropped:
        names = [data.shown(data.paths[i]) for i in dropped]
        warnings.append(f"{_some('image', names)} left out, for training has a copy: {listed(names)}")
    data = replace(data, warnings=tuple(warnings))
    kept = np.setdiff1d(np.arange(len(data)), np.array(dropped, dtype=np.int64))
    data = data.take(kept) if dropped else data
    check_splits(data, "; copies of training images and images in two classes do not count" if copies else "")
    return data


def _some(what: str, items: Sequence[str]) -> str:
    return f"{len(items)}x {what}" if len(items) > 1 else what
